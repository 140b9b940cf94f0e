"""Collection jobs: requests of collectors and their responses."""

from __future__ import annotations

from sqlalchemy import ColumnElement, select, update

from tactful_aggregator.datastore.schema import (
    DELETED,
    FAILED,
    FINISHED,
    PENDING,
    collection,
)
from tactful_aggregator.datastore.statements import Statements


class CollectionQueries:
    """Statements on the collection jobs of the leader."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._run = statements.run

    def add(self, task_id: bytes, job_id: bytes, request: bytes) -> bytes:
        """Create a collection job; return the request that is stored under its id.

        A different return value means that the id was used for another request. A deleted
        or failed job with the same request restarts, because the batch is independent.
        """
        row: dict[str, object] = {
            "id": job_id,
            "task_id": task_id,
            "request": request,
            "state": PENDING,
            "leased_until": 0,
            "attempts": 0,
        }
        self._statements.insert_if_absent(collection, row)
        is_job = _is_job(task_id, job_id)
        has_ended = collection.c.state.in_([DELETED, FAILED])
        restarts = is_job & (collection.c.request == request) & has_ended
        self._run(update(collection).where(restarts).values(state=PENDING, body=None))
        return bytes(self._run(select(collection.c.request).where(is_job)).scalar_one())

    def get(
        self, task_id: bytes, job_id: bytes
    ) -> tuple[bytes, str, bytes | None] | None:
        """Return (request, state, response) of a collection job, or None."""
        columns = select(collection.c.request, collection.c.state, collection.c.body)
        row = self._run(columns.where(_is_job(task_id, job_id))).one_or_none()
        return None if row is None else (row[0], row[1], row[2])

    def pending(self) -> list[tuple[bytes, bytes, bytes]]:
        """Return (task id, job id, request) of each job without a response."""
        columns = select(collection.c.task_id, collection.c.id, collection.c.request)
        rows = self._run(columns.where(collection.c.state == PENDING))
        return [(row[0], row[1], row[2]) for row in rows]

    def finish(self, task_id: bytes, job_id: bytes, body: bytes) -> None:
        """Store the response, unless the job was deleted; each poll gets these bytes."""
        is_pending = _is_job(task_id, job_id) & (collection.c.state == PENDING)
        finished = update(collection).where(is_pending)
        self._run(finished.values(state=FINISHED, body=body))

    def fail(self, task_id: bytes, job_id: bytes, code: str, detail: str) -> None:
        """Store the reason why a job failed, unless the job was deleted."""
        is_pending = _is_job(task_id, job_id) & (collection.c.state == PENDING)
        body = f"{code} {detail}".encode()
        failed = update(collection).where(is_pending)
        self._run(failed.values(state=FAILED, body=body))

    def delete(self, task_id: bytes, job_id: bytes) -> bool:
        """Delete a job and its response but not the batch; return False if none exists."""
        exists = _is_job(task_id, job_id) & (collection.c.state != DELETED)
        deletion = update(collection).where(exists).values(state=DELETED, body=None)
        return self._run(deletion).rowcount == 1


def _is_job(task_id: bytes, job_id: bytes) -> ColumnElement[bool]:
    return (collection.c.id == job_id) & (collection.c.task_id == task_id)

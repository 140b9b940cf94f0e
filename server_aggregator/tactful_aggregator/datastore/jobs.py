"""Aggregation jobs: leases at the leader, stored responses at the helper."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, func, or_, select, update

from tactful_aggregator.datastore.schema import FINISHED, PARKED, PENDING, job
from tactful_aggregator.datastore.statements import Statements


@dataclass(frozen=True)
class DeferredJob:
    """A failed job that is parked, or that will be retried at `due` (unix seconds)."""

    job_id: bytes
    task_id: bytes
    state: str
    attempts: int
    due: int


class JobQueries:
    """Statements on aggregation jobs."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._run = statements.run

    # At the leader

    def add(self, job_id: bytes, task_id: bytes) -> None:
        """Create a job that any worker can lease."""
        row: dict[str, object] = {
            "id": job_id,
            "task_id": task_id,
            "state": PENDING,
            "leased_until": 0,
            "attempts": 0,
        }
        self._statements.insert_if_absent(job, row)

    def tasks_with_free_jobs(self, now: int) -> list[bytes]:
        """Return the ids of tasks with a pending job that nobody has leased."""
        is_free = (job.c.state == PENDING) & (job.c.leased_until <= now)
        return list(
            self._run(select(job.c.task_id).where(is_free).distinct()).scalars()
        )

    def count_pending(self, task_id: bytes, now: int) -> int:
        """Return the number of jobs of a task that are leased or can be leased."""
        is_pending = (job.c.task_id == task_id) & (job.c.state == PENDING)
        count = select(func.count()).select_from(job)
        return self._run(count.where(is_pending & ~is_deferred(now))).scalar_one()

    def deferred(self, now: int) -> list[DeferredJob]:
        """Return the jobs that are parked or will be retried after `now`."""
        columns = select(
            job.c.id, job.c.task_id, job.c.state, job.c.attempts, job.c.leased_until
        )
        jobs = columns.where(is_deferred(now)).order_by(job.c.leased_until, job.c.id)
        return [DeferredJob(*row) for row in self._run(jobs)]

    def resume_deferred(self, now: int) -> int:
        """Make all deferred jobs available with 0 attempts, and return their number."""
        free = {"state": PENDING, "leased_until": 0, "lease": b"", "attempts": 0}
        return self._run(update(job).where(is_deferred(now)).values(free)).rowcount

    def lease(
        self, task_id: bytes, token: bytes, now: int, until: int
    ) -> tuple[bytes, int] | None:
        """Lease a free job to `token`; return (job id, attempts so far), or None."""
        is_pending = (job.c.task_id == task_id) & (job.c.state == PENDING)
        is_free = is_pending & (job.c.leased_until <= now)
        free_job = select(job.c.id, job.c.attempts).where(is_free).limit(1)
        row = self._run(free_job.with_for_update(skip_locked=True)).one_or_none()
        if row is None:
            return None
        job_id, attempts = row
        # Counted now, so that an attempt whose worker is killed counts as well.
        leased = {"lease": token, "leased_until": until, "attempts": attempts + 1}
        self._run(update(job).where(job.c.id == job_id).values(leased))
        return job_id, attempts

    def is_leased_to(self, job_id: bytes, token: bytes) -> bool:
        """Return True if a pending job is leased to `token`; then lock it to the commit."""
        is_pending = (job.c.id == job_id) & (job.c.state == PENDING)
        leased = select(job.c.id).where(is_pending & (job.c.lease == token))
        return self._run(leased.with_for_update()).one_or_none() is not None

    def reschedule(self, job_id: bytes, attempts: int, due: int = 0) -> None:
        """End the lease of a failed job; another worker may lease it from `due` on."""
        free = {"leased_until": due, "lease": b"", "attempts": attempts}
        self._run(update(job).where(job.c.id == job_id).values(free))

    def finish(self, job_id: bytes) -> None:
        """Mark a job as finished."""
        self._run(update(job).where(job.c.id == job_id).values(state=FINISHED))

    def park(self, job_id: bytes, attempts: int) -> None:
        """Keep a job and its reports until the operator resumes it."""
        parked = {
            "state": PARKED,
            "leased_until": 0,
            "lease": b"",
            "attempts": attempts,
        }
        self._run(update(job).where(job.c.id == job_id).values(parked))

    def release_leases(self) -> None:
        """End all leases after a restart; a worker that still runs can no longer finish."""
        is_leased = (job.c.state == PENDING) & (job.c.lease != b"")
        self._run(update(job).where(is_leased).values(leased_until=0, lease=b""))

    # At the helper

    def begin_response(self, job_id: bytes, task_id: bytes, sha256: bytes) -> bool:
        """Claim the right to answer a job, whose request has this hash.

        A concurrent request for the same job waits for the first one's commit and then
        gets False.
        """
        row: dict[str, object] = {
            "id": job_id,
            "task_id": task_id,
            "state": FINISHED,
            "leased_until": 0,
            "request_sha256": sha256,
        }
        return self._statements.insert_if_absent(job, row)

    def store_response(self, job_id: bytes, response: bytes) -> None:
        """Store the response for repeated requests."""
        self._run(update(job).where(job.c.id == job_id).values(response=response))

    def response(self, job_id: bytes) -> tuple[bytes, bytes] | None:
        """Return (hash of the request, response) of a job that was answered, or None."""
        rows = select(job.c.request_sha256, job.c.response).where(job.c.id == job_id)
        row = self._run(rows).one_or_none()
        if row is None or row[1] is None:
            return None
        return row[0], row[1]

    def delete_response(self, job_id: bytes) -> bool:
        """Delete a response but not the counted reports; return False if none exists."""
        has_response = (job.c.id == job_id) & job.c.response.is_not(None)
        deletion = update(job).where(has_response).values(response=None)
        return self._run(deletion).rowcount == 1

    def delete_of_task(self, task_id: bytes) -> None:
        """Delete all jobs of a task."""
        self._run(delete(job).where(job.c.task_id == task_id))


def is_deferred(now: int) -> ColumnElement[bool]:
    """Return the SQL condition that a job is parked, or failed and is not due at `now`."""
    is_unleased = func.coalesce(job.c.lease, b"") == b""
    is_delayed = (job.c.state == PENDING) & is_unleased & (job.c.leased_until > now)
    return or_(job.c.state == PARKED, is_delayed)

"""Uploaded reports."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update

from tactful_aggregator.datastore.jobs import is_deferred
from tactful_aggregator.datastore.schema import REFUSED, TAKEN, WAITING, job, report
from tactful_aggregator.datastore.statements import Statements


@dataclass(frozen=True)
class StoredReport:
    """One report as a row of the database."""

    report_id: bytes
    bucket: int
    sha256: bytes
    body: bytes


class ReportQueries:
    """Statements on reports; the database has each report id of a task once."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._run = statements.run

    def stored_hashes(
        self, task_id: bytes, ids: Collection[bytes]
    ) -> dict[bytes, bytes]:
        """Return {report id: SHA-256} of those of `ids` that are stored."""
        is_listed = (report.c.task_id == task_id) & report.c.report_id.in_(list(ids))
        rows = self._run(select(report.c.report_id, report.c.sha256).where(is_listed))
        return {row[0]: row[1] for row in rows}

    def add_all(self, task_id: bytes, stored: Sequence[StoredReport]) -> None:
        """Store reports that wait to be verified; skip ids that exist."""
        rows = [{"task_id": task_id, "state": WAITING, **vars(row)} for row in stored]
        self._statements.insert_all_if_absent(report, rows)

    def add_id(self, task_id: bytes, report_id: bytes, bucket: int) -> bool:
        """Record a report without its body; return False if its id exists.

        The helper uses this: it receives the reports inside aggregation jobs.
        """
        row: dict[str, object] = {
            "task_id": task_id,
            "report_id": report_id,
            "bucket": bucket,
            "body": b"",
            "sha256": b"",
            "state": WAITING,
        }
        return self._statements.insert_if_absent(report, row)

    def count_not_refused(
        self, task_id: bytes, first: int = 0, last: int = 1 << 62
    ) -> int:
        """Return the number of reports in buckets [first, last) that are not refused."""
        is_counted = (report.c.task_id == task_id) & (report.c.state != REFUSED)
        in_buckets = (report.c.bucket >= first) & (report.c.bucket < last)
        count = select(func.count()).select_from(report)
        return self._run(count.where(is_counted & in_buckets)).scalar_one()

    def count_waiting(self, task_id: bytes) -> int:
        """Return the number of reports of a task that are in no job yet."""
        is_waiting = (report.c.task_id == task_id) & (report.c.state == WAITING)
        count = select(func.count()).select_from(report)
        return self._run(count.where(is_waiting)).scalar_one()

    def waiting_per_task(self) -> list[tuple[bytes, int]]:
        """Return (task id, number of reports in no job) of each task that has some."""
        columns = select(report.c.task_id, func.count())
        waiting = columns.where(report.c.state == WAITING)
        rows = self._run(waiting.group_by(report.c.task_id))
        return [(row[0], row[1]) for row in rows]

    def assign_to_job(self, task_id: bytes, job_id: bytes, limit: int) -> int:
        """Assign up to `limit` waiting reports to a job and return their number."""
        is_waiting = (report.c.task_id == task_id) & (report.c.state == WAITING)
        waiting = select(report.c.report_id).where(is_waiting).limit(limit)
        # Rows that another worker has locked are skipped, so that workers do not wait.
        ids = list(self._run(waiting.with_for_update(skip_locked=True)).scalars())
        is_chosen = (report.c.task_id == task_id) & report.c.report_id.in_(ids)
        assignment = update(report).where(is_chosen).values(state=TAKEN, job_id=job_id)
        return self._run(assignment).rowcount

    def of_job(self, job_id: bytes) -> list[tuple[int, bytes]]:
        """Return (bucket, body) of the reports of a job, in the order of their ids."""
        columns = select(report.c.bucket, report.c.body).where(
            report.c.job_id == job_id
        )
        rows = self._run(columns.order_by(report.c.report_id))
        return [(row[0], row[1]) for row in rows]

    def settle(self, task_id: bytes, ids: Collection[bytes], state: int) -> None:
        """Mark reports as counted or refused, and delete their bodies but not their ids."""
        is_listed = (report.c.task_id == task_id) & report.c.report_id.in_(list(ids))
        self._run(update(report).where(is_listed).values(state=state, body=b""))

    def return_to_waiting(self, task_id: bytes, ids: Collection[bytes]) -> None:
        """Remove reports from their job, so that a later job takes them."""
        is_listed = (report.c.task_id == task_id) & report.c.report_id.in_(list(ids))
        self._run(update(report).where(is_listed).values(state=WAITING, job_id=None))

    def unsettled_bodies(self, prefix: bytes) -> list[bytes]:
        """Return the body columns that start with `prefix` of reports not settled yet."""
        is_unsettled = report.c.state.in_([WAITING, TAKEN])
        has_body = func.length(report.c.body) > 0
        has_prefix = func.substr(report.c.body, 1, len(prefix)) == prefix
        rows = select(report.c.body).where(is_unsettled & has_body & has_prefix)
        return list(self._run(rows).scalars())

    def count_unsettled(
        self, task_id: bytes, first: int, last: int, now: int
    ) -> tuple[int, int]:
        """Return (active, deferred) numbers of unsettled reports in buckets [first, last).

        A report is deferred if its job is parked or will be retried after `now`.
        """
        in_task = report.c.task_id == task_id
        in_buckets = (report.c.bucket >= first) & (report.c.bucket < last)
        is_unsettled = in_task & in_buckets & report.c.state.in_([WAITING, TAKEN])
        count = select(func.count()).select_from(report)
        with_job = count.join(job, job.c.id == report.c.job_id)
        deferred = self._run(
            with_job.where(is_unsettled & is_deferred(now))
        ).scalar_one()
        unsettled = self._run(count.where(is_unsettled)).scalar_one()
        return unsettled - deferred, deferred

    def delete_of_task(self, task_id: bytes) -> int:
        """Delete all reports of a task and return their number."""
        return self._run(delete(report).where(report.c.task_id == task_id)).rowcount

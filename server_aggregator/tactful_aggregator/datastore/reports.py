"""Reports and the jobs that settle them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, func, or_, select, update

from tactful_aggregator.datastore.rows import Rows
from tactful_aggregator.datastore.schema import (
    FINISHED,
    PARKED,
    PENDING,
    REFUSED,
    TAKEN,
    WAITING,
    job,
    report,
)


@dataclass(frozen=True)
class StoredReport:
    """One report as it is kept."""

    report_id: bytes
    bucket: int
    sha256: bytes
    body: bytes


@dataclass(frozen=True)
class Unfinished:
    """A job that the helper did not answer as it should: parked, or tried again at `due`."""

    job_id: bytes
    task_id: bytes
    state: str
    attempts: int
    due: int


class ReportRows(Rows):
    """Each report once."""

    def kept_reports(
        self, task_id: bytes, ids: Collection[bytes]
    ) -> dict[bytes, bytes]:
        """The hashes of those of these reports that were kept before."""
        mine = (report.c.task_id == task_id) & report.c.report_id.in_(list(ids))
        rows = self._run(select(report.c.report_id, report.c.sha256).where(mine))
        return {row[0]: row[1] for row in rows}

    def add_reports(self, task_id: bytes, kept: Sequence[StoredReport]) -> None:
        """Keep reports that wait to be counted; an id that was there before changes nothing."""
        self._add_all(
            report,
            [{"task_id": task_id, "state": WAITING, **vars(one)} for one in kept],
        )

    def add_report_id(self, task_id: bytes, report_id: bytes, bucket: int) -> bool:
        """Note a report that is settled elsewhere; False if it was noted before."""
        row = {
            "task_id": task_id,
            "report_id": report_id,
            "bucket": bucket,
            "body": b"",
        }
        return self._add(report, {**row, "sha256": b"", "state": WAITING})

    def count_reports(self, task_id: bytes, first: int = 0, last: int = 1 << 62) -> int:
        """How many reports of these buckets were not refused."""
        mine = (report.c.task_id == task_id) & (report.c.state != REFUSED)
        here = (report.c.bucket >= first) & (report.c.bucket < last)
        return self._run(
            select(func.count()).select_from(report).where(mine & here)
        ).scalar_one()

    def waiting_reports(self, task_id: bytes) -> int:
        """How many reports no job has taken yet."""
        mine = (report.c.task_id == task_id) & (report.c.state == WAITING)
        return self._run(
            select(func.count()).select_from(report).where(mine)
        ).scalar_one()

    def tasks_waiting(self) -> list[tuple[bytes, int]]:
        """(task, how many reports no job has taken) of each task that has some."""
        rows = select(report.c.task_id, func.count()).where(report.c.state == WAITING)
        return [(row[0], row[1]) for row in self._run(rows.group_by(report.c.task_id))]

    def tasks_begun(self, now: int) -> list[bytes]:
        """The tasks with a job that was begun and that nobody works on."""
        free = (job.c.state == PENDING) & (job.c.leased_until <= now)
        return list(self._run(select(job.c.task_id).where(free).distinct()).scalars())

    def take_reports(self, task_id: bytes, job_id: bytes, most: int) -> int:
        """Put up to `most` waiting reports into a job; how many were put."""
        waiting = (report.c.task_id == task_id) & (report.c.state == WAITING)
        some = select(report.c.report_id).where(waiting).limit(most)
        ids = list(self._run(some.with_for_update(skip_locked=True)).scalars())
        mine = (report.c.task_id == task_id) & report.c.report_id.in_(ids)
        return self._run(
            update(report).where(mine).values(state=TAKEN, job_id=job_id)
        ).rowcount

    def reports_of(self, job_id: bytes) -> list[tuple[int, bytes]]:
        """(bucket, body) of a job's reports, in the order of their ids."""
        rows = select(report.c.bucket, report.c.body).where(report.c.job_id == job_id)
        found = self._run(rows.order_by(report.c.report_id))
        return [(row[0], row[1]) for row in found]

    def settle_reports(
        self, task_id: bytes, ids: Collection[bytes], state: int
    ) -> None:
        """Reports were counted or refused: their ids stay, their bodies go."""
        mine = (report.c.task_id == task_id) & report.c.report_id.in_(list(ids))
        self._run(update(report).where(mine).values(state=state, body=b""))

    def put_back(self, task_id: bytes, ids: Collection[bytes]) -> None:
        """Let reports wait for another job."""
        mine = (report.c.task_id == task_id) & report.c.report_id.in_(list(ids))
        self._run(update(report).where(mine).values(state=WAITING, job_id=None))

    def bodies(self, prefix: bytes) -> list[bytes]:
        """The bodies, or where they stand, that begin so, of reports that are not settled."""
        mine = report.c.state.in_([WAITING, TAKEN]) & (func.length(report.c.body) > 0)
        begins = func.substr(report.c.body, 1, len(prefix)) == prefix
        return list(self._run(select(report.c.body).where(mine & begins)).scalars())

    # jobs

    def add_job(self, job_id: bytes, task_id: bytes) -> None:
        """Begin a job."""
        row = {"id": job_id, "task_id": task_id, "state": PENDING, "leased_until": 0}
        self._add(job, {**row, "attempts": 0})

    def pending_jobs(self, task_id: bytes, now: int) -> int:
        """How many jobs of a task are worked on, or can be taken."""
        mine = (job.c.task_id == task_id) & (job.c.state == PENDING) & ~_put_off(now)
        return self._run(select(func.count()).select_from(job).where(mine)).scalar_one()

    def unsettled(
        self, task_id: bytes, first: int, last: int, now: int
    ) -> tuple[int, int]:
        """How many reports of these buckets wait or are worked on, and how many are put off.

        What is put off is in a job that is parked or that is tried again later.
        """
        mine = (
            (report.c.task_id == task_id)
            & (report.c.bucket >= first)
            & (report.c.bucket < last)
        )
        some = mine & report.c.state.in_([WAITING, TAKEN])
        joined = select(func.count()).select_from(report)
        off = joined.join(job, job.c.id == report.c.job_id).where(some & _put_off(now))
        put_off = self._run(off).scalar_one()
        return self._run(joined.where(some)).scalar_one() - put_off, put_off

    def jobs_put_off(self, now: int) -> list[Unfinished]:
        """The jobs that are parked, or that are tried again later."""
        columns = select(
            job.c.id, job.c.task_id, job.c.state, job.c.attempts, job.c.leased_until
        )
        rows = self._run(
            columns.where(_put_off(now)).order_by(job.c.leased_until, job.c.id)
        )
        return [Unfinished(*row) for row in rows]

    def resume_jobs(self, now: int) -> int:
        """Let all of them be taken now, with all their attempts before them; how many."""
        anew = {"state": PENDING, "leased_until": 0, "lease": b"", "attempts": 0}
        return self._run(update(job).where(_put_off(now)).values(anew)).rowcount

    def lease_job(
        self, task_id: bytes, token: bytes, now: int, until: int
    ) -> tuple[bytes, int] | None:
        """(id, attempts so far) of a job that nobody works on, now leased to `token`."""
        mine = (
            (job.c.task_id == task_id)
            & (job.c.state == PENDING)
            & (job.c.leased_until <= now)
        )
        one = select(job.c.id, job.c.attempts).where(mine).limit(1)
        row = self._run(one.with_for_update(skip_locked=True)).one_or_none()
        if row is None:
            return None
        leased = {"lease": token, "leased_until": until, "attempts": row[1] + 1}
        self._run(update(job).where(job.c.id == row[0]).values(leased))
        return row[0], row[1]

    def holds_job(self, job_id: bytes, token: bytes) -> bool:
        """Whether the job is still pending and leased to `token`; held until the commit."""
        mine = (job.c.id == job_id) & (job.c.state == PENDING) & (job.c.lease == token)
        return (
            self._run(select(job.c.id).where(mine).with_for_update()).one_or_none()
            is not None
        )

    def return_job(self, job_id: bytes, attempts: int, due: int = 0) -> None:
        """Let another worker take the job at `due`, after so many attempts that failed."""
        free = {"leased_until": due, "lease": b"", "attempts": attempts}
        self._run(update(job).where(job.c.id == job_id).values(free))

    def finish_job(self, job_id: bytes) -> None:
        """The job is done."""
        self._run(update(job).where(job.c.id == job_id).values(state=FINISHED))

    def park_job(self, job_id: bytes, attempts: int) -> None:
        """Keep the job and its reports until the operator resumes it."""
        parked = {
            "state": PARKED,
            "leased_until": 0,
            "lease": b"",
            "attempts": attempts,
        }
        self._run(update(job).where(job.c.id == job_id).values(parked))

    def release_leases(self) -> None:
        """Let what was worked on be taken again: its holder died. Who did not may not finish."""
        leased = (job.c.state == PENDING) & (job.c.lease != b"")
        self._run(update(job).where(leased).values(leased_until=0, lease=b""))

    def begin_answer(self, job_id: bytes, task_id: bytes, sha256: bytes) -> bool:
        """Be the one who answers a job, which is known by the hash of its request.

        Whoever comes second waits for the first one's commit, and gets False.
        """
        row = {"id": job_id, "task_id": task_id, "state": FINISHED, "leased_until": 0}
        return self._add(job, {**row, "request_sha256": sha256})

    def keep_answer(self, job_id: bytes, response: bytes) -> None:
        """Keep the answer, for whoever asks again."""
        self._run(update(job).where(job.c.id == job_id).values(response=response))

    def answered_job(self, job_id: bytes) -> tuple[bytes, bytes] | None:
        """(hash of the request, answer) of a job that was answered."""
        rows = select(job.c.request_sha256, job.c.response).where(job.c.id == job_id)
        row = self._run(rows).one_or_none()
        return None if row is None or row[1] is None else (row[0], row[1])

    def delete_answer(self, job_id: bytes) -> bool:
        """Forget the answer, not what was counted; False if there was none."""
        mine = (job.c.id == job_id) & job.c.response.is_not(None)
        return self._run(update(job).where(mine).values(response=None)).rowcount == 1


def _put_off(now: int) -> ColumnElement[bool]:
    """Of a job: parked, or failed before and not due yet."""
    is_free = func.coalesce(job.c.lease, b"") == b""
    later = (job.c.state == PENDING) & is_free & (job.c.leased_until > now)
    return or_(job.c.state == PARKED, later)

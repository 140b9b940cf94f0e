"""Every query of one half; nothing else speaks SQL.

SQLite in WAL mode, each commit synced: what was acknowledged survives a crash at any point.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import (
    Column,
    ColumnElement,
    Connection,
    Engine,
    Float,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    create_engine,
    event,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import ConnectionPoolEntry

from tactful.errors import StorageFull, VaultForeign
from tactful.protocol.task import SignedTask, Task

SCHEMA = 1
OPEN, CLOSING, COLLECTED = "open", "closing", "collected"
WAITING, TAKEN, COUNTED, REFUSED = 0, 1, 2, 3  # states of a report

tables = MetaData()
# so that a newer program's file is not misread, and a leader's not served by a helper
meta = Table("meta", tables, Column("name", String, primary_key=True), Column("value", String))
# what was agreed for each round; a task is never changed
task = Table(
    "task",
    tables,
    Column("id", LargeBinary, primary_key=True),
    Column("number", Integer, unique=True),
    Column("model", String),
    Column("body", LargeBinary),  # the signed document
    Column("state", String),
)
# each report once: an id is kept after its body is gone, so that a replay is known
report = Table(
    "report",
    tables,
    Column("task_id", LargeBinary, primary_key=True),
    Column("report_id", LargeBinary, primary_key=True),
    Column("sha256", LargeBinary),
    Column("body", LargeBinary),
    Column("state", Integer),
    Column("job_id", LargeBinary),
    sqlite_with_rowid=True,
)
Index("report_waiting", report.c.task_id, report.c.state)
# which reports the halves take together: the same answer on every repeat
job = Table(
    "job",
    tables,
    Column("id", LargeBinary, primary_key=True),
    Column("task_id", LargeBinary),
    Column("request_sha256", LargeBinary),
    Column("response", LargeBinary),
)
# the sum of a task so far, and its noisy share once drawn
batch = Table(
    "batch",
    tables,
    Column("task_id", LargeBinary, primary_key=True),
    Column("count", Integer),
    Column("checksum", LargeBinary),
    Column("total", LargeBinary),
    Column("noisy", LargeBinary),
)
# what each period of an experiment summed to, noise and all
period = Table(
    "period",
    tables,
    Column("task_id", LargeBinary, primary_key=True),
    Column("number", Integer, unique=True),
    Column("model", String),
    Column("people", Integer),
    Column("tau", Float),
    Column("vector", LargeBinary),
)
# guides and models, named by their hash
file = Table(
    "file", tables, Column("sha256", String, primary_key=True), Column("content", LargeBinary)
)
# where the training of each model stands
training = Table(
    "training", tables, Column("model", String, primary_key=True), Column("state", String)
)
# what was published of each model
release = Table(
    "release",
    tables,
    Column("model", String, primary_key=True),
    Column("version", Integer, primary_key=True),
    Column("body", LargeBinary),
)
# everything published, in order, each entry holding the hash of the one before
transcript = Table(
    "transcript", tables, Column("number", Integer, primary_key=True), Column("entry", String)
)


@dataclass(frozen=True)
class Period:
    """A collected period of an experiment: how many people, the noise of each entry, the sum.

    `vector` holds float64 entries for people's vectors of length at most 1.
    """

    task_id: bytes
    people: int
    tau: float
    vector: bytes


@dataclass(frozen=True)
class Batch:
    """The sum of one task so far: how many reports, which (as a checksum), and their total."""

    count: int
    checksum: bytes
    total: bytes
    noisy: bytes | None


class Datastore:
    """One half's file. Raises VaultForeign for a file of another program, version or role."""

    def __init__(self, path: Path, role: str) -> None:
        self._engine = _engine(path)
        try:
            with self.transaction() as tx:
                tx.claim(path, role)
        except DatabaseError as refused:
            raise VaultForeign(f"{path}: {refused.orig}; name another folder") from refused

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """All or nothing, one writer at a time; a full disk raises StorageFull."""
        try:
            with self._engine.begin() as connection:
                yield Transaction(connection)
        except DatabaseError as refused:
            if "full" in str(refused.orig):
                raise StorageFull("database: the disk is full; free some space") from refused
            raise

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()


class Transaction:
    """The statements, each by the name of what it does."""

    def __init__(self, connection: Connection) -> None:
        self._run = connection.execute
        self._connection = connection

    def claim(self, path: Path, role: str) -> None:
        """Make the tables of a new file, or check that an old one is ours."""
        found = self._run(text("select name from sqlite_master")).scalars().all()
        if found and "meta" not in found:
            raise VaultForeign(f"{path}: not a Tactful aggregator's database; name another folder")
        if not found:
            tables.create_all(self._connection)
            self._run(insert(meta), [{"name": "schema", "value": str(SCHEMA)}])
            self._run(insert(meta), [{"name": "role", "value": role}])
        known = dict(self._run(select(meta.c.name, meta.c.value)).all())
        if int(known["schema"]) > SCHEMA:
            raise VaultForeign(f"{path}: written by a newer version; upgrade tactful")
        if known["role"] != role:
            raise VaultForeign(f"{path}: it belongs to a {known['role']}, not a {role}")

    # tasks

    def add_task(self, signed: SignedTask) -> None:
        """Keep a task; the same one again changes nothing."""
        number = self._run(select(func.count()).select_from(task)).scalar_one()
        row = {
            "id": signed.task.id,
            "number": number,
            "model": signed.task.model,
            "body": signed.encode(),
            "state": OPEN,
        }
        self._run(upsert(task).values(row).on_conflict_do_nothing())

    def task(self, task_id: bytes) -> SignedTask | None:
        """The task with this id."""
        body = self._run(select(task.c.body).where(task.c.id == task_id)).scalar()
        return None if body is None else SignedTask.decode(body)

    def tasks(self, model: str) -> list[Task]:
        """The tasks of a model, oldest first."""
        rows = self._run(select(task.c.body).where(task.c.model == model).order_by(task.c.number))
        return [SignedTask.decode(body).task for body in rows.scalars()]

    def open_task(self, model: str) -> SignedTask | None:
        """The task of a model that takes reports now."""
        return self._newest_task(task.c.model == model, task.c.state == OPEN)

    def unread_task(self, model: str) -> SignedTask | None:
        """The task of an experiment whose period was not kept yet, collected or not."""
        read = select(period.c.task_id)
        return self._newest_task(task.c.model == model, task.c.id.not_in(read))

    def _newest_task(self, *conditions: ColumnElement[bool]) -> SignedTask | None:
        rows = select(task.c.body).where(*conditions)
        body = self._run(rows.order_by(task.c.number.desc()).limit(1)).scalar()
        return None if body is None else SignedTask.decode(body)

    def task_state(self, task_id: bytes) -> str | None:
        """Whether a task is open, closing or collected; None if it is unknown."""
        return self._run(select(task.c.state).where(task.c.id == task_id)).scalar()

    def set_task_state(self, task_id: bytes, state: str) -> None:
        """Move a task on."""
        self._run(update(task).where(task.c.id == task_id).values(state=state))

    # reports

    def add_report(self, task_id: bytes, report_id: bytes, sha256: bytes, body: bytes) -> bool:
        """Keep a report that waits to be counted; False if its id was there before."""
        row = {
            "task_id": task_id,
            "report_id": report_id,
            "sha256": sha256,
            "body": body,
            "state": WAITING,
        }
        return self._run(upsert(report).values(row).on_conflict_do_nothing()).rowcount == 1

    def report_sha256(self, task_id: bytes, report_id: bytes) -> bytes | None:
        """The hash of a report that was kept."""
        mine = (report.c.task_id == task_id) & (report.c.report_id == report_id)
        return self._run(select(report.c.sha256).where(mine)).scalar()

    def count_reports(self, task_id: bytes) -> int:
        """How many reports of a task were not refused."""
        mine = (report.c.task_id == task_id) & (report.c.state != REFUSED)
        return self._run(select(func.count()).select_from(report).where(mine)).scalar_one()

    def take_reports(self, task_id: bytes, job_id: bytes, most: int) -> int:
        """Put up to `most` waiting reports into a job; how many were put."""
        waiting = (report.c.task_id == task_id) & (report.c.state == WAITING)
        some = select(report.c.report_id).where(waiting).limit(most).scalar_subquery()
        mine = (report.c.task_id == task_id) & report.c.report_id.in_(some)
        return self._run(update(report).where(mine).values(state=TAKEN, job_id=job_id)).rowcount

    def reports_of(self, job_id: bytes) -> list[bytes]:
        """The bodies of a job's reports, in the order of their ids."""
        rows = select(report.c.body).where(report.c.job_id == job_id).order_by(report.c.report_id)
        return list(self._run(rows).scalars())

    def settle_report(self, task_id: bytes, report_id: bytes, state: int) -> None:
        """A report was counted or refused: its id stays, its body goes."""
        mine = (report.c.task_id == task_id) & (report.c.report_id == report_id)
        self._run(update(report).where(mine).values(state=state, body=b""))

    # jobs

    def add_job(self, job_id: bytes, task_id: bytes) -> None:
        """Begin a job."""
        self._run(insert(job).values(id=job_id, task_id=task_id))

    def open_jobs(self, task_id: bytes) -> list[bytes]:
        """The jobs of a task that have no answer yet."""
        unanswered = (job.c.task_id == task_id) & job.c.response.is_(None)
        return list(self._run(select(job.c.id).where(unanswered)).scalars())

    def answer_job(self, job_id: bytes, task_id: bytes, sha256: bytes, response: bytes) -> None:
        """Keep the answer to a job under the hash of its request."""
        row = {"id": job_id, "task_id": task_id, "request_sha256": sha256, "response": response}
        changed = {"request_sha256": sha256, "response": response}
        self._run(
            upsert(job).values(row).on_conflict_do_update(index_elements=["id"], set_=changed)
        )

    def answered_job(self, job_id: bytes) -> tuple[bytes, bytes] | None:
        """(hash of the request, answer) of a job that was answered."""
        rows = select(job.c.request_sha256, job.c.response).where(job.c.id == job_id)
        row = self._run(rows).one_or_none()
        return None if row is None or row.response is None else (row[0], row[1])

    # batches

    def batch(self, task_id: bytes) -> Batch | None:
        """The sum of a task so far; None before its first report was counted."""
        mine = batch.c.task_id == task_id
        columns = select(batch.c.count, batch.c.checksum, batch.c.total, batch.c.noisy)
        row = self._run(columns.where(mine)).one_or_none()
        return None if row is None else Batch(*row)

    def keep_batch(self, task_id: bytes, kept: Batch) -> None:
        """Replace the sum of a task."""
        values = {
            "count": kept.count,
            "checksum": kept.checksum,
            "total": kept.total,
            "noisy": kept.noisy,
        }
        insertion = upsert(batch).values(task_id=task_id, **values)
        self._run(insertion.on_conflict_do_update(index_elements=["task_id"], set_=values))

    # experiments

    def add_period(self, model: str, kept: Period) -> bool:
        """Keep what a period summed to; False if it was kept before."""
        number = self._run(select(func.count()).select_from(period)).scalar_one()
        row = {"number": number, "model": model, **vars(kept)}
        return self._run(upsert(period).values(row).on_conflict_do_nothing()).rowcount == 1

    def periods(self, model: str) -> list[Period]:
        """All periods of an experiment, oldest first."""
        columns = select(period.c.task_id, period.c.people, period.c.tau, period.c.vector)
        rows = self._run(columns.where(period.c.model == model).order_by(period.c.number))
        return [Period(*row) for row in rows]

    # what is published

    def add_file(self, sha256: str, content: bytes) -> None:
        """Keep a file under its hash."""
        self._run(upsert(file).values(sha256=sha256, content=content).on_conflict_do_nothing())

    def file(self, sha256: str) -> bytes | None:
        """The file with this hash."""
        return self._run(select(file.c.content).where(file.c.sha256 == sha256)).scalar()

    def add_release(self, model: str, version: int, body: bytes) -> None:
        """Publish a release."""
        self._run(insert(release).values(model=model, version=version, body=body))

    def newest_release(self, model: str) -> tuple[int, bytes] | None:
        """(version, body) of the newest release of a model."""
        rows = select(release.c.version, release.c.body).where(release.c.model == model)
        row = self._run(rows.order_by(release.c.version.desc()).limit(1)).one_or_none()
        return None if row is None else (row[0], row[1])

    def append_transcript(self, number: int, entry: str) -> None:
        """Add an entry; the same number twice is refused by the database."""
        self._run(insert(transcript).values(number=number, entry=entry))

    def transcript(self) -> list[str]:
        """All entries in order."""
        return list(self._run(select(transcript.c.entry).order_by(transcript.c.number)).scalars())

    # trainings

    def training(self, model: str) -> dict[str, object] | None:
        """Where the training of a model stands."""
        state = self._run(select(training.c.state).where(training.c.model == model)).scalar()
        return None if state is None else dict(json.loads(state))

    def keep_training(self, model: str, state: Mapping[str, object]) -> None:
        """Replace where the training of a model stands."""
        written = json.dumps(state, sort_keys=True)
        insertion = upsert(training).values(model=model, state=written)
        self._run(
            insertion.on_conflict_do_update(index_elements=["model"], set_={"state": written})
        )

    def models(self) -> Sequence[str]:
        """The models that have a training."""
        return self._run(select(training.c.model).order_by(training.c.model)).scalars().all()


def _engine(path: Path) -> Engine:
    engine = create_engine(
        f"sqlite:///{path}", connect_args={"timeout": 30, "isolation_level": None}
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _configure(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode = wal", "synchronous = full", "secure_delete = on"):
        cursor.execute(f"pragma {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("begin immediate")

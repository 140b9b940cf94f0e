"""Tasks that an aggregator serves."""

from __future__ import annotations

from sqlalchemy import ColumnElement, func, select, update

from tactful.protocol.documents.task import SignedTask, Task
from tactful_aggregator.datastore.schema import OPEN, period, task
from tactful_aggregator.datastore.statements import Statements


class TaskQueries:
    """Statements on tasks of trainings and of operators."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._run = statements.run

    def add(self, signed: SignedTask) -> None:
        """Store a round of a training, unless it is stored already."""
        document = signed.task
        self._add(document.id, document.model, signed.encode(), document.expires)

    def add_provisioned(self, task_id: bytes, document: bytes, expires: int) -> bool:
        """Store an operator's task; return False if its id exists."""
        return self._add(task_id, "", document, expires)

    def _add(self, task_id: bytes, model: str, body: bytes, expires: int) -> bool:
        self._statements.lock_numbering()
        next_number = func.coalesce(func.max(task.c.number), -1) + 1
        number = self._run(select(next_number)).scalar_one()
        row = {
            "id": task_id,
            "number": number,
            "model": model,
            "body": body,
            "state": OPEN,
            "expires": expires,
        }
        return self._statements.insert_if_absent(task, row)

    def get(self, task_id: bytes) -> SignedTask | None:
        """Return the round of a training with this id, or None."""
        stored = self.document(task_id)
        if stored is None:
            return None
        model, body = stored
        return SignedTask.decode(body) if model else None

    def document(self, task_id: bytes) -> tuple[str, bytes] | None:
        """Return (model, document) of a task; the model of an operator's task is empty."""
        rows = select(task.c.model, task.c.body).where(task.c.id == task_id)
        row = self._run(rows).one_or_none()
        return None if row is None else (row[0], row[1])

    def ids(self) -> list[bytes]:
        """Return the ids of all tasks, oldest first."""
        return list(self._run(select(task.c.id).order_by(task.c.number)).scalars())

    def expired_before(self, before: int) -> list[bytes]:
        """Return the ids of tasks that expired before `before` (unix seconds)."""
        rows = select(task.c.id).where(task.c.expires < before)
        return list(self._run(rows).scalars())

    def of_model(self, model: str) -> list[Task]:
        """Return the tasks of a model, oldest first."""
        rows = select(task.c.body).where(task.c.model == model)
        bodies = self._run(rows.order_by(task.c.number)).scalars()
        return [SignedTask.decode(body).task for body in bodies]

    def newest_open(self, model: str) -> SignedTask | None:
        """Return the task of a model that accepts reports now, or None."""
        return self._newest(task.c.model == model, task.c.state == OPEN)

    def newest_without_period(self, model: str) -> SignedTask | None:
        """Return the newest task of an experiment whose period is not stored, or None.

        Its batch may be collected already, if a crash came before the period was stored.
        """
        with_period = select(period.c.task_id)
        return self._newest(task.c.model == model, task.c.id.not_in(with_period))

    def _newest(self, *conditions: ColumnElement[bool]) -> SignedTask | None:
        rows = select(task.c.body).where(*conditions)
        newest = rows.order_by(task.c.number.desc()).limit(1)
        body = self._run(newest).scalar()
        return None if body is None else SignedTask.decode(body)

    def state(self, task_id: bytes) -> str | None:
        """Return the state of a task, or None if the task is unknown."""
        return self._run(select(task.c.state).where(task.c.id == task_id)).scalar()

    def set_state(self, task_id: bytes, state: str) -> None:
        """Change the state of a task."""
        self._run(update(task).where(task.c.id == task_id).values(state=state))

    def lock(self, task_id: bytes, *, exclusive: bool) -> None:
        """Lock a task until the commit: shared to add reports, exclusive to close a batch.

        On SQLite this has no effect, because a database has only one writer at a time.
        """
        row = select(task.c.id).where(task.c.id == task_id)
        self._run(row.with_for_update(read=not exclusive))

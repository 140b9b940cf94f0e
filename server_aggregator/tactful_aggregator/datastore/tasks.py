"""Tasks and keys."""

from __future__ import annotations

from sqlalchemy import ColumnElement, delete, func, select, update

from tactful.protocol.documents.task import SignedTask, Task
from tactful_aggregator.datastore.rows import Rows
from tactful_aggregator.datastore.schema import OPEN, hpke_key, period, task


class TaskRows(Rows):
    """What was agreed, and what shares were sealed to."""

    def add_task(self, signed: SignedTask) -> None:
        """Keep a round of a training; the same one again changes nothing."""
        own = signed.task
        self._add_task(own.id, own.model, signed.encode(), own.expires)

    def add_provision(self, task_id: bytes, document: bytes, expires: int) -> bool:
        """Keep a task that the operator wrote; False if its id is known."""
        return self._add_task(task_id, "", document, expires)

    def _add_task(self, task_id: bytes, model: str, body: bytes, expires: int) -> bool:
        self.hold_order()
        number = self._run(
            select(func.coalesce(func.max(task.c.number), -1) + 1)
        ).scalar_one()
        row = {"id": task_id, "number": number, "model": model, "body": body}
        return self._add(task, {**row, "state": OPEN, "expires": expires})

    def task(self, task_id: bytes) -> SignedTask | None:
        """The round of a training with this id."""
        found = self.task_body(task_id)
        return SignedTask.decode(found[1]) if found is not None and found[0] else None

    def task_body(self, task_id: bytes) -> tuple[str, bytes] | None:
        """(model, document) of a task; the model is empty for an operator's own."""
        row = self._run(
            select(task.c.model, task.c.body).where(task.c.id == task_id)
        ).one_or_none()
        return None if row is None else (row[0], row[1])

    def task_ids(self) -> list[bytes]:
        """All tasks, oldest first."""
        return list(self._run(select(task.c.id).order_by(task.c.number)).scalars())

    def tasks_over(self, before: int) -> list[bytes]:
        """The tasks that took reports until some time before `before`."""
        return list(
            self._run(select(task.c.id).where(task.c.expires < before)).scalars()
        )

    def tasks(self, model: str) -> list[Task]:
        """The tasks of a model, oldest first."""
        rows = self._run(
            select(task.c.body).where(task.c.model == model).order_by(task.c.number)
        )
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

    def hold_task(self, task_id: bytes, *, alone: bool) -> None:
        """Keep others from closing the task's batches, or from adding to them, until the commit.

        SQLite has one writer at a time anyway.
        """
        row = select(task.c.id).where(task.c.id == task_id)
        self._run(row.with_for_update(read=not alone))

    # keys

    def add_hpke_key(
        self, config_id: int, private: bytes, least_epoch: int = 0
    ) -> bool:
        """Begin to hand out a key; False if the number is taken.

        Its epoch is above that of every key before, and at least `least_epoch`.
        """
        self.hold_order()
        number = self._run(
            select(func.coalesce(func.max(hpke_key.c.number), -1) + 1)
        ).scalar_one()
        number = max(number, least_epoch)
        row: dict[str, object] = {
            "config_id": config_id,
            "number": number,
            "private": private,
        }
        return self._add(hpke_key, row)

    def retire_hpke_keys(self, expires: int) -> None:
        """Hand out none of the keys so far; they open until `expires`."""
        current = hpke_key.c.expires.is_(None)
        self._run(update(hpke_key).where(current).values(expires=expires))

    def hpke_keys(self) -> list[tuple[int, bytes, int | None]]:
        """(config id, private key, when it ends) of each, the one handed out first."""
        columns = select(hpke_key.c.config_id, hpke_key.c.private, hpke_key.c.expires)
        rows = self._run(columns.order_by(hpke_key.c.number.desc()))
        return [(row[0], row[1], row[2]) for row in rows]

    def hpke_epoch(self) -> int:
        """Return the epoch of the key that is handed out now."""
        current = hpke_key.c.expires.is_(None)
        return int(
            self._run(select(func.max(hpke_key.c.number)).where(current)).scalar_one()
        )

    def drop_hpke_keys(self, now: int) -> int:
        """Forget what has ended; how many."""
        return self._run(delete(hpke_key).where(hpke_key.c.expires <= now)).rowcount

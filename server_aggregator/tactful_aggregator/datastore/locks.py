"""Leases on steps that only one process may take at a time."""

from __future__ import annotations

from sqlalchemy import delete, select, update

from tactful.errors import TactfulError
from tactful_aggregator.datastore.rows import Rows
from tactful_aggregator.datastore.schema import step_lock


class LockLost(TactfulError):
    """The lease of a step expired and another process took it; nothing was written."""


class LockRows(Rows):
    """Who may take a step; the holder is a random token."""

    def take_lock(self, name: str, holder: bytes, now: int, until: int) -> bool:
        """Lease a lock that is free or expired; False while another holder has it."""
        self._add(step_lock, {"name": name, "holder": b"", "leased_until": 0})
        free = (step_lock.c.name == name) & (step_lock.c.leased_until <= now)
        leased = update(step_lock).where(free).values(holder=holder, leased_until=until)
        return self._run(leased).rowcount == 1

    def renew_lock(self, name: str, holder: bytes, until: int) -> bool:
        """Extend a lease; False if another process took the lock."""
        held = (step_lock.c.name == name) & (step_lock.c.holder == holder)
        return (
            self._run(update(step_lock).where(held).values(leased_until=until)).rowcount
            == 1
        )

    def holds_lock(self, name: str, holder: bytes) -> bool:
        """Whether `holder` has the lock; nobody else can take it until the commit."""
        held = (step_lock.c.name == name) & (step_lock.c.holder == holder)
        row = self._run(select(step_lock.c.name).where(held).with_for_update())
        return row.one_or_none() is not None

    def drop_lock(self, name: str, holder: bytes) -> None:
        """Free the lock, unless another process took it."""
        held = (step_lock.c.name == name) & (step_lock.c.holder == holder)
        self._run(delete(step_lock).where(held))

    def drop_locks(self) -> None:
        """Free all locks: the process that held them ended."""
        self._run(delete(step_lock))

"""Leases on steps that only one process may run at a time."""

from __future__ import annotations

from sqlalchemy import delete, select, update

from tactful.errors import TactfulError
from tactful_aggregator.datastore.schema import step_lock
from tactful_aggregator.datastore.statements import Statements


class LockLost(TactfulError):
    """The lease of a step expired and another process took it; nothing was written."""


class LockQueries:
    """Statements on step locks; a holder is identified by a random token."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._run = statements.run

    def acquire(self, name: str, holder: bytes, now: int, until: int) -> bool:
        """Lease a lock that is free or expired; return False if it is leased."""
        free_row: dict[str, object] = {"name": name, "holder": b"", "leased_until": 0}
        self._statements.insert_if_absent(step_lock, free_row)
        is_free = (step_lock.c.name == name) & (step_lock.c.leased_until <= now)
        lease = update(step_lock).where(is_free)
        lease = lease.values(holder=holder, leased_until=until)
        return self._run(lease).rowcount == 1

    def renew(self, name: str, holder: bytes, until: int) -> bool:
        """Extend a lease; return False if another process took the lock."""
        is_held = (step_lock.c.name == name) & (step_lock.c.holder == holder)
        renewal = update(step_lock).where(is_held).values(leased_until=until)
        return self._run(renewal).rowcount == 1

    def is_held_by(self, name: str, holder: bytes) -> bool:
        """Return True if `holder` has the lock; then it keeps it until the commit."""
        is_held = (step_lock.c.name == name) & (step_lock.c.holder == holder)
        rows = self._run(select(step_lock.c.name).where(is_held).with_for_update())
        return rows.one_or_none() is not None

    def release(self, name: str, holder: bytes) -> None:
        """Free the lock, unless another process took it."""
        is_held = (step_lock.c.name == name) & (step_lock.c.holder == holder)
        self._run(delete(step_lock).where(is_held))

    def release_all(self) -> None:
        """Free all locks after the process that held them ended."""
        self._run(delete(step_lock))

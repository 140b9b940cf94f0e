"""HPKE keys that devices seal their shares to."""

from __future__ import annotations

from sqlalchemy import delete, func, select, update

from tactful_aggregator.datastore.schema import hpke_key
from tactful_aggregator.datastore.statements import Statements


class HpkeKeyQueries:
    """Statements on the HPKE keys of one aggregator."""

    def __init__(self, statements: Statements) -> None:
        self._statements = statements
        self._run = statements.run

    def add(self, config_id: int, private: bytes, min_epoch: int = 0) -> bool:
        """Store a key to publish from now on; return False if `config_id` is in use.

        Its epoch is higher than that of every earlier key, and at least `min_epoch`.
        """
        self._statements.lock_numbering()
        next_number = func.coalesce(func.max(hpke_key.c.number), -1) + 1
        epoch = max(self._run(select(next_number)).scalar_one(), min_epoch)
        row: dict[str, object] = {
            "config_id": config_id,
            "number": epoch,
            "private": private,
        }
        return self._statements.insert_if_absent(hpke_key, row)

    def retire(self, expires: int) -> None:
        """Stop publishing the current key; it opens shares until `expires`."""
        is_current = hpke_key.c.expires.is_(None)
        self._run(update(hpke_key).where(is_current).values(expires=expires))

    def all(self) -> list[tuple[int, bytes, int | None]]:
        """Return (config id, private key, expiry) of each key, newest first.

        The expiry of the key that is published now is None.
        """
        columns = select(hpke_key.c.config_id, hpke_key.c.private, hpke_key.c.expires)
        rows = self._run(columns.order_by(hpke_key.c.number.desc()))
        return [(row[0], row[1], row[2]) for row in rows]

    def current_epoch(self) -> int:
        """Return the epoch of the key that is published now."""
        is_current = hpke_key.c.expires.is_(None)
        rows = self._run(select(func.max(hpke_key.c.number)).where(is_current))
        return int(rows.scalar_one())

    def delete_expired(self, now: int) -> int:
        """Delete expired keys and return their number."""
        return self._run(delete(hpke_key).where(hpke_key.c.expires <= now)).rowcount

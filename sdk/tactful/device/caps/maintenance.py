"""Maintenance of the records that caps count."""

from __future__ import annotations

from typing import Literal

from tactful.device.caps.core import CapCore

Loss = Literal["half", "closed"]


class Maintenance:
    """Expiry, compaction, and records of lost impressions."""

    def __init__(self, core: CapCore) -> None:
        self._core = core

    def expire(self) -> int:
        """Close expired reservations and return how many there were."""
        with self._core.write() as transaction:
            return transaction.expired_count

    def compact(self) -> int:
        """Compact the vault and return the number of records that were erased.

        Impressions become daily totals after 90 days, or a week after the longest
        window.
        """
        from tactful.device.caps.compaction import compact

        core = self._core
        with core.write() as transaction:
            erased_count = compact(transaction, core.rules)
        if erased_count:
            core.session.use(core.rules)
            core.session.vault.scrub()
        return erased_count

    def start_session(self) -> None:
        """Start a new session now, whatever the gap."""
        with self._core.write() as transaction:
            fields = transaction.stamp_fields(transaction.now.stamp)
            transaction.append_and_apply("activity_session", fields)

    def record_loss(self, mode: Loss) -> None:
        """Record that earlier impressions were lost.

        For a day, half of each limit (`half`) or all of it (`closed`) counts as used;
        under lifetime limits, until the loss is erased.
        """
        with self._core.write() as transaction:
            place = transaction.now.stamp[:2]
            transaction.append_and_apply("loss", [*place, mode])

"""The canonical time of a device, which a changed wall clock does not alter."""

from __future__ import annotations

from tactful.device.caps.core import CapCore
from tactful.device.caps.session import TimeAnchor
from tactful.device.caps.timeline.segments import BUDGET, FULL, Moment


class CapClock:
    """Canonical time as the records of the vault define it."""

    def __init__(self, core: CapCore) -> None:
        self._core = core

    def anchor(self, stamp: TimeAnchor) -> None:
        """Correct canonical time by a trusted stamp; past events move with it.

        Raise InvalidInput (ANCHOR_CONFLICT) for a stamp that cannot be true.
        """
        self._core.session.anchor(stamp)

    def moment(self) -> Moment:
        """Return a handle for now, to say later when an event happened."""
        with self._core.session.read() as (_, now):
            return Moment(now.stamp.segment, now.stamp.offset)

    def now_ms(self) -> int:
        """Return the canonical time of events now, in unix ms; nothing is written."""
        with self._core.session.read() as (_, now):
            return now.ms(FULL)

    def ledger_time(self) -> tuple[int, int]:
        """Return the time since the vault began and the time now, in milliseconds.

        Neither the app nor its operator can advance it; the second is unix time. A boot
        not seen before is recorded.
        """
        with self._core.write() as transaction:
            now_ms = transaction.now.ms(BUDGET)
            start_ms = transaction.now.timeline.segments[0].base[BUDGET]
            return now_ms - start_ms, now_ms

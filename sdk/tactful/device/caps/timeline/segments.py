"""Canonical time: elapsed time that a changed wall clock cannot alter.

A segment is one boot. Inside a segment only the monotonic clock counts. Between
segments, three timelines differ in how far they believe the wall clock about the time
the device was switched off:

- `FULL` believes up to 90 days of it,
- `VERIFIED` believes none of it until a trusted stamp proves it,
- `BUDGET` believes none of it until an independent trusted stamp proves it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tactful.device.caps.timeline.civil_time import FIRST_MS, LAST_MS
from tactful.device.clock import MS_PER_DAY, ClockReading
from tactful.errors import InvalidInput

FULL, VERIFIED, BUDGET = range(3)
TIMELINES = (FULL, VERIFIED, BUDGET)
# The most time switched off that `FULL` believes of one gap between two boots.
MAX_OFFLINE_MS = 90 * MS_PER_DAY
DRIFT = 1e-4  # 100 ppm, the error of a quartz clock
Triple = tuple[int, int, int]  # one value for each timeline
StampKind = Literal["exact", "not_before"]


@dataclass(frozen=True, slots=True)
class Segment:
    """One boot, or the part of a boot after an exact stamp.

    `base` is where the segment starts on each timeline. `gap` is the time since the
    segment before, as each timeline believes it. `verified` is True if an exact stamp
    came in this boot or after it.
    """

    boot_id: str | None
    mono0_ms: int
    base: Triple
    gap: Triple = (0, 0, 0)
    verified: bool = False
    after_stamp: bool = False  # the segment begins at an exact stamp


@dataclass(frozen=True, slots=True)
class Move:
    """A correction: segments from `first` on start `ms` later on one timeline."""

    timeline: int
    first: int
    ms: int


@dataclass(frozen=True, slots=True)
class Moment:
    """A place in canonical time: segment number, and milliseconds since its start."""

    segment: int
    offset: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """All segments so far, and the last clock reading."""

    segments: tuple[Segment, ...] = ()
    last_mono_ms: int = 0
    last_wall_ms: int = 0

    def at(self, moment: Moment, timeline: int) -> int:
        """Return the canonical time of `moment` on `timeline`, in unix milliseconds."""
        return self.segments[moment.segment].base[timeline] + moment.offset

    def joins(self, reading: ClockReading) -> bool:
        """Return True if `reading` was taken in the newest segment."""
        if not self.segments:
            return False
        same_boot = self.segments[-1].boot_id == reading.boot_id
        return same_boot and reading.mono_ms >= self.last_mono_ms

    def next_segment(self, reading: ClockReading) -> Segment:
        """Return the segment that `reading` opens.

        A wall clock outside 1970 to 2100 gives no credit for the time switched off.
        """
        wall = min(max(reading.wall_ms, FIRST_MS), LAST_MS)
        if not self.segments:
            return Segment(reading.boot_id, reading.mono_ms, (wall, wall, wall))
        newest = len(self.segments) - 1
        last = Moment(newest, self.last_mono_ms - self.segments[-1].mono0_ms)
        believed = reading.wall_ms == wall and FIRST_MS < self.last_wall_ms < LAST_MS
        gap = 0
        if believed:
            gap = min(max(wall - self.last_wall_ms, 0), MAX_OFFLINE_MS)
        full, verified, budget = (self.at(last, timeline) for timeline in TIMELINES)
        base = (full + gap, verified, budget)
        return Segment(reading.boot_id, reading.mono_ms, base, (gap, 0, 0))

    def stamped_segment(self, reading: ClockReading) -> Segment:
        """Return the segment that begins at an exact stamp in the running boot."""
        now = self.moment(reading)
        full, verified, budget = (self.at(now, timeline) for timeline in TIMELINES)
        return Segment(
            reading.boot_id,
            reading.mono_ms,
            (full, verified, budget),
            verified=True,
            after_stamp=True,
        )

    def opened(self, segment: Segment) -> Timeline:
        """Return the timeline with `segment` as its newest."""
        segments = (*self.segments, segment)
        return replace(self, segments=segments, last_mono_ms=segment.mono0_ms)

    def ticked(self, reading: ClockReading) -> Timeline:
        """Return the timeline after `reading`, which joins the newest segment."""
        return replace(self, last_mono_ms=reading.mono_ms, last_wall_ms=reading.wall_ms)

    def moment(self, reading: ClockReading) -> Moment:
        """Return the place of `reading` in the newest segment."""
        offset = reading.mono_ms - self.segments[-1].mono0_ms
        return Moment(len(self.segments) - 1, offset)

    def correction(
        self,
        now: Moment,
        stamp_ms: int,
        uncertainty_ms: int,
        kind: StampKind,
        timeline: int,
    ) -> tuple[Move, ...]:
        """Return the moves that a trusted stamp causes on one timeline.

        Events stay as recent as the evidence allows. Raises InvalidInput
        (ANCHOR_CONFLICT) if the stamp lies before time that is already proved.
        """
        ahead = stamp_ms - self.at(now, timeline)
        tolerance = uncertainty_ms + DRIFT * self._since_stamp(now, timeline)
        if abs(ahead) <= tolerance:
            return ()
        if ahead > 0:
            return (Move(timeline, self._first_unproved(), ahead),)
        return () if kind == "not_before" else tuple(self._shrunk(timeline, -ahead))

    def _since_stamp(self, now: Moment, timeline: int) -> int:
        stamped = [n for n, segment in enumerate(self.segments) if segment.after_stamp]
        first = stamped[-1] if stamped else 0
        return self.at(now, timeline) - self.segments[first].base[timeline]

    def _first_unproved(self) -> int:
        """Return the first segment after the last verified boot.

        If there is none, return the segment that begins at the last stamp.
        """
        proved = [n for n, segment in enumerate(self.segments) if segment.verified]
        if not proved:
            return 0
        if proved[-1] + 1 < len(self.segments):
            return proved[-1] + 1
        return max(n for n, segment in enumerate(self.segments) if segment.after_stamp)

    def _shrunk(self, timeline: int, ms: int) -> Iterator[Move]:
        """Yield moves that take `ms` out of unverified gaps, the latest gap first."""
        remaining_ms = ms
        for number in range(len(self.segments) - 1, 0, -1):
            segment = self.segments[number]
            if segment.verified:
                continue
            removed_ms = min(remaining_ms, segment.gap[timeline])
            if removed_ms:
                remaining_ms -= removed_ms
                yield Move(timeline, number, -removed_ms)
        if remaining_ms:
            raise InvalidInput(
                "stamp",
                "ANCHOR_CONFLICT: it lies before time that has verifiably passed",
                "use a stamp that was made just now",
            )

    def corrected(self, moves: Sequence[Move], *, exact: bool) -> Timeline:
        """Return the timeline after `moves`.

        With `exact`, every segment so far becomes verified.
        """
        segments = list(self.segments)
        for move in moves:
            for number in range(move.first, len(segments)):
                is_first = number == move.first
                segments[number] = _moved(segments[number], move, is_first=is_first)
        if exact:
            segments = [replace(segment, verified=True) for segment in segments]
        return replace(self, segments=tuple(segments))


def _moved(segment: Segment, move: Move, *, is_first: bool) -> Segment:
    # Later segments start later too, but only the gap before the first one grows.
    gap = _added(segment.gap, move) if is_first else segment.gap
    return replace(segment, base=_added(segment.base, move), gap=gap)


def _added(values: Triple, move: Move) -> Triple:
    full, verified, budget = (
        value + move.ms * (timeline == move.timeline)
        for timeline, value in enumerate(values)
    )
    return full, verified, budget

"""Canonical time: elapsed time that a changed wall clock cannot buy.

A segment is one boot. Inside a segment only the monotonic clock counts. Between segments three
timelines differ in how much they believe the wall clock about the time switched off.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from tactful.device.caps.timeline.civil_time import FIRST_MS, LAST_MS
from tactful.device.clock import MS_PER_DAY, ClockReading
from tactful.errors import InvalidInput

FULL, VERIFIED, BUDGET = range(3)
MAX_OFFLINE_MS = (
    90 * MS_PER_DAY
)  # the most that `full` believes of one time switched off
DRIFT = 1e-4  # 100 ppm, what a quartz may lose or gain
Triple = tuple[int, int, int]
StampKind = Literal["exact", "not_before"]


@dataclass(frozen=True, slots=True)
class Segment:
    """One boot, or the part of it after an exact stamp: where it starts on each timeline.

    `gap` is the time since the segment before, as each timeline believes it. `verified`: an exact
    stamp came in this boot, or after it.
    """

    boot_id: str | None
    mono0_ms: int
    base: Triple
    gap: Triple = (0, 0, 0)
    verified: bool = False
    after_stamp: bool = False  # it begins at an exact stamp


@dataclass(frozen=True, slots=True)
class Move:
    """A correction: every segment from number `first` on starts `ms` later on one timeline."""

    timeline: int
    first: int
    ms: int


@dataclass(frozen=True, slots=True)
class Moment:
    """A place in canonical time: which segment, how long after its start."""

    segment: int
    offset: int


@dataclass(frozen=True, slots=True)
class Timeline:
    """All segments so far, and the last reading taken."""

    segments: tuple[Segment, ...] = ()
    last_mono_ms: int = 0
    last_wall_ms: int = 0

    def at(self, moment: Moment, timeline: int) -> int:
        """Canonical time of `moment`, unix milliseconds."""
        return self.segments[moment.segment].base[timeline] + moment.offset

    def joins(self, reading: ClockReading) -> bool:
        """Whether `reading` was taken in the newest segment."""
        if not self.segments:
            return False
        return (
            self.segments[-1].boot_id == reading.boot_id
            and reading.mono_ms >= self.last_mono_ms
        )

    def next_segment(self, reading: ClockReading) -> Segment:
        """The segment that `reading` opens; a wall clock outside 1970 to 2100 gives no credit."""
        wall = min(max(reading.wall_ms, FIRST_MS), LAST_MS)
        if not self.segments:
            return Segment(reading.boot_id, reading.mono_ms, (wall, wall, wall))
        last = Moment(
            len(self.segments) - 1, self.last_mono_ms - self.segments[-1].mono0_ms
        )
        believed = reading.wall_ms == wall and FIRST_MS < self.last_wall_ms < LAST_MS
        gap = min(max(wall - self.last_wall_ms, 0), MAX_OFFLINE_MS) if believed else 0
        full, verified, budget = (self.at(last, p) for p in range(3))
        base = (full + gap, verified, budget)
        return Segment(reading.boot_id, reading.mono_ms, base, (gap, 0, 0))

    def stamped_segment(self, reading: ClockReading) -> Segment:
        """The segment that begins at an exact stamp in the running boot."""
        full, verified, budget = (self.at(self.moment(reading), p) for p in range(3))
        return Segment(
            reading.boot_id,
            reading.mono_ms,
            (full, verified, budget),
            verified=True,
            after_stamp=True,
        )

    def opened(self, segment: Segment) -> Timeline:
        """The timeline with `segment` as its newest."""
        return replace(
            self, segments=(*self.segments, segment), last_mono_ms=segment.mono0_ms
        )

    def ticked(self, reading: ClockReading) -> Timeline:
        """The timeline after `reading`, which joins the newest segment."""
        return replace(self, last_mono_ms=reading.mono_ms, last_wall_ms=reading.wall_ms)

    def moment(self, reading: ClockReading) -> Moment:
        """Where `reading` lies, in the newest segment."""
        return Moment(
            len(self.segments) - 1, reading.mono_ms - self.segments[-1].mono0_ms
        )

    def correction(
        self,
        now: Moment,
        stamp_ms: int,
        uncertainty_ms: int,
        kind: StampKind,
        timeline: int,
    ) -> tuple[Move, ...]:
        """What a trusted stamp moves on one timeline: events stay as recent as evidence allows.

        Raises InvalidInput (ANCHOR_CONFLICT) if the stamp lies before what is already proved.
        """
        ahead = stamp_ms - self.at(now, timeline)
        if abs(ahead) <= uncertainty_ms + DRIFT * self._since_stamp(now, timeline):
            return ()
        if ahead > 0:
            return (Move(timeline, self._first_unproved(), ahead),)
        return () if kind == "not_before" else tuple(self._shrunk(timeline, -ahead))

    def _since_stamp(self, now: Moment, timeline: int) -> int:
        stamps = [n for n, segment in enumerate(self.segments) if segment.after_stamp]
        first = stamps[-1] if stamps else 0
        return self.at(now, timeline) - self.segments[first].base[timeline]

    def _first_unproved(self) -> int:
        """The first segment after the last verified boot; else what follows the last stamp."""
        proved = [n for n, segment in enumerate(self.segments) if segment.verified]
        if not proved or proved[-1] + 1 < len(self.segments):
            return proved[-1] + 1 if proved else 0
        return max(n for n, segment in enumerate(self.segments) if segment.after_stamp)

    def _shrunk(self, timeline: int, ms: int) -> Iterator[Move]:
        """Take `ms` out of unverified gaps, the latest first."""
        for number in range(len(self.segments) - 1, 0, -1):
            segment = self.segments[number]
            taken = 0 if segment.verified else min(ms, segment.gap[timeline])
            if taken:
                ms -= taken
                yield Move(timeline, number, -taken)
        if ms:
            raise InvalidInput(
                "stamp",
                "ANCHOR_CONFLICT: it lies before time that has verifiably passed",
                "use a stamp that was made just now",
            )

    def corrected(self, moves: Sequence[Move], *, exact: bool) -> Timeline:
        """The timeline after `moves`; an exact stamp verifies everything up to here."""
        segments = list(self.segments)
        for move in moves:
            for number in range(move.first, len(segments)):
                segments[number] = _moved(
                    segments[number], move, first=number == move.first
                )
        if exact:
            segments = [replace(segment, verified=True) for segment in segments]
        return replace(self, segments=tuple(segments))


def _moved(segment: Segment, move: Move, *, first: bool) -> Segment:
    base = _added(segment.base, move)
    return replace(
        segment, base=base, gap=_added(segment.gap, move) if first else segment.gap
    )


def _added(values: Triple, move: Move) -> Triple:
    full, verified, budget = (
        v + move.ms * (p == move.timeline) for p, v in enumerate(values)
    )
    return full, verified, budget

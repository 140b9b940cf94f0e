"""What counts under one rule: a track holds, for each key, what a window may still look at."""

from __future__ import annotations

from bisect import insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from tactful.device.caps.civil import date_of, day_start, unit_days
from tactful.device.caps.fatigue import Wear
from tactful.device.caps.reservations import Hold, Stamp
from tactful.device.caps.rules import (
    Calendar,
    Cooldown,
    Decay,
    Lifetime,
    Rule,
    Session,
    Sliding,
)
from tactful.device.caps.segments import Segment
from tactful.device.caps.things import Key

MS_PER_DAY = 86_400_000
UNIT_DAYS: Mapping[str, int] = {"day": 1, "week": 7, "month": 31}


class Entry(NamedTuple):
    """One counted event: when, and how much; ordered by canonical time."""

    segment: int
    offset: int
    weight: int
    rank: int  # class of the item
    day: int  # local date on the rule's timeline
    zone: str | None


@dataclass(frozen=True, slots=True)
class Now:
    """One moment of decision on one timeline of one device."""

    segments: tuple[Segment, ...]
    timeline: int
    ms: int  # canonical time
    zone: str | None
    session_starts: Mapping[int, int]  # gap to the start of the current session, canonical time

    def at(self, entry: Entry) -> int:
        """Canonical time of `entry`."""
        return self.segments[entry.segment].base[self.timeline] + entry.offset


class Series:
    """All that counts for one key of one rule."""

    __slots__ = ("entries", "first", "holds", "total", "wear")

    def __init__(self) -> None:
        self.entries: list[Entry] = []
        self.holds: list[Hold] = []
        self.total = 0
        self.first: tuple[int, int] | None = None
        self.wear: Wear | None = None


class Track:
    """The facts that one rule counts, by key."""

    def __init__(self, rule: Rule, timeline: int) -> None:
        self.rule, self.timeline = rule, timeline
        self.series: dict[Key, Series] = {}
        self.span = _span(rule)

    def of(self, key: Key) -> Series:
        """The series of `key`, made if there is none."""
        series = self.series.get(key)
        if series is None:
            series = self.series[key] = Series()
            if isinstance(self.rule.window, Decay):
                series.wear = Wear(self.rule.window.half_life_ms)
        return series

    def count(self, key: Key, stamp: Stamp, weight: int, rank: int) -> None:
        """Add one event of `weight` to `key`."""
        day = stamp.verified_day if self.timeline else stamp.day
        series = self.of(key)
        entry = Entry(stamp.segment, stamp.offset, weight, rank, day, stamp.zone)
        series.total += weight
        series.first = min(series.first or stamp[:2], stamp[:2])
        if self.span is not None:
            insort(series.entries, entry, key=_place)

    def used(self, series: Series, now: Now) -> int:
        """The weight of counted events in the current window."""
        if isinstance(self.rule.window, Lifetime):
            return series.total
        return sum(entry.weight for entry in self.counted(series, now))

    def counted(self, series: Series, now: Now) -> Iterator[Entry]:
        """The events that count now, in canonical order."""
        self._prune(series, now)
        window = self.rule.window
        if isinstance(window, Calendar):
            return in_calendar(series.entries, window, now)
        since = _since(window, now)
        return (e for e in series.entries if now.at(e) > since)

    def quota_used(self, series: Series, now: Now) -> int:
        """The weight of shows by exempted classes inside the quota's window."""
        exempt = self.rule.exempt
        if exempt is None:
            return 0
        since = now.ms - exempt.window_ms
        return sum(e.weight for e in series.entries if e.rank >= exempt.rank and now.at(e) > since)

    def _prune(self, series: Series, now: Now) -> None:
        if self.span is None or len(series.entries) < 8:
            return
        gone = now.ms - self.span
        if isinstance(self.rule.window, Session):
            gone = min(gone, _since(self.rule.window, now))
        entries = series.entries
        if now.at(entries[0]) <= gone:
            series.entries = [e for e in entries if now.at(e) > gone]


def in_calendar(entries: list[Entry], window: Calendar, now: Now) -> Iterator[Entry]:
    """Counted by instant in the current zone, by recorded date, or by date in the event's own zone.

    The last does not depend on the device's zone, so a zone change can only add.
    """
    zone = window.zone or now.zone or "UTC"
    first, last = _days(window, now.ms, zone)
    begins, ends = day_start(first, zone), day_start(last + 1, zone)
    for entry in entries:
        own = zone if window.zone else entry.zone or "UTC"
        if begins <= now.at(entry) < ends:
            yield entry
        elif window.zone:
            continue
        elif first <= entry.day <= last or _in(entry.day, _days(window, now.ms, own)):
            yield entry


def _place(entry: Entry) -> tuple[int, int]:
    return entry.segment, entry.offset


def _days(window: Calendar, instant: int, zone: str) -> tuple[int, int]:
    return unit_days(date_of(instant, zone), window.unit, window.n, window.week_start)


def _in(day: int, days: tuple[int, int]) -> bool:
    return days[0] <= day <= days[1]


def _since(window: object, now: Now) -> int:
    match window:
        case Sliding(ms) | Cooldown(ms):
            return now.ms - ms
        case Session(gap_ms):
            return now.session_starts.get(gap_ms, now.ms) - 1
        case _:
            return -(1 << 62)


def _span(rule: Rule) -> int | None:
    """How far back the rule may look, in milliseconds; None if it keeps only totals."""
    quota = rule.exempt.window_ms if rule.exempt else 0
    match rule.window:
        case Sliding(ms) | Cooldown(ms):
            return max(ms, quota)
        case Calendar(unit, n):
            return max((UNIT_DAYS[unit] * n + 3) * MS_PER_DAY, quota)
        case Session():
            return quota
        case _:
            return quota or None

"""What counts under one rule: a track holds, for each key, what a window may still look at."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_right, insort
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from tactful.device.caps.counting.fatigue import Wear
from tactful.device.caps.counting.reservations import Hold, Stamp
from tactful.device.caps.rules.model import (
    W_MAX,
    Calendar,
    Cooldown,
    Decay,
    EveryNth,
    Lifetime,
    Rule,
    Session,
    Sliding,
)
from tactful.device.caps.rules.subject import Key
from tactful.device.caps.timeline.civil_time import date_of, day_start, unit_days
from tactful.device.caps.timeline.segments import Segment

MS_PER_DAY = 86_400_000
KEPT = 64  # entries of one key before old ones are dropped
UNIT_DAYS: Mapping[str, int] = {"day": 1, "week": 7, "month": 31}


class CountedEvent(NamedTuple):
    """One counted event: when (canonical time of the rule's timeline), and how much."""

    at: int
    weight: int
    rank: int  # class of the item
    day: int  # local date on the rule's timeline
    zone: str | None


@dataclass(frozen=True, slots=True)
class RuleInstant:
    """One moment of decision on one timeline of one device."""

    segments: tuple[Segment, ...]
    timeline: int
    ms: int  # canonical time
    zone: str | None
    session_starts: Mapping[
        int, int
    ]  # gap to the start of the current session, canonical time


Counted = tuple[tuple[str, ...], str]  # by which attributes, and for whom
Setting = (
    str | int | None
)  # what else than time a count depends on: the zone, the session


class Packed(NamedTuple):
    """Entries as a checkpoint keeps them: five whole numbers each, the zone by its number."""

    numbers: array[int]
    start: int
    length: int
    zones: list[str | None]

    def entries(self) -> list[CountedEvent]:
        """The entries themselves."""
        values = iter(self.numbers[self.start : self.start + self.length])
        rows = zip(values, values, values, values, values, strict=True)
        return [
            CountedEvent(at, weight, rank, day, self.zones[z])
            for at, weight, rank, day, z in rows
        ]


class KeyCounter:
    """All that counts for one key of one rule; entries of a checkpoint are read when needed."""

    __slots__ = ("_entries", "first", "measure", "total", "unread", "wear")

    def __init__(self) -> None:
        self._entries: list[CountedEvent] = []
        self.unread: Packed | None = None
        self.total = 0
        self.first: int | None = None
        self.wear: Wear | None = None
        self.measure: CachedCount | None = None

    @property
    def entries(self) -> list[CountedEvent]:
        """What was counted, in canonical order."""
        if self.unread is not None:
            self._entries, self.unread = self.unread.entries(), None
        return self._entries


@dataclass(slots=True)
class CachedCount:
    """What was counted last, and how long it stays right: so that a count need not be repeated.

    It holds from `since` to before `until` (canonical time) in `setting`, for the entries from
    number `start` on; what is added meanwhile is added here too.
    """

    used: int
    since: int
    until: float
    setting: Setting
    start: int = 0


@dataclass(frozen=True, slots=True)
class CapKeys:
    """What rules share that count by the same keys: holds, what changed, what was ever counted."""

    holds: dict[Key, list[Hold]] = field(default_factory=dict)
    touched: set[Key] = field(default_factory=set)
    known: set[Key] = field(default_factory=set)


class RuleCounters:
    """The facts that one rule counts, by key."""

    def __init__(self, rule: Rule, timeline: int, keys: CapKeys) -> None:
        self.rule, self.timeline = rule, timeline
        self.counts_by: Counted = (rule.key, rule.partition)
        self.series: dict[Key, KeyCounter] = {}
        self.holds, self.touched, self.known = keys.holds, keys.touched, keys.known
        self.decays, self.cools = (
            isinstance(rule.window, Decay),
            isinstance(rule.window, Cooldown),
        )
        self.totals = isinstance(rule.window, Lifetime)
        self.paces = isinstance(rule.window, EveryNth)
        self.by_zone = isinstance(rule.window, Calendar) and rule.window.zone is None
        self.gap_ms = rule.window.gap_ms if isinstance(rule.window, Session) else None
        self.moves = (
            self.by_zone or self.gap_ms is not None
        )  # a setting changes what counts
        self.by_class = (
            bool(rule.headroom) or rule.exempt is not None
        )  # classes fare differently
        self.span = span_of(rule)
        self.held = max(
            rule.weights.reservation, 1 if self.cools else 0
        )  # what one hold weighs
        self.asked = (
            W_MAX if isinstance(rule.window, Decay) else rule.weights.asked
        )  # by one show

    def most(self, key: Key) -> float:
        """No less than what is used now, whatever the window: all that was ever counted, or held.

        Nothing is said of wear.
        """
        series, holds = self.series.get(key), self.holds.get(key)
        if self.decays and (series or holds):
            return math.inf
        return (series.total if series else 0) + (
            self.held * len(holds) if holds else 0
        )

    def of(self, key: Key) -> KeyCounter:
        """The series of `key` to change it, made if there is none."""
        self.touched.add(key)
        series = self.series.get(key)
        if series is None:
            self.known.add(key)
            series = self.series[key] = self._empty()
        return series

    def at_hand(self, key: Key) -> KeyCounter | None:
        """The series of `key`, an empty one where shows are held so far; None if there is none."""
        series = self.series.get(key)
        return self._empty() if series is None and key in self.holds else series

    def _empty(self) -> KeyCounter:
        series = KeyCounter()
        if isinstance(self.rule.window, Decay):
            series.wear = Wear(self.rule.window.half_life_ms)
        return series

    def count(self, key: Key, stamp: Stamp, at: int, weight: int, rank: int) -> None:
        """Add one event of `weight` to `key`: `stamp`, which is `at` in canonical time."""
        day = stamp.verified_day if self.timeline else stamp.day
        series = self.of(key)
        series.total += weight
        series.first = at if series.first is None else min(series.first, at)
        if self.span is None:
            return
        entry, entries = CountedEvent(at, weight, rank, day, stamp.zone), series.entries
        newest = not entries or at >= entries[-1].at
        if series.measure is not None:
            self._measure_more(series, series.measure, entry, newest)
        if newest:
            entries.append(entry)
        else:
            insort(entries, entry, key=_place)
        if len(entries) % KEPT == 0:
            self._drop_old(series)

    def _measure_more(
        self,
        series: KeyCounter,
        measure: CachedCount,
        entry: CountedEvent,
        newest: bool,
    ) -> None:
        """Keep the last measure right, or give it up."""
        if (
            newest
            and measure.since <= entry.at < measure.until
            and self._same_zone(entry, measure)
        ):
            measure.used += entry.weight
            measure.until = min(measure.until, self._leaves(entry))
        else:
            series.measure = None

    def _same_zone(self, entry: CountedEvent, measure: CachedCount) -> bool:
        return not self.by_zone or entry.zone == measure.setting

    def _leaves(self, entry: CountedEvent) -> float:
        window = self.rule.window
        return (
            entry.at + window.ms if isinstance(window, Sliding | Cooldown) else math.inf
        )

    def _drop_old(self, series: KeyCounter) -> None:
        """Forget what no window can look at any more: time only goes on."""
        gone = len(series.entries) - len(self.lasting(series, series.entries[-1].at))
        if 2 * gone >= len(series.entries):
            del series.entries[:gone]
            if series.measure is not None:
                series.measure.start = max(series.measure.start - gone, 0)

    def begin_session(self, start: int) -> None:
        """A session began at `start`: what was shown before it counts no more."""
        if self.rule.exempt is not None:
            return
        for key, series in self.series.items():
            self.touched.add(key)
            del series.entries[: bisect_right(series.entries, start - 1, key=_place)]
            series.measure = None

    def lasting(self, series: KeyCounter, now_ms: int) -> list[CountedEvent]:
        """The entries that a window may still look at from `now_ms` on."""
        if self.span is None or isinstance(self.rule.window, Session):
            return series.entries
        return series.entries[
            bisect_right(series.entries, now_ms - self.span, key=_place) :
        ]

    def used(self, series: KeyCounter, now: RuleInstant) -> int:
        """The weight of counted events in the current window."""
        if self.totals:
            return series.total
        known = series.measure
        if known is None or not known.since <= now.ms < known.until:
            return self.measured(series, now).used
        if self.moves and known.setting != self.setting(now):
            return self.measured(series, now).used
        return known.used

    def measured(self, series: KeyCounter, now: RuleInstant) -> CachedCount:
        """What counts now, counted again only where the last count is no longer right."""
        known, setting = series.measure, self.setting(now)
        if known is not None and known.setting == setting and known.since <= now.ms:
            if now.ms >= known.until:
                self._advance(series, known, now)
            if now.ms < known.until:
                return known
        start, used = self._since(series, now), 0
        if isinstance(self.rule.window, Calendar):
            used = sum(entry.weight for entry in self.counted(series, now))
        else:
            used = sum(entry.weight for entry in series.entries[start:])
        until = self._until(series, start, now)
        series.measure = CachedCount(used, now.ms, until, setting, start)
        return series.measure

    def _advance(
        self, series: KeyCounter, measure: CachedCount, now: RuleInstant
    ) -> None:
        """Let go of what left an interval since the last count."""
        window, entries = self.rule.window, series.entries
        if not isinstance(window, Sliding | Cooldown):
            return
        while (
            measure.start < len(entries)
            and entries[measure.start].at <= now.ms - window.ms
        ):
            measure.used -= entries[measure.start].weight
            measure.start += 1
        measure.since, measure.until = now.ms, self._until(series, measure.start, now)

    def _until(self, series: KeyCounter, start: int, now: RuleInstant) -> float:
        """The first moment at which what counts may be less."""
        window, entries = self.rule.window, series.entries
        if isinstance(window, Calendar):
            zones = {window.zone or now.zone or "UTC"}
            if window.zone is None:
                zones |= {entry.zone or "UTC" for entry in entries}
            return min(
                day_start(_days(window, now.ms, zone)[1] + 1, zone) for zone in zones
            )
        return self._leaves(entries[start]) if start < len(entries) else math.inf

    def setting(self, now: RuleInstant) -> Setting:
        """What else than time and facts a count depends on."""
        if self.gap_ms is not None:
            return now.session_starts.get(self.gap_ms, now.ms)
        return now.zone if self.by_zone else None

    def counted(self, series: KeyCounter, now: RuleInstant) -> Iterator[CountedEvent]:
        """The events that count now, in canonical order."""
        window = self.rule.window
        if isinstance(window, Calendar):
            return in_calendar(series.entries, window, now)
        return iter(series.entries[self._since(series, now) :])

    def _since(self, series: KeyCounter, now: RuleInstant) -> int:
        return bisect_right(series.entries, _since(self.rule.window, now), key=_place)

    def quota_used(self, series: KeyCounter, now: RuleInstant) -> int:
        """The weight of shows by exempted classes inside the quota's window."""
        exempt = self.rule.exempt
        if exempt is None:
            return 0
        since = now.ms - exempt.window_ms
        return sum(
            e.weight for e in series.entries if e.rank >= exempt.rank and e.at > since
        )


def in_calendar(
    entries: list[CountedEvent], window: Calendar, now: RuleInstant
) -> Iterator[CountedEvent]:
    """Counted by instant in the current zone, by recorded date, or by date in the event's own zone.

    The last does not depend on the device's zone, so a zone change can only add.
    """
    zone = window.zone or now.zone or "UTC"
    first, last = _days(window, now.ms, zone)
    begins, ends = day_start(first, zone), day_start(last + 1, zone)
    for entry in entries:
        own = zone if window.zone else entry.zone or "UTC"
        if begins <= entry.at < ends:
            yield entry
        elif window.zone:
            continue
        elif first <= entry.day <= last or _in(entry.day, _days(window, now.ms, own)):
            yield entry


def _place(entry: CountedEvent) -> int:
    return entry.at


def _days(window: Calendar, instant: int, zone: str) -> tuple[int, int]:
    return unit_days(date_of(instant, zone), window.unit, window.n, window.week_start)


def _in(day: int, days: tuple[int, int]) -> bool:
    return days[0] <= day <= days[1]


def _since(window: object, now: RuleInstant) -> int:
    match window:
        case Sliding(ms) | Cooldown(ms):
            return now.ms - ms
        case Session(gap_ms):
            return now.session_starts.get(gap_ms, now.ms) - 1
        case _:
            return -(1 << 62)


def span_of(rule: Rule) -> int | None:
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

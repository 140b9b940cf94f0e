"""Events that one rule counts, by key, with a cache of the current counts."""

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
PRUNE_EVERY = 64  # events added to one key before old ones are dropped
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
    # For each session gap: the start of the current session in canonical time.
    session_starts: Mapping[int, int]


KeyDefinition = tuple[tuple[str, ...], str]  # the rule's key attributes, its partition
# The zone or session start that a count depends on, besides the time.
Setting = str | int | None


class Packed(NamedTuple):
    """Events as a checkpoint stores them: five whole numbers each, zones by number."""

    numbers: array[int]
    start: int
    length: int
    zones: list[str | None]

    def entries(self) -> list[CountedEvent]:
        """Return the events."""
        numbers = iter(self.numbers[self.start : self.start + self.length])
        # Five references to the same iterator: each row takes the next five numbers.
        rows = zip(numbers, numbers, numbers, numbers, numbers, strict=True)
        return [
            CountedEvent(at, weight, rank, day, self.zones[zone_number])
            for at, weight, rank, day, zone_number in rows
        ]


class KeyCounter:
    """All that one rule counts for one key; packed events are unpacked when needed."""

    __slots__ = (
        "_entries",
        "cached_count",
        "fatigue",
        "first_at",
        "packed_entries",
        "total",
    )

    def __init__(self) -> None:
        self._entries: list[CountedEvent] = []
        self.packed_entries: Packed | None = None
        self.total = 0
        self.first_at: int | None = None
        self.fatigue: Wear | None = None
        self.cached_count: CachedCount | None = None

    @property
    def entries(self) -> list[CountedEvent]:
        """The counted events, in canonical order."""
        if self.packed_entries is not None:
            self._entries = self.packed_entries.entries()
            self.packed_entries = None
        return self._entries


@dataclass(slots=True)
class CachedCount:
    """The last count of one key, and how long it is valid.

    It is valid from `since` until before `until` (canonical time) while the setting is
    `setting`, and covers the events from number `start` on. Events that arrive in the
    meantime are added to it.
    """

    used: int
    since: int
    until: float
    setting: Setting
    start: int = 0


@dataclass(frozen=True, slots=True)
class CapKeys:
    """State that rules with the same keys share."""

    holds: dict[Key, list[Hold]] = field(default_factory=dict)
    changed: set[Key] = field(default_factory=set)
    counted: set[Key] = field(default_factory=set)


class RuleCounters:
    """The events that one rule counts, by key."""

    def __init__(self, rule: Rule, timeline: int, keys: CapKeys) -> None:
        self.rule = rule
        self.timeline = timeline
        self.key_definition: KeyDefinition = (rule.key, rule.partition)
        self.by_key: dict[Key, KeyCounter] = {}
        self.holds = keys.holds
        self.changed_keys = keys.changed
        self.counted_keys = keys.counted
        window = rule.window
        self.is_decay = isinstance(window, Decay)
        self.is_lifetime = isinstance(window, Lifetime)
        self.is_every_nth = isinstance(window, EveryNth)
        self.uses_device_zone = isinstance(window, Calendar) and window.zone is None
        self.session_gap_ms = window.gap_ms if isinstance(window, Session) else None
        self.has_setting = self.uses_device_zone or self.session_gap_ms is not None
        self.depends_on_class = bool(rule.headroom) or rule.exempt is not None
        self.lookback_ms = lookback_ms(rule)
        # A hold counts in a cool-down even if reservations weigh nothing otherwise.
        least_hold_weight = 1 if isinstance(window, Cooldown) else 0
        self.hold_weight = max(rule.weights.reservation, least_hold_weight)
        self.grant_weight = W_MAX if self.is_decay else rule.weights.grant_weight

    def upper_bound(self, key: Key) -> float:
        """Return a number that is no less than what is used now in any window.

        It is all that was ever counted or reserved; infinite for fatigue.
        """
        key_counter, holds = self.by_key.get(key), self.holds.get(key)
        if self.is_decay and (key_counter or holds):
            return math.inf
        total = key_counter.total if key_counter else 0
        return total + (self.hold_weight * len(holds) if holds else 0)

    def counter_to_change(self, key: Key) -> KeyCounter:
        """Return the counter of `key`, created if needed; mark the key as changed."""
        self.changed_keys.add(key)
        key_counter = self.by_key.get(key)
        if key_counter is None:
            self.counted_keys.add(key)
            key_counter = self.by_key[key] = self._empty_counter()
        return key_counter

    def counter_to_read(self, key: Key) -> KeyCounter | None:
        """Return the counter of `key`, or None if there is none.

        For a key that only has holds, return an empty counter.
        """
        key_counter = self.by_key.get(key)
        if key_counter is None and key in self.holds:
            return self._empty_counter()
        return key_counter

    def _empty_counter(self) -> KeyCounter:
        key_counter = KeyCounter()
        if isinstance(self.rule.window, Decay):
            key_counter.fatigue = Wear(self.rule.window.half_life_ms)
        return key_counter

    def add_event(
        self, key: Key, stamp: Stamp, at: int, weight: int, rank: int
    ) -> None:
        """Add one event of `weight` to `key`; `at` is the canonical time of `stamp`."""
        key_counter = self.counter_to_change(key)
        key_counter.total += weight
        first_at = key_counter.first_at
        key_counter.first_at = at if first_at is None else min(first_at, at)
        if self.lookback_ms is None:
            return
        day = stamp.verified_day if self.timeline else stamp.day
        entry = CountedEvent(at, weight, rank, day, stamp.zone)
        entries = key_counter.entries
        is_newest = not entries or at >= entries[-1].at
        if key_counter.cached_count is not None:
            self._update_cache(key_counter, key_counter.cached_count, entry, is_newest)
        if is_newest:
            entries.append(entry)
        else:
            insort(entries, entry, key=_time_of)
        if len(entries) % PRUNE_EVERY == 0:
            self._drop_old_entries(key_counter)

    def _update_cache(
        self,
        key_counter: KeyCounter,
        cached: CachedCount,
        entry: CountedEvent,
        is_newest: bool,
    ) -> None:
        """Add `entry` to the cached count if it stays valid, else drop the cache."""
        in_time = cached.since <= entry.at < cached.until
        if is_newest and in_time and self._same_zone(entry, cached):
            cached.used += entry.weight
            cached.until = min(cached.until, self._leaves_window_at(entry))
        else:
            key_counter.cached_count = None

    def _same_zone(self, entry: CountedEvent, cached: CachedCount) -> bool:
        return not self.uses_device_zone or entry.zone == cached.setting

    def _leaves_window_at(self, entry: CountedEvent) -> float:
        window = self.rule.window
        if isinstance(window, Sliding | Cooldown):
            return entry.at + window.ms
        return math.inf

    def _drop_old_entries(self, key_counter: KeyCounter) -> None:
        """Drop entries that no window can include any more, if they are at least half.

        Canonical time never goes back, so that they stay outside.
        """
        entries = key_counter.entries
        recent = self.entries_in_reach(key_counter, entries[-1].at)
        dropped = len(entries) - len(recent)
        if 2 * dropped < len(entries):
            return
        del entries[:dropped]
        cached = key_counter.cached_count
        if cached is not None:
            cached.start = max(cached.start - dropped, 0)

    def start_session(self, start: int) -> None:
        """Drop all entries before the session that began at `start`."""
        if self.rule.exempt is not None:
            return  # the quota of the exemption may still count them
        for key, key_counter in self.by_key.items():
            self.changed_keys.add(key)
            entries = key_counter.entries
            del entries[: bisect_right(entries, start - 1, key=_time_of)]
            key_counter.cached_count = None

    def entries_in_reach(
        self, key_counter: KeyCounter, now_ms: int
    ) -> list[CountedEvent]:
        """Return the entries that a window may include at `now_ms` or later."""
        entries = key_counter.entries
        if self.lookback_ms is None or isinstance(self.rule.window, Session):
            return entries
        start = bisect_right(entries, now_ms - self.lookback_ms, key=_time_of)
        return entries[start:]

    def used(self, key_counter: KeyCounter, now: RuleInstant) -> int:
        """Return the weight of counted events in the current window."""
        if self.is_lifetime:
            return key_counter.total
        cached = key_counter.cached_count
        if cached is None or not cached.since <= now.ms < cached.until:
            return self.current_count(key_counter, now).used
        if self.has_setting and cached.setting != self.setting(now):
            return self.current_count(key_counter, now).used
        return cached.used

    def current_count(self, key_counter: KeyCounter, now: RuleInstant) -> CachedCount:
        """Return the count at `now`; count again only if the cached one is stale."""
        cached, setting = key_counter.cached_count, self.setting(now)
        if cached is not None and cached.setting == setting and cached.since <= now.ms:
            if now.ms >= cached.until:
                self._advance(key_counter, cached, now)
            if now.ms < cached.until:
                return cached
        return self._count_again(key_counter, now, setting)

    def _count_again(
        self, key_counter: KeyCounter, now: RuleInstant, setting: Setting
    ) -> CachedCount:
        start = self._window_start(key_counter, now)
        if isinstance(self.rule.window, Calendar):
            used = sum(entry.weight for entry in self.counted_events(key_counter, now))
        else:
            used = sum(entry.weight for entry in key_counter.entries[start:])
        until = self._valid_until(key_counter, start, now)
        key_counter.cached_count = CachedCount(used, now.ms, until, setting, start)
        return key_counter.cached_count

    def _advance(
        self, key_counter: KeyCounter, cached: CachedCount, now: RuleInstant
    ) -> None:
        """Subtract the events that left a sliding window since the last count."""
        window, entries = self.rule.window, key_counter.entries
        if not isinstance(window, Sliding | Cooldown):
            return
        window_start = now.ms - window.ms
        while cached.start < len(entries) and entries[cached.start].at <= window_start:
            cached.used -= entries[cached.start].weight
            cached.start += 1
        cached.since = now.ms
        cached.until = self._valid_until(key_counter, cached.start, now)

    def _valid_until(
        self, key_counter: KeyCounter, start: int, now: RuleInstant
    ) -> float:
        """Return the first moment at which the count may become less."""
        window, entries = self.rule.window, key_counter.entries
        if isinstance(window, Calendar):
            # Dates of events count in their own zones, so any of these zones may
            # start a new unit first.
            zones = {window.zone or now.zone or "UTC"}
            if window.zone is None:
                zones |= {entry.zone or "UTC" for entry in entries}
            return min(_unit_end(window, now.ms, zone) for zone in zones)
        if start < len(entries):
            return self._leaves_window_at(entries[start])
        return math.inf

    def setting(self, now: RuleInstant) -> Setting:
        """Return the session start or zone on which a count depends, else None."""
        if self.session_gap_ms is not None:
            return now.session_starts.get(self.session_gap_ms, now.ms)
        return now.zone if self.uses_device_zone else None

    def counted_events(
        self, key_counter: KeyCounter, now: RuleInstant
    ) -> Iterator[CountedEvent]:
        """Return the events in the current window, in canonical order."""
        window = self.rule.window
        if isinstance(window, Calendar):
            return in_calendar(key_counter.entries, window, now)
        return iter(key_counter.entries[self._window_start(key_counter, now) :])

    def _window_start(self, key_counter: KeyCounter, now: RuleInstant) -> int:
        """Return the index of the first entry in the current window."""
        last_before = _last_ms_before(self.rule.window, now)
        return bisect_right(key_counter.entries, last_before, key=_time_of)

    def quota_used(self, key_counter: KeyCounter, now: RuleInstant) -> int:
        """Return the weight of exempted classes inside the window of the quota."""
        exempt = self.rule.exempt
        if exempt is None:
            return 0
        since = now.ms - exempt.window_ms
        return sum(
            entry.weight
            for entry in key_counter.entries
            if entry.rank >= exempt.rank and entry.at > since
        )


def in_calendar(
    entries: list[CountedEvent], window: Calendar, now: RuleInstant
) -> Iterator[CountedEvent]:
    """Yield the entries that count in the current calendar unit.

    Without a zone in the rule, an entry counts if it lies in the unit by its instant in
    the current zone, by its recorded date, or by its recorded date in its own zone. The
    last does not depend on the zone of the device, so that a zone change can only add.
    """
    zone = window.zone or now.zone or "UTC"
    first, last = _unit_around(window, now.ms, zone)
    unit_start, unit_end = day_start(first, zone), day_start(last + 1, zone)
    for entry in entries:
        if unit_start <= entry.at < unit_end:
            yield entry
        elif window.zone:
            continue
        elif first <= entry.day <= last or _in_own_unit(entry, window, now):
            yield entry


def _in_own_unit(entry: CountedEvent, window: Calendar, now: RuleInstant) -> bool:
    """Return True if the date of `entry` is in the current unit of its own zone."""
    first, last = _unit_around(window, now.ms, entry.zone or "UTC")
    return first <= entry.day <= last


def _time_of(entry: CountedEvent) -> int:
    return entry.at


def _unit_around(window: Calendar, instant: int, zone: str) -> tuple[int, int]:
    """Return the first and last day of the calendar unit of `instant` in `zone`."""
    return unit_days(date_of(instant, zone), window.unit, window.n, window.week_start)


def _unit_end(window: Calendar, instant: int, zone: str) -> int:
    _, last_day = _unit_around(window, instant, zone)
    return day_start(last_day + 1, zone)


def _last_ms_before(window: object, now: RuleInstant) -> int:
    """Return the last canonical time that is before the current window."""
    match window:
        case Sliding(ms) | Cooldown(ms):
            return now.ms - ms
        case Session(gap_ms):
            return now.session_starts.get(gap_ms, now.ms) - 1
        case _:
            return -(1 << 62)


def lookback_ms(rule: Rule) -> int | None:
    """Return how far back the rule may look; None if it keeps only totals."""
    quota_ms = rule.exempt.window_ms if rule.exempt else 0
    match rule.window:
        case Sliding(ms) | Cooldown(ms):
            return max(ms, quota_ms)
        case Calendar(unit, n):
            # Three more days cover dates in other zones.
            return max((UNIT_DAYS[unit] * n + 3) * MS_PER_DAY, quota_ms)
        case Session():
            return quota_ms
        case _:
            return quota_ms or None

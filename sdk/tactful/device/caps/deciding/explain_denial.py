"""Explanation of a denial: the rule, its count, and when it ends."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tactful.device.caps.counting.counter_state import CounterState
from tactful.device.caps.counting.fatigue import IGNORED
from tactful.device.caps.counting.rule_counters import (
    KeyCounter,
    RuleCounters,
    RuleInstant,
)
from tactful.device.caps.deciding.remaining import (
    DecisionContext,
    RemainingAllowance,
    limit_of,
)
from tactful.device.caps.rules.model import (
    W_MAX,
    Calendar,
    Cooldown,
    Decay,
    Lifetime,
    Rule,
    Rules,
    Session,
    Sliding,
)
from tactful.device.caps.rules.subject import Key
from tactful.device.caps.timeline.civil_time import date_of, day_start, unit_days
from tactful.device.caps.timeline.segments import FULL, VERIFIED

MAX_UNITS_AHEAD = 400  # calendar units in which the end of a denial is searched


@dataclass(frozen=True, slots=True)
class RuleDenial:
    """Reason why an item may not be shown: a rule or block, its count, and its end.

    `wait_ms` is the time until it ends, counted from `found_ms` by the rule's timeline,
    or from the moment of reading if that is None. `wait_ms` None means that it does not
    end by itself. `used` and `limit` are None where nothing is counted.
    """

    reason_code: str
    rule: Rule | None = None
    key: Key = ()
    used: float | None = None
    limit: float | None = None
    wait_ms: int | None = None
    oldest_ms: int | None = None  # canonical time of the oldest counted event
    found_ms: int | None = None
    # The rule would allow the item if no state had been lost or restored.
    restored: bool = False

    def timeline(self, rules: Rules) -> int:
        """Return the timeline of `oldest_ms` and `found_ms`."""
        return rules.timeline(self.rule) if self.rule else FULL

    def wait_from(self, now_ms: int) -> int | None:
        """Return how long the denial lasts from `now_ms`, on the rule's timeline."""
        if self.wait_ms is None:
            return None
        elapsed_ms = 0 if self.found_ms is None else now_ms - self.found_ms
        return self.wait_ms - elapsed_ms


class DenialExplainer:
    """Explanations of denials at one moment."""

    def __init__(
        self,
        state: CounterState,
        context: DecisionContext,
        remaining: RemainingAllowance,
    ) -> None:
        self._state = state
        self._context = context
        self._remaining = remaining

    def next_check_ms(self, counters: RuleCounters, key: Key) -> float:
        """Return the first canonical time at which a denial may end by itself."""
        rule, now = counters.rule, self._context.now(counters)
        key_counter = counters.counter_to_read(key)
        timed_headroom = any(headroom.until is not None for headroom in rule.headroom)
        if self._state.losses or rule.exempt or timed_headroom:
            return now.ms  # these change with time, so check again each time
        if key_counter is None or isinstance(rule.window, Lifetime):
            return math.inf
        if isinstance(rule.window, Decay):
            return now.ms + _fatigue_wait_ms(key_counter, rule.window, now.ms)
        return counters.current_count(key_counter, now).until

    def is_cacheable(self, rule: Rule) -> bool:
        """Return True if an explanation by `rule` stays true until its key changes."""
        if rule.exempt is not None or self._state.losses:
            return False
        return isinstance(rule.window, Sliding | Cooldown | Calendar | Lifetime)

    def explain(self, counters: RuleCounters, key: Key, rank: int) -> RuleDenial:
        """Return the denial of `key` by a rule: count, oldest event, and wait."""
        rule, now = counters.rule, self._context.now(counters)
        if self._remaining.is_unmeasurable(rule, now):
            return RuleDenial(self._unmeasurable_code(), rule, key)
        key_counter = counters.counter_to_read(key)
        lost = self._remaining.lost_weight(counters, rank)
        used = self._remaining.used(counters, key) + lost
        limit = limit_of(rule)
        reserved = self._remaining.reserved_slots(counters, rank)
        most_used = limit - reserved - counters.grant_weight  # with which a grant fits
        wait_ms = None
        if most_used >= 0:
            wait_ms = self._wait_ms(counters, key, key_counter, used - most_used)
        restored = lost > 0 and used - lost <= most_used
        if restored and not isinstance(rule.window, Sliding | Cooldown):
            wait_ms = self._loss_wait_ms(counters)
        oldest_ms = _oldest_ms(counters, key_counter, now) if key_counter else None
        return RuleDenial(
            rule.reason_code,
            rule,
            key,
            used,
            limit,
            wait_ms,
            oldest_ms,
            now.ms,
            restored,
        )

    def _unmeasurable_code(self) -> str:
        if self._context.memory_only and self._context.interruptive:
            return "WINDOW_UNAVAILABLE"
        return "ZONE_UNKNOWN"

    def _loss_wait_ms(self, counters: RuleCounters) -> int | None:
        ends = [end_ms for end_ms, _ in self._remaining.loss_ends(counters)]
        return max((end_ms for end_ms in ends if end_ms >= 0), default=None)

    def _wait_ms(
        self,
        counters: RuleCounters,
        key: Key,
        key_counter: KeyCounter | None,
        excess: float,
    ) -> int | None:
        """Return how long until `excess` less is used.

        It is exact if no hold is open, and the latest time otherwise.
        """
        match counters.rule.window:
            case Sliding(ms) | Cooldown(ms):
                return self._sliding_wait_ms(counters, key, ms, excess)
            case Session(gap_ms):
                return self._session_wait_ms(counters, key, gap_ms)
            case Calendar() as window:
                return self._calendar_wait_ms(counters, key, window)
            case Decay(half_life_ms, budget):
                threshold = budget - W_MAX
                return self._decay_wait_ms(counters, key, half_life_ms, threshold)
            case _:
                return None

    def _hold_waits_ms(self, counters: RuleCounters, key: Key) -> list[int]:
        """Return the time until each counted hold of `key` expires."""
        now_ms = self._context.times[VERIFIED].ms
        holds = self._remaining.counted_holds(counters, key)
        return [self._state.expires_at(hold) - now_ms for hold in holds]

    def _sliding_wait_ms(
        self, counters: RuleCounters, key: Key, window_ms: int, excess: float
    ) -> int | None:
        """Return when enough events, holds and losses have left the window."""
        now = self._context.now(counters)
        key_counter = counters.by_key.get(key)
        ends: list[tuple[int, float]] = []
        if key_counter:
            for entry in counters.counted_events(key_counter, now):
                ends.append((entry.at + window_ms - now.ms, float(entry.weight)))
        # A hold counts as if it were an impression at its expiry, the worst case.
        hold_weight = float(max(counters.rule.weights.reservation, 1))
        for hold_wait_ms in self._hold_waits_ms(counters, key):
            ends.append((hold_wait_ms + window_ms, hold_weight))
        ends += self._remaining.loss_ends(counters)
        for end_ms, weight in sorted(ends):
            excess -= weight
            if excess <= 0:
                return max(end_ms, 0)
        return None

    def _session_wait_ms(self, counters: RuleCounters, key: Key, gap_ms: int) -> int:
        now_ms = self._context.now(counters).ms
        no_activity = (0, now_ms)
        _, last_activity = self._state.activity.get(
            (gap_ms, counters.timeline), no_activity
        )
        hold_waits = self._hold_waits_ms(counters, key)
        return max([last_activity + gap_ms - now_ms, *hold_waits])

    def _decay_wait_ms(
        self, counters: RuleCounters, key: Key, half_life_ms: int, threshold: float
    ) -> int | None:
        """Return when fatigue is at most `threshold`, if all holds are ignored."""
        key_counter = counters.counter_to_read(key)
        if threshold <= 0 or key_counter is None or key_counter.fatigue is None:
            return None
        holds = self._remaining.unexpired(counters.holds.get(key, []))
        coming = sum(W_MAX if hold.level == 0 else IGNORED for hold in holds)
        now_ms = self._context.times[VERIFIED].ms
        hold_waits = (self._state.expires_at(hold) - now_ms for hold in holds)
        longest_hold_ms = max(hold_waits, default=0)
        value = key_counter.fatigue.at(self._context.now(counters).ms) + coming
        if value <= threshold:
            return longest_hold_ms
        decay_ms = math.ceil(half_life_ms * math.log2(value / threshold))
        return longest_hold_ms + decay_ms

    def _calendar_wait_ms(
        self, counters: RuleCounters, key: Key, window: Calendar
    ) -> int | None:
        """Return when a calendar unit starts in which the rule allows an impression.

        Starts in the zones of the device and of all counted events are tried in order.
        """
        key_counter = counters.counter_to_read(key)
        if key_counter is None:
            return None
        now, rule = self._context.now(counters), counters.rule
        hold_waits = self._hold_waits_ms(counters, key)
        zones = {window.zone or now.zone or "UTC"}
        if window.zone is None:
            events = counters.counted_events(key_counter, now)
            zones |= {entry.zone or "UTC" for entry in events}
        after_ms = now.ms + max(hold_waits, default=0)
        for start_ms in _unit_starts(window, after_ms, zones):
            used = counters.used(key_counter, replace(now, ms=start_ms))
            used += self._hold_weight_at(counters, hold_waits, window, start_ms)
            if used + rule.weights.grant_weight <= limit_of(rule):
                return start_ms - now.ms
        return None

    def _hold_weight_at(
        self,
        counters: RuleCounters,
        hold_waits: list[int],
        window: Calendar,
        start_ms: int,
    ) -> int:
        """Return the weight at `start_ms` of holds as impressions at their expiry."""
        if not hold_waits:
            return 0
        now = self._context.now(counters)
        zone = window.zone or now.zone or "UTC"
        start_day = date_of(start_ms, zone)
        first_day, _ = unit_days(start_day, window.unit, window.n, window.week_start)
        last_expiry_day = date_of(now.ms + max(hold_waits), zone)
        if first_day > last_expiry_day:
            return 0
        return len(hold_waits) * counters.rule.weights.reservation


def _fatigue_wait_ms(key_counter: KeyCounter, window: Decay, now_ms: int) -> int:
    threshold = window.budget - W_MAX
    if key_counter.fatigue is None or threshold <= 0:
        return 0
    return key_counter.fatigue.wait_ms(now_ms, threshold)


def _oldest_ms(
    counters: RuleCounters, key_counter: KeyCounter, now: RuleInstant
) -> int | None:
    if isinstance(counters.rule.window, Lifetime | Decay):
        return key_counter.first_at
    first = next(iter(counters.counted_events(key_counter, now)), None)
    return None if first is None else first.at


def _unit_starts(window: Calendar, after_ms: int, zones: set[str]) -> Iterator[int]:
    """Yield the next starts of calendar units in all `zones`, in order."""
    starts = []
    for zone in zones:
        day = date_of(after_ms, zone)
        for _ in range(min(window.n, MAX_UNITS_AHEAD) + 1):
            _, last_day = unit_days(day, window.unit, 1, window.week_start)
            day = last_day + 1
            starts.append(day_start(day, zone))
    yield from sorted(starts)

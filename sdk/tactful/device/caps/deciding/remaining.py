"""Remaining allowance of each rule at one moment.

It is the limit of the rule, less what is used, reserved for higher classes, and charged
for lost state.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from tactful.device.caps.counting.counter_state import CounterState, MatchingRules
from tactful.device.caps.counting.reservations import Hold
from tactful.device.caps.counting.rule_counters import RuleCounters, RuleInstant
from tactful.device.caps.rules.model import (
    W_MAX,
    Calendar,
    Cooldown,
    Decay,
    Headroom,
    Lifetime,
    QuietHours,
    Rule,
    Session,
    Sliding,
)
from tactful.device.caps.rules.subject import CLASSES, CapSubject, Key
from tactful.device.caps.timeline.civil_time import minutes_of_day
from tactful.device.caps.timeline.segments import FULL, VERIFIED

CRITICAL = CLASSES.index("critical")
UNLIMITED = math.inf
MS_PER_DAY = 86_400_000
FOREVER_MS = -1  # the length of a loss that always counts
ALL_FIT, NONE_FITS = (True,) * len(CLASSES), (False,) * len(CLASSES)


@dataclass(frozen=True, slots=True)
class DecisionContext:
    """Circumstances of one decision: profile, surface, moment on each timeline."""

    surface: str
    subject: str
    interruptive: bool
    times: tuple[RuleInstant, RuleInstant]  # full, verified
    wall_ms: int
    # The wall clock, and the verified time too once a stamp came in this boot.
    civil_ms: tuple[int, ...]
    jitter: Callable[[QuietHours], int]
    memory_only: bool = False

    def now(self, counters: RuleCounters) -> RuleInstant:
        """Return the moment on the timeline of `counters`."""
        return self.times[counters.timeline]

    @property
    def user_block_time(self) -> RuleInstant:
        """The moment on the timeline that the person's blocks use on this surface."""
        return self.times[VERIFIED if self.interruptive else FULL]


class RemainingAllowance:
    """The allowance that rules leave at one moment; `rank` is the class of an item."""

    def __init__(self, state: CounterState, context: DecisionContext) -> None:
        self._state = state
        self._context = context
        self._base_allowances: dict[int, float] = {}  # by id of the rule's counters

    def fits_by_class(self, counters: RuleCounters, key: Key) -> Sequence[bool]:
        """Return for each class, promo to critical, if one more impression fits."""
        if counters.depends_on_class or self._state.losses:
            return [self.fits(counters, key, rank) for rank in range(len(CLASSES))]
        return ALL_FIT if self.fits(counters, key, 0) else NONE_FITS

    def matching_rules(self, cap_subject: CapSubject) -> MatchingRules:
        """Return the rules that match, each with the keys it counts by."""
        context = self._context
        return self._state.matching_rules(cap_subject, context.surface, context.subject)

    @cached_property
    def _no_hold_expired(self) -> bool:
        now_ms = self._context.times[VERIFIED].ms
        return not self._state.expired_holds(now_ms)

    def fits(self, counters: RuleCounters, key: Key, rank: int) -> bool:
        """Return True if the rule allows one more impression of `key` by `rank`."""
        allowance = self._base_allowances.get(id(counters))
        if allowance is None:
            allowance = self._base_allowance(counters)
            self._base_allowances[id(counters)] = allowance
        withheld: float = 0
        if counters.depends_on_class or self._state.losses:
            withheld = self.reserved_slots(counters, rank)
            withheld += self.lost_weight(counters, rank)
        # Most often this bound suffices, and the window need not be counted.
        least_remaining = allowance - counters.upper_bound(key) - withheld
        if counters.grant_weight <= least_remaining:
            return True
        remaining = allowance - self.used(counters, key) - withheld
        if counters.grant_weight <= remaining:
            return True
        return self.is_exempt(counters, key, rank)

    def is_exempt(self, counters: RuleCounters, key: Key, rank: int) -> bool:
        """Return True if the rule exempts `rank` and its quota allows one more."""
        exempt = counters.rule.exempt
        if exempt is None or rank < exempt.rank:
            return False
        key_counter = counters.by_key.get(key)
        used = 0
        if key_counter:
            used = counters.quota_used(key_counter, self._context.now(counters))
        exempt_holds = [
            hold
            for hold in self.counted_holds(counters, key)
            if hold.cap_subject.rank >= exempt.rank
        ]
        weights = counters.rule.weights
        used += len(exempt_holds) * weights.reservation
        return used + weights.grant_weight <= exempt.limit

    def _base_allowance(self, counters: RuleCounters) -> float:
        """Return what is left where nothing was used; infinite if nothing limits it."""
        rule = counters.rule
        if self.is_unmeasurable(rule, self._context.now(counters)):
            return -math.inf
        is_counted = isinstance(rule.window, Sliding | Calendar | Session | Lifetime)
        if rule.limit is None and is_counted:
            return UNLIMITED
        return -math.inf if rule.limit == 0 else limit_of(rule)

    def is_unmeasurable(self, rule: Rule, now: RuleInstant) -> bool:
        """Return True if the rule must deny because its window cannot be measured.

        The time zone may be unknown, or the state may not reach beyond the session.
        """
        window = rule.window
        interruptive = self._context.interruptive
        if isinstance(window, Calendar) and window.zone is None and now.zone is None:
            default = "deny" if interruptive else "allow"
            return (rule.on_missing_time or default) == "deny"
        if isinstance(window, Session):
            return False
        return self._context.memory_only and interruptive

    def used(self, counters: RuleCounters, key: Key) -> float:
        """Return what is used now: counted events and open holds."""
        key_counter, holds = counters.by_key.get(key), counters.holds.get(key)
        if key_counter is None and holds is None:
            return 0
        now = self._context.times[counters.timeline]
        if counters.is_decay:
            fatigue = key_counter.fatigue if key_counter else None
            value = fatigue.at(now.ms) if fatigue else 0.0
            unseen = sum(hold.level == 0 for hold in self.unexpired(holds or []))
            return value + W_MAX * unseen
        used = counters.used(key_counter, now) if key_counter else 0
        if not holds:
            return used
        return used + len(self.counted_holds(counters, key)) * counters.hold_weight

    def counted_holds(self, counters: RuleCounters, key: Key) -> list[Hold]:
        """Return the unexpired holds that do not count as impressions yet."""
        min_level = counters.rule.min_level
        holds = self.unexpired(counters.holds.get(key, []))
        return [hold for hold in holds if hold.level < min_level]

    def unexpired(self, holds: list[Hold]) -> list[Hold]:
        """Return the holds of the list that have not expired."""
        if not holds or self._no_hold_expired:
            return holds
        now_ms = self._context.times[VERIFIED].ms
        return [hold for hold in holds if self._state.expires_at(hold) > now_ms]

    def reserved_slots(self, counters: RuleCounters, rank: int) -> int:
        """Return the places that are reserved for classes above `rank`."""
        slots = [
            headroom.slots
            for headroom in counters.rule.headroom
            if rank < headroom.rank and not self._is_released(counters, headroom)
        ]
        return max(slots, default=0)

    def _is_released(self, counters: RuleCounters, headroom: Headroom) -> bool:
        if headroom.until is None:
            return False
        window, now = counters.rule.window, self._context.now(counters)
        zone = window.zone if isinstance(window, Calendar) else None
        return minutes_of_day(now.ms, zone or now.zone or "UTC") >= headroom.until

    def lost_weight(self, counters: RuleCounters, rank: int) -> float:
        """Return what losses of state count as used; class critical is spared."""
        if rank >= CRITICAL or not self._state.losses:
            return 0
        return sum(weight for _, weight in self.loss_ends(counters))

    def loss_ends(self, counters: RuleCounters) -> list[tuple[int, float]]:
        """Return how long each loss still counts in ms (-1: always), and its weight.

        The newest loss leaves room for one impression. Each one before it counts in
        full, so that repeated faults do not allow repeated impressions.
        """
        now, rule = self._context.now(counters), counters.rule
        length_ms = loss_ms(rule)
        active_losses = []
        for segment, offset, mode in self._state.losses:
            age_ms = now.ms - now.segments[segment].base[now.timeline] - offset
            if length_ms == FOREVER_MS:
                active_losses.append((FOREVER_MS, mode))
            elif age_ms < length_ms:
                active_losses.append((length_ms - age_ms, mode))
        ends = []
        for number, (end_ms, mode) in enumerate(active_losses, 1):
            is_newest = number == len(active_losses)
            spared = counters.grant_weight if is_newest else 0
            weight = loss_weight(rule, mode, spared)
            if weight:
                ends.append((end_ms, weight))
        return ends


def limit_of(rule: Rule) -> float:
    """Return the most that may be used; a cool-down is a limit of one impression."""
    if isinstance(rule.window, Decay):
        return rule.window.budget
    if isinstance(rule.window, Cooldown):
        return rule.weights.grant_weight
    return UNLIMITED if rule.limit is None else rule.limit


def loss_ms(rule: Rule) -> int:
    """Return how long a loss of state counts under `rule`; -1 means always.

    It is the window of the rule, at most a day.
    """
    match rule.window:
        case Sliding(ms) | Cooldown(ms) | Session(ms):
            return min(ms, MS_PER_DAY)
        case Lifetime():
            return FOREVER_MS
        case _:
            return MS_PER_DAY


def loss_weight(rule: Rule, mode: str, spared: float) -> float:
    """Return what one loss of state counts under `rule`.

    It is the whole limit in mode `closed`, else half of it. Half of the limit, rounded
    down, is left, and at least `spared`: a limit of two becomes one, and one stays one.
    """
    limit = limit_of(rule)
    if limit == UNLIMITED:
        return 0
    if mode == "closed":
        return limit
    return min(math.ceil(limit / 2), max(limit - spared, 0))

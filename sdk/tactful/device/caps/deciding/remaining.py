"""How much room each rule leaves at one moment: its limit, less what is used, kept and lost."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

from tactful.device.caps.counting.counter_state import CounterState
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
ALL_FIT, NONE_FITS = (True,) * len(CLASSES), (False,) * len(CLASSES)


@dataclass(frozen=True, slots=True)
class DecisionContext:
    """One moment of decision: who, where, when, on every timeline."""

    surface: str
    subject: str
    interruptive: bool
    times: tuple[RuleInstant, RuleInstant]  # full, verified
    wall_ms: int
    civil_ms: tuple[
        int, ...
    ]  # the wall clock, and verified time once a stamp confirmed it
    jitter: Callable[[QuietHours], int]
    memory_only: bool = False

    def on(self, track: RuleCounters) -> RuleInstant:
        """The moment on the timeline of `track`."""
        return self.times[track.timeline]

    @property
    def feedback(self) -> RuleInstant:
        """The moment on the timeline that feedback runs by here."""
        return self.times[VERIFIED if self.interruptive else FULL]


class RemainingAllowance:
    """The room that rules leave at one moment."""

    def __init__(self, state: CounterState, here: DecisionContext) -> None:
        self._state, self.here = state, here
        self._terms: dict[int, float] = {}  # by track

    def verdicts(self, track: RuleCounters, key: Key) -> Sequence[bool]:
        """Whether `track` has room for one more of `key`, by class from promo to critical."""
        if track.by_class or self._state.losses:
            return [self._fits(track, key, rank) for rank in range(len(CLASSES))]
        return ALL_FIT if self._fits(track, key, 0) else NONE_FITS

    def _plan(
        self, thing: CapSubject
    ) -> tuple[tuple[RuleCounters, tuple[Key, ...]], ...]:
        return self._state.plan(thing, self.here.surface, self.here.subject)

    @cached_property
    def _settled(self) -> bool:
        """Whether every hold that stands among those of a key is still open."""
        return not self._state.overdue(self.here.times[VERIFIED].ms)

    def _fits(self, track: RuleCounters, key: Key, rank: int) -> bool:
        room = self._terms.get(id(track))
        if room is None:
            room = self._terms[id(track)] = self._terms_of(track)
        kept: float = 0
        if track.by_class or self._state.losses:
            kept = self._headroom(track, rank) + self._lost(track, rank)
        if (
            track.asked <= room - track.most(key) - kept
        ):  # most often, and nothing was counted
            return True
        if track.asked <= room - self.used(track, key) - kept:
            return True
        exempt = track.rule.exempt
        return (
            exempt is not None and rank >= exempt.rank and self._quota_fits(track, key)
        )

    def _quota_fits(self, track: RuleCounters, key: Key) -> bool:
        exempt, series = track.rule.exempt, track.series.get(key)
        if exempt is None:
            return False
        held = sum(hold.thing.rank >= exempt.rank for hold in self._holds(track, key))
        used = track.quota_used(series, self.here.on(track)) if series else 0
        used += held * track.rule.weights.reservation
        return used + track.rule.weights.asked <= exempt.limit

    def _terms_of(self, track: RuleCounters) -> float:
        """What one grant may weigh where nothing was used; infinite: whatever was used."""
        rule = track.rule
        if self._unmeasurable(rule, self.here.on(track)):
            return -math.inf
        if rule.limit is None and isinstance(
            rule.window, Sliding | Calendar | Session | Lifetime
        ):
            return UNLIMITED
        return -math.inf if rule.limit == 0 else self.limit(rule)

    def _unmeasurable(self, rule: Rule, now: RuleInstant) -> bool:
        window = rule.window
        if isinstance(window, Calendar) and window.zone is None and now.zone is None:
            usual = "deny" if self.here.interruptive else "allow"
            return (rule.on_missing_time or usual) == "deny"
        return (
            self.here.memory_only
            and self.here.interruptive
            and not isinstance(window, Session)
        )

    @staticmethod
    def limit(rule: Rule) -> float:
        """The most that may be used; a cool-down is a limit of one show."""
        if isinstance(rule.window, Decay):
            return rule.window.budget
        if isinstance(rule.window, Cooldown):
            return rule.weights.asked
        return UNLIMITED if rule.limit is None else rule.limit

    def used(self, track: RuleCounters, key: Key) -> float:
        """What is used now: counted events and open holds."""
        series, holds = track.series.get(key), track.holds.get(key)
        if series is None and holds is None:
            return 0
        now = self.here.times[track.timeline]
        if track.decays:
            worn = series.wear.at(now.ms) if series and series.wear else 0.0
            return worn + W_MAX * sum(
                hold.level == 0 for hold in self._unexpired(holds or [])
            )
        used = track.used(series, now) if series else 0
        return used + len(self._holds(track, key)) * track.held if holds else used

    def _holds(self, track: RuleCounters, key: Key) -> list[Hold]:
        level = track.rule.min_level
        return [
            hold
            for hold in self._unexpired(track.holds.get(key, []))
            if hold.level < level
        ]

    def _unexpired(self, holds: list[Hold]) -> list[Hold]:
        if not holds or self._settled:
            return holds
        now = self.here.times[VERIFIED].ms
        return [hold for hold in holds if self._state.expires(hold) > now]

    def _headroom(self, track: RuleCounters, rank: int) -> int:
        """The places kept for better classes than `rank`."""
        kept = [
            h.slots
            for h in track.rule.headroom
            if rank < h.rank and not self._over(track, h)
        ]
        return max(kept, default=0)

    def _over(self, track: RuleCounters, headroom: Headroom) -> bool:
        if headroom.until is None:
            return False
        window, now = track.rule.window, self.here.on(track)
        zone = (
            (window.zone if isinstance(window, Calendar) else None) or now.zone or "UTC"
        )
        return minutes_of_day(now.ms, zone) >= headroom.until

    def _lost(self, track: RuleCounters, rank: int) -> float:
        """What losses of state count as used for a day; critical is spared."""
        if rank >= CRITICAL or not self._state.losses:
            return 0
        return sum(weight for _, weight in self._loss_ends(track))

    def _loss_ends(self, track: RuleCounters) -> list[tuple[int, float]]:
        """Return how long each loss still counts under the rule (-1: always), and for how much.

        The newest leaves room for one show; each one before it counts in full, so that repeated
        faults are no licence to repeat.
        """
        now, rule = self.here.on(track), track.rule
        length, ends = loss_ms(rule), []
        for segment, offset, mode in self._state.losses:
            ago = now.ms - now.segments[segment].base[now.timeline] - offset
            if length < 0 or ago < length:
                ends.append((length - ago if length >= 0 else -1, mode))
        newest = len(ends) - 1
        weights = [
            (end, loss_weight(rule, mode, track.asked if place == newest else 0))
            for place, (end, mode) in enumerate(ends)
        ]
        return [(end, weight) for end, weight in weights if weight]


def loss_ms(rule: Rule) -> int:
    """How long a loss of state counts against `rule`: its window, at most a day; -1: always."""
    match rule.window:
        case Sliding(ms) | Cooldown(ms) | Session(ms):
            return min(ms, MS_PER_DAY)
        case Lifetime():
            return -1
        case _:
            return MS_PER_DAY


def loss_weight(rule: Rule, mode: str, spared: float) -> float:
    """What one loss of state counts under `rule`: half of the limit, or all of it (`closed`).

    Half of a limit, rounded down, is left, and at least `spared`: a limit of two becomes one, and
    one stays one.
    """
    limit = RemainingAllowance.limit(rule)
    if limit == UNLIMITED:
        return 0
    return (
        limit if mode == "closed" else min(math.ceil(limit / 2), max(limit - spared, 0))
    )

"""Why a rule refuses, in full: what it counts, since when, and how long until there is room."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from tactful.device.caps.counting.fatigue import IGNORED
from tactful.device.caps.counting.rule_counters import (
    KeyCounter,
    RuleCounters,
    RuleInstant,
)
from tactful.device.caps.deciding.remaining import RemainingAllowance
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


@dataclass(frozen=True, slots=True)
class RuleDenial:
    """Why a thing may not be shown: the rule or block, what was counted, how long it lasts.

    `wait_ms` None: it does not end by itself. `used` and `limit` are None where nothing is counted.
    The wait is counted from `found_ms`, by the rule's clock; None: from whenever it is told.
    """

    reason_code: str
    rule: Rule | None = None
    key: Key = ()
    used: float | None = None
    limit: float | None = None
    wait_ms: int | None = None
    oldest_ms: int | None = None  # canonical time of the oldest counted event
    found_ms: int | None = None
    restored: bool = False  # there would be room, had state not been lost or put back

    def timeline(self, rules: Rules) -> int:
        """Whose clock `oldest_ms` runs by."""
        return rules.timeline(self.rule) if self.rule else FULL

    def wait_from(self, now_ms: int) -> int | None:
        """How long it still lasts at `now_ms` by the rule's clock."""
        gone = 0 if self.found_ms is None else now_ms - self.found_ms
        return None if self.wait_ms is None else self.wait_ms - gone


class DenialExplainer(RemainingAllowance):
    """Explains refusals at one moment."""

    def next_look(self, track: RuleCounters, key: Key) -> float:
        """The first moment, on the timeline of `track`, at which a refusal may end by itself."""
        rule, now, series = track.rule, self.here.on(track), track.at_hand(key)
        if (
            self._state.losses
            or rule.exempt
            or any(h.until is not None for h in rule.headroom)
        ):
            return now.ms
        if series is None or isinstance(rule.window, Lifetime):
            return math.inf
        if isinstance(rule.window, Decay):
            return now.ms + (self._wear_wait(series, rule.window, now.ms) or 0)
        return track.measured(series, now).until

    def holds_still(self, rule: Rule) -> bool:
        """Whether an explanation by `rule` stays true until a fact or its end changes it."""
        moving = rule.exempt is not None or bool(self._state.losses)
        return not moving and isinstance(
            rule.window, Sliding | Cooldown | Calendar | Lifetime
        )

    @staticmethod
    def _wear_wait(series: KeyCounter, window: Decay, now_ms: int) -> int | None:
        room = window.budget - W_MAX
        return series.wear.wait_ms(now_ms, room) if series.wear and room > 0 else None

    def explain(self, track: RuleCounters, key: Key, rank: int) -> RuleDenial:
        """The refusal of `track` for `key` in full: counts, the oldest event, the wait."""
        rule, now, series = track.rule, self.here.on(track), track.at_hand(key)
        code = rule.reason_code
        if self._unmeasurable(rule, now):
            missing = self.here.memory_only and self.here.interruptive
            code = "WINDOW_UNAVAILABLE" if missing else "ZONE_UNKNOWN"
            return RuleDenial(code, rule, key)
        lost = self._lost(track, rank)
        used = self.used(track, key) + lost
        oldest = self._oldest(track, series, now) if series else None
        room = self.limit(rule) - self._headroom(track, rank) - track.asked
        wait = self._wait(track, key, series, used - room) if room >= 0 else None
        restored = lost > 0 and used - lost <= room
        if restored and not isinstance(rule.window, Sliding | Cooldown):
            wait = max(
                (end for end, _ in self._loss_ends(track) if end >= 0), default=None
            )
        limit = self.limit(rule)
        return RuleDenial(code, rule, key, used, limit, wait, oldest, now.ms, restored)

    def _oldest(
        self, track: RuleCounters, series: KeyCounter, now: RuleInstant
    ) -> int | None:
        if isinstance(track.rule.window, Lifetime | Decay):
            return series.first
        return next((entry.at for entry in track.counted(series, now)), None)

    def _wait(
        self, track: RuleCounters, key: Key, series: KeyCounter | None, over: float
    ) -> int | None:
        """How long until `over` less is used; exact if no hold is open, else a bound above."""
        window, now = track.rule.window, self.here.on(track)
        match window:
            case Sliding(ms) | Cooldown(ms):
                return self._wait_for_ends(track, key, ms, over)
            case Session(gap_ms):
                last = self._state.activity.get((gap_ms, track.timeline), (0, now.ms))[
                    1
                ]
                return max([last + gap_ms - now.ms, *self._hold_waits(track, key)])
            case Calendar():
                return self._wait_for_unit(track, key, window)
            case Decay(half_life_ms, budget):
                return self._wait_for_rest(track, key, half_life_ms, budget - W_MAX)
            case _:
                return None

    def _hold_waits(self, track: RuleCounters, key: Key) -> list[int]:
        now = self.here.times[VERIFIED].ms
        return [self._state.expires(hold) - now for hold in self._holds(track, key)]

    def _wait_for_ends(
        self, track: RuleCounters, key: Key, ms: int, over: float
    ) -> int | None:
        now, series = self.here.on(track), track.series.get(key)
        weight = max(track.rule.weights.reservation, 1)
        entries = track.counted(series, now) if series else iter(())
        ends = [(entry.at + ms - now.ms, float(entry.weight)) for entry in entries]
        ends += [(wait + ms, float(weight)) for wait in self._hold_waits(track, key)]
        ends += self._loss_ends(track)
        for wait, weight_gone in sorted(ends):
            over -= weight_gone
            if over <= 0:
                return max(wait, 0)
        return None

    def _wait_for_rest(
        self, track: RuleCounters, key: Key, half_life_ms: int, room: float
    ) -> int | None:
        series = track.at_hand(key)
        if room <= 0 or series is None or series.wear is None:
            return None
        holds = self._unexpired(track.holds.get(key, []))
        coming = sum(W_MAX if hold.level == 0 else IGNORED for hold in holds)
        now = self.here.times[VERIFIED].ms
        longest = max((self._state.expires(hold) - now for hold in holds), default=0)
        value = series.wear.at(self.here.on(track).ms) + coming
        rest = math.ceil(half_life_ms * math.log2(value / room)) if value > room else 0
        return longest + rest

    def _wait_for_unit(
        self, track: RuleCounters, key: Key, window: Calendar
    ) -> int | None:
        """The first start of a unit, in any zone that matters, where enough no longer counts."""
        series = track.at_hand(key)
        if series is None:
            return None
        now, rule = self.here.on(track), track.rule
        held = self._hold_waits(track, key)
        zones = {window.zone or now.zone or "UTC"}
        if window.zone is None:
            zones |= {entry.zone or "UTC" for entry in track.counted(series, now)}
        for start in _unit_starts(window, now.ms + max(held, default=0), zones):
            then = replace(now, ms=start)
            used = track.used(series, then) + self._after(track, held, window, start)
            if used + rule.weights.asked <= self.limit(rule):
                return start - now.ms
        return None

    def _after(
        self, track: RuleCounters, held: list[int], window: Calendar, start: int
    ) -> int:
        """Holds, taken as shows at their expiry, that still count at `start`."""
        if not held:
            return 0
        now = self.here.on(track)
        zone = window.zone or now.zone or "UTC"
        days = unit_days(date_of(start, zone), window.unit, window.n, window.week_start)
        last = date_of(now.ms + max(held), zone)
        return len(held) * track.rule.weights.reservation if days[0] <= last else 0


def _unit_starts(window: Calendar, after: int, zones: set[str]) -> Iterator[int]:
    starts = []
    for zone in zones:
        day = date_of(after, zone)
        for _ in range(min(window.n, 400) + 1):
            day = unit_days(day, window.unit, 1, window.week_start)[1] + 1
            starts.append(day_start(day, zone))
    yield from sorted(starts)

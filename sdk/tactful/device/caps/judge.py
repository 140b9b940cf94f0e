"""May this be shown now? For each rule: how much room is left, and when there will be more."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

from tactful.device.caps.civil import date_of, day_start, minutes_of_day, unit_days
from tactful.device.caps.fatigue import IGNORED
from tactful.device.caps.feedback import wait_ms as block_wait_ms
from tactful.device.caps.quiet_hours import quiet_wait_ms
from tactful.device.caps.reservations import Hold
from tactful.device.caps.rules import (
    W_MAX,
    Calendar,
    Cooldown,
    Decay,
    EveryNth,
    Headroom,
    Lifetime,
    QuietHours,
    Rule,
    Rules,
    Session,
    Sliding,
)
from tactful.device.caps.segments import FULL, VERIFIED
from tactful.device.caps.state import State
from tactful.device.caps.things import CLASSES, Key, Thing
from tactful.device.caps.windows import Now, Series, Track

CRITICAL = CLASSES.index("critical")
FREE = math.inf
MS_PER_DAY = 86_400_000
ALL_FIT, NONE_FITS = (True,) * len(CLASSES), (False,) * len(CLASSES)


@dataclass(frozen=True, slots=True)
class Here:
    """One moment of decision: who, where, when, on every timeline."""

    surface: str
    subject: str
    interruptive: bool
    times: tuple[Now, Now]  # full, verified
    wall_ms: int
    civil_ms: tuple[int, ...]  # the wall clock, and verified time once a stamp confirmed it
    jitter: Callable[[QuietHours], int]
    memory_only: bool = False

    def on(self, track: Track) -> Now:
        """The moment on the timeline of `track`."""
        return self.times[track.timeline]

    @property
    def feedback(self) -> Now:
        """The moment on the timeline that feedback runs by here."""
        return self.times[VERIFIED if self.interruptive else FULL]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a thing may not be shown: the rule or block, what was counted, how long it lasts.

    `wait_ms` None: it does not end by itself. `used` and `limit` are None where nothing is counted.
    """

    reason_code: str
    rule: Rule | None = None
    key: Key = ()
    used: float | None = None
    limit: float | None = None
    wait_ms: int | None = None
    oldest_ms: int | None = None  # canonical time of the oldest counted event

    def timeline(self, rules: Rules) -> int:
        """Whose clock `oldest_ms` runs by."""
        return rules.timeline(self.rule) if self.rule else FULL

    def later(self, ms: int) -> Refusal:
        """The same, said `ms` later."""
        wait = None if self.wait_ms is None else self.wait_ms - ms
        told = self.reason_code, self.rule, self.key, self.used, self.limit, wait, self.oldest_ms
        return Refusal(*told)


@dataclass(frozen=True, slots=True)
class Room:
    """How much one rule has used for an item, and leaves; `left` None is unlimited."""

    rule_id: str
    used: float
    limit: float | None
    left: float | None


class Judge:
    """Answers for one moment; remembers what it found until something is reserved."""

    def __init__(self, state: State, here: Here) -> None:
        self._state, self.here = state, here
        self._rooms: dict[tuple[int, Key], float] = {}
        self.chances: dict[tuple[str, Key], bool] = {}  # opportunities offered; True once taken

    def refusal(self, thing: Thing) -> Refusal | None:
        """The first reason against `thing`, None if there is none."""
        return next(self.refusals(thing), None)

    @cached_property
    def calm(self) -> bool:
        """Whether only rules can refuse anything that has a name."""
        return not self._quiet and self._state.feedback.silent

    def before_rules(self, thing: Thing) -> Iterator[Refusal]:
        """The reasons against `thing` that no rule gives: identity, quiet hours, feedback."""
        if not thing.item:
            yield Refusal("INVALID_ITEM")
        yield from self._quiet
        if thing.rank < CRITICAL and not self._state.feedback.silent:
            yield from self._blocked(thing)

    def refusals(self, thing: Thing) -> Iterator[Refusal]:
        """Every reason against `thing`: identity, quiet hours, feedback, then rules in order."""
        yield from self.before_rules(thing)
        if thing.item:
            yield from self._rule_refusals(thing)

    def rule_refusal(self, thing: Thing) -> Refusal | None:
        """The first rule against `thing`, those that pace apart."""
        return next(self._rule_refusals(thing), None)

    def refusal_since(self, thing: Thing) -> Refusal | None:
        """The first rule against `thing`, which had none, by what was touched since then."""
        for track, keys in self._plan(thing):
            for key in keys if track.touched else ():
                if key in track.touched and not self._lets(track, key, thing.rank):
                    return self.explain(track, key, thing.rank)
        return None

    def _lets(self, track: Track, key: Key, rank: int) -> bool:
        return isinstance(track.rule.window, EveryNth) or self._fits(track, key, rank)

    def _rule_refusals(self, thing: Thing) -> Iterator[Refusal]:
        for track, keys in self._plan(thing):
            if isinstance(track.rule.window, EveryNth):
                continue
            for key in keys:
                if not self._fits(track, key, thing.rank):
                    yield self.explain(track, key, thing.rank)

    def offered(self, thing: Thing) -> Refusal | None:
        """Count the opportunity that every-nth rules see here; the first of them that refuses.

        Counted once per decision and key, whether or not it is taken; taken at most once.
        """
        paced = list(self._paced(thing))
        for track, key in paced:
            if (track.rule.id, key) not in self.chances:
                self.chances[track.rule.id, key] = False
                self._state.offer(track.rule.id, key)
        for track, key in paced:
            count = self._state.opportunities[track.rule.id, key]
            if self.chances[track.rule.id, key] or not self._turn_of(track, key, count, thing):
                return self._out_of_turn(track, key, count)
        for track, key in paced:
            self.chances[track.rule.id, key] = True
        return None

    def pace(self, thing: Thing) -> Iterator[Refusal]:
        """What every-nth rules would say at the next opportunity; nothing is counted."""
        for track, key in self._paced(thing):
            count = self._state.opportunities.get((track.rule.id, key), 0) + 1
            if not self._turn_of(track, key, count, thing):
                yield self._out_of_turn(track, key, count)

    def _paced(self, thing: Thing) -> Iterator[tuple[Track, Key]]:
        for track, keys in self._plan(thing):
            if isinstance(track.rule.window, EveryNth):
                yield from ((track, key) for key in keys)

    def _turn_of(self, track: Track, key: Key, count: int, thing: Thing) -> bool:
        window, exempt = track.rule.window, track.rule.exempt
        if isinstance(window, EveryNth) and count % window.n == 0:
            return True
        return exempt is not None and thing.rank >= exempt.rank and self._quota_fits(track, key)

    @staticmethod
    def _out_of_turn(track: Track, key: Key, count: int) -> Refusal:
        n = track.rule.window.n if isinstance(track.rule.window, EveryNth) else 1
        return Refusal(track.rule.reason_code, track.rule, key, count % n, n, wait_ms=0)

    def rooms(self, thing: Thing) -> Iterator[Room]:
        """What each rule has used for `thing`, and leaves."""
        for track, keys in self._plan(thing):
            for key in () if isinstance(track.rule.window, EveryNth) else keys:
                used = self.used(track, key) + self._lost(track, thing.rank)
                limit = self.limit(track.rule)
                kept = self._headroom(track, thing.rank)
                left = None if limit == FREE else limit - kept - used
                yield Room(track.rule.id, used, None if limit == FREE else limit, left)

    def verdicts(self, track: Track, key: Key) -> Sequence[bool]:
        """Whether `track` has room for one more of `key`, by class from promo to critical."""
        rule = track.rule
        if rule.headroom or rule.exempt or self._state.losses:
            return [self._fits(track, key, rank) for rank in range(len(CLASSES))]
        return ALL_FIT if self._fits(track, key, 0) else NONE_FITS

    def next_look(self, track: Track, key: Key) -> float:
        """The first moment, on the timeline of `track`, at which a refusal may end by itself."""
        rule, now, series = track.rule, self.here.on(track), track.series.get(key)
        if self._state.losses or rule.exempt or any(h.until is not None for h in rule.headroom):
            return now.ms
        if series is None or isinstance(rule.window, Lifetime):
            return math.inf
        if isinstance(rule.window, Decay):
            return now.ms + (self._wear_wait(series, rule.window, now.ms) or 0)
        return track.measured(series, now).until

    def holds_still(self, rule: Rule) -> bool:
        """Whether an explanation by `rule` stays true until a fact or its end changes it."""
        moving = rule.exempt is not None or bool(self._state.losses)
        return not moving and isinstance(rule.window, Sliding | Cooldown | Calendar | Lifetime)

    @staticmethod
    def _wear_wait(series: Series, window: Decay, now_ms: int) -> int | None:
        room = window.budget - W_MAX
        return series.wear.wait_ms(now_ms, room) if series.wear and room > 0 else None

    def forget(self, thing: Thing) -> None:
        """Look again at all that concerns `thing`: it was just reserved."""
        for track, keys in self._plan(thing):
            for key in keys:
                self._rooms.pop((id(track), key), None)

    def _plan(self, thing: Thing) -> tuple[tuple[Track, tuple[Key, ...]], ...]:
        return self._state.plan(thing, self.here.surface, self.here.subject)

    @cached_property
    def _settled(self) -> bool:
        """Whether every hold that stands among those of a key is still open."""
        return not self._state.overdue(self.here.times[VERIFIED].ms)

    @cached_property
    def _quiet(self) -> tuple[Refusal, ...]:
        """Quiet hours by the civil time shown and, once verified, by the true one."""
        return tuple(
            refusal
            for quiet in self._state.rules.quiet_hours
            if self.here.surface in quiet.surfaces and quiet.behaviour != "silent"
            for refusal in self._kept_quiet(quiet)
        )

    def _kept_quiet(self, quiet: QuietHours) -> Iterator[Refusal]:
        zone = quiet.zone or self.here.times[FULL].zone
        if zone is None:
            if self.here.interruptive:
                yield Refusal("QUIET_HOURS")
            return
        wait = max(quiet_wait_ms(quiet, at, zone) for at in self.here.civil_ms)
        if wait:
            yield Refusal("QUIET_HOURS", wait_ms=wait + self.here.jitter(quiet))

    def _blocked(self, thing: Thing) -> Iterator[Refusal]:
        now = self.here.feedback
        for block in self._state.feedback.blocks(thing, self.here.surface, self.here.subject):
            wait = block_wait_ms(block, now.ms, lambda s, o: now.segments[s].base[now.timeline] + o)
            if wait is None or wait > 0:
                yield Refusal(block.reason_code, wait_ms=wait)

    def _fits(self, track: Track, key: Key, rank: int) -> bool:
        room = self._room(track, key)
        if room == FREE:
            return True
        if track.rule.headroom or self._state.losses:
            room -= self._headroom(track, rank) + self._lost(track, rank)
        if track.asked <= room:
            return True
        exempt = track.rule.exempt
        return exempt is not None and rank >= exempt.rank and self._quota_fits(track, key)

    def _quota_fits(self, track: Track, key: Key) -> bool:
        exempt, series = track.rule.exempt, track.series.get(key)
        if exempt is None:
            return False
        if series is None:
            return exempt.limit >= track.rule.weights.asked
        held = sum(hold.thing.rank >= exempt.rank for hold in self._holds(track, series))
        used = track.quota_used(series, self.here.on(track)) + held * track.rule.weights.reservation
        return used + track.rule.weights.asked <= exempt.limit

    def _room(self, track: Track, key: Key) -> float:
        """What one more grant may weigh, before headroom; minus infinity: nothing at all."""
        known = self._rooms.get((id(track), key))
        if known is None:
            known = self._rooms[id(track), key] = self._measured(track, key)
        return known

    def _measured(self, track: Track, key: Key) -> float:
        rule, now = track.rule, self.here.on(track)
        if self._unmeasurable(rule, now):
            return -math.inf
        if rule.limit is None and isinstance(rule.window, Sliding | Calendar | Session | Lifetime):
            return FREE
        if rule.limit == 0:
            return -math.inf
        return self.limit(rule) - self.used(track, key) if key in track.series else self.limit(rule)

    def _unmeasurable(self, rule: Rule, now: Now) -> bool:
        window = rule.window
        if isinstance(window, Calendar) and window.zone is None and now.zone is None:
            usual = "deny" if self.here.interruptive else "allow"
            return (rule.on_missing_time or usual) == "deny"
        return self.here.memory_only and self.here.interruptive and not isinstance(window, Session)

    @staticmethod
    def limit(rule: Rule) -> float:
        """The most that may be used; a cool-down is a limit of one show."""
        if isinstance(rule.window, Decay):
            return rule.window.budget
        if isinstance(rule.window, Cooldown):
            return rule.weights.asked
        return FREE if rule.limit is None else rule.limit

    def used(self, track: Track, key: Key) -> float:
        """What is used now: counted events and open holds."""
        series = track.series.get(key)
        if series is None:
            return 0
        rule, now = track.rule, self.here.on(track)
        if isinstance(rule.window, Decay):
            unseen = sum(hold.level == 0 for hold in self._unexpired(series))
            return (series.wear.at(now.ms) if series.wear else 0.0) + W_MAX * unseen
        held = len(self._holds(track, series))
        weight = rule.weights.reservation
        if isinstance(rule.window, Cooldown):
            return track.used(series, now) + held * max(weight, 1)
        return track.used(series, now) + held * weight

    def _holds(self, track: Track, series: Series) -> list[Hold]:
        level = track.rule.min_level
        return [hold for hold in self._unexpired(series) if hold.level < level]

    def _unexpired(self, series: Series) -> list[Hold]:
        if not series.holds or self._settled:
            return series.holds
        now = self.here.times[VERIFIED].ms
        return [hold for hold in series.holds if self._state.expires(hold) > now]

    def _headroom(self, track: Track, rank: int) -> int:
        """The places kept for better classes than `rank`."""
        kept = [h.slots for h in track.rule.headroom if rank < h.rank and not self._over(track, h)]
        return max(kept, default=0)

    def _over(self, track: Track, headroom: Headroom) -> bool:
        if headroom.until is None:
            return False
        window, now = track.rule.window, self.here.on(track)
        zone = (window.zone if isinstance(window, Calendar) else None) or now.zone or "UTC"
        return minutes_of_day(now.ms, zone) >= headroom.until

    def _lost(self, track: Track, rank: int) -> float:
        """After a loss of state half of each limit counts as used for a day; critical is spared."""
        if rank >= CRITICAL or not self._state.losses:
            return 0
        now, rule = self.here.on(track), track.rule
        return sum(
            loss_weight(rule, mode, now.ms - now.segments[segment].base[now.timeline] - offset)
            for segment, offset, mode in self._state.losses
        )

    def explain(self, track: Track, key: Key, rank: int) -> Refusal:
        """The refusal of `track` for `key` in full: counts, the oldest event, the wait."""
        rule, now, series = track.rule, self.here.on(track), track.series.get(key)
        code = rule.reason_code
        if self._unmeasurable(rule, now):
            missing = self.here.memory_only and self.here.interruptive
            code = "WINDOW_UNAVAILABLE" if missing else "ZONE_UNKNOWN"
            return Refusal(code, rule, key)
        used = self.used(track, key) + self._lost(track, rank)
        oldest = self._oldest(track, series, now) if series else None
        room = self.limit(rule) - self._headroom(track, rank) - track.asked
        wait = self._wait(track, series, used - room) if room >= 0 else None
        return Refusal(code, rule, key, used, self.limit(rule), wait, oldest)

    def _oldest(self, track: Track, series: Series, now: Now) -> int | None:
        if isinstance(track.rule.window, Lifetime | Decay):
            return series.first
        return next((entry.at for entry in track.counted(series, now)), None)

    def _wait(self, track: Track, series: Series | None, over: float) -> int | None:
        """How long until `over` less is used; exact if no hold is open, else a bound above."""
        window, now = track.rule.window, self.here.on(track)
        match window:
            case Sliding(ms) | Cooldown(ms):
                return self._wait_for_ends(track, series, ms, over)
            case Session(gap_ms):
                last = self._state.activity.get((gap_ms, track.timeline), (0, now.ms))[1]
                return max([last + gap_ms - now.ms, *self._hold_waits(track, series)])
            case Calendar():
                return self._wait_for_unit(track, series, window)
            case Decay(half_life_ms, budget):
                return self._wait_for_rest(track, series, half_life_ms, budget - W_MAX)
            case _:
                return None

    def _hold_waits(self, track: Track, series: Series | None) -> list[int]:
        now = self.here.times[VERIFIED].ms
        holds = self._holds(track, series) if series else []
        return [self._state.expires(hold) - now for hold in holds]

    def _wait_for_ends(
        self, track: Track, series: Series | None, ms: int, over: float
    ) -> int | None:
        now = self.here.on(track)
        weight = max(track.rule.weights.reservation, 1)
        entries = track.counted(series, now) if series else iter(())
        ends = [(entry.at + ms - now.ms, float(entry.weight)) for entry in entries]
        ends += [(wait + ms, float(weight)) for wait in self._hold_waits(track, series)]
        ends += self._loss_ends(track)
        for wait, weight_gone in sorted(ends):
            over -= weight_gone
            if over <= 0:
                return max(wait, 0)
        return None

    def _loss_ends(self, track: Track) -> list[tuple[int, float]]:
        now, rule = self.here.on(track), track.rule
        ends = []
        for segment, offset, mode in self._state.losses:
            ago = now.ms - now.segments[segment].base[now.timeline] - offset
            if weight := loss_weight(rule, mode, ago):
                ends.append((loss_ms(rule) - ago, weight))
        return ends

    def _wait_for_rest(
        self, track: Track, series: Series | None, half_life_ms: int, room: float
    ) -> int | None:
        if room <= 0 or series is None or series.wear is None:
            return None
        holds = self._unexpired(series)
        coming = sum(W_MAX if hold.level == 0 else IGNORED for hold in holds)
        now = self.here.times[VERIFIED].ms
        longest = max((self._state.expires(hold) - now for hold in holds), default=0)
        value = series.wear.at(self.here.on(track).ms) + coming
        rest = math.ceil(half_life_ms * math.log2(value / room)) if value > room else 0
        return longest + rest

    def _wait_for_unit(self, track: Track, series: Series | None, window: Calendar) -> int | None:
        """The first start of a unit, in any zone that matters, where enough no longer counts."""
        if series is None:
            return None
        now, rule = self.here.on(track), track.rule
        held = self._hold_waits(track, series)
        zones = {window.zone or now.zone or "UTC"}
        if window.zone is None:
            zones |= {entry.zone or "UTC" for entry in track.counted(series, now)}
        for start in _unit_starts(window, now.ms + max(held, default=0), zones):
            then = replace(now, ms=start)
            used = track.used(series, then) + self._after(track, held, window, start)
            if used + rule.weights.asked <= self.limit(rule):
                return start - now.ms
        return None

    def _after(self, track: Track, held: list[int], window: Calendar, start: int) -> int:
        """Holds, taken as shows at their expiry, that still count at `start`."""
        if not held:
            return 0
        now = self.here.on(track)
        zone = window.zone or now.zone or "UTC"
        days = unit_days(date_of(start, zone), window.unit, window.n, window.week_start)
        last = date_of(now.ms + max(held), zone)
        return len(held) * track.rule.weights.reservation if days[0] <= last else 0


def loss_ms(rule: Rule) -> int:
    """How long a loss of state counts against `rule`: its window, at most a day; -1: always."""
    match rule.window:
        case Sliding(ms) | Cooldown(ms) | Session(ms):
            return min(ms, MS_PER_DAY)
        case Lifetime():
            return -1
        case _:
            return MS_PER_DAY


def loss_weight(rule: Rule, mode: str, ago_ms: int) -> float:
    """What a loss of state counts under `rule`, `ago_ms` after it."""
    if 0 <= loss_ms(rule) <= ago_ms:
        return 0
    limit = Judge.limit(rule)
    if limit == FREE:
        return 0
    return limit if mode == "closed" else math.ceil(limit / 2)


def _unit_starts(window: Calendar, after: int, zones: set[str]) -> Iterator[int]:
    starts = []
    for zone in zones:
        day = date_of(after, zone)
        for _ in range(min(window.n, 400) + 1):
            day = unit_days(day, window.unit, 1, window.week_start)[1] + 1
            starts.append(day_start(day, zone))
    yield from sorted(starts)

"""What the vault says about shows: a fold over its records, and the tracks of the rules in use."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from tactful.device.caps.counting.fatigue import IGNORED, REACTIONS, SHOWN
from tactful.device.caps.counting.reservations import (
    Hold,
    HoldId,
    Outcome,
    Owner,
    Stamp,
)
from tactful.device.caps.counting.rule_counters import (
    CapKeys,
    Counted,
    RuleCounters,
    RuleInstant,
)
from tactful.device.caps.counting.user_blocks import UserBlocks
from tactful.device.caps.rules.model import (
    PRESUMED,
    W_MAX,
    Decay,
    EveryNth,
    Rule,
    Rules,
    Session,
)
from tactful.device.caps.rules.subject import CapSubject, Key, keys_of
from tactful.device.caps.timeline.segments import FULL, VERIFIED, Segment, Timeline

Plan = tuple[tuple[RuleCounters, tuple[Key, ...]], ...]
Asked = tuple[
    tuple[Key, ...] | None, ...
]  # the keys for each of `keyed`; None: it says nothing


MOST_KEPT = 200_000  # things whose keys are at hand


class RuleGroup(NamedTuple):
    """Rules that count by the same keys of the same things on one clock, and their places."""

    tracks: tuple[RuleCounters, ...]
    places: tuple[int, ...]  # of each among all rules
    holds: dict[Key, list[Hold]]  # that may still weigh for one of the rules
    touched: set[Key]
    known: set[Key]  # anything was ever counted of them
    seen: int  # the level from which on a hold weighs for none


class FatigueRules(NamedTuple):
    """The parts of a plan that a show adds to: rules that count it, and fatigue."""

    counted: Plan
    worn: Plan


class CounterState:
    """All that caps know at one position of the vault."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.keyed, self._group = _keyed(rules)
        self.tracks = _in_order(self.keyed)
        self._firsts = [one.tracks[0] for one in self.keyed]
        self.timeline = Timeline()
        self.position = 0
        self.things: list[CapSubject] = []
        self.thing_numbers: dict[CapSubject, int] = {}
        self.zones: list[str | None] = []
        self.owners: list[Owner] = []
        self.open: dict[HoldId, Hold] = {}  # neither released nor closed
        self.shows: dict[HoldId, Hold] = {}
        self.recover: Callable[[HoldId], Hold | None] = (
            _nothing  # of shows not kept at hand
        )
        self.slots: dict[HoldId, Hold] = {}  # not yet over, as far as fatigue knows
        self.next_end = self.next_slot = (
            math.inf
        )  # before, no open hold is over, and no slot
        self.opportunities: dict[tuple[str, Key], int] = {}
        self.activity: dict[tuple[int, int], tuple[int, int]] = {}
        self.feedback = UserBlocks()
        self.waiting: dict[
            tuple[str, str], int
        ] = {}  # (subject, item): canonical ms, full
        self.losses: list[tuple[int, int, str]] = []
        self.reserved = False  # something was, since verdicts were found
        self.unwritten: list[
            tuple[Hold, Outcome, Stamp]
        ] = []  # ended here, not yet written down
        self.timeline_known = False  # it was read beforehand, corrections included
        self.stale = False  # an anchor moved the past: fold again from the start
        self.paces = any(track.paces for track in self.tracks)
        self._wears = any(isinstance(rule.window, Decay) for rule in rules.rules)
        self._gaps = {
            r.window.gap_ms for r in rules.rules if isinstance(r.window, Session)
        }
        self._asked: dict[tuple[CapSubject, str, str], Asked] = {}
        self._plans: dict[tuple[CapSubject, str, str], Plan] = {}
        self._wearing: dict[tuple[CapSubject, str, str], FatigueRules] = {}
        self._fresh: list[Hold] = []  # not yet among the holds of their rules

    def plan(self, thing: CapSubject, surface: str, subject: str) -> Plan:
        """The rules that speak of `thing` on `surface`, each with the keys it counts by."""
        wanted = (thing, surface, subject)
        plan = self._plans.get(wanted)
        if plan is None:
            asked = self.asked(thing, surface, subject)
            pairs = zip(
                self.tracks, [asked[number] for number in self._group], strict=True
            )
            plan = tuple((track, keys) for track, keys in pairs if keys is not None)
            self._plans[wanted] = plan
        return plan

    def asked(self, thing: CapSubject, surface: str, subject: str) -> Asked:
        """The keys of `thing` on `surface` for each of `keyed`; None where no rule speaks of it."""
        wanted = (thing, surface, subject)
        asked = self._asked.get(wanted)
        if asked is None:
            if len(self._asked) > MOST_KEPT:
                for table in (self._asked, self._plans, self._wearing):
                    table.clear()
            known: dict[Counted, tuple[Key, ...]] = {}
            asked = self._asked[wanted] = tuple(
                [
                    None
                    if track.rule.match and not track.rule.matches(thing, surface)
                    else known.get(track.counts_by) or self._keys(track, wanted, known)
                    for track in self._firsts
                ]
            )
        return asked

    def _shown(self, hold: Hold) -> FatigueRules:
        wanted = (hold.thing, hold.surface, hold.subject)
        parts = self._wearing.get(wanted)
        if parts is None:
            plan = self.plan(*wanted)
            counted = [one for one in plan if _counts_shows(one[0].rule)]
            worn = [one for one in plan if isinstance(one[0].rule.window, Decay)]
            parts = self._wearing[wanted] = FatigueRules(tuple(counted), tuple(worn))
        return parts

    @staticmethod
    def _keys(
        track: RuleCounters,
        of: tuple[CapSubject, str, str],
        known: dict[Counted, tuple[Key, ...]],
    ) -> tuple[Key, ...]:
        """The keys of a thing on a surface for a subject; those of the rules before are `known`."""
        (thing, surface, subject), rule = of, track.rule
        whose = () if rule.partition == "device" else (subject,)
        keys = known[track.counts_by] = keys_of(thing, surface, rule.key, whose)
        return keys

    def learn(self, thing: CapSubject) -> None:
        """Number a thing that was just written down."""
        self.thing_numbers[thing] = len(self.things)
        self.things.append(thing)

    def expires(self, hold: Hold) -> int:
        """When `hold` ends, on the verified timeline."""
        return (
            self.timeline.segments[hold.stamp.segment].base[VERIFIED]
            + hold.stamp.offset
            + hold.ttl_ms
        )

    def hold(self, hold: Hold) -> None:
        """Take up an open hold; `attach` counts it."""
        self.open[hold.id] = self.shows[hold.id] = hold
        self.waiting.pop((hold.subject, hold.thing.item), None)
        self._fresh.append(hold)
        if self._wears:
            self.slots[hold.id] = hold
        self._expect(hold)

    def show(self, name: HoldId) -> Hold | None:
        """The show called `name`; one that is not at hand is looked up in the records."""
        hold = self.shows.get(name)
        if hold is None:
            hold = self.recover(name)
            if hold is not None:
                self.shows[name] = hold
        return hold

    def wait(self, subject: str, items: Iterable[str], stamp: tuple[int, int]) -> None:
        """Note that `items` could have been shown from `stamp` on, and got no slot."""
        at = self.timeline.segments[stamp[0]].base[FULL] + stamp[1]
        for item in items:
            self.waiting.setdefault((subject, item), at)

    def take(self, hold: Hold, *, waits: bool) -> None:
        """Take up a hold of a checkpoint; its shows are counted already, its slot may `wait`."""
        self.shows[hold.id] = hold
        if not hold.closed:
            self.open[hold.id] = hold
            self._fresh.append(hold)
        if waits:
            self.slots[hold.id] = hold
        self._expect(hold)

    def _expect(self, hold: Hold) -> None:
        end = self.expires(hold)
        self.next_end, self.next_slot = (
            min(self.next_end, end),
            min(self.next_slot, end),
        )

    def attach(self) -> None:
        """Count what is still held for every key it concerns; most holds of the past are over."""
        fresh, self._fresh = self._fresh, []
        self.reserved = self.reserved or bool(fresh)
        for hold in fresh:
            if not hold.closed:
                hold.attached = True
                for keyed, keys in self._concerns(hold):
                    keyed.touched.update(keys)
                    for key in keys if hold.level < keyed.seen else ():
                        keyed.holds.setdefault(key, []).append(hold)

    def _concerns(self, hold: Hold) -> Iterator[tuple[RuleGroup, tuple[Key, ...]]]:
        asked = self.asked(hold.thing, hold.surface, hold.subject)
        return (
            (one, keys) for one, keys in zip(self.keyed, asked, strict=True) if keys
        )

    def rename(self, hold: Hold, name: HoldId) -> None:
        """Give a hold the position of its record once that is known."""
        for table in (self.open, self.shows, self.slots):
            if table.pop(hold.id, None) is not None:
                table[name] = hold
        hold.id = name

    def end(self, hold: Hold) -> None:
        """Stop counting the hold itself."""
        self.open.pop(hold.id, None)
        hold.closed = True
        if hold.attached:
            for keyed, keys in self._concerns(hold):
                keyed.touched.update(keys)
                if hold.level < keyed.seen:
                    _let_go(keyed, keys, hold)

    def raise_level(self, hold: Hold, level: int, stamp: Stamp) -> None:
        """One show counts once: where a rule's evidence is reached for the first time."""
        before, hold.level, hold.seen = hold.level, max(hold.level, level), stamp
        if (
            hold.attached
        ):  # it may no longer be held for a rule, even where it does not count
            for keyed, keys in self._concerns(hold):
                keyed.touched.update(keys)
                if before < keyed.seen <= hold.level and not hold.closed:
                    _let_go(keyed, keys, hold)
        counted, worn = self._shown(hold)
        for track, keys in worn:
            for key in keys:
                self._wear_of_show(track, key, before, hold, stamp)
        for track, keys in counted:
            rule = track.rule
            if before < rule.min_level <= hold.level:
                at = self.at(stamp, track.timeline)
                for key in keys:
                    track.count(
                        key, stamp, at, rule.weights.impression, hold.thing.rank
                    )
        if before < 2 and hold.id not in self.slots:
            self._ignored(hold, stamp)

    def tally(
        self,
        thing: CapSubject,
        surface: str,
        subject: str,
        level: int,
        stamp: Stamp,
        shows: int,
    ) -> None:
        """Count old shows that were folded into one number."""
        for track, keys in self.plan(thing, surface, subject):
            rule, at = track.rule, self.at(stamp, track.timeline)
            for key in keys:
                wear = track.of(key).wear
                if wear is not None:
                    wear.add(at, (W_MAX if level > 1 else SHOWN) * shows)
                elif _counts_shows(rule) and level >= rule.min_level:
                    track.count(
                        key, stamp, at, rule.weights.impression * shows, thing.rank
                    )

    def _wear_of_show(
        self, track: RuleCounters, key: Key, before: int, hold: Hold, stamp: Stamp
    ) -> None:
        wear = track.of(key).wear
        if wear is None or before:
            return
        wear.add(
            self.at(stamp, track.timeline), W_MAX if hold.level == PRESUMED else SHOWN
        )

    def react(
        self, thing: CapSubject, surface: str, subject: str, kind: str, stamp: Stamp
    ) -> None:
        """Count a reaction where rules give it weight."""
        for track, keys in self.plan(thing, surface, subject):
            weight = track.rule.weights.reactions.get(kind, 0)
            for key in keys:
                if weight:
                    at = self.at(stamp, track.timeline)
                    track.count(key, stamp, at, weight, thing.rank)
                wear = (
                    track.of(key).wear if isinstance(track.rule.window, Decay) else None
                )
                if wear is not None and kind in REACTIONS:
                    wear.add(self.at(stamp, track.timeline), REACTIONS[kind])

    def at(self, stamp: Stamp, timeline: int) -> int:
        """Canonical time of `stamp`."""
        return self.timeline.segments[stamp.segment].base[timeline] + stamp.offset

    def offer(self, rule_id: str, key: Key) -> None:
        """Count one opportunity of an every-nth rule."""
        self.opportunities[rule_id, key] = self.opportunities.get((rule_id, key), 0) + 1

    def active(self, stamp: Stamp) -> None:
        """Someone was there: sessions go on, or begin."""
        for gap in self._gaps:
            for timeline in (FULL, VERIFIED):
                at = self.at(stamp, timeline)
                start, last = self.activity.get((gap, timeline), (at, at))
                if at - last >= gap:
                    start = at
                    self._begin_session(gap, timeline, at)
                self.activity[gap, timeline] = (start, max(last, at))

    def new_session(self, stamp: Stamp) -> None:
        """Every session begins anew here."""
        for gap in self._gaps:
            for timeline in (FULL, VERIFIED):
                at = self.at(stamp, timeline)
                self.activity[gap, timeline] = (at, at)
                self._begin_session(gap, timeline, at)

    def _begin_session(self, gap: int, timeline: int, start: int) -> None:
        for track in self.tracks:
            if track.timeline == timeline and track.rule.window == Session(gap):
                track.begin_session(start)

    def close_slots(self, now_verified: int) -> None:
        """Fatigue of shows whose slot ended by `now_verified` without any action."""
        if now_verified < self.next_slot:
            return
        ends = [(self.expires(hold), hold) for hold in self.slots.values()]
        for end, hold in ends:
            if end <= now_verified:
                self._close_slot(hold)
        self.next_slot = min(
            (end for end, _ in ends if end > now_verified), default=math.inf
        )

    def _close_slot(self, hold: Hold) -> None:
        if self.slots.pop(hold.id, None) is not None:
            self._ignored(hold, hold.stamp, hold.ttl_ms)

    def _ignored(self, hold: Hold, stamp: Stamp, later_ms: int = 0) -> None:
        if hold.acted or hold.level not in (2, 3):
            return
        for track, keys in self._shown(hold).worn:
            for key in keys:
                wear = track.of(key).wear
                if wear is not None:
                    wear.add(self.at(stamp, track.timeline) + later_ms, IGNORED)

    def overdue(self, now_verified: int) -> list[Hold]:
        """Open holds whose time is over; they are to be closed."""
        if now_verified < self.next_end:
            return []
        ends = [(self.expires(hold), hold) for hold in self.open.values()]
        self.next_end = min((end for end, _ in ends), default=math.inf)
        return [hold for end, hold in ends if end <= now_verified]

    def now(
        self,
        reading_ms: int,
        timeline: int,
        zone: str | None,
        segments: tuple[Segment, ...],
    ) -> RuleInstant:
        """The moment of decision at canonical time `reading_ms`."""
        starts = {
            gap: start if reading_ms - last < gap else reading_ms
            for (gap, of), (start, last) in self.activity.items()
            if of == timeline
        }
        return RuleInstant(segments, timeline, reading_ms, zone, starts)

    def close(self, hold: Hold, outcome: str, day: int, verified_day: int) -> None:
        """End `hold`; a presumed one was seen, for all we know, at its expiry on `day`."""
        if outcome == "released":
            hold.released = True
            self.slots.pop(hold.id, None)
        else:
            self._close_slot(hold)
        if outcome == "presumed" and not hold.released and hold.level < PRESUMED:
            offset = hold.stamp.offset + hold.ttl_ms
            stamp = hold.stamp._replace(
                offset=offset, day=day, verified_day=verified_day
            )
            self.raise_level(hold, PRESUMED, stamp)
        self.end(hold)


def _keyed(rules: Rules) -> tuple[tuple[RuleGroup, ...], list[int]]:
    """The tracks of `rules`, those together that count by the same keys; and where each rule is."""
    shared: dict[object, CapKeys] = {}
    tracks: dict[object, list[tuple[RuleCounters, int]]] = {}
    names: list[object] = []
    for place, rule in enumerate(rules.rules):
        match = tuple(
            sorted((name, tuple(sorted(v))) for name, v in rule.match.items())
        )
        name = (rule.key, rule.partition, rules.timeline(rule), match)
        track = RuleCounters(
            rule, rules.timeline(rule), shared.setdefault(name, CapKeys())
        )
        tracks.setdefault(name, []).append((track, place))
        names.append(name)
    found = tuple(
        RuleGroup(
            tuple(track for track, _ in pairs),
            tuple(place for _, place in pairs),
            shared[name].holds,
            shared[name].touched,
            shared[name].known,
            max(_seen(track) for track, _ in pairs),
        )
        for name, pairs in tracks.items()
    )
    numbers = {name: number for number, name in enumerate(tracks)}
    return found, [numbers[name] for name in names]


def _seen(track: RuleCounters) -> int:
    """The level of a hold that no longer weighs; for wear each weighs until it ends."""
    return PRESUMED + 1 if track.decays else track.rule.min_level


def _let_go(keyed: RuleGroup, keys: Iterable[Key], hold: Hold) -> None:
    for key in keys:
        left = [one for one in keyed.holds.pop(key, ()) if one is not hold]
        if left:
            keyed.holds[key] = left


def _in_order(keyed: Iterable[RuleGroup]) -> list[RuleCounters]:
    """All tracks in the order of their rules."""
    pairs = [pair for one in keyed for pair in zip(one.places, one.tracks, strict=True)]
    return [track for _, track in sorted(pairs, key=lambda pair: pair[0])]


def _nothing(_: HoldId) -> None:
    return None


def _counts_shows(rule: Rule) -> bool:
    return rule.weights.impression > 0 and not isinstance(rule.window, Decay | EveryNth)

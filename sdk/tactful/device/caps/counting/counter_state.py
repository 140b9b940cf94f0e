"""State of all frequency caps: a projection of the vault's records."""

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
    KeyDefinition,
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

# The rules that match a subject, each with the keys it counts by.
MatchingRules = tuple[tuple[RuleCounters, tuple[Key, ...]], ...]
# The keys for each rule group; None where the rules of the group do not match.
KeysByGroup = tuple[tuple[Key, ...] | None, ...]
# An item, a surface and the profile of the person.
Occasion = tuple[CapSubject, str, str]

MAX_CACHED_OCCASIONS = 200_000


class RuleGroup(NamedTuple):
    """Rules that match the same items and count by the same keys on one timeline."""

    counters: tuple[RuleCounters, ...]
    rule_numbers: tuple[int, ...]  # the position of each rule among all rules
    holds: dict[Key, list[Hold]]  # holds that may still count for one of the rules
    changed_keys: set[Key]  # changed since decisions were cached
    counted_keys: set[Key]  # at least one event was counted
    impression_level: int  # from this level on a hold counts as an impression instead


class FatigueRules(NamedTuple):
    """The matching rules that an impression changes: by its weight, or by fatigue."""

    counted: MatchingRules
    decaying: MatchingRules


class CounterState:
    """All that frequency caps know at one position of the vault."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.groups, self._group_numbers = _grouped(rules)
        self.rule_counters = _in_rule_order(self.groups)
        self._first_counters = [group.counters[0] for group in self.groups]
        self.timeline = Timeline()
        self.position = 0
        self.cap_subjects: list[CapSubject] = []
        self.cap_subject_numbers: dict[CapSubject, int] = {}
        self.zones: list[str | None] = []
        self.owners: list[Owner] = []
        self.open_holds: dict[HoldId, Hold] = {}  # neither released nor closed
        self.holds_by_id: dict[HoldId, Hold] = {}  # also closed ones
        # Reads a hold that is too old for `holds_by_id` from the records.
        self.load_hold: Callable[[HoldId], Hold | None] = _no_hold
        # Holds that add fatigue if they end without a reaction.
        self.pending_fatigue: dict[HoldId, Hold] = {}
        # No open hold expires, and no pending fatigue is due, before these times.
        self.next_expiry_ms: float = math.inf
        self.next_fatigue_ms: float = math.inf
        self.opportunities: dict[tuple[str, Key], int] = {}
        # (session gap, timeline): start and last activity of the newest session.
        self.activity: dict[tuple[int, int], tuple[int, int]] = {}
        self.user_blocks = UserBlocks()
        # (subject, item): since when it is eligible without a place, on `FULL`.
        self.waiting_since: dict[tuple[str, str], int] = {}
        self.losses: list[tuple[int, int, str]] = []
        self.holds_added = False  # since decisions were cached
        # Holds that this process closed and that have no `close` record yet.
        self.unwritten_closes: list[tuple[Hold, Outcome, Stamp]] = []
        # True while the timeline was already read in full, corrections included.
        self.timeline_is_final = False
        # True if a correction moved the past, so that everything must be counted again.
        self.stale = False
        self.has_every_nth = any(
            counters.is_every_nth for counters in self.rule_counters
        )
        self._has_decay = any(counters.is_decay for counters in self.rule_counters)
        self._session_gaps_ms = {
            rule.window.gap_ms
            for rule in rules.rules
            if isinstance(rule.window, Session)
        }
        self._keys_cache: dict[Occasion, KeysByGroup] = {}
        self._unindexed_holds: list[Hold] = []

    def matching_rules(
        self, cap_subject: CapSubject, surface: str, subject: str
    ) -> MatchingRules:
        """Return the rules that match, each with the keys it counts by."""
        keys_by_group = self.keys_by_group(cap_subject, surface, subject)
        keys_by_rule = [keys_by_group[number] for number in self._group_numbers]
        return tuple(
            (counters, keys)
            for counters, keys in zip(self.rule_counters, keys_by_rule, strict=True)
            if keys is not None
        )

    def keys_by_group(
        self, cap_subject: CapSubject, surface: str, subject: str
    ) -> KeysByGroup:
        """Return the keys of an item for each rule group; None where it does not match.

        `subject` is the profile of the person.
        """
        occasion = (cap_subject, surface, subject)
        keys_by_group = self._keys_cache.get(occasion)
        if keys_by_group is None:
            if len(self._keys_cache) > MAX_CACHED_OCCASIONS:
                self._keys_cache.clear()
            # Groups often differ only in timeline or match, so they share keys.
            computed: dict[KeyDefinition, tuple[Key, ...]] = {}
            keys_by_group = tuple(
                [
                    self._group_keys(counters, occasion, computed)
                    for counters in self._first_counters
                ]
            )
            self._keys_cache[occasion] = keys_by_group
        return keys_by_group

    @staticmethod
    def _group_keys(
        counters: RuleCounters,
        occasion: Occasion,
        computed: dict[KeyDefinition, tuple[Key, ...]],
    ) -> tuple[Key, ...] | None:
        """Return the keys of a group, given those of the groups before it."""
        cap_subject, surface, subject = occasion
        rule = counters.rule
        if rule.match and not rule.matches(cap_subject, surface):
            return None
        keys = computed.get(counters.key_definition)
        if keys is None:
            prefix = () if rule.partition == "device" else (subject,)
            keys = keys_of(cap_subject, surface, rule.key, prefix)
            computed[counters.key_definition] = keys
        return keys

    def _fatigue_rules(self, hold: Hold) -> FatigueRules:
        matching = self.matching_rules(hold.cap_subject, hold.surface, hold.subject)
        counted = [pair for pair in matching if _counts_impressions(pair[0].rule)]
        decaying = [pair for pair in matching if pair[0].is_decay]
        return FatigueRules(tuple(counted), tuple(decaying))

    def intern(self, cap_subject: CapSubject) -> None:
        """Give the next number to a subject that was just recorded."""
        self.cap_subject_numbers[cap_subject] = len(self.cap_subjects)
        self.cap_subjects.append(cap_subject)

    def expires_at(self, hold: Hold) -> int:
        """Return the canonical time at which `hold` expires, on `VERIFIED`."""
        return self.canonical_ms(hold.stamp, VERIFIED) + hold.ttl_ms

    def add_hold(self, hold: Hold) -> None:
        """Add an open hold; it counts once `index` is called."""
        self.open_holds[hold.id] = self.holds_by_id[hold.id] = hold
        self.waiting_since.pop((hold.subject, hold.cap_subject.item), None)
        self._unindexed_holds.append(hold)
        if self._has_decay:
            self.pending_fatigue[hold.id] = hold
        self._expect_expiry(hold)

    def add_indexed_hold(self, hold: Hold) -> None:
        """Add an open hold that counts at once."""
        self.add_hold(hold)
        self.index()

    def find_hold(self, hold_id: HoldId) -> Hold | None:
        """Return the hold with `hold_id`; an old one is read from the records."""
        hold = self.holds_by_id.get(hold_id)
        if hold is None:
            hold = self.load_hold(hold_id)
            if hold is not None:
                self.holds_by_id[hold_id] = hold
        return hold

    def add_waiting(
        self, subject: str, items: Iterable[str], place: tuple[int, int]
    ) -> None:
        """Note that `items` were eligible at `place` (segment, offset), not shown."""
        segment, offset = place
        at = self.timeline.segments[segment].base[FULL] + offset
        for item in items:
            self.waiting_since.setdefault((subject, item), at)

    def restore(self, hold: Hold, *, fatigue_pending: bool) -> None:
        """Add a hold of a checkpoint; its impressions are counted already."""
        self.holds_by_id[hold.id] = hold
        if not hold.closed:
            self.open_holds[hold.id] = hold
            self._unindexed_holds.append(hold)
        if fatigue_pending:
            self.pending_fatigue[hold.id] = hold
        self._expect_expiry(hold)

    def _expect_expiry(self, hold: Hold) -> None:
        expiry_ms = self.expires_at(hold)
        self.next_expiry_ms = min(self.next_expiry_ms, expiry_ms)
        self.next_fatigue_ms = min(self.next_fatigue_ms, expiry_ms)

    def index(self) -> None:
        """List new open holds under all their keys, so that they count.

        This is deferred because most holds in the records are closed by later records.
        """
        new_holds, self._unindexed_holds = self._unindexed_holds, []
        self.holds_added = self.holds_added or bool(new_holds)
        for hold in new_holds:
            if hold.closed:
                continue
            hold.indexed = True
            for group, keys in self._matching_groups(hold):
                group.changed_keys.update(keys)
                if hold.level < group.impression_level:
                    for key in keys:
                        group.holds.setdefault(key, []).append(hold)

    def _matching_groups(
        self, hold: Hold
    ) -> Iterator[tuple[RuleGroup, tuple[Key, ...]]]:
        keys_by_group = self.keys_by_group(hold.cap_subject, hold.surface, hold.subject)
        for group, keys in zip(self.groups, keys_by_group, strict=True):
            if keys:
                yield group, keys

    def move_holds(self, holds: Iterable[Hold], position: int) -> None:
        """Change the ids of `holds`, once the position of their record is known."""
        for hold in holds:
            _, slot = hold.id
            hold_id = position, slot
            for by_id in (self.open_holds, self.holds_by_id, self.pending_fatigue):
                if by_id.pop(hold.id, None) is not None:
                    by_id[hold_id] = hold
            hold.id = hold_id

    def _end_hold(self, hold: Hold) -> None:
        """Stop counting the hold itself."""
        self.open_holds.pop(hold.id, None)
        hold.closed = True
        if hold.indexed:
            for group, keys in self._matching_groups(hold):
                group.changed_keys.update(keys)
                if hold.level < group.impression_level:
                    _remove_hold(group, keys, hold)

    def raise_level(self, hold: Hold, level: int, stamp: Stamp) -> None:
        """Raise the evidence of `hold` to `level` and count its impression.

        An impression counts once for each rule: when it first reaches the evidence that
        the rule requires.
        """
        level_before = hold.level
        hold.level = max(level_before, level)
        hold.shown_at = stamp
        if hold.indexed:
            self._update_index(hold, level_before)
        counted, decaying = self._fatigue_rules(hold)
        if level_before == 0:
            self._add_impression_fatigue(decaying, hold, stamp)
        for counters, keys in counted:
            rule = counters.rule
            if level_before < rule.min_level <= hold.level:
                at = self.canonical_ms(stamp, counters.timeline)
                weight = rule.weights.impression
                for key in keys:
                    counters.add_event(key, stamp, at, weight, hold.cap_subject.rank)
        if level_before < 2 and hold.id not in self.pending_fatigue:
            self._add_ignored_fatigue(hold, stamp)

    def _update_index(self, hold: Hold, level_before: int) -> None:
        """Remove `hold` from groups for which it now counts as an impression.

        Its keys change in any case, even where the impression does not count.
        """
        for group, keys in self._matching_groups(hold):
            group.changed_keys.update(keys)
            if level_before < group.impression_level <= hold.level and not hold.closed:
                _remove_hold(group, keys, hold)

    def add_total(
        self,
        cap_subject: CapSubject,
        surface: str,
        subject: str,
        level: int,
        stamp: Stamp,
        impressions: int,
    ) -> None:
        """Count a daily total of old impressions."""
        matching = self.matching_rules(cap_subject, surface, subject)
        for counters, keys in matching:
            rule = counters.rule
            at = self.canonical_ms(stamp, counters.timeline)
            for key in keys:
                fatigue = counters.counter_to_change(key).fatigue
                if fatigue is not None:
                    fatigue.add(at, (W_MAX if level > 1 else SHOWN) * impressions)
                elif _counts_impressions(rule) and level >= rule.min_level:
                    weight = rule.weights.impression * impressions
                    counters.add_event(key, stamp, at, weight, cap_subject.rank)

    def _add_impression_fatigue(
        self, decaying: MatchingRules, hold: Hold, stamp: Stamp
    ) -> None:
        weight = W_MAX if hold.level == PRESUMED else SHOWN
        for counters, keys in decaying:
            at = self.canonical_ms(stamp, counters.timeline)
            for key in keys:
                fatigue = counters.counter_to_change(key).fatigue
                if fatigue is not None:
                    fatigue.add(at, weight)

    def add_reaction(
        self,
        cap_subject: CapSubject,
        surface: str,
        subject: str,
        kind: str,
        stamp: Stamp,
    ) -> None:
        """Count a reaction where rules give it weight."""
        matching = self.matching_rules(cap_subject, surface, subject)
        for counters, keys in matching:
            weight = counters.rule.weights.reactions.get(kind, 0)
            at = self.canonical_ms(stamp, counters.timeline)
            for key in keys:
                if weight:
                    counters.add_event(key, stamp, at, weight, cap_subject.rank)
                if not counters.is_decay:
                    continue
                fatigue = counters.counter_to_change(key).fatigue
                if fatigue is not None and kind in REACTIONS:
                    fatigue.add(at, REACTIONS[kind])

    def canonical_ms(self, stamp: Stamp, timeline: int) -> int:
        """Return the canonical time of `stamp` on `timeline`."""
        return self.timeline.segments[stamp.segment].base[timeline] + stamp.offset

    def add_opportunity(self, rule_id: str, key: Key) -> None:
        """Count one opportunity of an every-nth rule."""
        count = self.opportunities.get((rule_id, key), 0)
        self.opportunities[rule_id, key] = count + 1

    def add_activity(self, stamp: Stamp) -> None:
        """Note activity of the person: it continues a session or starts a new one."""
        for gap_ms in self._session_gaps_ms:
            for timeline in (FULL, VERIFIED):
                at = self.canonical_ms(stamp, timeline)
                start, last = self.activity.get((gap_ms, timeline), (at, at))
                if at - last >= gap_ms:
                    start = at
                    self._start_session(gap_ms, timeline, at)
                self.activity[gap_ms, timeline] = (start, max(last, at))

    def start_sessions(self, stamp: Stamp) -> None:
        """Start a new session for every gap and timeline."""
        for gap_ms in self._session_gaps_ms:
            for timeline in (FULL, VERIFIED):
                at = self.canonical_ms(stamp, timeline)
                self.activity[gap_ms, timeline] = (at, at)
                self._start_session(gap_ms, timeline, at)

    def _start_session(self, gap_ms: int, timeline: int, start: int) -> None:
        window = Session(gap_ms)
        for counters in self.rule_counters:
            if counters.timeline == timeline and counters.rule.window == window:
                counters.start_session(start)

    def add_due_fatigue(self, now_verified_ms: int) -> None:
        """Add the fatigue of impressions that ended without a reaction by now."""
        if now_verified_ms < self.next_fatigue_ms:
            return
        expiries = [
            (self.expires_at(hold), hold) for hold in self.pending_fatigue.values()
        ]
        for expiry_ms, hold in expiries:
            if expiry_ms <= now_verified_ms:
                self._end_pending_fatigue(hold)
        later = (expiry for expiry, _ in expiries if expiry > now_verified_ms)
        self.next_fatigue_ms = min(later, default=math.inf)

    def _end_pending_fatigue(self, hold: Hold) -> None:
        if self.pending_fatigue.pop(hold.id, None) is not None:
            self._add_ignored_fatigue(hold, hold.stamp, hold.ttl_ms)

    def _add_ignored_fatigue(self, hold: Hold, stamp: Stamp, later_ms: int = 0) -> None:
        """Add the fatigue of a viewable or attended impression without a reaction."""
        if hold.reacted or hold.level not in (2, 3):
            return
        for counters, keys in self._fatigue_rules(hold).decaying:
            at = self.canonical_ms(stamp, counters.timeline) + later_ms
            for key in keys:
                fatigue = counters.counter_to_change(key).fatigue
                if fatigue is not None:
                    fatigue.add(at, IGNORED)

    def expired_holds(self, now_verified_ms: int) -> list[Hold]:
        """Return the open holds that have expired and must be closed."""
        if now_verified_ms < self.next_expiry_ms:
            return []
        expiries = [(self.expires_at(hold), hold) for hold in self.open_holds.values()]
        self.next_expiry_ms = min((expiry for expiry, _ in expiries), default=math.inf)
        return [hold for expiry, hold in expiries if expiry <= now_verified_ms]

    def instant(
        self,
        now_ms: int,
        timeline: int,
        zone: str | None,
        segments: tuple[Segment, ...],
    ) -> RuleInstant:
        """Return the moment of decision at canonical time `now_ms`."""
        session_starts = {
            gap_ms: start if now_ms - last < gap_ms else now_ms
            for (gap_ms, of_timeline), (start, last) in self.activity.items()
            if of_timeline == timeline
        }
        return RuleInstant(segments, timeline, now_ms, zone, session_starts)

    def close(self, hold: Hold, outcome: str, day: int, verified_day: int) -> None:
        """Close `hold` with an outcome.

        A presumed hold counts as an impression at its expiry, on local date `day`.
        """
        if outcome == "released":
            hold.released = True
            self.pending_fatigue.pop(hold.id, None)
        else:
            self._end_pending_fatigue(hold)
        if outcome == "presumed" and not hold.released and hold.level < PRESUMED:
            expiry = hold.stamp._replace(
                offset=hold.stamp.offset + hold.ttl_ms,
                day=day,
                verified_day=verified_day,
            )
            self.raise_level(hold, PRESUMED, expiry)
        self._end_hold(hold)


def _grouped(rules: Rules) -> tuple[tuple[RuleGroup, ...], list[int]]:
    """Return the rule groups of `rules`, and the group number of each rule."""
    keys_by_name: dict[object, CapKeys] = {}
    members: dict[object, list[tuple[RuleCounters, int]]] = {}
    group_names: list[object] = []
    for rule_number, rule in enumerate(rules.rules):
        timeline = rules.timeline(rule)
        name = (rule.key, rule.partition, timeline, _comparable_match(rule))
        keys = keys_by_name.setdefault(name, CapKeys())
        counters = RuleCounters(rule, timeline, keys)
        members.setdefault(name, []).append((counters, rule_number))
        group_names.append(name)
    groups = tuple(_group(pairs, keys_by_name[name]) for name, pairs in members.items())
    numbers = {name: number for number, name in enumerate(members)}
    return groups, [numbers[name] for name in group_names]


def _comparable_match(rule: Rule) -> tuple[tuple[str, tuple[str, ...]], ...]:
    items = [(name, tuple(sorted(values))) for name, values in rule.match.items()]
    return tuple(sorted(items))


def _group(pairs: list[tuple[RuleCounters, int]], keys: CapKeys) -> RuleGroup:
    return RuleGroup(
        counters=tuple(counters for counters, _ in pairs),
        rule_numbers=tuple(number for _, number in pairs),
        holds=keys.holds,
        changed_keys=keys.changed,
        counted_keys=keys.counted,
        impression_level=max(_impression_level(counters) for counters, _ in pairs),
    )


def _impression_level(counters: RuleCounters) -> int:
    """Return the level from which on a hold counts as an impression instead.

    Under a decay rule each hold counts until it ends.
    """
    return PRESUMED + 1 if counters.is_decay else counters.rule.min_level


def _remove_hold(group: RuleGroup, keys: Iterable[Key], hold: Hold) -> None:
    for key in keys:
        holds = group.holds.pop(key, ())
        remaining = [other for other in holds if other is not hold]
        if remaining:
            group.holds[key] = remaining


def _in_rule_order(groups: Iterable[RuleGroup]) -> list[RuleCounters]:
    """Return the counters of all groups in the order of their rules."""
    by_number: dict[int, RuleCounters] = {}
    for group in groups:
        by_number.update(zip(group.rule_numbers, group.counters, strict=True))
    return [by_number[number] for number in sorted(by_number)]


def _no_hold(_: HoldId) -> None:
    return None


def _counts_impressions(rule: Rule) -> bool:
    if isinstance(rule.window, Decay | EveryNth):
        return False
    return rule.weights.impression > 0

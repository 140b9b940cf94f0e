"""May this be shown now? Every reason against it: identity, quiet hours, feedback, then rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from tactful.device.caps.counting.counter_state import CounterState, RuleGroup
from tactful.device.caps.counting.rule_counters import RuleCounters
from tactful.device.caps.counting.user_blocks import wait_ms as block_wait_ms
from tactful.device.caps.deciding.explain_denial import DenialExplainer, RuleDenial
from tactful.device.caps.deciding.quiet_hours import quiet_wait_ms
from tactful.device.caps.deciding.remaining import CRITICAL, UNLIMITED, DecisionContext
from tactful.device.caps.rules.model import EveryNth, QuietHours
from tactful.device.caps.rules.subject import CapSubject, Key
from tactful.device.caps.timeline.segments import FULL

NONE = 1 << 30  # in the place of a rule that refuses: none does


@dataclass(frozen=True, slots=True)
class Allowance:
    """How much one rule has used for an item, and leaves; `left` None is unlimited."""

    rule_id: str
    used: float
    limit: float | None
    left: float | None


class RuleEvaluator(DenialExplainer):
    """Answers for one moment; remembers what it found until something is reserved."""

    def __init__(self, state: CounterState, here: DecisionContext) -> None:
        super().__init__(state, here)
        self._strange: dict[tuple[int, int], int] = {}  # by rules and class
        self.chances: dict[
            tuple[str, Key], bool
        ] = {}  # opportunities offered; True once taken

    def refusal(self, thing: CapSubject) -> RuleDenial | None:
        """The first reason against `thing`, None if there is none."""
        early = (
            None if self.calm and thing.item else next(self.before_rules(thing), None)
        )
        return early or self.rule_refusal(thing)

    @cached_property
    def calm(self) -> bool:
        """Whether only rules can refuse anything that has a name."""
        return not self._quiet and self._state.feedback.silent

    def before_rules(self, thing: CapSubject) -> Iterator[RuleDenial]:
        """The reasons against `thing` that no rule gives: identity, quiet hours, feedback."""
        if not thing.item:
            yield RuleDenial("INVALID_ITEM")
        yield from self._quiet
        if thing.rank < CRITICAL and not self._state.feedback.silent:
            yield from self._blocked(thing)

    def refusals(self, thing: CapSubject) -> Iterator[RuleDenial]:
        """Every reason against `thing`: identity, quiet hours, feedback, then rules in order."""
        yield from self.before_rules(thing)
        if thing.item:
            yield from self._rule_refusals(thing)

    def rule_refusal(
        self, thing: CapSubject, *, since: bool = False
    ) -> RuleDenial | None:
        """The first rule against `thing`, those that pace apart.

        Of one that no rule was against, `since` asks those alone that were touched since then.
        """
        first, rank = NONE, thing.rank
        by: Key = ()
        asked = self._state.asked(thing, self.here.surface, self.here.subject)
        for one, keys in zip(self._state.keyed, asked, strict=True):
            for key in keys or ():
                place = (
                    NONE
                    if since and key not in one.touched
                    else self._against(one, key, rank)
                )
                if place < first:
                    first, by = place, key
        return (
            None if first == NONE else self.explain(self._state.tracks[first], by, rank)
        )

    def _against(self, keyed: RuleGroup, key: Key, rank: int) -> int:
        """The place of the first of these rules without room; the same for all never shown."""
        if key in keyed.known or key in keyed.holds:
            return self._first_full(keyed, key, rank)
        place = self._strange.get((id(keyed), rank))
        if place is None:
            place = self._strange[id(keyed), rank] = self._first_full(keyed, key, rank)
        return place

    def _first_full(self, keyed: RuleGroup, key: Key, rank: int) -> int:
        for track, place in zip(keyed.tracks, keyed.places, strict=True):
            if not (track.paces or self._fits(track, key, rank)):
                return place
        return NONE

    def _rule_refusals(self, thing: CapSubject) -> Iterator[RuleDenial]:
        for track, keys in self._plan(thing):
            if track.paces:
                continue
            for key in keys:
                if not self._fits(track, key, thing.rank):
                    yield self.explain(track, key, thing.rank)

    def offered(self, thing: CapSubject) -> RuleDenial | None:
        """Count the opportunity that every-nth rules see here; the first of them that refuses.

        Counted once per decision and key, whether or not it is taken; taken at most once.
        """
        if not self._state.paces:
            return None
        paced = list(self._paced(thing))
        for track, key in paced:
            if (track.rule.id, key) not in self.chances:
                self.chances[track.rule.id, key] = False
                self._state.offer(track.rule.id, key)
        for track, key in paced:
            count = self._state.opportunities[track.rule.id, key]
            if self.chances[track.rule.id, key] or not self._turn_of(
                track, key, count, thing
            ):
                return self._out_of_turn(track, key, count)
        for track, key in paced:
            self.chances[track.rule.id, key] = True
        return None

    def pace(self, thing: CapSubject) -> Iterator[RuleDenial]:
        """What every-nth rules would say at the next opportunity; nothing is counted."""
        for track, key in self._paced(thing):
            count = self._state.opportunities.get((track.rule.id, key), 0) + 1
            if not self._turn_of(track, key, count, thing):
                yield self._out_of_turn(track, key, count)

    def _paced(self, thing: CapSubject) -> Iterator[tuple[RuleCounters, Key]]:
        for track, keys in self._plan(thing):
            if track.paces:
                yield from ((track, key) for key in keys)

    def _turn_of(
        self, track: RuleCounters, key: Key, count: int, thing: CapSubject
    ) -> bool:
        window, exempt = track.rule.window, track.rule.exempt
        if isinstance(window, EveryNth) and count % window.n == 0:
            return True
        return (
            exempt is not None
            and thing.rank >= exempt.rank
            and self._quota_fits(track, key)
        )

    @staticmethod
    def _out_of_turn(track: RuleCounters, key: Key, count: int) -> RuleDenial:
        n = track.rule.window.n if isinstance(track.rule.window, EveryNth) else 1
        return RuleDenial(
            track.rule.reason_code, track.rule, key, count % n, n, wait_ms=0
        )

    def rooms(self, thing: CapSubject) -> Iterator[Allowance]:
        """What each rule has used for `thing`, and leaves."""
        for track, keys in self._plan(thing):
            for key in () if track.paces else keys:
                used = self.used(track, key) + self._lost(track, thing.rank)
                limit = self.limit(track.rule)
                kept = self._headroom(track, thing.rank)
                left = None if limit == UNLIMITED else limit - kept - used
                yield Allowance(
                    track.rule.id, used, None if limit == UNLIMITED else limit, left
                )

    @cached_property
    def _quiet(self) -> tuple[RuleDenial, ...]:
        """Quiet hours by the civil time shown and, once verified, by the true one."""
        return tuple(
            refusal
            for quiet in self._state.rules.quiet_hours
            if self.here.surface in quiet.surfaces and quiet.behaviour != "silent"
            for refusal in self._kept_quiet(quiet)
        )

    def _kept_quiet(self, quiet: QuietHours) -> Iterator[RuleDenial]:
        zone = quiet.zone or self.here.times[FULL].zone
        if zone is None:
            if self.here.interruptive:
                yield RuleDenial("QUIET_HOURS")
            return
        wait = max(quiet_wait_ms(quiet, at, zone) for at in self.here.civil_ms)
        if wait:
            yield RuleDenial("QUIET_HOURS", wait_ms=wait + self.here.jitter(quiet))

    def _blocked(self, thing: CapSubject) -> Iterator[RuleDenial]:
        now = self.here.feedback
        for block in self._state.feedback.blocks(
            thing, self.here.surface, self.here.subject
        ):
            wait = block_wait_ms(
                block, now.ms, lambda s, o: now.segments[s].base[now.timeline] + o
            )
            if wait is None or wait > 0:
                yield RuleDenial(block.reason_code, wait_ms=wait)

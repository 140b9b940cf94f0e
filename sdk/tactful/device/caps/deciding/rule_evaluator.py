"""Evaluation of all reasons against an item: id, quiet hours, user blocks, rules."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from tactful.device.caps.counting.counter_state import CounterState, RuleGroup
from tactful.device.caps.counting.rule_counters import RuleCounters
from tactful.device.caps.counting.user_blocks import wait_ms as block_wait_ms
from tactful.device.caps.deciding.explain_denial import DenialExplainer, RuleDenial
from tactful.device.caps.deciding.quiet_hours import quiet_wait_ms
from tactful.device.caps.deciding.remaining import (
    CRITICAL,
    UNLIMITED,
    DecisionContext,
    RemainingAllowance,
    limit_of,
)
from tactful.device.caps.rules.model import EveryNth, QuietHours
from tactful.device.caps.rules.subject import CapSubject, Key
from tactful.device.caps.timeline.segments import FULL

NO_RULE = 1 << 30  # in place of the number of a denying rule; above all rule numbers


@dataclass(frozen=True, slots=True)
class Allowance:
    """Use of one rule for an item, and what is left; `left` None is unlimited."""

    rule_id: str
    used: float
    limit: float | None
    left: float | None


class RuleEvaluator:
    """Evaluation of items at one moment; results are cached until a hold is added."""

    def __init__(self, state: CounterState, context: DecisionContext) -> None:
        self.context = context
        self.remaining = RemainingAllowance(state, context)
        self.explainer = DenialExplainer(state, context, self.remaining)
        # Opportunities of every-nth rules that were offered; True once taken.
        self.opportunities: dict[tuple[str, Key], bool] = {}
        self._state = state
        # By id of the rule group and class: the first rule that denies any key of which
        # nothing was ever counted. All such keys get the same answer.
        self._denies_uncounted: dict[tuple[int, int], int] = {}

    def first_denial(self, cap_subject: CapSubject) -> RuleDenial | None:
        """Return the first reason against an item, ignoring every-nth rules."""
        denial = self.first_denial_before_rules(cap_subject)
        return denial or self.first_rule_denial(cap_subject)

    def first_denial_before_rules(self, cap_subject: CapSubject) -> RuleDenial | None:
        """Return the first reason against an item that is not a rule."""
        if self._only_rules_can_deny and cap_subject.item:
            return None
        return next(self._denials_before_rules(cap_subject), None)

    @cached_property
    def _only_rules_can_deny(self) -> bool:
        """True if only rules can deny an item with an id."""
        return not self._quiet_hours_denials and self._state.user_blocks.is_empty

    def denials(self, cap_subject: CapSubject) -> Iterator[RuleDenial]:
        """Yield every reason against an item, ignoring every-nth rules."""
        yield from self._denials_before_rules(cap_subject)
        if cap_subject.item:
            yield from self._rule_denials(cap_subject)

    def _denials_before_rules(self, cap_subject: CapSubject) -> Iterator[RuleDenial]:
        if not cap_subject.item:
            yield RuleDenial("INVALID_ITEM")
        yield from self._quiet_hours_denials
        if cap_subject.rank < CRITICAL and not self._state.user_blocks.is_empty:
            yield from self._user_block_denials(cap_subject)

    def first_rule_denial(
        self, cap_subject: CapSubject, *, changed_only: bool = False
    ) -> RuleDenial | None:
        """Return the denial of the first rule that denies, ignoring every-nth rules.

        With `changed_only`, evaluate only keys that changed since decisions were
        cached. It is sufficient for an item that no rule denied then.
        """
        first = NO_RULE
        first_key: Key = ()
        rank = cap_subject.rank
        keys_by_group = self._state.keys_by_group(
            cap_subject, self.context.surface, self.context.subject
        )
        for group, keys in zip(self._state.groups, keys_by_group, strict=True):
            for key in keys or ():
                if changed_only and key not in group.changed_keys:
                    continue
                rule_number = self._first_denying_rule(group, key, rank)
                if rule_number < first:
                    first, first_key = rule_number, key
        if first == NO_RULE:
            return None
        return self.explainer.explain(self._state.rule_counters[first], first_key, rank)

    def _first_denying_rule(self, group: RuleGroup, key: Key, rank: int) -> int:
        """Return the number of the first rule of `group` that denies, else NO_RULE."""
        if key in group.counted_keys or key in group.holds:
            return self._evaluate_group(group, key, rank)
        rule_number = self._denies_uncounted.get((id(group), rank))
        if rule_number is None:
            rule_number = self._evaluate_group(group, key, rank)
            self._denies_uncounted[id(group), rank] = rule_number
        return rule_number

    def _evaluate_group(self, group: RuleGroup, key: Key, rank: int) -> int:
        for counters, number in zip(group.counters, group.rule_numbers, strict=True):
            if counters.is_every_nth:
                continue
            if not self.remaining.fits(counters, key, rank):
                return number
        return NO_RULE

    def _rule_denials(self, cap_subject: CapSubject) -> Iterator[RuleDenial]:
        rank = cap_subject.rank
        for counters, keys in self.remaining.matching_rules(cap_subject):
            if counters.is_every_nth:
                continue
            for key in keys:
                if not self.remaining.fits(counters, key, rank):
                    yield self.explainer.explain(counters, key, rank)

    def take_opportunity(self, cap_subject: CapSubject) -> RuleDenial | None:
        """Count an opportunity of the every-nth rules; return the first denial.

        An opportunity counts once for each decision and key, and is taken at most once.
        """
        every_nth_rules = list(self._every_nth_rules(cap_subject))
        for counters, key in every_nth_rules:
            if (counters.rule.id, key) not in self.opportunities:
                self.opportunities[counters.rule.id, key] = False
                self._state.add_opportunity(counters.rule.id, key)
        for counters, key in every_nth_rules:
            count = self._state.opportunities[counters.rule.id, key]
            is_taken = self.opportunities[counters.rule.id, key]
            if is_taken or not self._is_turn(counters, key, count, cap_subject):
                return _every_nth_denial(counters, key, count)
        for counters, key in every_nth_rules:
            self.opportunities[counters.rule.id, key] = True
        return None

    def every_nth_denials(self, cap_subject: CapSubject) -> Iterator[RuleDenial]:
        """Yield the denials of every-nth rules at the next opportunity, uncounted."""
        for counters, key in self._every_nth_rules(cap_subject):
            count = self._state.opportunities.get((counters.rule.id, key), 0) + 1
            if not self._is_turn(counters, key, count, cap_subject):
                yield _every_nth_denial(counters, key, count)

    def _every_nth_rules(
        self, cap_subject: CapSubject
    ) -> Iterator[tuple[RuleCounters, Key]]:
        for counters, keys in self.remaining.matching_rules(cap_subject):
            if counters.is_every_nth:
                yield from ((counters, key) for key in keys)

    def _is_turn(
        self, counters: RuleCounters, key: Key, count: int, cap_subject: CapSubject
    ) -> bool:
        window = counters.rule.window
        if isinstance(window, EveryNth) and count % window.n == 0:
            return True
        return self.remaining.is_exempt(counters, key, cap_subject.rank)

    def allowances(self, cap_subject: CapSubject) -> Iterator[Allowance]:
        """Yield what each rule has used and has left for an item."""
        rank = cap_subject.rank
        for counters, keys in self.remaining.matching_rules(cap_subject):
            if counters.is_every_nth:
                continue
            for key in keys:
                yield self._allowance(counters, key, rank)

    def _allowance(self, counters: RuleCounters, key: Key, rank: int) -> Allowance:
        rule_id = counters.rule.id
        used = self.remaining.used(counters, key)
        used += self.remaining.lost_weight(counters, rank)
        limit = limit_of(counters.rule)
        if limit == UNLIMITED:
            return Allowance(rule_id, used, None, None)
        reserved = self.remaining.reserved_slots(counters, rank)
        return Allowance(rule_id, used, limit, limit - reserved - used)

    @cached_property
    def _quiet_hours_denials(self) -> tuple[RuleDenial, ...]:
        denials: list[RuleDenial] = []
        for quiet in self._state.rules.quiet_hours:
            if self.context.surface not in quiet.surfaces:
                continue
            if quiet.behaviour != "silent":
                denials += self._denials_by_quiet_hours(quiet)
        return tuple(denials)

    def _denials_by_quiet_hours(self, quiet: QuietHours) -> Iterator[RuleDenial]:
        """Yield a denial if it is quiet by the wall clock, or by the verified time."""
        zone = quiet.zone or self.context.times[FULL].zone
        if zone is None:
            if self.context.interruptive:
                yield RuleDenial("QUIET_HOURS")
            return
        waits_ms = [quiet_wait_ms(quiet, now, zone) for now in self.context.civil_ms]
        wait_ms = max(waits_ms)
        if wait_ms:
            jitter_ms = self.context.jitter(quiet)
            yield RuleDenial("QUIET_HOURS", wait_ms=wait_ms + jitter_ms)

    def _user_block_denials(self, cap_subject: CapSubject) -> Iterator[RuleDenial]:
        now = self.context.user_block_time

        def canonical_time(segment: int, offset: int) -> int:
            return now.segments[segment].base[now.timeline] + offset

        blocks = self._state.user_blocks.blocks(
            cap_subject, self.context.surface, self.context.subject
        )
        for block in blocks:
            wait_ms = block_wait_ms(block, now.ms, canonical_time)
            if wait_ms is None or wait_ms > 0:
                yield RuleDenial(block.reason_code, wait_ms=wait_ms)


def _every_nth_denial(counters: RuleCounters, key: Key, count: int) -> RuleDenial:
    rule = counters.rule
    n = rule.window.n if isinstance(rule.window, EveryNth) else 1
    return RuleDenial(rule.reason_code, rule, key, count % n, n, wait_ms=0)

"""One decision: candidates in order, each granted if every rule allows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Generic

from tactful.device.caps.counting.reservations import Hold, Owner
from tactful.device.caps.deciding.explain_denial import RuleDenial
from tactful.device.caps.deciding.remaining import DecisionContext
from tactful.device.caps.deciding.results import (
    Decision,
    Denials,
    GrantedItem,
    ItemT,
    as_datetime,
)
from tactful.device.caps.deciding.rule_evaluator import RuleEvaluator
from tactful.device.caps.deciding.starvation import NORMAL, fair_order, starving
from tactful.device.caps.rules.subject import CapSubject
from tactful.device.caps.session import WriteTransaction
from tactful.device.caps.timeline.segments import FULL

if TYPE_CHECKING:
    from tactful.device.caps.deciding.decision_cache import DecisionCache

Evaluate = Callable[[Sequence[CapSubject]], Iterator[RuleDenial | None]]
# The cache evaluates many candidates at once. It is used once more than this many times
# `k` candidates were denied; before, evaluating them one by one is faster.
CACHE_AFTER_DENIALS = 1
# The cache evaluates at least this many times the free places at once,
PORTION_PER_PLACE = 2
# and at least this many candidates; twice as many in each later portion.
LEAST_PORTION = 8


class DecisionRun(Generic[ItemT]):
    """One decision: it evaluates candidates in order and reserves the granted ones."""

    def __init__(
        self,
        transaction: WriteTransaction,
        context: DecisionContext,
        cache: DecisionCache,
    ) -> None:
        self._transaction = transaction
        self._state = transaction.state
        self._rules = transaction.state.rules
        self._context = context
        self._cache = cache
        self._evaluator = RuleEvaluator(transaction.state, context)
        self._holds: list[Hold] = []
        self._granted_items: list[ItemT] = []
        self._denied_items: list[tuple[str, RuleDenial]] = []
        self._starving: set[str] = set()

    def run(
        self, candidates: Sequence[ItemT], k: int, max_refill: int | None
    ) -> Decision[ItemT]:
        """Grant up to `k` candidates and record the decision.

        Stop after more than `max_refill` denials, unless it is None.
        """
        max_denials = len(candidates) if max_refill is None else max_refill
        if self._rules.starve_after_ms is not None:
            candidates = self._in_fair_order(candidates, self._rules.starve_after_ms)
        start = 0
        least_portion = LEAST_PORTION
        while start < len(candidates) and not self._is_done(k, max_denials):
            size = k - len(self._granted_items)
            evaluate: Evaluate = self._one_by_one
            if len(self._denied_items) > CACHE_AFTER_DENIALS * k:
                size = max(PORTION_PER_PLACE * size, least_portion)
                evaluate = self._all_at_once
                least_portion *= 2
            # Subjects of candidates after the portion are not needed and not built.
            portion = candidates[start : start + size]
            self._decide_portion(portion, k, max_denials, evaluate)
            start += size
        return self._recorded_decision()

    def _is_done(self, k: int, max_denials: int) -> bool:
        is_full = len(self._granted_items) >= k
        return is_full or len(self._denied_items) > max_denials

    def _in_fair_order(
        self, candidates: Sequence[ItemT], starve_after_ms: int
    ) -> Sequence[ItemT]:
        """Return the candidates, starving ones earlier; record who starts to wait."""
        subject, state = self._context.subject, self._state
        cap_subjects = [CapSubject.of(item) for item in candidates]
        denials = self._cache.denials(cap_subjects, self._evaluator)
        eligible = [
            cap_subject
            for cap_subject, denial in zip(cap_subjects, list(denials), strict=True)
            if denial is None
        ]
        new_items = [
            cap_subject.item
            for cap_subject in eligible
            if cap_subject.rank >= NORMAL
            and (subject, cap_subject.item) not in state.waiting_since
        ]
        if new_items:
            place = self._transaction.now.stamp[:2]
            fields = [subject, new_items, *place]
            self._transaction.append_and_apply("waiting", fields)
        waiting_since = {
            item: since
            for (waiting_subject, item), since in state.waiting_since.items()
            if waiting_subject == subject
        }
        now_ms = self._context.times[FULL].ms
        self._starving = starving(eligible, waiting_since, now_ms, starve_after_ms)
        order = fair_order(cap_subjects, self._starving, waiting_since)
        return [candidates[position] for position in order]

    def _decide_portion(
        self, portion: Sequence[ItemT], k: int, max_denials: int, evaluate: Evaluate
    ) -> None:
        """Grant or deny the candidates in order; earlier grants count at once."""
        cap_subjects = [CapSubject.of(item) for item in portion]
        denials = evaluate(cap_subjects)
        for item, cap_subject, denial in zip(
            portion, cap_subjects, denials, strict=True
        ):
            if len(self._granted_items) == k or len(self._denied_items) > max_denials:
                return
            if denial is None and self._state.has_every_nth:
                denial = self._evaluator.take_opportunity(cap_subject)
            if denial is None:
                self._grant(item, cap_subject)
            else:
                self._denied_items.append((item.id, denial))

    def _one_by_one(
        self, cap_subjects: Sequence[CapSubject]
    ) -> Iterator[RuleDenial | None]:
        return map(self._evaluator.first_denial, cap_subjects)

    def _all_at_once(
        self, cap_subjects: Sequence[CapSubject]
    ) -> Iterator[RuleDenial | None]:
        return self._cache.denials(cap_subjects, self._evaluator)

    def _grant(self, item: ItemT, cap_subject: CapSubject) -> None:
        # The position of the decision record is not known yet; 0 stands for it.
        hold = Hold(
            (0, len(self._holds)),
            cap_subject,
            surface=self._context.surface,
            subject=self._context.subject,
            owner=self._owner,
            ttl_ms=self._ttl_ms,
            stamp=self._transaction.now.stamp,
        )
        self._state.add_indexed_hold(hold)
        self._holds.append(hold)
        self._granted_items.append(item)

    @cached_property
    def _owner(self) -> Owner:
        return self._state.owners[self._transaction.owner_number()]

    @cached_property
    def _ttl_ms(self) -> int:
        return self._rules.surface(self._context.surface).reservation_ttl_ms

    def _recorded_decision(self) -> Decision[ItemT]:
        """Append the `decision` record and return the result."""
        opportunities = self._evaluator.opportunities
        if not self._holds and not opportunities:
            return Decision("", (), self._denials(), self._still_starving())
        transaction = self._transaction
        fields = [
            *transaction.stamp_fields(transaction.now.stamp),
            transaction.owner_number(),
            self._ttl_ms,
            self._context.surface,
            self._context.subject,
            transaction.cap_subject_numbers([hold.cap_subject for hold in self._holds]),
            [[rule_id, *key] for rule_id, key in opportunities],
        ]
        position = transaction.append("decision", fields)
        self._state.move_holds(self._holds, position)
        if self._holds:
            self._state.add_activity(transaction.now.stamp)
        return Decision(
            str(position),
            tuple(self._picks()),
            self._denials(),
            self._still_starving(),
        )

    def _picks(self) -> Iterator[GrantedItem[ItemT]]:
        expires_at = as_datetime(self._context.wall_ms + self._ttl_ms)
        for hold, item in zip(self._holds, self._granted_items, strict=True):
            _, slot = hold.id
            yield GrantedItem(slot, item, hold.reservation_id, expires_at)

    def _still_starving(self) -> tuple[str, ...]:
        granted_ids = {item.id for item in self._granted_items}
        return tuple(sorted(self._starving - granted_ids))

    def _denials(self) -> Denials:
        rules = self._rules
        times_ms = [now.ms for now in self._context.times]
        return Denials(
            self._denied_items,
            self._context.wall_ms,
            lambda denial: times_ms[denial.timeline(rules)],
        )

"""Cache of decisions for many candidates, evaluated again only where they may change.

One cached decision belongs to one key of one rule group: it is the first rule of the
group that denies the key. With the same records, time can only make a rule allow more.
So a decision that allows is valid until a record changes its key, and one that denies
is valid until an event leaves the window.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tactful.device.caps.counting.counter_state import CounterState, RuleGroup
from tactful.device.caps.counting.rule_counters import Setting
from tactful.device.caps.deciding.explain_denial import RuleDenial
from tactful.device.caps.deciding.remaining import ALL_FIT
from tactful.device.caps.deciding.rule_evaluator import NO_RULE, RuleEvaluator
from tactful.device.caps.rules.subject import CLASSES, CapSubject, Key

EntryNumbers = NDArray[np.int32]
NO_ENTRY = 0  # fills rows of items with fewer keys; its decision allows everything
RANKS = len(CLASSES)
MAX_ROWS = 500_000
# The items of one profile on one surface: their attributes and table rows.
ItemRows = dict[str, tuple[CapSubject, int]]


class CacheKey(NamedTuple):
    """Rule group and key of one cached decision."""

    group: RuleGroup
    key: Key


class CachedDecision(NamedTuple):
    """First denying rule for each class, and how long that is valid."""

    first_rules: Sequence[int]
    until: float
    timeline: int


class DecisionCache:
    """Cached decisions over one state.

    Each row of the table lists, for one item, the numbers of the cached decisions on
    its keys. Interruptive surfaces have decisions of their own.
    """

    def __init__(self, state: CounterState) -> None:
        self.state = state
        self._cache_keys: list[CacheKey] = []  # the first one has number 1
        # By rule group and interruptive surface: the decision number of each key.
        self._numbers: defaultdict[tuple[int, bool], dict[Key, int]] = defaultdict(dict)
        # By surface, profile and interruptive surface.
        self._item_rows: dict[tuple[str, str, bool], ItemRows] = {}
        self._row_count = 0
        self._table = np.zeros((64, 8), dtype=np.int32)
        self._ranks = np.zeros(64, dtype=np.int8)  # class of the item of each row
        # The decisions, by number.
        self._first_rules = np.full((RANKS, 64), NO_RULE, dtype=np.int32)
        self._until = np.full(64, math.inf)
        self._timelines = np.zeros(64, dtype=np.int8)
        self._stale = np.ones(64, dtype=bool)
        # By rule group: the settings and the number of losses that decisions assume.
        self._settings: dict[int, tuple[tuple[Setting, ...], int]] = {}
        # By decision number and class.
        self._explanations: dict[int, dict[int, RuleDenial]] = {}

    def denials(
        self, cap_subjects: Sequence[CapSubject], evaluator: RuleEvaluator
    ) -> Iterator[RuleDenial | None]:
        """Yield the first reason against each item or None, ignoring every-nth rules.

        The caller may add holds between two items; the next item takes them into
        account.
        """
        context = evaluator.context
        name = (context.surface, context.subject, context.interruptive)
        item_rows = self._item_rows.setdefault(name, {})
        row_list = [self._row(item, item_rows, evaluator) for item in cap_subjects]
        rows = np.array(row_list, dtype=np.int64)
        entries = self._table[rows]
        self._refresh(entries, evaluator)
        denying = self._denying_entries(rows, entries)
        for cap_subject, number in zip(cap_subjects, denying, strict=True):
            denial = evaluator.first_denial_before_rules(cap_subject)
            yield denial or self._rule_denial(cap_subject, number, evaluator)

    def _denying_entries(
        self, rows: NDArray[np.int64], entries: EntryNumbers
    ) -> list[int]:
        """Return for each row the number of the first denying decision, or NO_ENTRY."""
        ranks = self._ranks[rows].astype(np.intp)[:, None]
        first_rules = self._first_rules[ranks, entries]
        first = np.arange(len(rows)), first_rules.argmin(axis=1)
        is_denied = first_rules[first] < NO_RULE
        numbers: list[int] = np.where(is_denied, entries[first], NO_ENTRY).tolist()
        return numbers

    def _rule_denial(
        self, cap_subject: CapSubject, number: int, evaluator: RuleEvaluator
    ) -> RuleDenial | None:
        """Return the denial by decision `number`, or by holds added since then."""
        if self.state.holds_added:
            was_allowed = number == NO_ENTRY
            return evaluator.first_rule_denial(cap_subject, changed_only=was_allowed)
        if number == NO_ENTRY:
            return None
        return self._explanation(number, cap_subject.rank, evaluator)

    @property
    def full(self) -> bool:
        """True if the cache is so large that it should be replaced."""
        return self._row_count > MAX_ROWS

    def _explanation(
        self, number: int, rank: int, evaluator: RuleEvaluator
    ) -> RuleDenial | None:
        cached_denial = self._explanations.get(number, {}).get(rank)
        if cached_denial is not None:
            return cached_denial
        group, key = self._cache_keys[number - 1]
        rule_number = int(self._first_rules[rank, number])
        counters = group.counters[group.rule_numbers.index(rule_number)]
        denial = evaluator.explainer.explain(counters, key, rank)
        if evaluator.explainer.is_cacheable(counters.rule):
            self._explanations.setdefault(number, {})[rank] = denial
        return denial

    def _row(
        self, cap_subject: CapSubject, item_rows: ItemRows, evaluator: RuleEvaluator
    ) -> int:
        """Return the row of an item; an item with changed attributes gets a new one."""
        item_row = item_rows.get(cap_subject.item)
        if item_row is not None:
            row_subject, row = item_row
            if row_subject is cap_subject or row_subject == cap_subject:
                return row
        row = self._row_count
        self._row_count += 1
        item_rows[cap_subject.item] = cap_subject, row
        entries = self._entries_of(cap_subject, evaluator)
        self._make_room(row, len(entries))
        self._table[row, : len(entries)] = entries
        self._ranks[row] = cap_subject.rank
        return row

    def _entries_of(
        self, cap_subject: CapSubject, evaluator: RuleEvaluator
    ) -> list[int]:
        context = evaluator.context
        keys_by_group = self.state.keys_by_group(
            cap_subject, context.surface, context.subject
        )
        numbers = []
        for group, keys in zip(self.state.groups, keys_by_group, strict=True):
            for key in keys or ():
                numbers.append(self._entry_number(group, key, context.interruptive))
        return numbers

    def _entry_number(self, group: RuleGroup, key: Key, interruptive: bool) -> int:
        numbers = self._numbers[id(group), interruptive]
        number = numbers.get(key)
        if number is None:
            self._cache_keys.append(CacheKey(group, key))
            number = numbers[key] = len(self._cache_keys)
        return number

    def _make_room(self, row: int, width: int) -> None:
        """Grow the table so that it has `row` and `width` columns."""
        rows, columns = self._table.shape
        if row >= rows or width > columns:
            shape = (max(rows, 2 * row), max(columns, width))
            table = np.zeros(shape, dtype=np.int32)
            table[:rows, :columns] = self._table
            self._table = table
            self._ranks = np.resize(self._ranks, len(table))

    def _refresh(self, entries: EntryNumbers, evaluator: RuleEvaluator) -> None:
        """Evaluate again those of `entries` that records, time or settings may change.

        Other decisions stay as they are and are only marked as stale.
        """
        self.state.holds_added = False
        self._grow()
        for group in self.state.groups:
            changed = self._changed_entries(group, evaluator)
            if changed:
                self._stale[changed] = True
        full, verified = evaluator.context.times
        now_ms = np.array([full.ms, verified.ms], dtype=np.float64)
        is_over = self._until[entries] <= now_ms[self._timelines[entries]]
        is_old = (is_over | self._stale[entries]) & (entries != NO_ENTRY)
        self._evaluate(sorted(set(entries[is_old].tolist())), evaluator)

    def _changed_entries(self, group: RuleGroup, evaluator: RuleEvaluator) -> list[int]:
        """Return the decisions of `group` that records or settings changed."""
        now = evaluator.context.now(group.counters[0])
        settings = tuple([counters.setting(now) for counters in group.counters])
        assumed = (settings, len(self.state.losses))
        if self._settings.get(id(group)) != assumed:
            changed = list(self._all_entries(group))
        else:
            changed = list(self._entries_of_changed_keys(group))
        self._settings[id(group)] = assumed
        group.changed_keys.clear()
        return changed

    def _entries_of_changed_keys(self, group: RuleGroup) -> Iterator[int]:
        for interruptive in (False, True):
            numbers = self._numbers[id(group), interruptive]
            if numbers:
                changed = [key for key in group.changed_keys if key in numbers]
                yield from [numbers[key] for key in changed]

    def _all_entries(self, group: RuleGroup) -> Iterator[int]:
        for interruptive in (False, True):
            yield from self._numbers[id(group), interruptive].values()

    def _grow(self) -> None:
        """Grow the arrays of decisions so that every number has a place."""
        size, needed = len(self._until), len(self._cache_keys) + 1
        if needed <= size:
            return
        more = 2 * needed - size
        no_rules = np.full((RANKS, more), NO_RULE, dtype=np.int32)
        self._first_rules = np.hstack([self._first_rules, no_rules])
        self._until = np.concatenate([self._until, np.full(more, math.inf)])
        timelines = np.zeros(more, dtype=np.int8)
        self._timelines = np.concatenate([self._timelines, timelines])
        self._stale = np.concatenate([self._stale, np.ones(more, dtype=bool)])

    def _evaluate(self, numbers: Sequence[int], evaluator: RuleEvaluator) -> None:
        """Evaluate the decisions with these numbers and store them.

        All keys of one group of which nothing was ever counted share one evaluation.
        """
        uncounted: dict[int, CachedDecision] = {}
        decisions: list[CachedDecision] = []
        for number in numbers:
            group, key = self._cache_keys[number - 1]
            is_counted = key in group.counted_keys or key in group.holds
            decision = None if is_counted else uncounted.get(id(group))
            if decision is None:
                decision = _decision(group, key, evaluator)
                if not is_counted:
                    uncounted[id(group)] = decision
            decisions.append(decision)
            self._explanations.pop(number, None)
        if decisions:
            first_rules, until, timelines = zip(*decisions, strict=True)
            self._first_rules[:, numbers] = np.array(first_rules).T
            self._until[numbers] = until
            self._timelines[numbers] = timelines
            self._stale[numbers] = False


def _decision(group: RuleGroup, key: Key, evaluator: RuleEvaluator) -> CachedDecision:
    first_rules = [NO_RULE] * RANKS
    until = math.inf
    for counters, number in zip(group.counters, group.rule_numbers, strict=True):
        if counters.is_every_nth:
            continue
        fits = evaluator.remaining.fits_by_class(counters, key)
        if fits is ALL_FIT or all(fits):
            continue
        for rank, rank_fits in enumerate(fits):
            if not rank_fits:
                first_rules[rank] = min(first_rules[rank], number)
        until = min(until, evaluator.explainer.next_check_ms(counters, key))
    return CachedDecision(first_rules, until, group.counters[0].timeline)

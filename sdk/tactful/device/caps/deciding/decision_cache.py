"""Which of many things may be shown now: verdicts in a table, found anew where they may differ.

One verdict belongs to one key of all rules that count by it: the first of them that refuses. For
given facts time only frees, so a verdict that grants holds until a fact touches its key, and one
that refuses until something leaves its window.
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
from tactful.device.caps.deciding.rule_evaluator import NONE, RuleEvaluator
from tactful.device.caps.rules.subject import CLASSES, CapSubject, Key

Labels = NDArray[np.int32]
NO_CELL = 0  # fills rows that are shorter than the table is wide; it refuses nothing
RANKS = len(CLASSES)
MOST_ROWS = 500_000


class CacheKey(NamedTuple):
    """What one verdict is about; surfaces that interrupt have verdicts of their own."""

    keyed: RuleGroup
    key: Key


class CachedDecision(NamedTuple):
    """The place of the first rule without room, by class, and when that may end by itself."""

    first: Sequence[int]
    until: float
    timeline: int


class DecisionCache:
    """Verdicts over one state: which cells concern a thing, and what each of them says now."""

    def __init__(self, state: CounterState) -> None:
        self.state = state
        self._cells: list[CacheKey] = []  # the first has number 1
        self._numbers: defaultdict[tuple[int, bool], dict[Key, int]] = defaultdict(dict)
        self._rows: dict[tuple[str, str, bool], dict[str, tuple[CapSubject, int]]] = {}
        self._used = 0  # rows of the table
        self._table = np.zeros((64, 8), dtype=np.int32)
        self._ranks = np.zeros(64, dtype=np.int8)
        self._first = np.full((RANKS, 64), NONE, dtype=np.int32)
        self._until = np.full(64, math.inf)
        self._timelines = np.zeros(64, dtype=np.int8)
        self._stale = np.ones(
            64, dtype=bool
        )  # verdicts to be found before they are used
        self._settings: dict[int, tuple[tuple[Setting, ...], int]] = {}
        self._explained: dict[int, dict[int, RuleDenial]] = {}  # cell, then class

    def refusals(
        self, things: Sequence[CapSubject], judge: RuleEvaluator
    ) -> Iterator[RuleDenial | None]:
        """For each thing the first reason against it, rules that pace apart; None if there is none.

        Reasons are found one by one, so that what was reserved meanwhile is counted.
        """
        here = judge.here
        known = self._rows.setdefault(
            (here.surface, here.subject, here.interruptive), {}
        )
        rows = np.array(
            [self._row(thing, known, judge) for thing in things], dtype=np.int64
        )
        cells = self._table[rows]
        self._refresh(cells, judge)
        first = self._first[self._ranks[rows].astype(np.intp)[:, None], cells]
        worst = np.arange(len(rows)), first.argmin(axis=1)
        numbers = np.where(first[worst] < NONE, cells[worst], NO_CELL)
        for thing, number in zip(things, numbers.tolist(), strict=True):
            refusal = (
                None
                if judge.calm and thing.item
                else next(judge.before_rules(thing), None)
            )
            yield refusal or self._reason(thing, number, judge)

    def _reason(
        self, thing: CapSubject, number: int, judge: RuleEvaluator
    ) -> RuleDenial | None:
        """The first rule against `thing`: `number`, or one before it by what was reserved since."""
        if self.state.reserved:
            return judge.rule_refusal(thing, since=number == NO_CELL)
        return None if number == NO_CELL else self._explain(number, thing.rank, judge)

    @property
    def full(self) -> bool:
        """Whether it has grown so large that a new one is better."""
        return self._used > MOST_ROWS

    def _explain(
        self, number: int, rank: int, judge: RuleEvaluator
    ) -> RuleDenial | None:
        known = self._explained.get(number, {}).get(rank)
        if known is not None:
            return known
        cell = self._cells[number - 1]
        track = cell.keyed.tracks[
            cell.keyed.places.index(int(self._first[rank, number]))
        ]
        refusal = judge.explain(track, cell.key, rank)
        if judge.holds_still(track.rule):
            self._explained.setdefault(number, {})[rank] = refusal
        return refusal

    def _row(
        self,
        thing: CapSubject,
        known: dict[str, tuple[CapSubject, int]],
        judge: RuleEvaluator,
    ) -> int:
        """The row of a thing; one whose attributes changed gets another."""
        found = known.get(thing.item)
        if found is not None and (found[0] is thing or found[0] == thing):
            return found[1]
        row, here = self._used, judge.here
        self._used += 1
        known[thing.item] = thing, row
        asked = self.state.asked(thing, here.surface, here.subject)
        pairs = zip(self.state.keyed, asked, strict=True)
        cells = [
            self._cell(o, key, here.interruptive)
            for o, keys in pairs
            for key in keys or ()
        ]
        self._make_room(row, len(cells))
        self._table[row, : len(cells)] = cells
        self._ranks[row] = thing.rank
        return row

    def _cell(self, keyed: RuleGroup, key: Key, interruptive: bool) -> int:
        numbers = self._numbers[id(keyed), interruptive]
        number = numbers.get(key)
        if number is None:
            self._cells.append(CacheKey(keyed, key))
            number = numbers[key] = len(self._cells)
        return number

    def _make_room(self, row: int, width: int) -> None:
        rows, columns = self._table.shape
        if row >= rows or width > columns:
            grown = np.zeros((max(rows, 2 * row), max(columns, width)), dtype=np.int32)
            grown[:rows, :columns] = self._table
            self._table = grown
            self._ranks = np.resize(self._ranks, len(grown))

    def _refresh(self, cells: Labels, judge: RuleEvaluator) -> None:
        """Find those verdicts of `cells` anew that facts, time, zone or session may have changed.

        Whatever nobody asks for stays as it is, known to be old.
        """
        self.state.reserved = False
        self._grow()
        changed = [
            cell for keyed in self.state.keyed for cell in self._changed(keyed, judge)
        ]
        if changed:
            self._stale[changed] = True
        here = judge.here
        now = np.array([here.times[0].ms, here.times[1].ms], dtype=np.float64)
        due = self._until[cells] <= now[self._timelines[cells]]
        old = set(cells[(due | self._stale[cells]) & (cells != NO_CELL)].tolist())
        self._look(sorted(old), judge)

    def _changed(self, keyed: RuleGroup, judge: RuleEvaluator) -> list[int]:
        """The verdicts of `keyed` that its facts or its setting changed."""
        now = judge.here.on(keyed.tracks[0])
        setting = tuple([t.setting(now) for t in keyed.tracks]), len(self.state.losses)
        changed = self._settings.get(id(keyed)) != setting
        cells = list(self._of(keyed) if changed else self._touched(keyed))
        self._settings[id(keyed)] = setting
        keyed.touched.clear()
        return cells

    def _touched(self, keyed: RuleGroup) -> Iterator[int]:
        for interruptive in (False, True):
            numbers = self._numbers[id(keyed), interruptive]
            if numbers:
                yield from [numbers[key] for key in keyed.touched if key in numbers]

    def _of(self, keyed: RuleGroup) -> Iterator[int]:
        for interruptive in (False, True):
            yield from self._numbers[id(keyed), interruptive].values()

    def _grow(self) -> None:
        size, count = len(self._until), len(self._cells) + 1
        if count <= size:
            return
        more = 2 * count - size
        self._first = np.hstack(
            [self._first, np.full((RANKS, more), NONE, dtype=np.int32)]
        )
        self._until = np.concatenate([self._until, np.full(more, math.inf)])
        self._timelines = np.concatenate(
            [self._timelines, np.zeros(more, dtype=np.int8)]
        )
        self._stale = np.concatenate([self._stale, np.ones(more, dtype=bool)])

    def _look(self, numbers: Sequence[int], judge: RuleEvaluator) -> None:
        """Find the verdicts of these cells; keys that were never shown share one for each rule."""
        unseen: dict[int, CachedDecision] = {}
        found: list[CachedDecision] = []
        for number in numbers:
            keyed, key = self._cells[number - 1]
            seen = key in keyed.known or key in keyed.holds
            verdict = None if seen else unseen.get(id(keyed))
            if verdict is None:
                verdict = _verdict(keyed, key, judge)
                if not seen:
                    unseen[id(keyed)] = verdict
            found.append(verdict)
            self._explained.pop(number, None)
        if found:
            first, until, timelines = zip(*found, strict=True)
            self._first[:, numbers] = np.array(first).T
            self._until[numbers], self._timelines[numbers] = until, timelines
            self._stale[numbers] = False


def _verdict(keyed: RuleGroup, key: Key, judge: RuleEvaluator) -> CachedDecision:
    first, until = [NONE] * RANKS, math.inf
    for track, place in zip(keyed.tracks, keyed.places, strict=True):
        fits = ALL_FIT if track.paces else judge.verdicts(track, key)
        if fits is not ALL_FIT and not all(fits):
            first = [
                min(f, NONE if fit else place)
                for f, fit in zip(first, fits, strict=True)
            ]
            until = min(until, judge.next_look(track, key))
    return CachedDecision(first, until, keyed.tracks[0].timeline)

"""Which of many things may be shown now: verdicts in a table, found anew where they may differ.

One verdict belongs to one key of one rule. For given facts time only frees, so a verdict that
grants holds until a fact touches its key, and one that refuses until something leaves its window.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tactful.device.caps.judge import Judge, Refusal
from tactful.device.caps.rules import EveryNth
from tactful.device.caps.state import State
from tactful.device.caps.things import CLASSES, Key, Thing
from tactful.device.caps.windows import Setting, Track

Labels = NDArray[np.int32]
NO_CELL = 0  # fills rows that are shorter than the table is wide; it refuses nothing
RANKS = len(CLASSES)
MOST_ROWS = 500_000


class Cell(NamedTuple):
    """What one verdict is about; surfaces that interrupt have verdicts of their own."""

    track: Track
    key: Key


class Verdict(NamedTuple):
    """Whether there is room, by class, and when (on which timeline) a refusal may end."""

    fits: Sequence[bool]
    until: float
    timeline: int


class Board:
    """Verdicts over one state: which cells concern a thing, and what each of them says now."""

    def __init__(self, state: State) -> None:
        self.state = state
        self._cells: list[Cell] = []  # the first has number 1
        self._numbers: defaultdict[tuple[int, bool], dict[Key, int]] = defaultdict(dict)
        self._rows: dict[tuple[Thing, str, str, bool], int] = {}
        self._table = np.zeros((64, 8), dtype=np.int32)
        self._ranks = np.zeros(64, dtype=np.int8)
        self._fits = np.ones((RANKS, 64), dtype=bool)
        self._until = np.full(64, math.inf)
        self._timelines = np.zeros(64, dtype=np.int8)
        self._stale = np.ones(64, dtype=bool)  # verdicts to be found before they are used
        self._of_track: defaultdict[int, list[int]] = defaultdict(list)
        self._settings: dict[int, tuple[Setting, int]] = {}
        self._explained: dict[int, dict[int, tuple[Refusal, int]]] = {}  # cell, then class

    def refusals(self, things: Sequence[Thing], judge: Judge) -> Iterator[Refusal | None]:
        """For each thing the first reason against it, rules that pace apart; None if there is none.

        Reasons are found one by one, so that what was reserved meanwhile is counted.
        """
        rows = np.fromiter((self._row(thing, judge) for thing in things), np.int64, len(things))
        cells = self._table[rows]
        self._refresh(cells, judge)
        fits = self._fits[self._ranks[rows].astype(np.intp)[:, None], cells]
        worst = fits.argmin(axis=1)
        first = np.where(fits.all(axis=1), NO_CELL, cells[np.arange(len(rows)), worst])
        for thing, number in zip(things, first.tolist(), strict=True):
            refusal = None if judge.calm and thing.item else next(judge.before_rules(thing), None)
            if refusal is None and number != NO_CELL:
                refusal = self._first(thing, number, judge)
            yield refusal

    def _first(self, thing: Thing, number: int, judge: Judge) -> Refusal | None:
        """The first rule against `thing`: `number`, or one before it by what was reserved since."""
        if self.state.reserved:
            return judge.rule_refusal(thing)
        return self._explain(number, thing.rank, judge)

    @property
    def full(self) -> bool:
        """Whether it has grown so large that a new one is better."""
        return len(self._rows) > MOST_ROWS

    def _explain(self, number: int, rank: int, judge: Judge) -> Refusal | None:
        cell = self._cells[number - 1]
        now, explained = judge.here.on(cell.track).ms, self._explained.setdefault(number, {})
        if rank in explained:
            refusal, then = explained[rank]
            return refusal if refusal.wait_ms is None else refusal.later(now - then)
        refusal = judge.explain(cell.track, cell.key, rank)
        if judge.holds_still(cell.track.rule):
            explained[rank] = refusal, now
        return refusal

    def _row(self, thing: Thing, judge: Judge) -> int:
        here = judge.here
        wanted = (thing, here.surface, here.subject, here.interruptive)
        row = self._rows.get(wanted)
        if row is None:
            row = self._rows[wanted] = len(self._rows)
            plan = self.state.plan(thing, here.surface, here.subject)
            cells = [self._cell(track, key, here.interruptive) for track, key in _cells(plan)]
            self._make_room(row, len(cells))
            self._table[row, : len(cells)] = cells
            self._ranks[row] = thing.rank
        return row

    def _cell(self, track: Track, key: Key, interruptive: bool) -> int:
        numbers = self._numbers[id(track), interruptive]
        number = numbers.get(key)
        if number is None:
            self._cells.append(Cell(track, key))
            number = numbers[key] = len(self._cells)
            self._of_track[id(track)].append(number)
        return number

    def _make_room(self, row: int, width: int) -> None:
        rows, columns = self._table.shape
        if row >= rows or width > columns:
            grown = np.zeros((max(rows, 2 * row), max(columns, width)), dtype=np.int32)
            grown[:rows, :columns] = self._table
            self._table = grown
            self._ranks = np.resize(self._ranks, len(grown))

    def _refresh(self, cells: Labels, judge: Judge) -> None:
        """Find those verdicts of `cells` anew that facts, time, zone or session may have changed.

        Whatever nobody asks for stays as it is, known to be old.
        """
        self.state.reserved = False
        self._grow()
        for track in self.state.tracks:
            self._note(track, judge)
        asked, here = np.unique(cells), judge.here
        now = np.array([here.times[0].ms, here.times[1].ms], dtype=np.float64)
        due = self._until[asked] <= now[self._timelines[asked]]
        old = asked[(due | self._stale[asked]) & (asked != NO_CELL)]
        self._look(old.tolist(), judge)

    def _note(self, track: Track, judge: Judge) -> None:
        """Mark the verdicts of `track` that its facts or its setting changed."""
        setting = track.setting(judge.here.on(track)), len(self.state.losses)
        if self._settings.get(id(track)) != setting:
            self._settings[id(track)] = setting
            self._stale[self._of_track[id(track)]] = True
        elif track.touched:
            self._stale[list(self._touched(track))] = True
        track.touched.clear()

    def _touched(self, track: Track) -> Iterator[int]:
        for interruptive in (False, True):
            numbers = self._numbers[id(track), interruptive]
            if numbers:
                yield from (numbers[key] for key in track.touched if key in numbers)

    def _grow(self) -> None:
        size, count = len(self._until), len(self._cells) + 1
        if count <= size:
            return
        more = 2 * count - size
        self._fits = np.hstack([self._fits, np.ones((RANKS, more), dtype=bool)])
        self._until = np.concatenate([self._until, np.full(more, math.inf)])
        self._timelines = np.concatenate([self._timelines, np.zeros(more, dtype=np.int8)])
        self._stale = np.concatenate([self._stale, np.ones(more, dtype=bool)])

    def _look(self, numbers: Sequence[int], judge: Judge) -> None:
        """Find the verdicts of these cells; keys that were never shown share one for each rule."""
        unseen: dict[int, Verdict] = {}
        found: list[Verdict] = []
        for number in numbers:
            cell = self._cells[number - 1]
            verdict = None if cell.key in cell.track.series else unseen.get(id(cell.track))
            if verdict is None:
                verdict = _verdict(cell, judge)
                if cell.key not in cell.track.series:
                    unseen[id(cell.track)] = verdict
            found.append(verdict)
            self._explained.pop(number, None)
        if found:
            fits, until, timelines = zip(*found, strict=True)
            self._fits[:, numbers] = np.array(fits).T
            self._until[numbers], self._timelines[numbers] = until, timelines
            self._stale[numbers] = False


def _verdict(cell: Cell, judge: Judge) -> Verdict:
    fits = judge.verdicts(cell.track, cell.key)
    until = math.inf if all(fits) else judge.next_look(cell.track, cell.key)
    return Verdict(fits, until, cell.track.timeline)


def _cells(plan: Sequence[tuple[Track, tuple[Key, ...]]]) -> Iterator[tuple[Track, Key]]:
    for track, keys in plan:
        if not isinstance(track.rule.window, EveryNth):
            yield from ((track, key) for key in keys)

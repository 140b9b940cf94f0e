"""One decision: candidates in order, each granted if every rule allows it, or refused with why."""

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
    shown,
)
from tactful.device.caps.deciding.rule_evaluator import RuleEvaluator
from tactful.device.caps.deciding.starvation import NORMAL, fair_order, starving
from tactful.device.caps.rules.subject import CapSubject, Showable
from tactful.device.caps.session import WriteTransaction
from tactful.device.caps.timeline.segments import FULL

if TYPE_CHECKING:
    from tactful.device.caps.deciding.decision_cache import DecisionCache

AsThing = Callable[[Showable], CapSubject]
Asks = Callable[[Sequence[CapSubject]], Iterator[RuleDenial | None]]
FEW = 1  # times as many refused as there are places: then a table answers for many at once
PORTION = 2  # times as many candidates are looked at there as places are free
LEAST_PORTION = 8  # candidates; each later portion is at least twice as large


class DecisionRun(Generic[ItemT]):
    """One decision: walks the candidates in order and reserves what every rule allows."""

    def __init__(
        self,
        writing: WriteTransaction,
        here: DecisionContext,
        board: DecisionCache,
        thing: AsThing,
    ) -> None:
        self._writing, self._state, self._thing = writing, writing.state, thing
        self._here, self._board, self._rules = here, board, writing.state.rules
        self._judge = RuleEvaluator(writing.state, here)
        self._holds: list[Hold] = []
        self._items: list[ItemT] = []
        self._refused: list[tuple[str, RuleDenial]] = []
        self._starving: set[str] = set()

    def run(
        self, candidates: Sequence[ItemT], k: int, max_refill: int | None
    ) -> Decision[ItemT]:
        """Grant, refuse, reserve; then write it all down as one record."""
        most = len(candidates) if max_refill is None else max_refill
        if self._rules.starve_after_ms is not None:
            candidates = self._fair(candidates, self._rules.starve_after_ms)
        start, least = 0, LEAST_PORTION
        while (
            start < len(candidates)
            and len(self._items) < k
            and len(self._refused) <= most
        ):
            size, asks = k - len(self._items), self._one_by_one
            if len(self._refused) > FEW * k:
                size, asks, least = max(PORTION * size, least), self._at_once, 2 * least
            self._walk(
                candidates[start : start + size], k, most, asks
            )  # the others are not made
            start += size
        return self._recorded()

    def _fair(self, candidates: Sequence[ItemT], most_ms: int) -> Sequence[ItemT]:
        """The candidates, those first that wait too long; whose waiting begins is noted."""
        things = [self._thing(item) for item in candidates]
        refused = list(self._board.refusals(things, self._judge))
        open_ = [
            t for t, refusal in zip(things, refused, strict=True) if refusal is None
        ]
        who, state, stamp = self._here.subject, self._state, self._writing.now.stamp
        new = [
            t.item
            for t in open_
            if t.rank >= NORMAL and (who, t.item) not in state.waiting
        ]
        if new:
            self._writing.put("waiting", [who, new, *stamp[:2]])
        since = {item: at for (of, item), at in state.waiting.items() if of == who}
        self._starving = starving(open_, since, self._here.times[FULL].ms, most_ms)
        return [
            candidates[place] for place in fair_order(things, self._starving, since)
        ]

    def _walk(
        self, portion: Sequence[ItemT], k: int, most_refused: int, asks: Asks
    ) -> None:
        """Answer for the candidates in turn: picks of one decision count too."""
        things = [self._thing(item) for item in portion]
        for item, thing, refusal in zip(portion, things, asks(things), strict=True):
            if len(self._items) == k or len(self._refused) > most_refused:
                return
            refusal = refusal or self._judge.offered(thing)
            if refusal is None:
                self._grant(item, thing)
            else:
                self._refused.append((item.id, refusal))

    def _one_by_one(self, things: Sequence[CapSubject]) -> Iterator[RuleDenial | None]:
        return map(self._judge.refusal, things)

    def _at_once(self, things: Sequence[CapSubject]) -> Iterator[RuleDenial | None]:
        return self._board.refusals(things, self._judge)

    def _grant(self, item: ItemT, thing: CapSubject) -> None:
        hold = Hold(
            (0, len(self._holds)),
            thing,
            surface=self._here.surface,
            subject=self._here.subject,
            owner=self._owner,
            ttl_ms=self._ttl_ms,
            stamp=self._writing.now.stamp,
        )
        self._state.hold(hold)
        self._state.attach()
        self._holds.append(hold)
        self._items.append(item)

    @cached_property
    def _owner(self) -> Owner:
        return self._state.owners[self._writing.owner_number()]

    @cached_property
    def _ttl_ms(self) -> int:
        return self._rules.surface(self._here.surface).reservation_ttl_ms

    def _recorded(self) -> Decision[ItemT]:
        if not self._holds and not self._judge.chances:
            return Decision("", (), self._denials(), self._still_starving())
        writing = self._writing
        fields = [
            *writing.when(writing.now.stamp),
            writing.owner_number(),
            self._ttl_ms,
            self._here.surface,
            self._here.subject,
            writing.thing_numbers([hold.thing for hold in self._holds]),
            [[rule_id, *key] for rule_id, key in self._judge.chances],
        ]
        position = writing.append("decision", fields)
        for hold in self._holds:
            self._state.rename(hold, (position, hold.id[1]))
        if self._holds:
            self._state.active(writing.now.stamp)
        expires = shown(self._here.wall_ms + self._ttl_ms)
        granted = zip(self._holds, self._items, strict=True)
        picks = [
            GrantedItem(hold.id[1], item, hold.name, expires) for hold, item in granted
        ]
        return Decision(
            str(position), tuple(picks), self._denials(), self._still_starving()
        )

    def _still_starving(self) -> tuple[str, ...]:
        return tuple(sorted(self._starving - {item.id for item in self._items}))

    def _denials(self) -> Denials:
        rules, times = self._rules, [now.ms for now in self._here.times]
        return Denials(
            self._refused,
            self._here.wall_ms,
            lambda refusal: times[refusal.timeline(rules)],
        )

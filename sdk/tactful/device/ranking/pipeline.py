"""From a catalog to an ordered list: candidates, score, balance, debias, variety, house rules.

Everything here is a pure function of its arguments. At balance 0 nothing about the person is among
them, so the list is the same for everyone; limits and hides are applied to it afterwards. Above 0
what may not be shown is left out before variety is weighed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from tactful.device.ranking.candidates.gather import enough, gather
from tactful.device.ranking.scoring.list_context import ListContext
from tactful.device.ranking.scoring.scored_items import Candidates, Scored
from tactful.device.ranking.selection.diversity import OF_A_MIX, POOL, diversify
from tactful.device.ranking.selection.placement_rules import PlacedList, keep_house
from tactful.device.ranking.selection.quotas import (
    Quota,
    QuotaTracker,
    fitting,
    without_surplus,
)
from tactful.device.ranking.selection.reserved_places import (
    fresh,
    promised,
    quotas,
    sources_of,
)
from tactful.device.ranking.values import Floats, Ints

DEPTH = 2  # a list is made to this many times its length, so that what is refused can be replaced
EVERYONE = (
    5  # so much more for everyone's: hides, too, are only applied to it afterwards
)


@dataclass(frozen=True)
class Ranking:
    """One list before caps reserve it: `house` has its places, `order` what may replace them.

    `relaxed` names the quotas that had to yield, with the place at which.
    """

    scored: Scored
    house: PlacedList
    order: Ints
    relaxed: tuple[tuple[int, str], ...]

    @property
    def context(self) -> ListContext:
        """What the list was made from."""
        return self.scored.context

    def line(self) -> Iterator[int]:
        """Every item that may be shown, in the order in which limits are to be asked.

        What is fixed comes first, then the list, then what may replace what is refused.
        """
        fixed = self.house.fixed
        yield from fixed
        yield from (number for number in self.house.numbers if number not in fixed)
        yield from self._spares()

    def place(self, number: int) -> int | None:
        """Where the item stands before limits, from 0; None if it is not offered at all."""
        line = enumerate(chain(self.house.numbers, self._spares()))
        return next((place for place, one in line if one == number), None)

    def _spares(self) -> Iterator[int]:
        """Replacements, best first; whichever of them are taken, the house's rules hold."""
        listed = set(self.house.numbers)
        if not self.context.rules.apart:
            yield from (number for number in self._others() if number not in listed)
            return
        for number in self._others():
            if number not in listed and not self._parted(number, listed):
                listed.add(number)
                yield number

    def _others(self) -> Iterator[int]:
        """What was chosen, then all that was weighed, then the rest as it stands for everyone."""
        found: Iterator[int] = chain(self.order.tolist(), self._weighed())
        if self.context.rules.standard_share:
            place = self.context.standing.place
            found = iter(sorted(found, key=lambda number: int(place[number])))
        seen = set[int]()
        for number in found:
            if number not in seen:
                seen.add(number)
                yield number
        standing = self.context.standing.order
        yield from standing[~self._unwanted[standing]].tolist()

    def _weighed(self) -> Iterator[int]:
        """All that was weighed, best first: ordered only if the list does not do."""
        yield from self.scored.best_first.tolist()

    def _parted(self, number: int, listed: Collection[int]) -> bool:
        rules, items = self.context.rules, self.context.standing.shelf.catalog.items
        return any(rules.parts(items[number], items[n]) for n in listed)

    @cached_property
    def _unwanted(self) -> NDArray[np.bool_]:
        """What the standing order holds that is not to come after the candidates."""
        unwanted = ~self.context.kept()
        unwanted[self.scored.numbers] = True
        return unwanted


def rank(context: ListContext, *, length: int) -> Ranking:
    """The list of `length` places for `context`."""
    context = context.of_nobody() if context.balance == 0 else context
    limits = quotas(context, length)
    scored = Candidates(context, _candidates(context, limits, length)).scored()
    pool, scores = _pool(scored, limits, length)
    choice = QuotaTracker(limits, pool)
    chosen = _varied(context, pool, scores, choice, length)
    sources = sources_of(scored, chosen[:length].tolist(), length)
    house = keep_house(
        context.rules,
        context.standing.shelf.catalog.items,
        chosen.tolist(),
        promised(scored, sources, chosen.tolist(), length),
        must=_must(context),
        length=length,
    )
    return Ranking(scored, house, chosen, tuple(choice.relaxed))


def _pool(scored: Scored, limits: Sequence[Quota], length: int) -> tuple[Ints, Floats]:
    """Return the best items, best first, among which variety and quotas choose, and their scores.

    It reaches as far down as it must, so that a kind that fills the top cannot make a quota yield
    while other items are there.
    """
    size = length * (POOL if scored.context.balance else EVERYONE)
    pool, scores = scored.best(size)
    needed = _needed(scored.context, limits, length)
    if np.count_nonzero(fitting(limits, pool)) >= needed or len(pool) == len(
        scored.numbers
    ):
        return pool, scores
    pool, scores = scored.best(len(scored.numbers))
    fits = np.cumsum(fitting(limits, pool))
    end = max(int(np.searchsorted(fits, needed)) + 1, size)
    kept = without_surplus(limits, pool[:end], POOL)
    return pool[:end][kept], scores[:end][kept]


def _needed(context: ListContext, limits: Sequence[Quota], length: int) -> int:
    """Return how many items must fit all quotas together so that the list can be filled.

    Whatever is chosen first, it takes the place of at most one fitting item for each quota.
    """
    return _depth(context, length) * max(len(limits), 1)


def _depth(context: ListContext, length: int) -> int:
    return length * (DEPTH if context.balance else EVERYONE)


def _candidates(context: ListContext, limits: Sequence[Quota], length: int) -> Ints:
    """Return the items that are weighed, enough of them of different kinds for the quotas."""
    standing, taste = context.standing, context.taste
    personal, count = None, enough(length)
    if taste.likes and count < len(standing.scores):
        personal = context.liking.everywhere()
    rules = context.rules
    named = context.numbers(*rules.pins.values(), *rules.notices).values()
    always = [*taste.due, *fresh(context, length), *named]
    kept = context.kept()
    candidates = gather(personal, standing.order, kept, size=count, always=always)
    needed = _needed(context, limits, length)
    while limits and np.count_nonzero(fitting(limits, candidates)) < needed:
        # the kinds that have candidates enough make room for the others
        kept = kept & ~_plenty(limits, candidates)
        kept[candidates] = False
        more = gather(personal, standing.order, kept, size=count, always=())
        if not len(more):
            break
        candidates = np.union1d(candidates, more)
    return candidates


def _plenty(limits: Sequence[Quota], candidates: Ints) -> NDArray[np.bool_]:
    """Return which items of the catalog are of a kind that fills its quota, shape (items,)."""
    plenty = np.zeros(len(limits[0].labels), dtype=np.bool_)
    for quota in limits:
        labels = quota.labels[candidates]
        counts = np.bincount(labels[labels >= 0], minlength=1)
        is_full = np.append(
            counts >= POOL * quota.limit, False
        )  # label -1 is of no kind
        known = np.minimum(quota.labels, len(counts))
        plenty |= is_full[np.where(known < 0, len(counts), known)]
    return plenty


def _varied(
    context: ListContext, pool: Ints, scores: Floats, choice: QuotaTracker, length: int
) -> Ints:
    return diversify(
        context.standing.shelf,
        pool,
        scores,
        depth=_depth(context, length),
        diversity=context.diversity,
        objective=context.list_policy.objective,
        mix=_own_mix(context),
        choice=choice,
    )


def _own_mix(context: ListContext) -> Floats | None:
    """The mix of categories that the person likes; None if nothing is known."""
    liked = np.fromiter(
        context.taste.likes, dtype=np.int64, count=len(context.taste.likes)
    )
    if context.list_policy.objective not in OF_A_MIX or not len(liked):
        return None
    return context.standing.shelf.category_mix(liked)


def _must(context: ListContext) -> dict[str, int]:
    """What pins and notices name, as far as it may be offered."""
    named = context.numbers(*context.rules.pins.values(), *context.rules.notices)
    if not named:
        return {}
    kept = context.kept()
    return {item_id: number for item_id, number in named.items() if kept[number]}

"""The ranking pipeline: candidates, scores, balance, diversity, placement rules.

Every function here is pure. At balance 0 no argument holds anything about the person,
so the list is the same for everyone; frequency caps and hides are applied to it
afterwards. Above 0, items that may not be shown are left out before diversity is
computed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from tactful.device.ranking.candidates.gather import candidate_count, gather
from tactful.device.ranking.scoring.list_context import ListContext
from tactful.device.ranking.scoring.scored_items import Candidates, Scored
from tactful.device.ranking.selection.diversity import (
    MIX_OBJECTIVES,
    POOL_FACTOR,
    diversify,
)
from tactful.device.ranking.selection.placement_rules import PlacedList, place_items
from tactful.device.ranking.selection.quotas import (
    Quota,
    QuotaTracker,
    fitting_items,
    without_surplus,
)
from tactful.device.ranking.selection.reserved_places import (
    fresh_items,
    list_quotas,
    promised_places,
    reserved_sources,
)
from tactful.device.ranking.values import Floats, Ints

# A list is computed to a multiple of its length, so that items which caps deny can be
# replaced. The standard list needs more, because hides too are applied afterwards.
PERSONAL_DEPTH = 2
STANDARD_DEPTH = 5


@dataclass(frozen=True)
class Ranking:
    """One list before caps reserve its items.

    `context` is what the list was made from. `placed_list` has the items by place,
    `order` the replacements, best first.
    `relaxed` names each quota that had to yield, with the place at which it did.
    """

    context: ListContext
    scored: Scored
    placed_list: PlacedList
    order: Ints
    relaxed: tuple[tuple[int, str], ...]

    def line(self) -> Iterator[int]:
        """Yield every item that may be shown, in the order in which caps decide.

        Fixed items come first, then the other items of the list, then replacements.
        """
        fixed = self.placed_list.fixed
        yield from fixed
        for number in self.placed_list.numbers:
            if number not in fixed:
                yield number
        yield from self._replacements()

    def place(self, number: int) -> int | None:
        """Return the place of the item before caps, from 0.

        The result is None if it is not eligible.
        """
        line = chain(self.placed_list.numbers, self._replacements())
        for place, line_number in enumerate(line):
            if line_number == number:
                return place
        return None

    def _replacements(self) -> Iterator[int]:
        """Yield replacements, best first; any selection of them obeys the rules."""
        listed = set(self.placed_list.numbers)
        if not self.context.rules.apart:
            for number in self._all_by_preference():
                if number not in listed:
                    yield number
            return
        for number in self._all_by_preference():
            if number not in listed and not self._conflicts(number, listed):
                listed.add(number)
                yield number

    def _all_by_preference(self) -> Iterator[int]:
        """Yield chosen items, then all other candidates, then the standard order."""
        standing = self.context.standing
        preferred: Iterator[int] = chain(self.order.tolist(), self._candidates())
        if self.context.rules.standard_share:
            place = standing.place
            by_standard = sorted(preferred, key=lambda number: int(place[number]))
            preferred = iter(by_standard)
        yielded = set[int]()
        for number in preferred:
            if number not in yielded:
                yielded.add(number)
                yield number
        is_excluded = self._ineligible_or_candidate[standing.order]
        yield from standing.order[~is_excluded].tolist()

    def _candidates(self) -> Iterator[int]:
        """Yield all candidates, best first; sorted only once the first is needed."""
        yield from self.scored.best_first.tolist()

    def _conflicts(self, number: int, listed: Collection[int]) -> bool:
        """Return True if the item may not be in one list with an item of `listed`."""
        rules = self.context.rules
        items = self.context.standing.shelf.catalog.items
        item = items[number]
        return any(rules.parts(item, items[other]) for other in listed)

    @cached_property
    def _ineligible_or_candidate(self) -> NDArray[np.bool_]:
        """Items that the standard order must not add, shape (items,)."""
        is_excluded = ~self.context.eligible()
        is_excluded[self.scored.numbers] = True
        return is_excluded


def rank(context: ListContext, *, length: int) -> Ranking:
    """Return the list of `length` places for `context`."""
    context = context.without_person() if context.balance == 0 else context
    quotas = list_quotas(context, length)
    candidates = Candidates(context, _candidates(context, quotas, length))
    scored = candidates.scored()
    pool, scores = _pool(scored, quotas, length)
    tracker = QuotaTracker(quotas, pool)
    order = _diversified(context, pool, scores, tracker, length)
    chosen = order.tolist()
    sources = reserved_sources(scored, chosen[:length], length)
    placed_list = place_items(
        context.rules,
        context.standing.shelf.catalog.items,
        chosen,
        promised_places(scored, sources, chosen, length),
        required=_required_items(context),
        length=length,
    )
    return Ranking(context, scored, placed_list, order, tuple(tracker.relaxed))


def _pool(scored: Scored, quotas: Sequence[Quota], length: int) -> tuple[Ints, Floats]:
    """Return the best items, best first, that diversity selects from, and their scores.

    The pool is extended until enough of its items fit the quotas. Otherwise a category
    that fills the top could make a quota yield while other items are available.
    """
    factor = POOL_FACTOR if scored.context.balance else STANDARD_DEPTH
    size = length * factor
    pool, scores = scored.best(size)
    needed = _needed(scored.context, quotas, length)
    has_all = len(pool) == len(scored.numbers)
    if has_all or np.count_nonzero(fitting_items(quotas, pool)) >= needed:
        return pool, scores
    pool, scores = scored.best(len(scored.numbers))
    fit_counts = np.cumsum(fitting_items(quotas, pool))
    end = max(int(np.searchsorted(fit_counts, needed)) + 1, size)
    pool = pool[:end]
    scores = scores[:end]
    is_useful = without_surplus(quotas, pool, POOL_FACTOR)
    return pool[is_useful], scores[is_useful]


def _needed(context: ListContext, quotas: Sequence[Quota], length: int) -> int:
    """Return how many items must fit all quotas so that the list can be filled.

    Each chosen item takes the place of at most one fitting item for each quota.
    """
    return _depth(context, length) * max(len(quotas), 1)


def _depth(context: ListContext, length: int) -> int:
    """Return how many places are computed for a list of `length` places."""
    return length * (PERSONAL_DEPTH if context.balance else STANDARD_DEPTH)


def _candidates(context: ListContext, quotas: Sequence[Quota], length: int) -> Ints:
    """Return the candidates: enough items of different labels for the quotas."""
    standard_order = context.standing.order
    size = candidate_count(length)
    personal = _personal_scores(context, size)
    always = _always_candidates(context, length)
    eligible = context.eligible()
    candidates = gather(personal, standard_order, eligible, size=size, always=always)
    needed = _needed(context, quotas, length)
    while quotas and np.count_nonzero(fitting_items(quotas, candidates)) < needed:
        # Labels with enough candidates make room for the others.
        eligible = eligible & ~_saturated(quotas, candidates)
        eligible[candidates] = False
        more = gather(personal, standard_order, eligible, size=size, always=())
        if not len(more):
            break
        candidates = np.union1d(candidates, more)
    return candidates


def _personal_scores(context: ListContext, size: int) -> Floats | None:
    """Return a personal score for each item.

    The result is None without likes, or if all items are scored.
    """
    if context.taste.likes and size < len(context.standing.scores):
        return context.liked_items.all_scores()
    return None


def _always_candidates(context: ListContext, length: int) -> list[int]:
    """Return the items that are candidates whatever their score."""
    rules = context.rules
    named = context.numbers(*rules.pins.values(), *rules.notices)
    return [*context.taste.due, *fresh_items(context, length), *named.values()]


def _saturated(quotas: Sequence[Quota], candidates: Ints) -> NDArray[np.bool_]:
    """Return which items have a label with enough candidates, shape (items,)."""
    is_saturated = np.zeros(len(quotas[0].labels), dtype=np.bool_)
    for quota in quotas:
        labels = quota.labels[candidates]
        counts = np.bincount(labels[labels >= 0], minlength=1)
        # The last entry stands for labels without candidates, and for label -1.
        is_full = np.append(counts >= POOL_FACTOR * quota.limit, False)
        index = np.minimum(quota.labels, len(counts))
        index = np.where(index < 0, len(counts), index)
        is_saturated |= is_full[index]
    return is_saturated


def _diversified(
    context: ListContext,
    pool: Ints,
    scores: Floats,
    tracker: QuotaTracker,
    length: int,
) -> Ints:
    return diversify(
        context.standing.shelf,
        pool,
        scores,
        depth=_depth(context, length),
        diversity=context.diversity,
        objective=context.list_policy.objective,
        mix=_liked_mix(context),
        tracker=tracker,
    )


def _liked_mix(context: ListContext) -> Floats | None:
    """Return the share of each category among the likes; None if it is not needed."""
    likes = context.taste.likes
    if context.list_policy.objective not in MIX_OBJECTIVES or not likes:
        return None
    numbers = np.fromiter(likes, dtype=np.int64, count=len(likes))
    return context.standing.shelf.category_mix(numbers)


def _required_items(context: ListContext) -> dict[str, int]:
    """Return the eligible items of pins and notices, by item id."""
    named = context.numbers(*context.rules.pins.values(), *context.rules.notices)
    if not named:
        return {}
    eligible = context.eligible()
    return {item_id: number for item_id, number in named.items() if eligible[number]}

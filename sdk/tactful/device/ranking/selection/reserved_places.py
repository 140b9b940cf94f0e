"""Places that are promised: to what stands first for everyone, what is due, new or untried."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from math import ceil

import numpy as np

from tactful.device.ranking.candidates.gather import FRESH_DAYS, FRESH_SHOWS
from tactful.device.ranking.scoring.exploration import explore
from tactful.device.ranking.scoring.list_context import ListContext
from tactful.device.ranking.scoring.scored_items import Scored
from tactful.device.ranking.selection.placement_rules import ReservedPlaces
from tactful.device.ranking.selection.quotas import Quota
from tactful.device.ranking.values import Source

HEAD_MARGIN = (
    0.3  # of a list, that best-sellers may take beyond their share of one's own taste
)
HEAD_PRIOR = 2.0  # likes that everyone's taste for best-sellers is worth


def quotas(context: ListContext, length: int) -> list[Quota]:
    """What one list may hold of a kind: as the app said, and of best-sellers as one likes them."""
    shelf, standing = context.standing.shelf, context.standing
    said = [
        Quota(name, shelf.labels(name), most)
        for name, most in context.list_policy.most.items()
    ]
    if standing.popularity is None:
        return said
    likes = list(context.taste.likes)
    sold = int(np.count_nonzero(standing.best_sellers[likes] == 0)) if likes else 0
    share = (sold + HEAD_PRIOR / 2) / (len(likes) + HEAD_PRIOR)
    limit = ceil(min(share + HEAD_MARGIN, 1.0) * length)
    return [*said, Quota("best_sellers", standing.best_sellers, limit)]


def sources_of(
    scored: Scored, natural: Sequence[int], length: int
) -> list[ReservedPlaces]:
    """What is due, new or untried, best first, with the places it is promised.

    `natural` is what the list is made from anyway: of it nothing is a trial.
    """
    context, places = scored.context, scored.field.places
    found: dict[Source, Callable[[], Iterable[int]]] = {
        Source.REPEAT_DUE: lambda: (n for n in context.taste.due if places[n] >= 0),
        Source.FRESH: lambda: (n for n in fresh(context, length) if places[n] >= 0),
        Source.EXPLORATION: lambda: _untried(scored, natural),
    }
    owed = []
    for source, sought in found.items():
        count = _places(context, source, length)
        numbers = list(islice(sought(), 4 * count)) if count else []
        if numbers:
            owed.append(ReservedPlaces(source, count, numbers))
    return owed


def _places(context: ListContext, source: Source, length: int) -> int:
    """How many places a source is promised; what was shown since the person came had its trials."""
    share = context.list_policy.places.get(source, 0.0)
    count = round(share * length)
    if source is not Source.EXPLORATION:
        return count
    return min(
        count, max(context.list_policy.trials - round(share * context.taste.seen), 0)
    )


def promised(
    scored: Scored,
    sources: Sequence[ReservedPlaces],
    chosen: Sequence[int],
    length: int,
) -> list[ReservedPlaces]:
    """The places that are promised of a list `chosen`, as far as quotas allow."""
    limits, listed = (
        quotas(scored.context, length) if sources else [],
        list(chosen[:length]),
    )
    owed = []
    for one in sources:
        fitting = []
        for number in one.numbers:
            if number in listed or not any(
                quota.full(listed, number) for quota in limits
            ):
                fitting.append(number)
                listed.append(number)
        owed.append(ReservedPlaces(one.source, one.count, fitting))
    return [*_everyones(scored, chosen, length), *owed]


def _everyones(
    scored: Scored, chosen: Sequence[int], length: int
) -> list[ReservedPlaces]:
    """What stands first for everyone and may be offered here; what is in the list anyway first."""
    share = scored.context.rules.standard_share
    if not share:
        return []
    place = scored.context.standing.place[scored.numbers]
    best = scored.numbers[np.argsort(place, kind="stable")][:length].tolist()
    best.sort(key=lambda number: number not in chosen[:length])
    return [ReservedPlaces(Source.STANDARD, ceil(share * length), best)]


def _untried(scored: Scored, natural: Sequence[int]) -> list[int]:
    """What the person was never shown and is not of a kind they dislike, drawn by what they follow.

    For nobody in particular nothing is tried.
    """
    context = scored.context
    if not (context.seed and context.list_policy.places.get(Source.EXPLORATION)):
        return []
    known = np.zeros(len(context.standing.shelf.catalog), dtype=np.bool_)
    known[[*context.taste.times, *natural]] = True
    if scored.field.lean is not None:
        known[scored.numbers[scored.field.lean < 0]] = True
    best, sold = scored.best_first, context.standing.best_sellers
    untried = best[~known[best] & (sold[best] < 0)]  # what everyone knows is no trial
    drawn = explore(
        context.standing.shelf, untried, context.taste.tried(), seed=context.seed
    )
    numbers: list[int] = drawn.tolist()
    return numbers


def fresh(context: ListContext, length: int) -> list[int]:
    """What joined the catalog lately and was not shown too often, best for everyone first."""
    first_day, times = context.standing.shelf.first_day, context.taste.times
    if not context.list_policy.places.get(Source.FRESH) or not (first_day >= 0).any():
        return []
    new = np.flatnonzero(
        (first_day > context.today - FRESH_DAYS) & (first_day <= context.today)
    )
    best = new[np.argsort(context.standing.place[new], kind="stable")]
    lifted = (int(n) for n in best if times.get(int(n), 0) < FRESH_SHOWS)
    return [number for _, number in zip(range(4 * length), lifted, strict=False)]

"""Places of a list that are promised to standard, due, new or untried items."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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

HEAD_MARGIN = 0.3  # share of a list for best-sellers beyond their share of the likes
HEAD_PRIOR = 2.0  # likes that the prior, half of them best-sellers, is worth
SPARE_FACTOR = 4  # items that are prepared for each promised place


def list_quotas(context: ListContext, length: int) -> list[Quota]:
    """Return the quotas of one list: the app's, and one for best-sellers."""
    standing = context.standing
    quotas = [
        Quota(name, standing.shelf.labels(name), limit)
        for name, limit in context.list_policy.most.items()
    ]
    if standing.popularity is None:
        return quotas
    likes = list(context.taste.likes)
    liked_best_sellers = 0
    if likes:
        is_best_seller = standing.best_sellers[likes] == 0
        liked_best_sellers = int(np.count_nonzero(is_best_seller))
    share = (liked_best_sellers + HEAD_PRIOR / 2) / (len(likes) + HEAD_PRIOR)
    limit = ceil(min(share + HEAD_MARGIN, 1.0) * length)
    return [*quotas, Quota("best_sellers", standing.best_sellers, limit)]


def reserved_sources(
    scored: Scored, natural: Sequence[int], length: int
) -> list[ReservedPlaces]:
    """Return due, new and untried items, best first, with their promised places.

    `natural` has the items that the list would hold anyway; they are no exploration.
    """
    reserved = []
    for source in (Source.REPEAT_DUE, Source.FRESH, Source.EXPLORATION):
        count = _promised_count(scored.context, source, length)
        if not count:
            continue
        items = _source_items(scored, source, natural, length)
        numbers = list(islice(items, SPARE_FACTOR * count))
        if numbers:
            reserved.append(ReservedPlaces(source, count, numbers))
    return reserved


def _source_items(
    scored: Scored, source: Source, natural: Sequence[int], length: int
) -> Iterable[int]:
    """Return the items of one source, best first."""
    if source is Source.EXPLORATION:
        return _untried(scored, natural)
    context = scored.context
    is_due = source is Source.REPEAT_DUE
    numbers = context.taste.due if is_due else fresh_items(context, length)
    places = scored.field.places
    return (number for number in numbers if places[number] >= 0)


def _promised_count(context: ListContext, source: Source, length: int) -> int:
    """Return how many places `source` is promised.

    Exploration has a maximum per activity session; shows of the session reduce it.
    """
    list_policy = context.list_policy
    share = list_policy.places.get(source, 0.0)
    count = round(share * length)
    if source is not Source.EXPLORATION:
        return count
    remaining_trials = list_policy.trials - round(share * context.taste.seen)
    return min(count, max(remaining_trials, 0))


def promised_places(
    scored: Scored,
    sources: Sequence[ReservedPlaces],
    chosen: Sequence[int],
    length: int,
) -> list[ReservedPlaces]:
    """Return the promised places of the list `chosen`, as far as quotas allow.

    The standard list comes first, then `sources`.
    """
    quotas = list_quotas(scored.context, length) if sources else []
    listed = list(chosen[:length])
    promised = _standard_places(scored, chosen, length)
    for reserved in sources:
        fitting = []
        for number in reserved.numbers:
            is_listed = number in listed
            if is_listed or not any(quota.full(listed, number) for quota in quotas):
                fitting.append(number)
                listed.append(number)
        promised.append(ReservedPlaces(reserved.source, reserved.count, fitting))
    return promised


def _standard_places(
    scored: Scored, chosen: Sequence[int], length: int
) -> list[ReservedPlaces]:
    """Return the places promised to the best items of the standard order.

    Items that the list holds anyway come first.
    """
    share = scored.context.rules.standard_share
    if not share:
        return []
    place = scored.context.standing.place[scored.numbers]
    by_place = np.argsort(place, kind="stable")[:length]
    best = scored.numbers[by_place].tolist()
    best.sort(key=lambda number: number not in chosen[:length])
    return [ReservedPlaces(Source.STANDARD, ceil(share * length), best)]


def _untried(scored: Scored, natural: Sequence[int]) -> list[int]:
    """Return items that the person was never shown, in a drawn order.

    Disliked categories and best-sellers are left out. A standard list tries nothing.
    """
    context = scored.context
    standing = context.standing
    if not (context.seed and context.list_policy.places.get(Source.EXPLORATION)):
        return []
    is_known = np.zeros(len(standing.shelf.catalog), dtype=np.bool_)
    is_known[[*context.taste.times, *natural]] = True
    if scored.field.lean is not None:
        is_known[scored.numbers[scored.field.lean < 0]] = True
    best = scored.best_first
    is_untried = ~is_known[best] & (standing.best_sellers[best] < 0)
    untried = best[is_untried]
    tried = context.taste.tried()
    numbers: list[int] = explore(
        standing.shelf, untried, tried, seed=context.seed
    ).tolist()
    return numbers


def fresh_items(context: ListContext, length: int) -> list[int]:
    """Return items that joined the catalog lately, in the standard order.

    Items that were shown `FRESH_SHOWS` times to the person are left out.
    """
    first_day = context.standing.shelf.first_day
    if not context.list_policy.places.get(Source.FRESH) or not (first_day >= 0).any():
        return []
    is_new = first_day > context.today - FRESH_DAYS
    is_new &= first_day <= context.today
    numbers = np.flatnonzero(is_new)
    by_place = np.argsort(context.standing.place[numbers], kind="stable")
    times = context.taste.times
    promoted = (
        number
        for number in numbers[by_place].tolist()
        if times.get(number, 0) < FRESH_SHOWS
    )
    return list(islice(promoted, SPARE_FACTOR * length))

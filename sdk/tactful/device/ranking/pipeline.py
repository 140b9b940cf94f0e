"""From a catalog to an ordered list: score, balance, eligibility, diversity; caps reserve after it.

Everything here is a pure function of its arguments.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tactful.device.ranking.balance import effective_balance, mix, normalised_rank
from tactful.device.ranking.diversity import Objective, diversify
from tactful.device.ranking.reasons import Reason, ReasonCode, personal_reasons, rank_of
from tactful.device.ranking.scoring import (
    Floats,
    Ints,
    Shelf,
    personal_scores,
    standard_scores,
)
from tactful.learning.model import Model

if TYPE_CHECKING:
    from tactful.device.memory import Memory
    from tactful.device.settings import Settings
    from tactful.protocol.model import ModelRelease

DEPTH = (
    5  # the list is diversified to this many times the length asked for, so that caps may refill
)


@dataclass(frozen=True)
class Context:
    """What one list is made from: public things, and what is liked (item number to strength)."""

    shelf: Shelf
    model: Model | None
    likes: Mapping[int, float]
    balance: float
    diversity: float
    objective: Objective = "mmr"


@dataclass(frozen=True)
class Ranking:
    """One ordered list before caps: item numbers best first, and the scores behind the order."""

    context: Context
    order: Ints
    standard: Floats
    scores: Floats

    def reasons(self, number: int) -> tuple[Reason, ...]:
        """Why item `number` stands where it does; never empty."""
        cited = self._cited(number)
        return cited or (Reason(self._general(number)),)

    def is_standard(self, number: int) -> bool:
        """Whether the item would stand as high if nothing at all were known of the person."""
        return rank_of(number, self.standard) <= rank_of(number, self.scores)

    def _cited(self, number: int) -> tuple[Reason, ...]:
        context = self.context
        if context.balance == 0 or not context.likes:
            return ()
        return personal_reasons(
            context.shelf.catalog, number, context.likes, self.scores, self._without
        )

    def _without(self, liked: int) -> Floats:
        context = self.context
        rest = {number: s for number, s in context.likes.items() if number != liked}
        personal = personal_scores(context.shelf, context.model, rest)
        return mix(self.standard, personal, context.balance, context.shelf.tie_rank)

    def _general(self, number: int) -> ReasonCode:
        if not self.is_standard(number):
            return ReasonCode.YOUR_TASTE
        if self.context.model is not None:
            return ReasonCode.POPULAR
        return ReasonCode.STANDARD if self.context.likes else ReasonCode.NOTHING_KNOWN


def situation(
    shelf: Shelf,
    memory: Memory,
    settings: Settings,
    *,
    model: Model | None,
    release: ModelRelease | None,
    asked: float | None,
    now_ms: int,
) -> tuple[Context, list[int]]:
    """What the next list is made from, and the numbers of items that may not be in it.

    `asked` is a balance for this list alone. What a person owns is not offered again, unless it
    is used up: replenishable items stay.
    """
    catalog = shelf.catalog
    liked = memory.profile.likes(now_ms)
    likes = {catalog.number(i): strength for i, strength in liked.items() if i in catalog}
    balance = effective_balance(
        app=settings.balance,
        person=min(memory.balance, 1.0 if asked is None else asked),
        allowed=memory.consent.allows("local_personalization"),
        liked=len(likes),
        staleness=1.0 if release is None else freshness(release, now_ms),
    )
    owned = [i for i in memory.profile.owned if i in catalog and not catalog[i].replenishable]
    context = Context(shelf, model, likes if balance else {}, balance, settings.diversity)
    return context, [catalog.number(i) for i in owned]


def freshness(release: ModelRelease, now_ms: int) -> float:
    """1 until a release expires, then halved for each further lifetime it had."""
    late = now_ms / 1000 - release.expires
    return float(min(1.0, 2.0 ** (-late / (release.expires - release.created))))


def rank(context: Context, *, length: int, excluded: Collection[int] = ()) -> Ranking:
    """The whole catalog in list order for `context`, diversified to five times `length`.

    At balance 0 the order is the same for every person, so `excluded` item numbers only leave the
    finished order; otherwise they leave before variety is weighed.
    """
    shelf = context.shelf
    standard = standard_scores(shelf, context.model)
    scores = _scores(context, standard)
    kept = np.ones(len(scores), dtype=bool)
    kept[list(excluded)] = False
    if context.balance > 0:
        return Ranking(context, _ordered(context, scores, kept, length), standard, scores)
    everyone = _ordered(context, scores, np.ones_like(kept), length)
    return Ranking(context, everyone[kept[everyone]], standard, scores)


def _scores(context: Context, standard: Floats) -> Floats:
    tie_rank = context.shelf.tie_rank
    if context.balance == 0:
        return normalised_rank(standard, tie_rank)
    personal = personal_scores(context.shelf, context.model, context.likes)
    return mix(standard, personal, context.balance, tie_rank)


def _ordered(context: Context, scores: Floats, kept: NDArray[np.bool_], length: int) -> Ints:
    numbers = np.flatnonzero(kept)
    best_first = numbers[np.lexsort((context.shelf.tie_rank[numbers], -scores[numbers]))]
    return diversify(
        context.shelf,
        best_first,
        scores[best_first],
        depth=DEPTH * length,
        diversity=context.diversity,
        objective=context.objective,
    )

"""Reasons why an item is shown.

A like is cited only if the item would rank lower without it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Literal

import numpy as np

from tactful.device.catalog import Item
from tactful.device.ranking.pipeline import Ranking
from tactful.device.ranking.scoring.scored_items import Candidates
from tactful.device.ranking.values import Source
from tactful.json_values import JsonResult

MOST_REASONS = 2
MOST_TESTED_LIKES = 5  # only the strongest likes are tested, to bound the cost
Language = Literal["en", "de"]


class ReasonCode(StrEnum):
    """The kinds of reasons."""

    BECAUSE_YOU_LIKED = "because_you_liked"
    YOUR_TASTE = "your_taste"
    DUE_AGAIN = "due_again"
    NEW = "new"
    EXPLORATION = "exploration"
    POPULAR = "popular"
    CHOSEN = "chosen"
    NOTICE = "notice"
    STANDARD = "standard"
    NOTHING_KNOWN = "nothing_known"


SENTENCES: Mapping[Language, Mapping[ReasonCode, str]] = {
    "en": {
        ReasonCode.BECAUSE_YOU_LIKED: "because you liked {title}",
        ReasonCode.YOUR_TASTE: "close to what you like on the whole",
        ReasonCode.DUE_AGAIN: "you may need it again",
        ReasonCode.NEW: "new in the catalog",
        ReasonCode.EXPLORATION: "trying something new",
        ReasonCode.POPULAR: "popular with everyone",
        ReasonCode.CHOSEN: "placed here for everyone",
        ReasonCode.NOTICE: "shown to everyone, because it has to be",
        ReasonCode.STANDARD: "part of the standard list",
        ReasonCode.NOTHING_KNOWN: "from the catalog; nothing is known about you",
    },
    "de": {
        ReasonCode.BECAUSE_YOU_LIKED: "weil dir {title} gefällt",
        ReasonCode.YOUR_TASTE: "nah an dem, was dir insgesamt gefällt",
        ReasonCode.DUE_AGAIN: "vielleicht brauchst du es wieder",
        ReasonCode.NEW: "neu im Katalog",
        ReasonCode.EXPLORATION: "einmal etwas Neues",
        ReasonCode.POPULAR: "bei allen beliebt",
        ReasonCode.CHOSEN: "steht für alle an dieser Stelle",
        ReasonCode.NOTICE: "wird allen gezeigt, weil es sein muss",
        ReasonCode.STANDARD: "Teil der Standardliste",
        ReasonCode.NOTHING_KNOWN: "aus dem Katalog; über dich ist nichts bekannt",
    },
}
OF_SOURCE: Mapping[Source, ReasonCode] = {
    Source.REPEAT_DUE: ReasonCode.DUE_AGAIN,
    Source.FRESH: ReasonCode.NEW,
    Source.EXPLORATION: ReasonCode.EXPLORATION,
    Source.PINNED: ReasonCode.CHOSEN,
    Source.NOTICE: ReasonCode.NOTICE,
    Source.STANDARD: ReasonCode.STANDARD,
}


@dataclass(frozen=True, slots=True)
class Reason(JsonResult):
    """One reason: its code, and the liked item that it cites, if any."""

    code: ReasonCode
    item_id: str | None = None
    title: str = ""

    def sentence(self, language: Language = "en") -> str:
        """Return the reason as a sentence for the person."""
        return SENTENCES[language][self.code].format(title=self.title)

    def __str__(self) -> str:
        return self.sentence()


class Reasons:
    """The reasons for some items of one list.

    A like is cited for an item only if the item's rank among all candidates falls
    without it. Ranks are by score, before diversity and placement rules; equal scores
    share a rank. The scores without each like are computed once for all items.
    """

    def __init__(self, ranking: Ranking, numbers: Sequence[int]) -> None:
        scored = ranking.scored
        likes = ranking.context.taste.likes if ranking.context.balance else {}
        tested_likes = list(likes)[:MOST_TESTED_LIKES]
        items = ranking.context.standing.shelf.catalog.items
        self._ranking = ranking
        self._citations = {number: _citation(items[number]) for number in tested_likes}
        self._gains = dict(zip(numbers, scored.gains(numbers), strict=True))
        # Ranks of each item: in this list, in the standard list, without each like.
        rows = [scored.final, scored.field.everyone.final]
        if tested_likes:
            rows += [*scored.field.without(tested_likes)]
        ranks: list[list[float]] = scored.field.shared_ranks(
            np.array(rows), numbers
        ).T.tolist()
        self._ranks = dict(zip(numbers, ranks, strict=True))

    def of(self, number: int) -> tuple[Reason, ...]:
        """Return the reasons for item `number`; never empty."""
        source = self._ranking.placed_list.sources.get(number, Source.PERSONAL)
        if source in OF_SOURCE:
            return (Reason(OF_SOURCE[source]),)
        return self._cited(number) or (Reason(self._general(number)),)

    @property
    def ranks(self) -> list[int]:
        """The ranks by score, from 0, of those items that are candidates."""
        scored = self._ranking.scored
        candidates = [n for n in self._ranks if scored.field.places[n] >= 0]
        return scored.ranks(candidates)

    def is_standard(self, number: int) -> bool:
        """Return True if the item ranks at least as high in the standard list."""
        rank, standard_rank, *_ = self._ranks[number]
        return standard_rank <= rank

    def _cited(self, number: int) -> tuple[Reason, ...]:
        """Return likes without which the item ranks lower, the largest drop first."""
        rank, _, *ranks_without = self._ranks[number]
        likes = zip(ranks_without, self._citations, strict=True)
        drops = [
            (rank_without, like) for rank_without, like in likes if rank_without > rank
        ]
        largest = sorted(drops, reverse=True)[:MOST_REASONS]
        return tuple([self._citations[like] for _, like in largest])

    def _general(self, number: int) -> ReasonCode:
        if not self.is_standard(number) and self._is_lifted(number):
            return ReasonCode.YOUR_TASTE
        context = self._ranking.context
        if context.standing.model is not None:
            return ReasonCode.POPULAR
        return ReasonCode.STANDARD if context.taste.likes else ReasonCode.NOTHING_KNOWN

    def _is_lifted(self, number: int) -> bool:
        """Return True if likes, or a stated interest, raised the item's score.

        An item can also rise because others fell; that is no sign of the person's
        taste.
        """
        field = self._ranking.scored.field
        place = field.places[number]
        is_leaned = field.lean is not None and place >= 0 and field.lean[place] > 0
        return bool(self._gains[number] > 0 or is_leaned)


def _citation(liked: Item) -> Reason:
    return Reason(ReasonCode.BECAUSE_YOU_LIKED, liked.id, liked.title)


def citations_hold(ranking: Ranking, numbers: Sequence[int]) -> list[bool]:
    """Return, for each like cited for these items, whether the item falls without it.

    Unlike `Reasons`, this scores the candidates again from a context without the like.
    """
    reasons = Reasons(ranking, numbers)
    results = []
    for number in numbers:
        for reason in reasons.of(number):
            if reason.item_id is not None:
                results.append(_falls_without(ranking, number, reason.item_id))
    return results


def _falls_without(ranking: Ranking, number: int, liked_id: str) -> bool:
    """Return True if item `number` ranks lower once `liked_id` is not liked."""
    context = ranking.context
    liked_number = context.standing.shelf.catalog.number(liked_id)
    likes = {
        item: strength
        for item, strength in context.taste.likes.items()
        if item != liked_number
    }
    changed = replace(context, taste=replace(context.taste, likes=likes))
    rescored = Candidates(changed, ranking.scored.numbers).scored()
    before = ranking.scored.shared_ranks([number])
    return rescored.shared_ranks([number]) > before

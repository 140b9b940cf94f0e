"""Why an item is shown: only what, if it were not so, would have changed the item's place."""

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

MOST_REASONS = 2
SIGNALS_TRIED = (
    5  # the strongest signals are tried for a reason, so that a long history is cheap
)
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
class Reason:
    """One reason: its code, and the item it cites where it cites one."""

    code: ReasonCode
    item_id: str | None = None
    title: str = ""

    def sentence(self, language: Language = "en") -> str:
        """The reason for the person, in a language they read."""
        return SENTENCES[language][self.code].format(title=self.title)

    def __str__(self) -> str:
        return self.sentence()


class Reasons:
    """The reasons of some items of one list, each ablation once for all of them.

    A signal is cited for an item only if the item's place among all that was weighed falls
    without it. Places are those by score, before variety and the house's rules; equal scores share
    a place.
    """

    def __init__(self, ranking: Ranking, numbers: Sequence[int]) -> None:
        self._ranking, field = ranking, ranking.scored.field
        likes = ranking.context.taste.likes if ranking.context.balance else {}
        tried = list(likes)[:SIGNALS_TRIED]
        scores = [ranking.scored.final, field.everyone.final]
        scores += [*field.without(tried)] if tried else []
        shared: list[list[float]] = field.shared_ranks(
            np.array(scores), numbers
        ).T.tolist()
        self._gains = dict(zip(numbers, ranking.scored.gains(numbers), strict=True))
        items = ranking.context.standing.shelf.catalog.items
        self._because = {liked: _because(items[liked]) for liked in tried}
        self._ranks = dict(
            zip(numbers, shared, strict=True)
        )  # here, for everyone, without each

    def of(self, number: int) -> tuple[Reason, ...]:
        """Why item `number` stands where it does; never empty."""
        source = self._ranking.house.sources.get(number, Source.PERSONAL)
        if source in OF_SOURCE:
            return (Reason(OF_SOURCE[source]),)
        return self._cited(number) or (Reason(self._general(number)),)

    @property
    def ranks(self) -> list[int]:
        """The places by score, from 0, of those of the items that were weighed."""
        scored = self._ranking.scored
        return scored.ranks(
            [number for number in self._ranks if scored.field.places[number] >= 0]
        )

    def is_standard(self, number: int) -> bool:
        """Whether the item would stand as high if nothing at all were known of the person."""
        rank, standard, *_ = self._ranks[number]
        return standard <= rank

    def _cited(self, number: int) -> tuple[Reason, ...]:
        rank, _, *without = self._ranks[number]
        drops = [
            drop for drop in zip(without, self._because, strict=True) if drop[0] > rank
        ]
        strongest = sorted(drops, reverse=True)[:MOST_REASONS]
        return tuple([self._because[liked] for _, liked in strongest])

    def _general(self, number: int) -> ReasonCode:
        if not self.is_standard(number) and self._is_lifted(number):
            return ReasonCode.YOUR_TASTE
        if self._ranking.context.standing.model is not None:
            return ReasonCode.POPULAR
        known = self._ranking.context.taste.likes
        return ReasonCode.STANDARD if known else ReasonCode.NOTHING_KNOWN

    def _is_lifted(self, number: int) -> bool:
        """Return True if likes, or a stated interest, raised the item's score.

        An item can also rise because others fell, which says nothing about what the person likes.
        """
        field = self._ranking.scored.field
        place = field.places[number]
        leaned = field.lean is not None and place >= 0 and field.lean[place] > 0
        return bool(self._gains[number] > 0 or leaned)


def _because(liked: Item) -> Reason:
    return Reason(ReasonCode.BECAUSE_YOU_LIKED, liked.id, liked.title)


def tested(ranking: Ranking, numbers: Sequence[int]) -> list[bool]:
    """For each signal cited for these items: whether the item falls if all is scored without it."""
    reasons, context = Reasons(ranking, numbers), ranking.context
    cited = [
        (n, r.item_id) for n in numbers for r in reasons.of(n) if r.item_id is not None
    ]
    found = []
    for number, item_id in cited:
        likes = _but(
            context.taste.likes, context.standing.shelf.catalog.number(item_id)
        )
        without = replace(context, taste=replace(context.taste, likes=likes))
        anew = Candidates(without, ranking.scored.numbers).scored()
        found.append(
            anew.shared_ranks([number]) > ranking.scored.shared_ranks([number])
        )
    return found


def _but(likes: Mapping[int, float], left_out: int) -> dict[int, float]:
    return {number: much for number, much in likes.items() if number != left_out}

"""Results of `recommend` and `why_not`: lists with reasons and reservations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import overload

from tactful.device.caps import Decision, Denial
from tactful.device.catalog import Item
from tactful.device.events import Event, Evidence
from tactful.device.ranking.explanations.denial_sentences import (
    DENIAL_TEXTS,
    denial_sentence,
)
from tactful.device.ranking.explanations.reasons import Language, Reason, Reasons
from tactful.device.ranking.list_metrics import lowest_promoted
from tactful.device.ranking.pipeline import Ranking
from tactful.device.ranking.values import Source
from tactful.json_values import JsonResult


class Missing(StrEnum):
    """The reason why a place in a list is empty."""

    CAPPED = "capped"  # frequency caps, quiet hours or hides deny the remaining items
    EXHAUSTED = "exhausted"  # the catalog has no more items for this person
    BUSY = "busy"  # another process locked the vault for too long


@dataclass(frozen=True, slots=True)
class Pick(JsonResult):
    """One place in a list: show `item` and observe `impression()`, or `release` it.

    `rank` counts from 0, `score` is in [0, 1]. `source` is the stage that put the item
    into the list. `is_standard` is True if the item would rank as high without anything
    known about the person.
    """

    item: Item
    rank: int
    score: float
    source: Source
    reasons: tuple[Reason, ...]
    is_standard: bool
    reservation_id: str
    expires_at: datetime

    def impression(self, evidence: Evidence = "viewable") -> Event:
        """Return the event that confirms the show; recording it twice counts once."""
        return Event(
            kind="impression",
            item_id=self.item.id,
            reservation_id=self.reservation_id,
            evidence=evidence,
        )


@dataclass(frozen=True)
class Picks(Sequence[Pick], JsonResult):
    """A list of picks, best first.

    `missing` has a reason for each empty place, `denials` has the items that caps
    denied. `relaxed` names the quotas that yielded so that the list could be filled, in
    order. `promoted` is how many places below the list its lowest item ranks by score
    alone (LIP).
    """

    picks: tuple[Pick, ...]
    decision_id: str
    denials: Sequence[Denial] = ()
    missing: tuple[Missing, ...] = field(default=())
    relaxed: tuple[str, ...] = ()
    promoted: int = 0

    def __len__(self) -> int:
        return len(self.picks)

    def __iter__(self) -> Iterator[Pick]:
        return iter(self.picks)

    @overload
    def __getitem__(self, place: int) -> Pick: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Pick]: ...
    def __getitem__(self, place: int | slice) -> Pick | Sequence[Pick]:
        """Return the pick at a place, or the picks of a slice."""
        return self.picks[place]


@dataclass(frozen=True, slots=True)
class PreviewedItem(JsonResult):
    """An item that a list would hold, with its reasons; it is not reserved."""

    item: Item
    reasons: tuple[Reason, ...]


def make_picks(ranking: Ranking, decision: Decision[Item], length: int) -> Picks:
    """Return the list of the items that caps granted out of `ranking`.

    `length` is the number of places that were requested.
    """
    context = ranking.context
    catalog = context.standing.shelf.catalog
    grants = {catalog.number(grant.item.id): grant for grant in decision.picks}
    order = ranking.placed_list.arranged(list(grants))
    reasons = Reasons(ranking, order)
    picks = [
        Pick(
            item=grants[number].item,
            rank=rank,
            score=ranking.scored.score(number),
            source=source_of(ranking, number),
            reasons=reasons.of(number),
            is_standard=reasons.is_standard(number),
            reservation_id=grants[number].reservation_id,
            expires_at=grants[number].expires_at,
        )
        for rank, number in enumerate(order)
    ]
    missing: tuple[Missing, ...] = ()
    if len(picks) < length:
        missing = (_missing_reason(ranking, decision),) * (length - len(picks))
    return Picks(
        tuple(picks),
        decision.decision_id,
        decision.denials,
        missing,
        relaxed_in(ranking, length + len(decision.denials)),
        lowest_promoted(reasons.ranks, length),
    )


def source_of(ranking: Ranking, number: int) -> Source:
    """Return the source of an item; STANDARD instead of PERSONAL in a standard list."""
    source = ranking.placed_list.sources.get(number, Source.PERSONAL)
    if source is Source.PERSONAL and ranking.context.balance == 0:
        return Source.STANDARD
    return source


def relaxed_in(ranking: Ranking, reach: int) -> tuple[str, ...]:
    """Return the names of the quotas that yielded within the first `reach` places."""
    return tuple(name for place, name in ranking.relaxed if place < reach)


def _missing_reason(ranking: Ranking, decision: Decision[Item]) -> Missing:
    if any(denial.reason_code == "STORE_BUSY" for denial in decision.denials):
        return Missing.BUSY
    if decision.denials or ranking.context.hidden:
        return Missing.CAPPED
    return Missing.EXHAUSTED


@dataclass(frozen=True)
class WhyNot(JsonResult):
    """The answer to the question why an item is not shown.

    `place` is its place in the list before caps, from 0; None if it is not eligible.
    `denials` has the caps that deny it. `worn` is True if it ranks lower because it was
    shown lately.
    """

    item: Item
    place: int | None
    denials: tuple[Denial, ...]
    worn: bool = False

    def sentence(self, language: Language = "en") -> str:
        """Return the answer as sentences for the person."""
        if self.denials:
            return " ".join(
                denial_sentence(denial, language) for denial in self.denials
            )
        texts = DENIAL_TEXTS[language]
        if self.place is None:
            return texts["owned"]
        template = texts["worn" if self.worn else "free"]
        return template.format(place=self.place + 1)

    def __str__(self) -> str:
        return self.sentence()

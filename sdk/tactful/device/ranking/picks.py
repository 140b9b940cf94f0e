"""What `recommend` answers: items in order, each with reasons and the right to be shown once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import overload

from tactful.device.caps import Decision, Denial
from tactful.device.catalog import Item
from tactful.device.events import Event
from tactful.device.ranking.pipeline import Ranking
from tactful.device.ranking.reasons import Reason, held_back


class Missing(StrEnum):
    """Why a place in a list stays empty."""

    CAPPED = "capped"  # items are left, but a repetition limit, quiet hours or a hide holds them
    EXHAUSTED = "exhausted"  # the catalog has no more items for this person


@dataclass(frozen=True, slots=True)
class Pick:
    """One place in a list: show `item`, then observe `impression()`; or `release` it unshown.

    `rank` counts from 0; `score` lies in [0, 1]; `is_standard` says that the item would stand as
    high if nothing were known of the person.
    """

    item: Item
    rank: int
    score: float
    reasons: tuple[Reason, ...]
    is_standard: bool
    reservation_id: str
    expires_at: datetime

    def impression(self, evidence: str = "viewable") -> Event:
        """The event that confirms that the item was seen; the same one however often it is told."""
        return Event(
            kind="impression",
            item_id=self.item.id,
            reservation_id=self.reservation_id,
            evidence=evidence,
        )


@dataclass(frozen=True)
class Picks(Sequence[Pick]):
    """A list; `missing` has a reason for each empty place, `denials` say what was held back."""

    picks: tuple[Pick, ...]
    decision_id: str
    denials: Sequence[Denial] = ()
    missing: tuple[Missing, ...] = field(default=())

    def __len__(self) -> int:
        return len(self.picks)

    @overload
    def __getitem__(self, place: int) -> Pick: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Pick]: ...
    def __getitem__(self, place: int | slice) -> Pick | Sequence[Pick]:
        """The pick at a place, best first."""
        return self.picks[place]


def picked(ranking: Ranking, decision: Decision[Item], asked: int) -> Picks:
    """The list that caps left of `ranking`, with a reason for each of `asked` places missing."""
    catalog = ranking.context.shelf.catalog
    picks = []
    for rank, granted in enumerate(decision.picks):
        number = catalog.number(granted.item.id)
        pick = Pick(
            item=granted.item,
            rank=rank,
            score=float(ranking.scores[number]),
            reasons=ranking.reasons(number),
            is_standard=ranking.is_standard(number),
            reservation_id=granted.reservation_id,
            expires_at=granted.expires_at,
        )
        picks.append(pick)
    why = Missing.CAPPED if decision.denials else Missing.EXHAUSTED
    return Picks(
        tuple(picks), decision.decision_id, decision.denials, (why,) * (asked - len(picks))
    )


@dataclass(frozen=True)
class WhyNot:
    """Why an item is not shown: its place in the list before caps (from 0), and what holds it."""

    item: Item
    place: int | None
    denials: tuple[Denial, ...]

    def __str__(self) -> str:
        if self.denials:
            return " ".join(held_back(denial) for denial in self.denials)
        if self.place is None:
            return "You have it already."
        return f"Nothing holds it back; it stands at place {self.place + 1} of your list."


def withheld(ranking: Ranking, item: Item, denials: tuple[Denial, ...]) -> WhyNot:
    """Where `item` stands in `ranking`, and what holds it back."""
    number = ranking.context.shelf.catalog.number(item.id)
    places = (ranking.order == number).nonzero()[0]
    return WhyNot(item, int(places[0]) if len(places) else None, denials)

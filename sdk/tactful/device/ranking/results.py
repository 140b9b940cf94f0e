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
from tactful.device.ranking.explanations.denial_sentences import HELD, held_back
from tactful.device.ranking.explanations.reasons import Language, Reason, Reasons
from tactful.device.ranking.list_metrics import lowest_promoted
from tactful.device.ranking.pipeline import Ranking
from tactful.device.ranking.values import Source


class Missing(StrEnum):
    """Why a place in a list stays empty."""

    CAPPED = "capped"  # items are left, but a repetition limit, quiet hours or a hide holds them
    EXHAUSTED = "exhausted"  # the catalog has no more items for this person
    BUSY = "busy"  # another process held the vault for too long


@dataclass(frozen=True, slots=True)
class Pick:
    """One place in a list: show `item`, then observe `impression()`; or `release` it unshown.

    `rank` counts from 0; `score` lies in [0, 1]; `source` says how it came in; `is_standard` that
    the item would stand as high if nothing were known of the person.
    """

    item: Item
    rank: int
    score: float
    source: Source
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
    """A list; `missing` has a reason for each empty place, `denials` say what was held back.

    `relaxed` names quotas that had to yield to fill it, the first first; `promoted` is how far
    below the list the lowest of it stood by score alone (LIP).
    """

    picks: tuple[Pick, ...]
    decision_id: str
    denials: Sequence[Denial] = ()
    missing: tuple[Missing, ...] = field(default=())
    relaxed: tuple[str, ...] = ()
    promoted: int = 0

    def __len__(self) -> int:
        return len(self.picks)

    @overload
    def __getitem__(self, place: int) -> Pick: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[Pick]: ...
    def __getitem__(self, place: int | slice) -> Pick | Sequence[Pick]:
        """The pick at a place, best first."""
        return self.picks[place]


@dataclass(frozen=True, slots=True)
class PreviewedItem:
    """An item that a list would hold, and why; it is not reserved."""

    item: Item
    reasons: tuple[Reason, ...]


def picked(ranking: Ranking, decision: Decision[Item], asked: int) -> Picks:
    """The list that caps left of `ranking`, with a reason for each of `asked` places missing."""
    catalog = ranking.context.standing.shelf.catalog
    granted = {catalog.number(one.item.id): one for one in decision.picks}
    order = ranking.house.arranged(list(granted))
    reasons = Reasons(ranking, order)
    picks = [
        Pick(
            item=granted[number].item,
            rank=rank,
            score=ranking.scored.score(number),
            source=source_of(ranking, number),
            reasons=reasons.of(number),
            is_standard=reasons.is_standard(number),
            reservation_id=granted[number].reservation_id,
            expires_at=granted[number].expires_at,
        )
        for rank, number in enumerate(order)
    ]
    return Picks(
        tuple(picks),
        decision.decision_id,
        decision.denials,
        (_why(ranking, decision),) * (asked - len(picks)) if len(picks) < asked else (),
        relaxed_in(ranking, asked + len(decision.denials)),
        lowest_promoted(reasons.ranks, asked),
    )


def source_of(ranking: Ranking, number: int) -> Source:
    """Where an item of the list came from; everything of a standard list is standard."""
    source = ranking.house.sources.get(number, Source.PERSONAL)
    nobody = source is Source.PERSONAL and ranking.context.balance == 0
    return Source.STANDARD if nobody else source


def relaxed_in(ranking: Ranking, reach: int) -> tuple[str, ...]:
    """The quotas that yielded within the first `reach` places that were looked at."""
    return tuple(name for place, name in ranking.relaxed if place < reach)


def _why(ranking: Ranking, decision: Decision[Item]) -> Missing:
    if any(denial.reason_code == "STORE_BUSY" for denial in decision.denials):
        return Missing.BUSY
    return (
        Missing.CAPPED
        if decision.denials or ranking.context.hidden
        else Missing.EXHAUSTED
    )


@dataclass(frozen=True)
class WhyNot:
    """Why an item is not shown: its place in the list before caps (from 0), and what holds it.

    `worn` says that it stands lower because it was shown lately.
    """

    item: Item
    place: int | None
    denials: tuple[Denial, ...]
    worn: bool = False

    def sentence(self, language: Language = "en") -> str:
        """The answer for the person, in a language they read."""
        if self.denials:
            return " ".join(held_back(denial, language) for denial in self.denials)
        if self.place is None:
            return HELD[language]["owned"]
        return HELD[language]["worn" if self.worn else "free"].format(
            place=self.place + 1
        )

    def __str__(self) -> str:
        return self.sentence()

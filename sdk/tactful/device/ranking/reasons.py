"""Why an item is shown: only what, if it were not so, would have changed the item's place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tactful.device.caps import Denial
from tactful.device.catalog import Catalog
from tactful.device.ranking.scoring import Floats

MOST_REASONS = 2
SIGNALS_TRIED = 5  # the strongest signals are tried for a reason, so that a long history is cheap


class ReasonCode(StrEnum):
    """The kinds of reasons."""

    BECAUSE_YOU_LIKED = "because_you_liked"
    POPULAR = "popular"
    YOUR_TASTE = "your_taste"
    STANDARD = "standard"
    NOTHING_KNOWN = "nothing_known"


SENTENCES: Mapping[ReasonCode, str] = {
    ReasonCode.BECAUSE_YOU_LIKED: "because you liked {title}",
    ReasonCode.POPULAR: "popular with everyone",
    ReasonCode.YOUR_TASTE: "close to what you like on the whole",
    ReasonCode.STANDARD: "part of the standard list",
    ReasonCode.NOTHING_KNOWN: "from the catalog; nothing is known about you",
}


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason: its code, and the item it cites where it cites one."""

    code: ReasonCode
    item_id: str | None = None
    title: str = ""

    def __str__(self) -> str:
        return SENTENCES[self.code].format(title=self.title)


def held_back(denial: Denial) -> str:
    """One denial as a sentence for the person: what was counted, who set the limit, until when."""
    counted = "It is held back."
    if denial.used is not None and denial.limit is not None:
        counted = f"You have seen it {denial.used:g} times lately; {denial.limit:g} is the limit."
    whose = " You set this limit." if denial.author == "user" else ""
    until = denial.next_allowed_at
    if until is None:
        return f"{counted}{whose}"
    return f"{counted}{whose} It can return on {until:%A, %d %B, %H:%M} UTC."


def personal_reasons(
    catalog: Catalog,
    number: int,
    likes: Mapping[int, float],
    scores: Floats,
    without: Callable[[int], Floats],
) -> tuple[Reason, ...]:
    """Up to two liked items that lifted item `number`, by exact ablation.

    `without(liked)` scores the list as if that one liked item had never been; the item is cited
    only if number's place falls then.
    """
    place = rank_of(number, scores)
    cited = []
    for liked in list(likes)[:SIGNALS_TRIED]:
        drop = rank_of(number, without(liked)) - place
        if drop > 0:
            cited.append((drop, liked))
    strongest = sorted(cited, reverse=True)[:MOST_REASONS]
    return tuple(
        Reason(ReasonCode.BECAUSE_YOU_LIKED, catalog.items[n].id, catalog.items[n].title)
        for _, n in strongest
    )


def rank_of(number: int, scores: Floats) -> int:
    """How many items stand above item `number`."""
    return int((scores > scores[number]).sum())

"""What is known of the person, in the numbers of one shelf: all that personal lists are made from.

At balance 0 it is `NOTHING`, whoever asks.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from operator import attrgetter, is_not
from typing import TypeVar

import numpy as np

from tactful.device.catalog import Item
from tactful.device.ranking.scoring.catalog_scores import (
    SAME_BRAND,
    SAME_CATEGORY,
    CatalogArrays,
    ItemAmounts,
)
from tactful.device.ranking.scoring.exploration import Tried
from tactful.device.ranking.values import Floats, Ints
from tactful.device.state.profile import (
    DAY_MS,
    LEAST_EVIDENCE,
    SHOW_HALF_LIFE_DAYS,
    Belief,
    ExposureFatigue,
    Key,
    Profile,
)

ToldT = TypeVar("ToldT")
Trials = dict[int, Tried]
_SHOWS = attrgetter("wear", "since_ms", "times", "clicks")
Label = tuple[str, int]  # a scope, and the whole number of a value in it
FULL_DISLIKE = 4.0  # the strength of one fresh dislike
WITHHELD = -1.0  # an item believed to be liked less than this is not offered
WIDE = 2.0  # halvings (or the reverse) by one opinion of a whole brand, category, ...
NEAR = (("category", SAME_CATEGORY), ("brand", SAME_BRAND), ("family", 1.0))


@dataclass(frozen=True)
class Taste:
    """`likes` maps item number to strength > 0, the strongest first; `leanings` maps what items
    share to halvings of their distance from the best (above 0) or of their score (below 0).

    `wear` is how worn items are by being shown, `times` how often; `withheld` are not offered;
    `due` may be wanted again, the most overdue first; `tried` is per category.
    """

    likes: Mapping[int, float] = field(default_factory=dict)
    leanings: Mapping[Label, float] = field(default_factory=dict)
    wear: Mapping[int, float] = field(default_factory=dict)
    times: Mapping[int, float] = field(default_factory=dict)
    withheld: frozenset[int] = frozenset()
    due: tuple[int, ...] = ()
    tried: Callable[[], Mapping[int, Tried]] = dict  # seldom asked
    seen: int = 0  # shows since the person came
    known: int = 0  # how many items and kinds of items anything is thought of


NOTHING = Taste()


class Shows:
    """The shows of a profile in columns; only what changed since the last time is looked at."""

    def __init__(self, shelf: CatalogArrays, sensitive: Collection[int] = ()) -> None:
        self._shelf, self._sensitive = shelf, sensitive
        self._kept = (
            list[ExposureFatigue](),
            np.empty((0, 5)),
        )  # replaced whole: threads may ask at once

    def of(self, shown: Mapping[str, ExposureFatigue]) -> tuple[Ints, Floats]:
        """Item numbers, and wear, since when, shows and clicks, shape (4, items).

        Without what is not in the catalog any more, and nothing of the sensitive items.
        """
        (known, before), told, ids = self._kept, list(shown.values()), list(shown)
        rows, both = np.empty((len(told), 5)), min(len(known), len(told))
        rows[:both] = before[:both]
        new = [n for n, other in enumerate(map(is_not, told, known)) if other]
        for n in (*new, *range(both, len(told))):
            rows[n] = (self._number(ids[n]), *_SHOWS(told[n]))
        self._kept = told, rows
        there = rows[rows[:, 0] >= 0]
        return there[:, 0].astype(np.int64), there[:, 1:].T

    def _number(self, item_id: str) -> int:
        number = self._shelf.catalog.find(item_id)
        return -1 if number is None or number in self._sensitive else number


def taste_of(
    profile: Profile,
    shelf: CatalogArrays,
    now_ms: int,
    *,
    interests: Mapping[Key, float],
    sensitive: Collection[int] = (),
    shows: Shows | None = None,
) -> Taste:
    """The profile at `now_ms` as numbers; what is no longer in the catalog is left out.

    `interests` maps (scope, value) to how much the person wants it to count: 0 is not at all.
    Nothing is derived from the `sensitive` items (numbers). `shows` remembers what it saw.
    """
    beliefs = _numbered(shelf, profile.beliefs, sensitive)
    shown, columns = (shows or Shows(shelf, sensitive)).of(profile.shown)
    muted = {what for what, factor in interests.items() if factor == 0}
    items = shelf.catalog.items
    heard = beliefs
    if muted:
        heard = {n: b for n, b in beliefs.items() if muted.isdisjoint(marks(items[n]))}
    strengths = {number: belief.at(now_ms) for number, belief in heard.items()}
    enough = (n for n, strength in strengths.items() if strength >= LEAST_EVIDENCE)
    liked = [n for n in enough if beliefs[n].lasting]
    due, held = _bought(shelf, beliefs, now_ms)
    disliked = {n for n, strength in strengths.items() if strength <= WITHHELD}
    leanings = _leanings(shelf, profile, strengths, interests, now_ms, sensitive)
    return Taste(
        likes=_strongest(shelf, liked, strengths),
        leanings=leanings,
        wear=_wear(shelf, beliefs, shown, columns[:2], now_ms),
        times=ItemAmounts(shown, columns[2]),
        withheld=held | disliked,
        due=due,
        tried=partial(_tried, shelf, shown, *columns[2:]),
        seen=profile.sitting.at(now_ms),
        known=len(liked) + len(disliked) + len(profile.opinions) + len(interests),
    )


def _strongest(
    shelf: CatalogArrays, liked: Sequence[int], strengths: Mapping[int, float]
) -> dict[int, float]:
    """What is liked, the strongest first, ties by id."""
    much = np.array([strengths[number] for number in liked])
    order = np.lexsort((shelf.tie_rank[liked], -much)).tolist()
    return {liked[place]: strengths[liked[place]] for place in order}


def _numbered(
    shelf: CatalogArrays, told: Mapping[str, ToldT], sensitive: Collection[int]
) -> dict[int, ToldT]:
    """What is told of items, by their numbers; nothing of the sensitive ones."""
    found = zip(map(shelf.catalog.find, told), told.values(), strict=True)
    return {n: what for n, what in found if n is not None and n not in sensitive}


def marks(item: Item) -> list[Key]:
    """Every (scope, value) that the item has."""
    scopes = ("item", "family", "campaign", "category", "brand")
    values = (item.id, item.family, item.campaign, item.category, item.brand)
    return [
        (scope, value) for scope, value in zip(scopes, values, strict=True) if value
    ]


def _bought(
    shelf: CatalogArrays, beliefs: Mapping[int, Belief], now_ms: int
) -> tuple[tuple[int, ...], frozenset[int]]:
    """What is due again, the most overdue first, and what is not offered because one has it."""
    due: list[tuple[int, int]] = []
    held = set()
    for number, belief in beliefs.items():
        if belief.bought:
            when = belief.due_ms(shelf.catalog.items[number].replenishable)
            if when is not None and when <= now_ms:
                due.append((when, number))
            else:
                held.add(number)
    return tuple(number for _, number in sorted(due)), frozenset(held)


def _leanings(
    shelf: CatalogArrays,
    profile: Profile,
    strengths: Mapping[int, float],
    interests: Mapping[Key, float],
    now_ms: int,
    sensitive: Collection[int],
) -> dict[Label, float]:
    """Dislikes reach what is near; an opinion of a whole brand, category, ... reaches all of it."""
    leanings: defaultdict[Label, float] = defaultdict(float)
    for number, strength in strengths.items():
        for scope, weight in NEAR if strength < 0 else ():
            label = int(shelf.labels(scope)[number])
            leanings[scope, label] += weight * strength / FULL_DISLIKE
    for (scope, item_id), belief in profile.opinions.items():
        place = shelf.catalog.find(item_id)
        if place is None or place in sensitive:
            continue
        if interests.get((scope, _of(shelf.catalog.items[place], scope))) != 0:
            label = int(shelf.labels(scope)[place])
            leanings[scope, label] += WIDE * belief.at(now_ms) / FULL_DISLIKE
    for (scope, value), factor in interests.items():
        if factor > 0:
            leanings[scope, shelf.label(scope, value)] += math.log2(factor)
    return {what: much for what, much in leanings.items() if what[1] >= 0 and much}


def _of(item: Item, scope: str) -> str:
    return dict(marks(item)).get(scope, "")


def _wear(
    shelf: CatalogArrays,
    beliefs: Mapping[int, Belief],
    shown: Ints,
    worn: Floats,
    now_ms: int,
) -> ItemAmounts:
    """Wear by item, from `worn` (wear, since when); of wanted repeats only since they were due."""
    healed = 2.0 ** (-np.maximum(now_ms - worn[1], 0) / (SHOW_HALF_LIFE_DAYS * DAY_MS))
    wear = worn[0] * healed
    for number, belief in beliefs.items():
        due = (
            belief.due_ms(shelf.catalog.items[number].replenishable)
            if belief.bought
            else None
        )
        if due is not None and due <= now_ms:
            wear[(shown == number) & (worn[1] < due)] = 0.0
    return ItemAmounts(shown, wear)


def _tried(
    shelf: CatalogArrays, numbers: Ints, times: Floats, clicks: Floats
) -> Trials:
    """Shows and follows by category; -1 stands for what has none."""
    kinds = shelf.category[numbers] + 1
    shows = np.bincount(kinds, weights=times)
    follows = np.bincount(kinds, weights=np.minimum(clicks, times))
    known = np.flatnonzero(shows)
    columns = shows[known].astype(np.int64), follows[known].astype(np.int64)
    tried = map(Tried, *(column.tolist() for column in columns))
    return dict(zip((known - 1).tolist(), tried, strict=True))

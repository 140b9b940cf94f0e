"""The device's beliefs about the person, in the item numbers of one catalog.

A personal list depends on the person only through this value. At balance 0 it is
`NOTHING`.
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
    EXPOSURE_HALF_LIFE_DAYS,
    LEAST_EVIDENCE,
    Belief,
    ExposureFatigue,
    Key,
    Profile,
)

ValueT = TypeVar("ValueT")
Trials = dict[int, Tried]
Label = tuple[str, int]  # a scope, and the label of a value in it
_FATIGUE_FIELDS = attrgetter("value", "since_ms", "times", "clicks")
FULL_DISLIKE = 4.0  # the strength of one fresh dislike
WITHHELD = -1.0  # an item with a strength up to this is not offered
OPINION_HALVINGS = 2.0  # leaning from one opinion of a whole brand, category, ...
# The weight with which a disliked item lowers the items that share a value with it.
NEAR = (("category", SAME_CATEGORY), ("brand", SAME_BRAND), ("family", 1.0))


@dataclass(frozen=True)
class Taste:
    """The person's taste; items are given by their catalog number.

    `likes` maps item to strength > 0, the strongest first. `leanings` maps (scope,
    label) to halvings: above 0 of the distance from the best score, below 0 of the
    score. `wear` is the exposure fatigue of an item, `times` how often it was shown.
    Items of `withheld` are not offered. `due` has items that may be wanted again, the
    most overdue first. `tried` returns shows and clicks per category. `seen` counts
    the shows of the current activity session. `known` counts the items and categories
    about which anything is believed.
    """

    likes: Mapping[int, float] = field(default_factory=dict)
    leanings: Mapping[Label, float] = field(default_factory=dict)
    wear: Mapping[int, float] = field(default_factory=dict)
    times: Mapping[int, float] = field(default_factory=dict)
    withheld: frozenset[int] = frozenset()
    due: tuple[int, ...] = ()
    tried: Callable[[], Mapping[int, Tried]] = dict  # computed only when it is needed
    seen: int = 0
    known: int = 0


NOTHING = Taste()


class Shows:
    """A cache of the shows of a profile as columns; reads only what changed."""

    def __init__(self, shelf: CatalogArrays, sensitive: Collection[int] = ()) -> None:
        self._shelf, self._sensitive = shelf, sensitive
        # The shows and their rows. Replaced as a whole, because threads may share it.
        self._cache = (list[ExposureFatigue](), np.empty((0, 5)))

    def read(self, shown: Mapping[str, ExposureFatigue]) -> tuple[Ints, Floats]:
        """Return item numbers, and fatigue, its time (ms), shows and clicks.

        The shapes are (items,) and (4, items). Sensitive items, and items that are no
        longer in the catalog, are left out.
        """
        cached_shows, cached_rows = self._cache
        shows = list(shown.values())
        ids = list(shown)
        rows = np.empty((len(shows), 5))
        common = min(len(cached_shows), len(shows))
        rows[:common] = cached_rows[:common]
        is_changed = map(is_not, shows, cached_shows)
        changed = [place for place, differs in enumerate(is_changed) if differs]
        for place in (*changed, *range(common, len(shows))):
            fields = _FATIGUE_FIELDS(shows[place])
            rows[place] = (self._number(ids[place]), *fields)
        self._cache = shows, rows
        offered = rows[rows[:, 0] >= 0]
        return offered[:, 0].astype(np.int64), offered[:, 1:].T

    def _number(self, item_id: str) -> int:
        """Return the number of an item; -1 if nothing may be derived from it."""
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
    """Return the profile at `now_ms` in item numbers; unknown items are left out.

    `interests` maps (scope, value) to the factor that the person set: 0 mutes it.
    Nothing is derived from the items of `sensitive`. `shows` is a cache.
    """
    shows = shows or Shows(shelf, sensitive)
    beliefs = _by_number(shelf, profile.beliefs, sensitive)
    shown_numbers, columns = shows.read(profile.exposures)
    strengths = _strengths(shelf, beliefs, interests, now_ms)
    strong = (n for n, strength in strengths.items() if strength >= LEAST_EVIDENCE)
    liked = [number for number in strong if beliefs[number].is_lasting]
    disliked = {n for n, strength in strengths.items() if strength <= WITHHELD}
    due, owned = _bought(shelf, beliefs, now_ms)
    leanings = _leanings(shelf, profile, strengths, interests, now_ms, sensitive)
    return Taste(
        likes=_strongest_first(shelf, liked, strengths),
        leanings=leanings,
        wear=_wear(shelf, beliefs, shown_numbers, columns[:2], now_ms),
        times=ItemAmounts(shown_numbers, columns[2]),
        withheld=owned | disliked,
        due=due,
        tried=partial(_tried, shelf, shown_numbers, *columns[2:]),
        seen=profile.session.at(now_ms),
        known=len(liked) + len(disliked) + len(profile.opinions) + len(interests),
    )


def _strengths(
    shelf: CatalogArrays,
    beliefs: Mapping[int, Belief],
    interests: Mapping[Key, float],
    now_ms: int,
) -> dict[int, float]:
    """Return the strength of beliefs about items that no muted interest covers."""
    muted = {key for key, factor in interests.items() if factor == 0}
    items = shelf.catalog.items
    counted = beliefs
    if muted:
        counted = {
            number: belief
            for number, belief in beliefs.items()
            if muted.isdisjoint(marks(items[number]))
        }
    return {number: belief.at(now_ms) for number, belief in counted.items()}


def _strongest_first(
    shelf: CatalogArrays, liked: Sequence[int], strengths: Mapping[int, float]
) -> dict[int, float]:
    """Return the strength of each liked item, the strongest first, ties by id."""
    values = np.array([strengths[number] for number in liked])
    order = np.lexsort((shelf.tie_rank[liked], -values)).tolist()
    return {liked[place]: strengths[liked[place]] for place in order}


def _by_number(
    shelf: CatalogArrays, by_id: Mapping[str, ValueT], sensitive: Collection[int]
) -> dict[int, ValueT]:
    """Return the values by item number, without unknown and sensitive items."""
    numbers = map(shelf.catalog.find, by_id)
    return {
        number: value
        for number, value in zip(numbers, by_id.values(), strict=True)
        if number is not None and number not in sensitive
    }


def marks(item: Item) -> list[Key]:
    """Return every (scope, value) that the item has."""
    scopes = ("item", "family", "campaign", "category", "brand")
    values = (item.id, item.family, item.campaign, item.category, item.brand)
    pairs = zip(scopes, values, strict=True)
    return [(scope, value) for scope, value in pairs if value]


def _bought(
    shelf: CatalogArrays, beliefs: Mapping[int, Belief], now_ms: int
) -> tuple[tuple[int, ...], frozenset[int]]:
    """Return bought items that are due again, most overdue first, and all others."""
    due: list[tuple[int, int]] = []
    owned = set()
    for number, belief in beliefs.items():
        if belief.purchases:
            due_ms = belief.due_ms(shelf.catalog.items[number].replenishable)
            if due_ms is not None and due_ms <= now_ms:
                due.append((due_ms, number))
            else:
                owned.add(number)
    return tuple(number for _, number in sorted(due)), frozenset(owned)


def _leanings(
    shelf: CatalogArrays,
    profile: Profile,
    strengths: Mapping[int, float],
    interests: Mapping[Key, float],
    now_ms: int,
    sensitive: Collection[int],
) -> dict[Label, float]:
    """Return the leanings from dislikes, from opinions and from stated interests."""
    leanings: defaultdict[Label, float] = defaultdict(float)
    _add_dislikes(leanings, shelf, strengths)
    # An opinion of a whole brand, category, ... reaches every item of it.
    for (scope, item_id), belief in profile.opinions.items():
        number = shelf.catalog.find(item_id)
        if number is None or number in sensitive:
            continue
        value = _value(shelf.catalog.items[number], scope)
        if interests.get((scope, value)) != 0:
            label = int(shelf.labels(scope)[number])
            strength = belief.at(now_ms)
            leanings[scope, label] += OPINION_HALVINGS * strength / FULL_DISLIKE
    for (scope, value), factor in interests.items():
        if factor > 0:
            leanings[scope, shelf.label(scope, value)] += math.log2(factor)
    return {
        (scope, label): amount
        for (scope, label), amount in leanings.items()
        if label >= 0 and amount
    }


def _add_dislikes(
    leanings: defaultdict[Label, float],
    shelf: CatalogArrays,
    strengths: Mapping[int, float],
) -> None:
    """Lower the items that share category, brand or family with a disliked item."""
    for number, strength in strengths.items():
        if strength < 0:
            for scope, weight in NEAR:
                label = int(shelf.labels(scope)[number])
                leanings[scope, label] += weight * strength / FULL_DISLIKE


def _value(item: Item, scope: str) -> str:
    """Return the value of an item in `scope`; empty if it has none."""
    return dict(marks(item)).get(scope, "")


def _wear(
    shelf: CatalogArrays,
    beliefs: Mapping[int, Belief],
    shown_numbers: Ints,
    fatigue: Floats,
    now_ms: int,
) -> ItemAmounts:
    """Return the exposure fatigue by item at `now_ms`.

    `fatigue` has the value and its time (ms), shape (2, items). For an item that is due
    again, shows before it was due do not count.
    """
    amounts, since_ms = fatigue
    elapsed_ms = np.maximum(now_ms - since_ms, 0)
    wear = amounts * 2.0 ** (-elapsed_ms / (EXPOSURE_HALF_LIFE_DAYS * DAY_MS))
    for number, belief in beliefs.items():
        if not belief.purchases:
            continue
        due_ms = belief.due_ms(shelf.catalog.items[number].replenishable)
        if due_ms is not None and due_ms <= now_ms:
            wear[(shown_numbers == number) & (since_ms < due_ms)] = 0.0
    return ItemAmounts(shown_numbers, wear)


def _tried(
    shelf: CatalogArrays, numbers: Ints, times: Floats, clicks: Floats
) -> Trials:
    """Return shows and clicks by category; -1 stands for items without a category."""
    labels = shelf.category[numbers] + 1
    shows = np.bincount(labels, weights=times)
    follows = np.bincount(labels, weights=np.minimum(clicks, times))
    present = np.flatnonzero(shows)
    show_counts = shows[present].astype(np.int64).tolist()
    follow_counts = follows[present].astype(np.int64).tolist()
    trials = map(Tried, show_counts, follow_counts)
    return dict(zip((present - 1).tolist(), trials, strict=True))

"""Which items are weighed at all: the best of several sources, each with its own quota.

For people who share nothing of themselves there is one source: what stands first for everyone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tactful.device.catalog import Item
from tactful.device.ranking.scoring import Floats, Ints

Allowed = Callable[[Sequence[Item]], Sequence[bool]]
"""Told items, says of each whether it may be shown now; reads only."""

LEAST = 1000  # candidates; a smaller catalog is weighed whole
PER_PLACE = 50  # candidates for each place of a longer list
PERSONAL_QUOTA = 0.7  # of the candidates; the others are what is popular with everyone
FRESH_DAYS = 30


class Source(StrEnum):
    """Where an item of a list came from."""

    PERSONAL = "personal"
    REPEAT_DUE = "repeat_due"
    POPULAR = "popular"
    FRESH = "fresh"
    STANDARD = "standard"
    EXPLORATION = "exploration"
    PINNED = "pinned"


def enough(length: int) -> int:
    """How many candidates a list of `length` places is made from."""
    return max(LEAST, PER_PLACE * length)


def gather(
    personal: Floats,
    standard_order: Ints,
    kept: NDArray[np.bool_],
    *,
    size: int,
    always: Collection[int],
) -> Ints:
    """About `size` of the `kept` item numbers, in rising order, from all sources.

    `personal` scores all items, `standard_order` has them best first; `always` (what is due
    again, what is new) comes in beside the quotas.
    """
    chosen = np.zeros(len(kept), dtype=bool)
    chosen[list(always)] = True
    chosen[_best(np.where(kept, personal, -np.inf), int(PERSONAL_QUOTA * size))] = True
    left = standard_order[(kept & ~chosen)[standard_order]]
    chosen[left[: max(size - int(chosen.sum()), 0)]] = True
    return np.flatnonzero(chosen & kept)


def _best(scores: Floats, count: int) -> Ints:
    if count >= len(scores):
        return np.arange(len(scores))
    return np.argpartition(-scores, count)[:count]


def open_first(best_first: Ints, items: Sequence[Item], allowed: Allowed, wanted: int) -> Ints:
    """Those of the candidates that may be shown now, best first, until `wanted` are found.

    Asks in portions, so that limits are looked up for few items.
    """
    found: list[int] = []
    for start in range(0, len(best_first), 2 * wanted):
        portion = best_first[start : start + 2 * wanted].tolist()
        answers = allowed([items[number] for number in portion])
        found += [number for number, yes in zip(portion, answers, strict=True) if yes]
        if len(found) >= wanted:
            break
    return np.array(found, dtype=np.int64)

"""Values that all parts of ranking share: array types, sources of items, orders of scores."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Labels = NDArray[np.int32]

SAMPLED, MARGIN = (
    16,
    1.3,
)  # of so many scores one tells where the best begin, and how safely


class Source(StrEnum):
    """Where an item of a list came from."""

    PERSONAL = "personal"
    REPEAT_DUE = "repeat_due"
    FRESH = "fresh"
    STANDARD = "standard"
    EXPLORATION = "exploration"
    PINNED = "pinned"
    NOTICE = "notice"


def falling(scores: Floats | Labels) -> Ints:
    """The places of `scores` from the highest to the lowest, of equals the earlier first.

    The quicker sort, which may swap equals, stands where there are none.
    """
    order = np.argsort(-scores)
    ordered = scores[order]
    if np.count_nonzero(ordered[1:] == ordered[:-1]):
        return np.argsort(-scores, kind="stable")
    return order


def best(scores: Floats, count: int) -> Ints:
    """The places of the highest `count` of `scores`, rising; of equals the earlier."""
    if not 0 < count < len(scores):
        return np.arange(min(count, len(scores)))
    there = _at_least(scores, count)
    found = scores[there]
    least = np.partition(found, len(found) - count)[len(found) - count]
    chosen = found > least
    chosen[np.flatnonzero(found == least)[: count - int(np.count_nonzero(chosen))]] = (
        True
    )
    places: Ints = there[chosen]
    return places


def _at_least(scores: Floats, count: int) -> Ints:
    """The places of `count` of the highest scores or more: only these need to be ordered.

    What a sample says is most often enough, and is looked at again where it is not.
    """
    sample = scores[::SAMPLED]
    place = len(sample) - min(len(sample), 2 + int(MARGIN * count) // SAMPLED)
    there = np.flatnonzero(scores >= np.partition(sample, place)[place])
    return there if len(there) >= count else np.arange(len(scores))

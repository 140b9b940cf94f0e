"""Which items are weighed at all: the best of several sources, each with its own quota.

For people who share nothing of themselves there is one source: what stands first for everyone.
"""

from __future__ import annotations

from collections.abc import Collection
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from tactful.device.ranking.scoring import Floats, Ints, Labels

LEAST = 1000  # candidates; a smaller catalog is weighed whole
PER_PLACE = 50  # candidates for each place of a longer list
PERSONAL_QUOTA = 0.7  # of the candidates; the others are what is popular with everyone
SAMPLED, MARGIN = 16, 1.3  # of so many scores one tells where the best begin, and how safely
FRESH_DAYS = 30  # in the catalog: so long is an item new
FRESH_SHOWS = 3  # to one person: so often it may be lifted for being new


class Source(StrEnum):
    """Where an item of a list came from."""

    PERSONAL = "personal"
    REPEAT_DUE = "repeat_due"
    FRESH = "fresh"
    STANDARD = "standard"
    EXPLORATION = "exploration"
    PINNED = "pinned"
    NOTICE = "notice"


def enough(length: int) -> int:
    """How many candidates a list of `length` places is made from."""
    return max(LEAST, PER_PLACE * length)


def gather(
    personal: Floats | None,
    standard_order: Labels,
    kept: NDArray[np.bool_],
    *,
    size: int,
    always: Collection[int],
) -> Ints:
    """About `size` of the `kept` item numbers, in rising order, from all sources.

    `personal` scores all items, None for nobody in particular; `standard_order` has them best
    first; `always` (what is due again, what is new) comes in beside the quotas.
    """
    chosen = np.zeros(len(kept), dtype=bool)
    chosen[list(always)] = True
    if personal is not None:
        chosen[best(np.where(kept, personal, -np.inf), int(PERSONAL_QUOTA * size))] = True
    missing, start = max(size - int(np.count_nonzero(chosen)), 0), 0
    while missing and start < len(standard_order):
        part = standard_order[start : start + 2 * missing]
        found = part[(kept[part] & ~chosen[part])][:missing]
        chosen[found] = True
        missing, start = missing - len(found), start + len(part)
    return np.flatnonzero(chosen & kept)


def best(scores: Floats, count: int) -> Ints:
    """The places of the highest `count` of `scores`, rising; of equals the earlier."""
    if not 0 < count < len(scores):
        return np.arange(min(count, len(scores)))
    there = _at_least(scores, count)
    found = scores[there]
    least = np.partition(found, len(found) - count)[len(found) - count]
    chosen = found > least
    chosen[np.flatnonzero(found == least)[: count - int(np.count_nonzero(chosen))]] = True
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

"""Candidate selection: the best items of several sources, each with its own quota.

Without personal scores the only source is the standard order, the same for everyone.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from tactful.device.ranking.values import Floats, Ints, Labels, top_places

MIN_CANDIDATES = 1000  # a catalog with fewer items is scored completely
PER_PLACE = 50  # candidates for each place of a longer list
PERSONAL_QUOTA = 0.7  # share of the candidates; the rest comes in the standard order
FRESH_DAYS = 30  # an item is new for this many days after it joined the catalog
FRESH_SHOWS = 3  # shows to one person after which a new item is no longer promoted


def candidate_count(length: int) -> int:
    """Return how many candidates a list of `length` places is made from."""
    return max(MIN_CANDIDATES, PER_PLACE * length)


def gather(
    personal: Floats | None,
    standard_order: Labels,
    eligible: NDArray[np.bool_],
    *,
    size: int,
    always: Collection[int],
) -> Ints:
    """Return about `size` eligible item numbers from all sources, in rising order.

    `personal` has a score for each item, None for the standard list. `standard_order`
    has all items, best first. Items of `always` are added on top of the quotas.
    """
    chosen = np.zeros(len(eligible), dtype=bool)
    chosen[list(always)] = True
    if personal is not None:
        scores = np.where(eligible, personal, -np.inf)
        chosen[top_places(scores, int(PERSONAL_QUOTA * size))] = True
    _fill(chosen, standard_order, eligible, size)
    return np.flatnonzero(chosen & eligible)


def _fill(
    chosen: NDArray[np.bool_],
    standard_order: Labels,
    eligible: NDArray[np.bool_],
    size: int,
) -> None:
    """Mark the next eligible items of the standard order until `size` are chosen."""
    missing = max(size - int(np.count_nonzero(chosen)), 0)
    start = 0
    while missing and start < len(standard_order):
        part = standard_order[start : start + 2 * missing]
        is_new = eligible[part] & ~chosen[part]
        additions = part[is_new][:missing]
        chosen[additions] = True
        missing -= len(additions)
        start += len(part)

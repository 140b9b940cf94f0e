"""Quotas: the most places of one list for one category, brand, family or best-sellers.

If a list cannot be filled otherwise, quotas yield in a fixed order, which is reported.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tactful.device.ranking.values import Ints, Labels

RELAXED_FIRST = ("best_sellers", "brand", "category", "family")


@dataclass(frozen=True, eq=False)
class Quota:
    """At most `limit` items of each label in one list; label -1 is not limited."""

    name: str
    labels: Labels
    limit: int

    def full(self, listed: Sequence[int], number: int) -> bool:
        """Return True if the items `listed` leave no room for the label of `number`."""
        label = self.labels[number]
        if label < 0:
            return False
        count = (self.labels[list(listed)] == label).sum()
        return bool(count >= self.limit)


def fitting_items(quotas: Sequence[Quota], best_first: Ints) -> NDArray[np.bool_]:
    """Return which items may all be listed together, shape (items,).

    These are the first `limit` items of each label, for every quota. It is a lower
    bound: an item that one quota leaves out could make room in another.
    """
    fits = np.ones(len(best_first), dtype=np.bool_)
    for quota in quotas:
        fits &= _earlier_counts(quota.labels[best_first]) < quota.limit
    return fits


def without_surplus(
    quotas: Sequence[Quota], best_first: Ints, times: int
) -> NDArray[np.bool_]:
    """Return which items are among the first `times` * `limit` of their label.

    The shape is (items,).
    """
    is_useful = np.ones(len(best_first), dtype=np.bool_)
    for quota in quotas:
        earlier = _earlier_counts(quota.labels[best_first])
        is_useful &= earlier < times * quota.limit
    return is_useful


def _earlier_counts(labels: Labels) -> Ints:
    """Return how many earlier places have the same label, shape (places,); 0 for -1."""
    order = np.argsort(labels, kind="stable")
    grouped = labels[order]
    is_first = np.ones(len(labels), dtype=np.bool_)
    is_first[1:] = grouped[1:] != grouped[:-1]
    places = np.arange(len(labels))
    starts = np.maximum.accumulate(np.where(is_first, places, 0))
    counts = np.empty(len(labels), dtype=np.int64)
    counts[order] = places - starts
    counts[labels < 0] = 0
    return counts


class QuotaTracker:
    """The quotas of one list while it is filled from a pool of items.

    `relaxed` names each quota that yielded, with the place at which it first did.
    """

    def __init__(self, quotas: Iterable[Quota], pool: Ints) -> None:
        self._quotas = sorted(quotas, key=lambda quota: RELAXED_FIRST.index(quota.name))
        self._columns = [quota.labels[pool] for quota in self._quotas]
        self._labels = [column.tolist() for column in self._columns]
        self._counts: list[Counter[int]] = [Counter() for _ in self._quotas]
        # For each quota, and for all together: the pool items that still fit.
        self._open = [np.ones(len(pool), dtype=np.bool_) for _ in self._quotas]
        self._all_open = np.ones(len(pool), dtype=np.bool_)
        self._places = 0
        self.relaxed: list[tuple[int, str]] = []

    def fits(self, is_free: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return the free pool items that break no quota.

        Quotas yield until one fits.
        """
        is_fitting = is_free & self._all_open
        if np.count_nonzero(is_fitting) or not is_free.any():
            return is_fitting
        for yielding in range(1, len(self._quotas) + 1):
            is_fitting = is_free.copy()
            for is_open in self._open[yielding:]:
                is_fitting &= is_open
            if is_fitting.any():
                self._record_relaxed(yielding)
                break
        return is_fitting

    def take(self, place: int) -> None:
        """Count the item at `place` of the pool."""
        self._places += 1
        for index, quota in enumerate(self._quotas):
            label = self._labels[index][place]
            self._counts[index][label] += 1
            if label >= 0 and self._counts[index][label] >= quota.limit:
                self._open[index] &= self._columns[index] != label
                self._all_open &= self._open[index]

    def _record_relaxed(self, yielding: int) -> None:
        """Record the first `yielding` quotas, each one only once."""
        recorded = {name for _, name in self.relaxed}
        for quota in self._quotas[:yielding]:
            if quota.name not in recorded:
                self.relaxed.append((self._places, quota.name))

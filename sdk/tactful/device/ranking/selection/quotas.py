"""How much of one list may be of one kind: category, brand, family, best-sellers.

Where a list cannot be filled otherwise quotas yield, in a fixed order that is reported.
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
    """At most `limit` items of each label in one list; label -1 is of no kind."""

    name: str
    labels: Labels
    limit: int

    def full(self, listed: Sequence[int], number: int) -> bool:
        """Whether the items `listed` leave no room for one more of the kind of `number`."""
        label = self.labels[number]
        return bool(
            label >= 0 and (self.labels[list(listed)] == label).sum() >= self.limit
        )


def fitting(quotas: Sequence[Quota], best_first: Ints) -> NDArray[np.bool_]:
    """Return which items may all be listed together, shape (items,).

    These are the first `limit` of each label, for every quota: fewer than could be listed if an
    item that one quota leaves out makes room in another, never more.
    """
    fits = np.ones(len(best_first), dtype=np.bool_)
    for quota in quotas:
        fits &= _occurrence(quota.labels[best_first]) < quota.limit
    return fits


def without_surplus(
    quotas: Sequence[Quota], best_first: Ints, times: int
) -> NDArray[np.bool_]:
    """Return which items are among the first `times` * `limit` of their label, shape (items,)."""
    kept = np.ones(len(best_first), dtype=np.bool_)
    for quota in quotas:
        kept &= _occurrence(quota.labels[best_first]) < times * quota.limit
    return kept


def _occurrence(labels: Labels) -> Ints:
    """Return how many earlier places have the same label, shape (places,); 0 for label -1."""
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
    """Which items of one pool still fit a list being made, and which quotas had to yield, where."""

    def __init__(self, quotas: Iterable[Quota], pool: Ints) -> None:
        self._quotas = sorted(quotas, key=lambda one: RELAXED_FIRST.index(one.name))
        self._columns = [one.labels[pool] for one in self._quotas]
        self._labels = [column.tolist() for column in self._columns]
        self._counts: list[Counter[int]] = [Counter() for _ in self._quotas]
        self._open = [np.ones(len(pool), dtype=np.bool_) for _ in self._quotas]
        self._all = np.ones(len(pool), dtype=np.bool_)  # where every quota is open
        self._places = 0
        self.relaxed: list[
            tuple[int, str]
        ] = []  # (place in the list, name), the first time each

    def fits(self, free: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The `free` places of the pool that break no quota, relaxed until there is one."""
        fitting = free & self._all
        if np.count_nonzero(fitting) or not free.any():
            return fitting
        for yielding in range(1, len(self._quotas) + 1):
            fitting = free.copy()
            for still_open in self._open[yielding:]:
                fitting &= still_open
            if fitting.any():
                self._note(yielding)
                break
        return fitting

    def take(self, place: int) -> None:
        """Count the item at `place` of the pool."""
        self._places += 1
        for number, quota in enumerate(self._quotas):
            label = self._labels[number][place]
            self._counts[number][label] += 1
            if label >= 0 and self._counts[number][label] >= quota.limit:
                self._open[number] &= self._columns[number] != label
                self._all &= self._open[number]

    def _note(self, yielding: int) -> None:
        known = {name for _, name in self.relaxed}
        for quota in self._quotas[:yielding]:
            if quota.name not in known:
                self.relaxed.append((self._places, quota.name))

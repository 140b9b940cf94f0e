"""How much of one list may be of one kind: category, brand, family, best-sellers.

Where a list cannot be filled otherwise quotas yield, in a fixed order that is reported.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from tactful.device.ranking.scoring import Ints

RELAXED_FIRST = ("best_sellers", "brand", "category", "family")


@dataclass(frozen=True, eq=False)
class Quota:
    """At most `limit` items of each label in one list; label -1 is of no kind."""

    name: str
    labels: Ints
    limit: int


class Quotas:
    """The count of one list being made; begins again after each `length` places."""

    def __init__(self, quotas: Iterable[Quota], length: int) -> None:
        self._quotas = sorted(quotas, key=lambda one: RELAXED_FIRST.index(one.name))
        self._length = max(length, 1)
        self.relaxed: list[str] = []

    def choosing(self, pool: Ints, given: Ints) -> Choice:
        """Count for the items of `pool`; `given` items stand in the first list already."""
        return Choice(self, pool, given)


class Choice:
    """Which items of one pool still fit."""

    def __init__(self, quotas: Quotas, pool: Ints, given: Ints) -> None:
        self._owner, self._columns = quotas, [one.labels[pool] for one in quotas._quotas]
        self._given = [one.labels[given] for one in quotas._quotas]
        self._room, self._places = quotas._length - len(given), 0
        self._begin()

    def fits(self, free: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """The `free` places of the pool that break no quota, relaxed until there is one."""
        fitting = free.copy()
        for full, column in zip(self._full, self._columns, strict=True):
            fitting &= ~full[column]
        for place in range(len(self._columns)):
            if fitting.any() or not free.any():
                break
            fitting = self._without(place, free)
        return fitting

    def take(self, place: int) -> None:
        """Count the item at `place` of the pool."""
        self._places += 1
        if self._places == self._room:
            self._room, self._places = self._owner._length, 0
            self._given = [column[:0] for column in self._given]
            self._begin()
            return
        for counts, column, full, quota in self._counted:
            label = column[place]
            if label >= 0:
                counts[label] += 1
                full[label] = counts[label] >= quota.limit

    def _begin(self) -> None:
        self._full: list[NDArray[np.bool_]] = []
        self._counted = []
        for quota, column, given in zip(
            self._owner._quotas, self._columns, self._given, strict=True
        ):
            kinds = max(int(column.max(initial=-1)), int(given.max(initial=-1))) + 1
            counts = np.bincount(given[given >= 0], minlength=kinds + 1)
            full = counts >= quota.limit
            full[-1] = False  # what is of no kind always fits
            self._full.append(full)
            self._counted.append((counts, column, full, quota))

    def _without(self, relaxed: int, free: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """What fits once the first `relaxed` + 1 quotas yield, noted the first time they do."""
        name = self._owner._quotas[relaxed].name
        if name not in self._owner.relaxed:
            self._owner.relaxed.append(name)
        fitting = free.copy()
        kept = slice(relaxed + 1, None)
        for full, column in zip(self._full[kept], self._columns[kept], strict=True):
            fitting &= ~full[column]
        return fitting


def share_of(length: int, share: float) -> int:
    """The most places of `length` that a share allows; at least one."""
    return max(ceil(share * length), 1)

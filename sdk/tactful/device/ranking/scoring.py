"""How good each item is: for everyone (standard) and for this person (personal)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tactful.device.catalog import Catalog
from tactful.learning.model import Model

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SAME_CATEGORY, SAME_BRAND = 0.7, 0.3  # what two items share, as a similarity in [0, 1]


class Shelf:
    """A catalog in columns, made once: what scoring reads of 100,000 items must be arrays."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog

    @cached_property
    def category(self) -> Ints:
        """Each item's category as a whole number; -1 where it has none."""
        return _codes([item.category for item in self.catalog])

    @cached_property
    def brand(self) -> Ints:
        """Each item's brand as a whole number; -1 where it has none."""
        return _codes([item.brand for item in self.catalog])

    @cached_property
    def family(self) -> Ints:
        """Each item's family as a whole number; -1 where it has none."""
        return _codes([item.family for item in self.catalog])

    @cached_property
    def tie_rank(self) -> Ints:
        """Each item's place in the order of ids: ties are broken by it, on every device alike."""
        order = sorted(range(len(self.catalog)), key=lambda number: self.catalog.items[number].id)
        ranks = np.empty(len(order), dtype=np.int64)
        ranks[order] = np.arange(len(order))
        return ranks

    def category_mix(self, numbers: Ints) -> Floats:
        """The share of each category among the items `numbers`, shape (categories,)."""
        categories = self.category[numbers]
        count = max(int(self.category.max(initial=-1)) + 1, 1)
        counts = np.bincount(categories[categories >= 0], minlength=count)
        return counts / max(int(counts.sum()), 1)

    def similarity(self, number: int, others: Ints) -> Floats:
        """How alike item `number` is to each of `others`, in [0, 1]: 1 within a family."""
        alike = np.zeros(len(others))
        for column, weight in ((self.category, SAME_CATEGORY), (self.brand, SAME_BRAND)):
            if column[number] >= 0:
                alike += weight * (column[others] == column[number])
        if self.family[number] >= 0:
            alike[self.family[others] == self.family[number]] = 1.0
        return alike


def standard_scores(shelf: Shelf, model: Model | None) -> Floats:
    """The score that is the same for everyone: released popularity, else the catalog's order."""
    if model is None:
        return -np.arange(len(shelf.catalog), dtype=np.float64)
    return model.standard()


def personal_scores(shelf: Shelf, model: Model | None, likes: Mapping[int, float]) -> Floats:
    """The score for a person who likes these items (number to strength > 0).

    With a personal model it is the model's; without one, closeness to what is liked.
    """
    if model is not None and len(model.head):
        return model.personal(np.fromiter(likes, dtype=np.int64, count=len(likes)))
    scores = np.zeros(len(shelf.catalog))
    everything = np.arange(len(shelf.catalog))
    for number, strength in likes.items():
        scores += strength * shelf.similarity(number, everything)
    return scores


def _codes(labels: list[str]) -> Ints:
    known: dict[str, int] = {"": -1}
    return np.array([known.setdefault(label, len(known) - 1) for label in labels], dtype=np.int64)

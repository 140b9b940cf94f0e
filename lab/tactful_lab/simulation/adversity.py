"""Crowds with dropouts, poisoning, outliers or catalog changes."""

from __future__ import annotations

from concurrent.futures import Executor
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tactful.learning.client.contribution import (
    contribution,
    gram_vector,
    subspace_vector,
)
from tactful.learning.round_parameters import Guide, RoundParameters
from tactful.protocol.vector_encoding import Encoding
from tactful_lab.data_sets.loading import Dataset
from tactful_lab.simulation.population import BOX, Floats, Ints, Population

OUTLIER_EVENTS = 5_000  # additional events of an outlier
COVER_ITEMS = 20  # popular items that attackers claim together with the pushed one
# The greatest length of a vector that passes the proof. PINE proves the length; SumVec
# proves the range of each entry, so the longest vector is a corner of the box.
PROVED: dict[str, float] = {"pine64": 1.0, "sum_vec_field64": float(BOX)}


@dataclass(frozen=True, eq=False)
class Dropping(Population):
    """A crowd whose devices miss each round with probability `missing`."""

    missing: float
    generator: np.random.Generator

    def float_total(
        self,
        kind: str,
        encoding: Encoding,
        guide: RoundParameters | None,
        executor: Executor | None = None,
    ) -> Floats:
        """Return the sum of the devices that take part in this round."""
        is_present = self.generator.random(len(self.users)) >= self.missing
        present = Population(self.dataset, self.users[is_present])
        return present.float_total(kind, encoding, guide, executor)


@dataclass(frozen=True, eq=False)
class Poisoned(Population):
    """A crowd with attackers who push one item, with vectors of the length `length`.

    In the first round they claim to have `target` only. In later rounds each also
    claims one popular item, so that `target` is recommended to people who have that
    item.
    """

    attackers: int
    target: int
    length: float

    def __len__(self) -> int:
        """Return the number of people, with attackers."""
        return len(self.users) + self.attackers

    def float_total(
        self,
        kind: str,
        encoding: Encoding,
        guide: RoundParameters | None,
        executor: Executor | None = None,
    ) -> Floats:
        """Return the sum of honest devices and attackers."""
        total = super().float_total(kind, encoding, guide, executor)
        popular = by_popularity(self.dataset, self.users)
        cover_items = popular[popular != self.target][:COVER_ITEMS]
        for index, cover_item in enumerate(cover_items):
            # The attackers are dealt out to the cover items in turn.
            count = len(range(index, self.attackers, len(cover_items)))
            claimed = [self.target] if guide is None else [self.target, cover_item]
            vector = self._vector(kind, np.array(claimed), guide)
            total = total + count * self.length * vector
        return total

    def _vector(
        self, kind: str, claimed: Ints, guide: RoundParameters | None
    ) -> Floats:
        # `contribution` would hide items for a holdout test, which attackers do not.
        if isinstance(guide, Guide):
            make_vector = gram_vector if kind == "gram" else subspace_vector
            return make_vector(claimed, guide)
        return contribution(kind, claimed, self.dataset.items, guide)


@dataclass(frozen=True, eq=False)
class Changing(Population):
    """A crowd that no longer reports the `retired` items after the first round."""

    retired: Ints

    def float_total(
        self,
        kind: str,
        encoding: Encoding,
        guide: RoundParameters | None,
        executor: Executor | None = None,
    ) -> Floats:
        """Return the sum over the items that are not retired in this round."""
        dataset = self.dataset if guide is None else without(self.dataset, self.retired)
        current = Population(dataset, self.users)
        return current.float_total(kind, encoding, guide, executor)


def without(dataset: Dataset, items: Ints) -> Dataset:
    """Return the data set without interactions with `items`; numbers stay the same."""
    return _select(dataset, ~np.isin(dataset.indices, items))


def shortened(dataset: Dataset, users: Ints, length: int) -> Dataset:
    """Return the data set with only the first `length` items of each of `users`."""
    starts = np.repeat(dataset.indptr[:-1], np.diff(dataset.indptr))
    position = np.arange(len(dataset.indices)) - starts
    is_cut = np.isin(_owners(dataset), users) & (position >= length)
    return _select(dataset, ~is_cut)


def with_outliers(
    dataset: Dataset, users: Ints, generator: np.random.Generator
) -> Dataset:
    """Return the data set with 5,000 more events of each of `users`, by popularity."""
    counts = _counts(dataset, np.arange(dataset.users))
    shape = (len(users), OUTLIER_EVENTS)
    items = generator.choice(dataset.items, shape, p=counts / counts.sum())
    return _with_pairs(dataset, np.repeat(users, OUTLIER_EVENTS), items.reshape(-1))


def dominated(
    dataset: Dataset, items: Ints, chance: float, generator: np.random.Generator
) -> Dataset:
    """Return the data set with each item added to each person with this chance."""
    is_added = generator.random((dataset.users, len(items))) < chance
    user, column = np.nonzero(is_added)
    return _with_pairs(dataset, user, items[column])


def by_popularity(dataset: Dataset, users: Ints) -> Ints:
    """Return all items, the most popular among `users` first."""
    return np.argsort(-_counts(dataset, users), kind="stable")


def _counts(dataset: Dataset, users: Ints) -> Floats:
    items = np.concatenate([np.empty(0, dtype=np.int64), *dataset.histories(users)])
    return np.bincount(items, minlength=dataset.items).astype(np.float64)


def _owners(dataset: Dataset) -> Ints:
    """Return the user of each interaction."""
    return np.repeat(np.arange(dataset.users), np.diff(dataset.indptr))


def _select(dataset: Dataset, is_selected: NDArray[np.bool_]) -> Dataset:
    """Return the data set with the selected interactions only."""
    counts = np.bincount(_owners(dataset)[is_selected], minlength=dataset.users)
    bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return replace(dataset, indptr=bounds, indices=dataset.indices[is_selected])


def _with_pairs(dataset: Dataset, users: Ints, items: Ints) -> Dataset:
    """Return the data set with additional pairs; repeated pairs count once."""
    user = np.concatenate([_owners(dataset), users])
    item = np.concatenate([dataset.indices, items])
    # The first position of each pair: existing pairs come before additional ones.
    _, first = np.unique(user * dataset.items + item, return_index=True)
    first.sort()
    order = first[np.argsort(user[first], kind="stable")]
    counts = np.bincount(user[order], minlength=dataset.users)
    bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return replace(dataset, indptr=bounds, indices=item[order])

"""Crowds that do not behave: they drop out, cheat, are odd, or shop in a catalog that changes."""

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

MANY = 5_000  # events of a device that never stops
COMPANY = 20  # popular items that cheaters claim to have beside the one they push
PROVED: dict[str, float] = {
    "pine64": 1.0,  # proves the length
    "sum_vec_field64": float(
        BOX
    ),  # proves the range of each entry: the corner of the box
}


@dataclass(frozen=True, eq=False)
class Dropping(Population):
    """Each device misses each round with probability `missing`, on its own."""

    missing: float
    coin: np.random.Generator

    def float_total(
        self,
        kind: str,
        encoding: Encoding,
        guide: RoundParameters | None,
        executor: Executor | None = None,
    ) -> Floats:
        """The sum of those who are there."""
        there = self.users[self.coin.random(len(self.users)) >= self.missing]
        return Population(self.dataset, there).float_total(
            kind, encoding, guide, executor
        )


@dataclass(frozen=True, eq=False)
class Poisoned(Population):
    """Some devices send the longest vectors that their proof allows, for one item.

    In the first round they push `target` alone, later `target` beside one popular item each, so
    that whoever has that one is shown the target.
    """

    cheaters: int
    target: int
    length: float

    def __len__(self) -> int:
        return len(self.users) + self.cheaters

    def float_total(
        self,
        kind: str,
        encoding: Encoding,
        guide: RoundParameters | None,
        executor: Executor | None = None,
    ) -> Floats:
        """The honest sum and what the cheaters add."""
        total = super().float_total(kind, encoding, guide, executor)
        popular = np.argsort(-_counts(self.dataset, self.users), kind="stable")
        company = popular[popular != self.target][:COMPANY]
        for place, item in enumerate(company):
            share = len(range(place, self.cheaters, len(company)))
            claimed = np.array([self.target, item][: 1 if guide is None else 2])
            vector = self._claim(kind, claimed, guide)
            total = total + share * self.length * vector
        return total

    def _claim(self, kind: str, claimed: Ints, guide: RoundParameters | None) -> Floats:
        if isinstance(guide, Guide):  # who cheats hides nothing for a trial
            return (gram_vector if kind == "gram" else subspace_vector)(claimed, guide)
        return contribution(kind, claimed, self.dataset.items, guide)


@dataclass(frozen=True, eq=False)
class Changing(Population):
    """After the first round some items are no longer sold, and no device tells of them."""

    retired: Ints

    def float_total(
        self,
        kind: str,
        encoding: Encoding,
        guide: RoundParameters | None,
        executor: Executor | None = None,
    ) -> Floats:
        """The sum over what is still sold."""
        sold = self.dataset if guide is None else without(self.dataset, self.retired)
        return Population(sold, self.users).float_total(kind, encoding, guide, executor)


def without(dataset: Dataset, items: Ints) -> Dataset:
    """The same people and numbers of items, but nobody has any of `items`."""
    kept = ~np.isin(dataset.indices, items)
    return _cut(dataset, kept)


def shortened(dataset: Dataset, users: Ints, length: int) -> Dataset:
    """`users` keep only their first `length` items."""
    place = np.arange(len(dataset.indices)) - np.repeat(
        dataset.indptr[:-1], np.diff(dataset.indptr)
    )
    return _cut(dataset, ~(np.isin(_owners(dataset), users) & (place >= length)))


def busy(dataset: Dataset, users: Ints, coin: np.random.Generator) -> Dataset:
    """Each of `users` has 5,000 events more, drawn by popularity."""
    chance = _counts(dataset, np.arange(dataset.users))
    drawn = coin.choice(dataset.items, (len(users), MANY), p=chance / chance.sum())
    return _with(dataset, np.repeat(users, MANY), drawn.reshape(-1))


def dominated(
    dataset: Dataset, items: Ints, chance: float, coin: np.random.Generator
) -> Dataset:
    """Everybody has each of `items` with this chance, or had it before."""
    user, place = np.nonzero(coin.random((dataset.users, len(items))) < chance)
    return _with(dataset, user, items[place])


def by_popularity(dataset: Dataset, users: Ints) -> Ints:
    """The items, the most popular among `users` first."""
    return np.argsort(-_counts(dataset, users), kind="stable")


def _counts(dataset: Dataset, users: Ints) -> Floats:
    items = np.concatenate([np.empty(0, dtype=np.int64), *dataset.histories(users)])
    return np.bincount(items, minlength=dataset.items).astype(np.float64)


def _owners(dataset: Dataset) -> Ints:
    return np.repeat(np.arange(dataset.users), np.diff(dataset.indptr))


def _cut(dataset: Dataset, kept: NDArray[np.bool_]) -> Dataset:
    counts = np.bincount(_owners(dataset)[kept], minlength=dataset.users)
    bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return replace(dataset, indptr=bounds, indices=dataset.indices[kept])


def _with(dataset: Dataset, users: Ints, items: Ints) -> Dataset:
    """The data set with these (user, item) pairs too; who has one already has it once."""
    user = np.concatenate([_owners(dataset), users])
    item = np.concatenate([dataset.indices, items])
    _, first = np.unique(user * dataset.items + item, return_index=True)
    first.sort()
    order = first[np.argsort(user[first], kind="stable")]
    counts = np.bincount(user[order], minlength=dataset.users)
    bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return replace(dataset, indptr=bounds, indices=item[order])

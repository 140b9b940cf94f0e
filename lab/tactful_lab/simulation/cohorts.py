"""Sums over many simulated people at once: in whole numbers as devices send them, or in floats.

A whole-number part has the bits that the devices' measurements sum to. A float part adds the same
vectors before rotation and rounding, by one product of matrices for everybody; what rounding
would have added is drawn once, from the error measured on some of the people.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tactful.learning.client.contribution import contribution
from tactful.learning.holdout_test import hidden
from tactful.learning.round_parameters import Guide, RoundParameters
from tactful.privacy.rounding import Coins
from tactful.protocol.vector_encoding import Encoding
from tactful_lab.data_sets.loading import Dataset

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SAMPLE = 64  # people, at most, whose rounding error stands for everybody's
BLOCK = 1 << 21  # entries of vectors that are in memory at a time


@dataclass(frozen=True, eq=False)
class Cohort:
    """Some people: the distinct items of person p are items[bounds[p]:bounds[p + 1]] of `n`."""

    items: Ints
    bounds: Ints
    n: int

    @classmethod
    def of(cls, dataset: Dataset, users: Ints) -> Cohort:
        """The people of `dataset` with these numbers, a number as often as it stands there."""
        lengths = dataset.indptr[users + 1] - dataset.indptr[users]
        bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places = np.arange(bounds[-1]) + np.repeat(
            dataset.indptr[users] - bounds[:-1], lengths
        )
        return cls(dataset.indices[places], bounds, dataset.items)

    def __len__(self) -> int:
        return len(self.bounds) - 1

    @property
    def lengths(self) -> Ints:
        """How many items each has."""
        return np.diff(self.bounds)

    @property
    def people(self) -> Ints:
        """Whose each item is."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def taught(self) -> Cohort:
        """The same people without what each hides for a trial."""
        told = ~hidden(self.items, self.bounds)
        before = np.concatenate([[0], np.cumsum(told)])
        return Cohort(self.items[told], before[self.bounds], self.n)

    def vectors(self, kind: str, guide: RoundParameters | None) -> Floats:
        """What each adds to a round, as a device computes it, shape (people, entries)."""
        return np.array(list(self.each(kind, guide)))

    def each(self, kind: str, guide: RoundParameters | None) -> Iterator[Floats]:
        """The vectors one after the other."""
        for items in np.split(self.items, self.bounds[1:-1]):
            yield contribution(kind, items, self.n, guide)


Sum = Callable[[Cohort, RoundParameters | None], Floats]


def float_sum(kind: str, cohort: Cohort, guide: RoundParameters | None) -> Floats:
    """The sum of everyone's vectors for a round of this `kind`, shape (entries,)."""
    return SUMS.get(kind, one_by_one(kind))(cohort, guide)


def whole_sum(
    kind: str,
    cohort: Cohort,
    guide: RoundParameters | None,
    encoding: Encoding,
    seed: bytes,
) -> Ints:
    """The exact sum of everyone's measurements, shape (padded,); `seed` is of their coins."""
    coins, vectors = np.random.default_rng(list(seed)).bytes, cohort.each(kind, guide)
    total = np.zeros(encoding.padded, dtype=np.int64)
    while some := list(islice(vectors, max(BLOCK // encoding.padded, 1))):
        total += encoding.encode(np.array(some), coins).sum(axis=0, dtype=np.int64)
    return total


def one_by_one(kind: str) -> Sum:
    """The sum for a kind without a faster way: person after person."""

    def total(cohort: Cohort, guide: RoundParameters | None) -> Floats:
        vectors = cohort.each(kind, guide)
        added = next(vectors).copy()
        for vector in vectors:
            added += vector
        return added

    return total


def popularity_sum(cohort: Cohort, guide: RoundParameters | None) -> Floats:
    """Everyone's items, each person's as a vector of length 1."""
    each = np.repeat(1 / np.sqrt(np.maximum(cohort.lengths, 1)), cohort.lengths)
    return np.bincount(cohort.items, each, cohort.n).astype(np.float64)


def subspace_sum(cohort: Cohort, guide: RoundParameters | None) -> Floats:
    """The sum of z s^T / |s| as Z^T S, with a row per person in Z and S."""
    if not isinstance(guide, Guide):
        return one_by_one("subspace")(cohort, guide)  # raises, as a device does
    rows = weighted_rows(cohort.taught(), guide)
    directions = unit_rows(rows @ guide.basis.astype(np.float64))
    total: Floats = (rows.T @ directions).reshape(-1)
    return total


def gram_sum(cohort: Cohort, guide: RoundParameters | None) -> Floats:
    """The sum of the strict upper triangles of z z^T, each person's at length 1, as Z^T Z.

    A sketch of it has not each person's length made 1 again, which changes it by a hundredth.
    """
    if not isinstance(guide, Guide):
        return one_by_one("gram")(cohort, guide)  # raises, as a device does
    rows = weighted_rows(cohort.taught(), guide)
    # the squares of products of pairs sum to (1 - sum z^4) / 2
    lengths = np.sqrt(
        np.maximum(1 - np.einsum("ij,ij,ij,ij->i", rows, rows, rows, rows), 0) / 2
    )
    several = (rows > 0).sum(axis=1) > 1
    scaled = rows / np.where(several, lengths, np.inf)[:, None]
    return guide.sketch.of_all((scaled.T @ rows)[np.triu_indices(len(guide.head), 1)])


SUMS: dict[str, Sum] = {
    "popularity": popularity_sum,
    "subspace": subspace_sum,
    "gram": gram_sum,
}


def weighted_rows(cohort: Cohort, guide: Guide) -> Floats:
    """z of each person on the head, shape (people, head), of length 1 or 0."""
    places, known = guide.rows[cohort.items], guide.rows[cohort.items] >= 0
    rows = np.zeros((len(cohort), len(guide.head)))
    rows[cohort.people[known], places[known]] = guide.weights[cohort.items[known]]
    return unit_rows(rows)


def unit_rows(rows: Floats) -> Floats:
    """Each row at length 1; a row of zeros stays."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    unit: Floats = rows / np.where(lengths > 0, lengths, 1.0)[:, None]
    return unit


class Rounding(NamedTuple):
    """What encoding does to a vector, on average over people: its scale, an entry's variance."""

    scale: float
    variance: float


def rounding(encoding: Encoding, vectors: Floats, coins: Coins) -> Rounding:
    """Measured on these `vectors`: the box shortens a vector a little, rounding adds an error."""
    levels = encoding.encode(vectors, coins)
    there = np.array([encoding.decode(row.astype(np.int64), 1) for row in levels])
    length2 = float(np.square(vectors).sum())
    scale = float((there * vectors).sum()) / length2 if length2 else 1.0
    return Rounding(scale, float(np.square(there - scale * vectors).mean()))


def sample(users: Ints, entries: int) -> Ints:
    """Some of `users`, evenly spaced, fewer where vectors are long."""
    count = max(min(SAMPLE, BLOCK // entries), 1)
    return users[:: max(len(users) // count, 1)][:count]


def cohorts(dataset: Dataset, users: Ints, chunk: int) -> Iterator[Cohort]:
    """All of `users`, in order, `chunk` at a time."""
    for start in range(0, len(users), chunk):
        yield Cohort.of(dataset, users[start : start + chunk])

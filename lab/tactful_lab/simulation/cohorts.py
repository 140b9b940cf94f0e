"""Sums over many simulated people: exact sums of measurements, or fast sums of floats.

An exact sum has the same bits as the sum of the measurements of real devices. A float
sum adds the same vectors before rotation and rounding, with one matrix product for a
whole cohort. The effect of rounding is then drawn once, from the error measured on a
sample of people.
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

SAMPLE = 64  # most people on whom the rounding error is measured
BLOCK = 1 << 21  # entries of vectors that are in memory at a time


@dataclass(frozen=True, eq=False)
class Cohort:
    """Some people and their items, out of `n`.

    The distinct items of person p are items[bounds[p]:bounds[p + 1]].
    """

    items: Ints
    bounds: Ints
    n: int

    @classmethod
    def of(cls, dataset: Dataset, users: Ints) -> Cohort:
        """Return the people of `dataset` with the numbers `users`, which may repeat."""
        starts = dataset.indptr[users]
        lengths = dataset.indptr[users + 1] - starts
        bounds = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        offsets = np.repeat(starts - bounds[:-1], lengths)
        positions = np.arange(bounds[-1]) + offsets
        return cls(dataset.indices[positions], bounds, dataset.items)

    def __len__(self) -> int:
        """Return the number of people."""
        return len(self.bounds) - 1

    @property
    def lengths(self) -> Ints:
        """The number of items of each person."""
        return np.diff(self.bounds)

    @property
    def people(self) -> Ints:
        """The person, from 0, of each item."""
        return np.repeat(np.arange(len(self)), self.lengths)

    def without_holdout(self) -> Cohort:
        """Return the same people without the items hidden for a holdout test."""
        visible = ~hidden(self.items, self.bounds)
        visible_before = np.concatenate([[0], np.cumsum(visible)])
        return Cohort(self.items[visible], visible_before[self.bounds], self.n)

    def vectors(self, kind: str, guide: RoundParameters | None) -> Floats:
        """Return everyone's contribution to a round, shape (people, entries)."""
        return np.array(list(self.iter_vectors(kind, guide)))

    def iter_vectors(
        self, kind: str, guide: RoundParameters | None
    ) -> Iterator[Floats]:
        """Yield the contribution of each person, as a device computes it."""
        for items in np.split(self.items, self.bounds[1:-1]):
            yield contribution(kind, items, self.n, guide)


Sum = Callable[[Cohort, RoundParameters | None], Floats]


def float_sum(kind: str, cohort: Cohort, guide: RoundParameters | None) -> Floats:
    """Return the sum of everyone's vectors for this kind of round, shape (entries,)."""
    return SUMS.get(kind, one_by_one(kind))(cohort, guide)


def exact_sum(
    kind: str,
    cohort: Cohort,
    guide: RoundParameters | None,
    encoding: Encoding,
    seed: bytes,
) -> Ints:
    """Return the exact sum of everyone's measurements, shape (padded,).

    `seed` is that of their rounding coins.
    """
    coins = np.random.default_rng(list(seed)).bytes
    vectors = cohort.iter_vectors(kind, guide)
    # The vectors are dense, so only a block of them is in memory.
    block_size = max(BLOCK // encoding.padded, 1)
    total = np.zeros(encoding.padded, dtype=np.int64)
    while block := list(islice(vectors, block_size)):
        levels = encoding.encode(np.array(block), coins)
        total += levels.sum(axis=0, dtype=np.int64)
    return total


def one_by_one(kind: str) -> Sum:
    """Return a function that sums person after person, if there is no faster one."""

    def total_of(cohort: Cohort, guide: RoundParameters | None) -> Floats:
        vectors = cohort.iter_vectors(kind, guide)
        total = next(vectors).copy()
        for vector in vectors:
            total += vector
        return total

    return total_of


def popularity_sum(cohort: Cohort, guide: RoundParameters | None) -> Floats:
    """Return the sum of people's item vectors, each of length 1, shape (n,)."""
    lengths = cohort.lengths
    item_weights = np.repeat(1 / np.sqrt(np.maximum(lengths, 1)), lengths)
    return np.bincount(cohort.items, item_weights, cohort.n).astype(np.float64)


def subspace_sum(cohort: Cohort, guide: RoundParameters | None) -> Floats:
    """Return the sum of z s^T / |s| as Z^T S, with a row per person in Z and S."""
    if not isinstance(guide, Guide):
        return one_by_one("subspace")(cohort, guide)  # raises, as a device does
    rows = weighted_rows(cohort.without_holdout(), guide)
    directions = unit_rows(rows @ guide.basis.astype(np.float64))
    total: Floats = (rows.T @ directions).reshape(-1)
    return total


def gram_sum(cohort: Cohort, guide: RoundParameters | None) -> Floats:
    """Return the sum of the strict upper triangles of z z^T, each of length 1.

    A sketch is taken of the sum. Devices scale their own sketch to length 1 once more,
    which changes the sum by about one percent.
    """
    if not isinstance(guide, Guide):
        return one_by_one("gram")(cohort, guide)  # raises, as a device does
    rows = weighted_rows(cohort.without_holdout(), guide)
    # For |z| = 1 the squares of the strict upper triangle sum to (1 - sum z^4) / 2.
    fourth_powers = np.einsum("ij,ij,ij,ij->i", rows, rows, rows, rows)
    lengths = np.sqrt(np.maximum(1 - fourth_powers, 0) / 2)
    # A person with a single item has no pairs and adds nothing.
    has_pairs = (rows > 0).sum(axis=1) > 1
    scaled = rows / np.where(has_pairs, lengths, np.inf)[:, None]
    upper_triangle = np.triu_indices(len(guide.head), 1)
    return guide.sketch.of_all((scaled.T @ rows)[upper_triangle])


SUMS: dict[str, Sum] = {
    "popularity": popularity_sum,
    "subspace": subspace_sum,
    "gram": gram_sum,
}


def weighted_rows(cohort: Cohort, guide: Guide) -> Floats:
    """Return z of each person on the head, shape (people, head), of length 1 or 0."""
    columns = guide.rows[cohort.items]
    in_head = columns >= 0
    rows = np.zeros((len(cohort), len(guide.head)))
    weights = guide.weights[cohort.items[in_head]]
    rows[cohort.people[in_head], columns[in_head]] = weights
    return unit_rows(rows)


def unit_rows(rows: Floats) -> Floats:
    """Return each row scaled to length 1; rows of zeros stay the same."""
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    unit: Floats = rows / np.where(lengths > 0, lengths, 1.0)[:, None]
    return unit


class RoundingError(NamedTuple):
    """The effect of encoding on a vector: a factor, and the variance of each entry."""

    scale: float
    variance: float


def rounding_error(encoding: Encoding, vectors: Floats, coins: Coins) -> RoundingError:
    """Measure the effect of encoding on `vectors`, as a mean over people.

    Clipping to the box makes a vector a little shorter; rounding adds an error.
    """
    levels = encoding.encode(vectors, coins)
    decoded = np.array([encoding.decode(row.astype(np.int64), 1) for row in levels])
    squared_length = float(np.square(vectors).sum())
    scale = 1.0
    if squared_length:
        scale = float((decoded * vectors).sum()) / squared_length
    variance = float(np.square(decoded - scale * vectors).mean())
    return RoundingError(scale, variance)


def sample(users: Ints, entries: int) -> Ints:
    """Return some of `users`, evenly spaced; fewer if vectors have many `entries`."""
    # A regular sample needs no random draw, so it does not change other draws.
    count = max(min(SAMPLE, BLOCK // entries), 1)
    return users[:: max(len(users) // count, 1)][:count]


def cohorts(dataset: Dataset, users: Ints, chunk: int) -> Iterator[Cohort]:
    """Yield all of `users`, in order, `chunk` at a time."""
    for start in range(0, len(users), chunk):
        yield Cohort.of(dataset, users[start : start + chunk])

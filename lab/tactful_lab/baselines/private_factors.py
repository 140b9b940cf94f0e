"""Private matrix factorization with central noise, after DPALS and FedRecon.

These are re-implementations of the mechanisms (DPALS: Chien et al. 2021; federated
reconstruction: Singhal et al. 2021), without the published code and its tuning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tactful.learning.round_parameters import Guide
from tactful_aggregator.learning.subspace import direction
from tactful_lab.baselines.central_noise import (
    POPULARITY_SHARE,
    Curator,
    Fitted,
    weighted_rows,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RANK = 8
# Weight of pairs without an interaction; 0.03 to 10 were tried on validation people.
ALPHA = 1.0
RIDGE = 1e-3  # of a person's factors, times the number of items
ALS_ROUNDS, ALS_SHARES = 3, (0.35, 0.55, 0.10)
GRADIENT_ROUNDS, LEARNING_RATE, MOMENTUM, INITIAL_SCALE = 12, 0.3, 0.5, 0.01


@dataclass(frozen=True, eq=False)
class Factors:
    """Item factors, shape (head, rank); those of people are solved from their items."""

    guide: Guide
    factors: Floats

    def __call__(self, histories: Sequence[Ints]) -> Floats:
        """Return the products of factors for items of the head.

        A small multiple of popularity is added, which ranks all other items and
        breaks ties.
        """
        interactions = weighted_rows(histories, self.guide) > 0
        popularity = self.guide.popularity.astype(np.float64)
        scores = np.tile(1e-6 * popularity / popularity.max(), (len(histories), 1))
        people = people_factors(interactions, self.factors)
        scores[:, self.guide.head] += people @ self.factors.T
        return scores


def dp_als(curator: Curator) -> Fitted:
    """Fit alternating least squares from noisy sums (docs/spec/learning.md 10)."""
    guide = curator.guide(POPULARITY_SHARE, rank=RANK)
    round_share = (1 - POPULARITY_SHARE) / ALS_ROUNDS
    factors = initial_factors(guide)
    for _ in range(ALS_ROUNDS):
        sums = als_sums(curator, guide, factors)
        releases = [
            curator.release(total, round_share * share)
            for total, share in zip(sums, ALS_SHARES, strict=True)
        ]
        factors = _solve_items(releases, _mean_root(guide, len(curator.users)))
    rank = factors.shape[1]
    packed_entries = rank * (rank + 1) // 2
    round_entries = len(guide.head) * (packed_entries + rank) + packed_entries
    entries = len(guide.popularity) + ALS_ROUNDS * round_entries
    return Fitted(Factors(guide, factors), entries)


def fed_recon(curator: Curator) -> Fitted:
    """Fit item factors by gradient descent with momentum on noisy sums.

    Each person solves their own factors and adds one gradient of length 1.
    """
    guide = curator.guide(POPULARITY_SHARE, rank=RANK)
    share = (1 - POPULARITY_SHARE) / GRADIENT_ROUNDS
    scale = math.sqrt(len(guide.head))
    factors = INITIAL_SCALE * scale * initial_factors(guide)
    velocity = np.zeros_like(factors)
    for _ in range(GRADIENT_ROUNDS):
        gradient, _ = curator.release(gradient_sum(curator, guide, factors), share)
        step = LEARNING_RATE * scale * gradient / len(curator.users)
        velocity = MOMENTUM * velocity - step
        factors = factors + velocity
    entries = len(guide.popularity) + GRADIENT_ROUNDS * factors.size
    return Fitted(Factors(guide, factors), entries)


def als_sums(
    curator: Curator, guide: Guide, factors: Floats
) -> tuple[Floats, Floats, Floats]:
    """Return the three sums from which item factors are solved.

    For u the factors of a person with m items: per item the sum of u u^T / sqrt(m) and
    the sum of u / sqrt(m), and over all people the sum of u u^T. One person adds a
    vector of length 1 to each.
    """
    rank = factors.shape[1]
    packed_entries = rank * (rank + 1) // 2
    squares = np.zeros((len(factors), packed_entries))
    sums = np.zeros(factors.shape)
    shared = np.zeros(packed_entries)
    for rows in curator.rows(guide):
        interactions = (rows > 0).astype(np.float64)
        people = _unit_rows(people_factors(interactions > 0, factors))
        counts = np.maximum(interactions.sum(axis=1), 1)
        weights = interactions / np.sqrt(counts)[:, None]
        products = pack(people)
        squares += weights.T @ products
        sums += weights.T @ people
        shared += products.sum(axis=0)
    return squares, sums, shared


def gradient_sum(curator: Curator, guide: Guide, factors: Floats) -> Floats:
    """Return the sum of people's gradients of the implicit loss, each of norm 1."""
    total = np.zeros(factors.shape)
    for rows in curator.rows(guide):
        interactions = (rows > 0).astype(np.float64)
        people = people_factors(interactions > 0, factors)
        predictions = people @ factors.T
        residuals = ALPHA * predictions - interactions * (1 - predictions)
        # The gradient of one person is an outer product, so its norm is the product
        # of the two norms.
        total += _unit_rows(residuals).T @ _unit_rows(people)
    return total


def people_factors(interactions: NDArray[np.bool_], factors: Floats) -> Floats:
    """Return the factors u of each person, shape (people, rank).

    They solve least squares with weight 1 for the person's items, ALPHA for all items,
    and a ridge.
    """
    size, rank = factors.shape
    products = (factors[:, :, None] * factors[:, None, :]).reshape(size, rank * rank)
    systems = (interactions.astype(np.float64) @ products).reshape(-1, rank, rank)
    # The smallest float keeps the systems regular if all factors are 0.
    ridge = RIDGE * np.trace(factors.T @ factors) + np.finfo(np.float64).tiny
    systems = systems + ALPHA * (factors.T @ factors) + ridge * np.eye(rank)
    right_sides = (interactions @ factors)[:, :, None]
    solutions: Floats = np.linalg.solve(systems, right_sides)[:, :, 0]
    return solutions


def pack(people: Floats) -> Floats:
    """Return the upper triangle of each u u^T as a vector of length |u|^2."""
    rows, columns = np.triu_indices(people.shape[1])
    # Entries off the diagonal occur twice in the matrix: sqrt(2) preserves the norm.
    weight = np.where(rows == columns, 1.0, math.sqrt(2))
    packed: Floats = people[:, rows] * people[:, columns] * weight
    return packed


def unpack(packed: Floats, rank: int) -> Floats:
    """Return the symmetric matrices that `pack` packed, shape (..., rank, rank)."""
    rows, columns = np.triu_indices(rank)
    entries = packed / np.where(rows == columns, 1.0, math.sqrt(2))
    matrices = np.zeros((*packed.shape[:-1], rank, rank))
    matrices[..., rows, columns] = entries
    matrices[..., columns, rows] = entries
    return matrices


def initial_factors(guide: Guide) -> Floats:
    """Return popularity and random directions orthogonal to it, columns of length 1."""
    popular = direction(guide.popularity, guide.weights, guide.head)
    return np.column_stack([popular, guide.basis[:, 1:].astype(np.float64)])


def _solve_items(releases: Sequence[tuple[Floats, float]], mean_root: float) -> Floats:
    """Return the item factors that solve the noisy systems.

    A ridge as large as the noise of a system makes it positive definite.
    """
    (squares, tau), (sums, _), (shared, _) = releases
    rank = sums.shape[1]
    systems = unpack(squares, rank) + ALPHA / mean_root * unpack(shared, rank)
    values, vectors = np.linalg.eigh(systems)
    ridge = 2 * tau * math.sqrt(rank) + RIDGE
    inverse = 1 / (np.maximum(values, 0.0) + ridge)
    coefficients = np.einsum("irk,ir->ik", vectors, sums) * inverse
    factors: Floats = np.einsum("irk,ik->ir", vectors, coefficients)
    return factors


def _mean_root(guide: Guide, people: int) -> float:
    """Return the mean of sqrt(m), estimated from the released histogram."""
    return max(float(guide.popularity.sum(dtype=np.float64)) / people, 1.0)


def _unit_rows(rows: Floats) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return unit

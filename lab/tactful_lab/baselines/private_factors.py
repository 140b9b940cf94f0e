"""Private matrix factors with central noise: stand-ins for DPALS and federated reconstruction.

Own re-implementations of the mechanisms (Chien et al. 2021; Singhal et al. 2021), not the
published code nor its tuning.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tactful.learning.round_parameters import Guide
from tactful.learning.server.subspace import direction
from tactful_lab.baselines.central_noise import (
    POPULARITY_SHARE,
    Curator,
    Fitted,
    weighted_rows,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RANK = 8
ALPHA = 1.0  # weight of what nobody chose; .03 to 10 were tried on validation people
RIDGE = 1e-3  # of a person's factors, times the number of items
ALS_ROUNDS, ALS_SHARES = 3, (0.35, 0.55, 0.10)
GRADIENT_ROUNDS, RATE, MOMENTUM, START = 12, 0.3, 0.5, 0.01


@dataclass(frozen=True, eq=False)
class Factors:
    """Item factors, shape (head, rank); a person's are solved from their items."""

    guide: Guide
    factors: Floats

    def __call__(self, histories: Sequence[Ints]) -> Floats:
        """Products of factors on the head, a little popularity elsewhere and where they tie."""
        chosen = weighted_rows(histories, self.guide) > 0
        popular = self.guide.popularity.astype(np.float64)
        scores = np.tile(1e-6 * popular / popular.max(), (len(histories), 1))
        scores[:, self.guide.head] += (
            people_factors(chosen, self.factors) @ self.factors.T
        )
        return scores


def dp_als(curator: Curator) -> Fitted:
    """Alternating least squares whose item systems are noisy sums (design/learning.md 10)."""
    guide = curator.guide(POPULARITY_SHARE, rank=RANK)
    share = (1 - POPULARITY_SHARE) / ALS_ROUNDS
    factors = _start(guide)
    for _ in range(ALS_ROUNDS):
        noisy = [
            curator.release(total, share * part)
            for total, part in zip(
                als_sums(curator, guide, factors), ALS_SHARES, strict=True
            )
        ]
        factors = _solved(noisy, _mean_root(guide, len(curator.users)))
    each = factors.shape[1] * (factors.shape[1] + 1) // 2
    entries = len(guide.head) * (each + factors.shape[1]) + each
    return Fitted(Factors(guide, factors), len(guide.popularity) + ALS_ROUNDS * entries)


def fed_recon(curator: Curator) -> Fitted:
    """Descent on sums of people's gradients of length 1, their own factors solved locally."""
    guide = curator.guide(POPULARITY_SHARE, rank=RANK)
    share = (1 - POPULARITY_SHARE) / GRADIENT_ROUNDS
    scale = math.sqrt(len(guide.head))
    factors = START * scale * _start(guide)
    speed = np.zeros_like(factors)
    for _ in range(GRADIENT_ROUNDS):
        noisy, _ = curator.release(gradient_sum(curator, guide, factors), share)
        speed = MOMENTUM * speed - RATE * scale * noisy / len(curator.users)
        factors = factors + speed
    entries = len(guide.popularity) + GRADIENT_ROUNDS * factors.size
    return Fitted(Factors(guide, factors), entries)


def als_sums(
    curator: Curator, guide: Guide, factors: Floats
) -> tuple[Floats, Floats, Floats]:
    """Per item the sums of u u^T and of u, over sqrt(m), and one of u u^T: each of length 1."""
    rank = factors.shape[1]
    packed = rank * (rank + 1) // 2
    squares, sums, shared = (
        np.zeros((len(factors), packed)),
        np.zeros(factors.shape),
        np.zeros(packed),
    )
    for rows in curator.rows(guide):
        chosen = (rows > 0).astype(np.float64)
        people = _unit(people_factors(chosen > 0, factors))
        each = chosen / np.sqrt(np.maximum(chosen.sum(axis=1), 1))[:, None]
        products = pack(people)
        squares += each.T @ products
        sums += each.T @ people
        shared += products.sum(axis=0)
    return squares, sums, shared


def gradient_sum(curator: Curator, guide: Guide, factors: Floats) -> Floats:
    """The sum of everyone's gradient of the implicit loss, each scaled to Frobenius norm 1."""
    total = np.zeros(factors.shape)
    for rows in curator.rows(guide):
        chosen = (rows > 0).astype(np.float64)
        people = people_factors(chosen > 0, factors)
        expected = people @ factors.T
        slope = ALPHA * expected - chosen * (1 - expected)
        total += _unit(slope).T @ _unit(people)
    return total


def people_factors(chosen: NDArray[np.bool_], factors: Floats) -> Floats:
    """u of each person: least squares on the chosen items, ALPHA on all, a ridge."""
    size, rank = factors.shape
    products = (factors[:, :, None] * factors[:, None, :]).reshape(size, rank * rank)
    systems = (chosen.astype(np.float64) @ products).reshape(-1, rank, rank)
    ridge = RIDGE * np.trace(factors.T @ factors) + np.finfo(np.float64).tiny
    systems = systems + ALPHA * (factors.T @ factors) + ridge * np.eye(rank)
    solved: Floats = np.linalg.solve(systems, (chosen @ factors)[:, :, None])[:, :, 0]
    return solved


def pack(people: Floats) -> Floats:
    """The upper triangle of each u u^T, off the diagonal times sqrt(2): of length |u|^2."""
    rows, columns = np.triu_indices(people.shape[1])
    weight = np.where(rows == columns, 1.0, math.sqrt(2))
    packed: Floats = people[:, rows] * people[:, columns] * weight
    return packed


def unpack(packed: Floats, rank: int) -> Floats:
    """Symmetric matrices of what `pack` made, shape (..., rank, rank)."""
    rows, columns = np.triu_indices(rank)
    entries = packed / np.where(rows == columns, 1.0, math.sqrt(2))
    matrices = np.zeros((*packed.shape[:-1], rank, rank))
    matrices[..., rows, columns] = entries
    matrices[..., columns, rows] = entries
    return matrices


def _solved(noisy: Sequence[tuple[Floats, float]], mean_root: float) -> Floats:
    """Item factors from noisy systems, made positive with a ridge as large as their noise."""
    (squares, tau), (sums, _), (shared, _) = noisy
    rank = sums.shape[1]
    systems = unpack(squares, rank) + ALPHA / mean_root * unpack(shared, rank)
    values, vectors = np.linalg.eigh(systems)
    least = 2 * tau * math.sqrt(rank) + RIDGE
    inverse = 1 / (np.maximum(values, 0.0) + least)
    turned = np.einsum("irk,ir->ik", vectors, sums) * inverse
    factors: Floats = np.einsum("irk,ik->ir", vectors, turned)
    return factors


def _mean_root(guide: Guide, people: int) -> float:
    """The mean of sqrt(m), as the released histogram tells it."""
    return max(float(guide.popularity.sum(dtype=np.float64)) / people, 1.0)


def _start(guide: Guide) -> Floats:
    """Popularity and random directions orthogonal to it, columns of length 1."""
    popular = direction(guide.popularity, guide.weights, guide.head)
    return np.column_stack([popular, guide.basis[:, 1:].astype(np.float64)])


def _unit(rows: Floats) -> Floats:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit: Floats = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    return unit

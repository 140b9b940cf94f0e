"""Baselines from a noisy item co-occurrence matrix: EASE and principal components."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tactful.learning.model import Model
from tactful.learning.round_parameters import Guide, expected_diagonal
from tactful_aggregator.learning.subspace import direction, without
from tactful_lab.baselines.central_noise import (
    POPULARITY_SHARE,
    Curator,
    Fitted,
    weighted_rows,
)
from tactful_lab.baselines.simple import Personal

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RANK = 16
SENSITIVITY = 1 / math.sqrt(2)  # of the strict upper triangle of z z^T with |z| = 1
RIDGE = 0.003  # of EASE on co-occurrences per person, times the size of the head
PI, BETA, RHO = 0.2, 0.7, 0.1  # of scoring (docs/spec/learning.md 3, 6)


@dataclass(frozen=True, eq=False)
class HeadWeights:
    """Item-to-item weights of the head plus the standard score: (pi q + z B) / w."""

    guide: Guide
    weights: Floats  # (head, head), diagonal 0
    popularity_share: float = PI

    def __call__(self, histories: Sequence[Ints]) -> Floats:
        """Return personal scores; the standard score for people without a head item."""
        popularity = self.guide.popularity.astype(np.float64)
        length = np.linalg.norm(popularity * self.guide.weights)
        standard_score = self.popularity_share * popularity / length
        scores = np.tile(standard_score, (len(histories), 1))
        personal_part = weighted_rows(histories, self.guide) @ self.weights
        head = self.guide.head
        scores[:, head] += personal_part / self.guide.weights[head]
        return scores


def gram_ease(curator: Curator) -> Fitted:
    """Fit EASE to the denoised co-occurrence matrix (docs/spec/learning.md 10)."""
    guide = curator.guide(POPULARITY_SHARE, rank=RANK)
    gram, tau = noisy_gram(curator, guide, 1 - POPULARITY_SHARE)
    # The diagonal is not released: it follows from the popularity.
    diagonal = expected_diagonal(guide, guide.head, len(curator.users))
    denoised = shrink_spectrum(gram + np.diag(diagonal), tau)
    np.fill_diagonal(denoised, np.maximum(np.diag(denoised), diagonal))
    weights = head_ease(denoised, len(curator.users))
    return Fitted(HeadWeights(guide, weights), _coordinates(guide))


def gram_pca(curator: Curator) -> Fitted:
    """Fit the leading eigenvectors of the noisy matrix, orthogonal to popularity.

    See docs/spec/learning.md 6.
    """
    guide = curator.guide(POPULARITY_SHARE, rank=RANK)
    gram, tau = noisy_gram(curator, guide, 1 - POPULARITY_SHARE)
    gram += np.diag(expected_diagonal(guide, guide.head, len(curator.users)))
    popular = direction(guide.popularity, guide.weights, guide.head)
    values, vectors = np.linalg.eigh(without(popular, without(popular, gram).T))
    rank = guide.basis.shape[1]
    strength = np.maximum(values[::-1][:rank], np.finfo(np.float64).tiny)
    model = Model(
        popularity=guide.popularity,
        weights=guide.weights,
        head=guide.head,
        basis=vectors[:, ::-1][:, :rank].astype(np.float32),
        scale=_direction_scale(strength, tau, len(gram)).astype(np.float32),
        gain=np.full(len(guide.head), BETA, dtype=np.float32),
        neighbours=np.empty((len(guide.head), 0), dtype=np.int32),
        closeness=np.empty((len(guide.head), 0), dtype=np.float32),
        popularity_share=PI,
    )
    return Fitted(Personal(model), _coordinates(guide))


def noisy_gram(curator: Curator, guide: Guide, share: float) -> tuple[Floats, float]:
    """Return the noisy sum of z z^T with diagonal 0, and the deviation of its noise."""
    total = exact_gram(curator, guide)
    # Half of the entries suffice, because the matrix is symmetric.
    upper = np.triu_indices(len(total), 1)
    noisy, tau = curator.release(total[upper], share, sensitivity=SENSITIVITY)
    gram = np.zeros_like(total)
    gram[upper] = noisy
    return gram + gram.T, tau


def exact_gram(curator: Curator, guide: Guide) -> Floats:
    """Return the sum of z z^T over all people, shape (head, head)."""
    total = np.zeros((len(guide.head), len(guide.head)))
    for rows in curator.rows(guide):
        total += rows.T @ rows
    return total


def shrink_spectrum(gram: Floats, tau: float) -> Floats:
    """Return `gram` without eigenvalues that noise explains, the others reduced."""
    values, vectors = np.linalg.eigh(gram)
    # Symmetric noise with deviation tau has a spectrum of radius 2 tau sqrt(size)
    # (Wigner's semicircle law).
    half_radius = tau * math.sqrt(len(gram))
    shrunk = np.where(values > 2 * half_radius, values - half_radius, 0.0)
    denoised: Floats = (vectors * shrunk) @ vectors.T
    return denoised


def head_ease(gram: Floats, people: int, ridge: float = RIDGE) -> Floats:
    """Return the weights of EASE (Steck 2019) for a Gram matrix of unit vectors.

    The matrix is scaled so that its trace is about the size of the head.
    """
    size = len(gram)
    inverse = np.linalg.inv(gram * (size / people) + ridge * size * np.eye(size))
    weights: Floats = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights


def _direction_scale(singular: Floats, tau: float, head: int) -> Floats:
    """Return the weight of each direction, in [0, 1] (docs/spec/learning.md 3)."""
    strength = np.sqrt(np.maximum(np.square(singular) - tau * tau * head, 0.0))
    if not strength.any():
        return strength
    gain = np.square(strength / singular) * strength / (strength + RHO * strength.max())
    scale: Floats = gain / gain.max()
    return scale


def _coordinates(guide: Guide) -> int:
    size = len(guide.head)
    return len(guide.popularity) + size * (size - 1) // 2

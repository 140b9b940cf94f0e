"""Private co-occurrence of a head with central noise, read by EASE or by principal components."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tactful.learning.model import Model
from tactful.learning.round_parameters import Guide, expected_diagonal
from tactful.learning.server.subspace import direction, without
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
RIDGE = 0.003  # of EASE on co-occurrences per person, times the head
PI, BETA, RHO = 0.2, 0.7, 0.1  # of scoring (design/learning.md 3, 6)


@dataclass(frozen=True, eq=False)
class HeadWeights:
    """Item-to-item weights on the head over the standard score: (pi q + z B) / w."""

    guide: Guide
    weights: Floats  # (head, head), diagonal 0
    popularity_share: float = PI

    def __call__(self, histories: Sequence[Ints]) -> Floats:
        """The personal score of each; without an item in the head, the standard one."""
        popularity = self.guide.popularity.astype(np.float64)
        length = np.linalg.norm(popularity * self.guide.weights)
        scores = np.tile(
            self.popularity_share * popularity / length, (len(histories), 1)
        )
        mixed = weighted_rows(histories, self.guide) @ self.weights
        scores[:, self.guide.head] += mixed / self.guide.weights[self.guide.head]
        return scores


def gram_ease(curator: Curator) -> Fitted:
    """EASE of the noisy Gram, its spectrum cut at the noise (design/learning.md 10)."""
    guide = curator.guide(POPULARITY_SHARE, rank=RANK)
    gram, tau = noisy_gram(curator, guide, 1 - POPULARITY_SHARE)
    diagonal = expected_diagonal(guide, guide.head, len(curator.users))
    cleaned = cut(gram + np.diag(diagonal), tau)
    np.fill_diagonal(cleaned, np.maximum(np.diag(cleaned), diagonal))
    return Fitted(
        HeadWeights(guide, head_ease(cleaned, len(curator.users))), _coordinates(guide)
    )


def gram_pca(curator: Curator) -> Fitted:
    """The leading directions of the noisy Gram, popularity taken out (design/learning.md 6)."""
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
        scale=_trusted(strength, tau, len(gram)).astype(np.float32),
        gain=np.full(len(guide.head), BETA, dtype=np.float32),
        neighbours=np.empty((len(guide.head), 0), dtype=np.int32),
        closeness=np.empty((len(guide.head), 0), dtype=np.float32),
        popularity_share=PI,
    )
    return Fitted(Personal(model), _coordinates(guide))


def noisy_gram(curator: Curator, guide: Guide, share: float) -> tuple[Floats, float]:
    """The sum of z z^T off the diagonal, noisy and symmetric, and its noise's deviation."""
    total = exact_gram(curator, guide)
    upper = np.triu_indices(len(total), 1)
    noisy, tau = curator.release(total[upper], share, sensitivity=SENSITIVITY)
    gram = np.zeros_like(total)
    gram[upper] = noisy
    return gram + gram.T, tau


def exact_gram(curator: Curator, guide: Guide) -> Floats:
    """The sum of z z^T over all people, shape (head, head)."""
    total = np.zeros((len(guide.head), len(guide.head)))
    for rows in curator.rows(guide):
        total += rows.T @ rows
    return total


def cut(gram: Floats, tau: float) -> Floats:
    """`gram` without eigenvalues that noise alone could give; the others less the noise."""
    values, vectors = np.linalg.eigh(gram)
    edge = tau * math.sqrt(len(gram))
    kept = np.where(values > 2 * edge, values - edge, 0.0)
    cleaned: Floats = (vectors * kept) @ vectors.T
    return cleaned


def head_ease(gram: Floats, people: int, ridge: float = RIDGE) -> Floats:
    """EASE's weights of a Gram of unit vectors (Steck 2019), its size made that of the head."""
    size = len(gram)
    inverse = np.linalg.inv(gram * (size / people) + ridge * size * np.eye(size))
    weights: Floats = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0.0)
    return weights


def _trusted(singular: Floats, tau: float, head: int) -> Floats:
    """How far to trust each direction, in [0, 1] (design/learning.md 3)."""
    strength = np.sqrt(np.maximum(np.square(singular) - tau * tau * head, 0.0))
    if not strength.any():
        return strength
    gain = np.square(strength / singular) * strength / (strength + RHO * strength.max())
    scale: Floats = gain / gain.max()
    return scale


def _coordinates(guide: Guide) -> int:
    size = len(guide.head)
    return len(guide.popularity) + size * (size - 1) // 2

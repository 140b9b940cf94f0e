"""A model from noisy sums by spherical subspace iteration, and EASE.

Round by round the subspace turns to what people share (docs/spec/learning.md 1-4).
Everything is computed from released sums and public numbers, so it costs no budget.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful.learning.model import Model
from tactful.learning.round_parameters import Guide, expected_diagonal, guide_of
from tactful_aggregator.learning import release_gate
from tactful_aggregator.learning.ease import factored
from tactful_aggregator.learning.popularity_estimate import (
    cleaned,
    item_weights,
    largest,
)
from tactful_aggregator.learning.training_plan import Plan

Floats = NDArray[np.float64]

# Mean of |s|^2 over the square of the mean of |s|, because people differ.
UNEVEN = 1.5


def first_guide(noisy_sum: Floats, tau: float, plan: Plan, seed: bytes) -> Guide:
    """Return the guide after round 0: a random basis from the public `seed`.

    `tau` is the standard deviation of the noise on each entry of `noisy_sum`, shape
    (n,).
    """
    popularity = cleaned(checked(noisy_sum, plan.items), tau)
    weights = item_weights(popularity, plan.gamma, plan.floor)
    head = largest(popularity, plan.head)
    public = np.random.default_rng(int.from_bytes(seed, "little"))
    start = public.standard_normal((plan.head, plan.rank))
    start *= np.sqrt(popularity[head] / popularity.max())[:, None]
    basis, _ = np.linalg.qr(without(direction(popularity, weights, head), start))
    return guide_of(popularity, weights, head, basis)


def next_guide(noisy_sum: Floats, guide: Guide) -> Guide:
    """Return the guide after a later round: the directions in which its sum is long."""
    basis, _ = _decompose(_matrix(noisy_sum, guide), guide)
    return guide_of(guide.popularity, guide.weights, guide.head, basis)


def finish(
    noisy_sum: Floats, tau: float, plan: Plan, guide: Guide, people: float
) -> Model:
    """Return the model after the last sum; popularity if noise explains the sum.

    Each person's part was divided by |s|. The mean of |s| (the trace of V^T times the
    sum) and UNEVEN turn singular values back into co-occurrences.
    """
    matrix = _matrix(noisy_sum, guide)
    mean_norm = float((guide.basis * matrix).sum()) / people
    basis, singular = _decompose(matrix, guide)
    strength = above_noise(singular, tau, len(guide.head))
    strength = strength * UNEVEN * max(mean_norm, 0.0)
    is_signal = release_gate.stands_out(singular[0], tau, *basis.shape)
    if not (is_signal and strength.any()):
        return Model.of_popularity(
            guide.popularity, guide.weights, plan.popularity_share
        )
    diagonal = expected_diagonal(guide, guide.head, people)
    chance = plan.mean_root * diagonal / math.sqrt(people)
    factors = np.column_stack([basis * np.sqrt(strength), chance])
    rest = np.maximum(diagonal - np.square(factors).sum(axis=1), 0.0)
    size = len(guide.head) / people  # makes the mean of the diagonal 1
    return factored(factors * math.sqrt(size), rest * size, plan, guide)


def direction(
    popularity: NDArray[np.floating],
    weights: NDArray[np.floating],
    head: NDArray[np.integer],
) -> Floats:
    """Return q: the weighted popularity of the head, of norm 1."""
    weighted = weights[head].astype(np.float64) * popularity[head]
    unit: Floats = weighted / np.sqrt(np.square(weighted).sum())
    return unit


def without(unit: Floats, matrix: Floats) -> Floats:
    """Return `matrix` with the part along `unit` removed from every column."""
    orthogonal: Floats = matrix - np.outer(unit, unit @ matrix)
    return orthogonal


def above_noise(singular: Floats, tau: float, head: int) -> Floats:
    """Return singular values without noise, times the squared cosine to the truth.

    lambda^2 = sigma^2 - tau^2 n_h, and the squared cosine is about (lambda / sigma)^2
    (docs/spec/learning.md 3).
    """
    strength = np.sqrt(np.maximum(np.square(singular) - tau * tau * head, 0.0))
    trusted: Floats = strength * np.square(strength / singular)
    return trusted


def checked(noisy_sum: Floats, entries: int) -> Floats:
    """Return the sum; raise InvalidInput unless it has `entries` finite numbers."""
    if noisy_sum.shape != (entries,) or not np.isfinite(noisy_sum).all():
        raise InvalidInput(
            "sum", f"it is not {entries} finite numbers", "collect the round again"
        )
    return noisy_sum


def _matrix(noisy_sum: Floats, guide: Guide) -> Floats:
    return checked(noisy_sum, guide.basis.size).reshape(guide.basis.shape)


def _decompose(matrix: Floats, guide: Guide) -> tuple[Floats, Floats]:
    """Return left singular vectors and singular values, with popularity removed."""
    popular = direction(guide.popularity, guide.weights, guide.head)
    basis, singular, _ = np.linalg.svd(without(popular, matrix), full_matrices=False)
    return basis, np.maximum(singular, np.finfo(np.float64).tiny)

"""EASE (Steck 2019): item-to-item weights from co-occurrences."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tactful.learning.model import Model
from tactful.learning.round_parameters import Guide
from tactful_aggregator.learning.training_plan import Plan

Floats = NDArray[np.float64]

RANK, NEIGHBOURS = 32, 64


def ease(
    together: Floats, plan: Plan, guide: Guide, covered: NDArray[np.integer]
) -> Model:
    """Return the model with weights -P_ij / P_jj, P the inverse of `together` + ridge.

    `together` has the co-occurrences of the `covered` items, with a mean diagonal of
    about 1; negative eigenvalues are noise. With the eigenbasis V the weights are
    V diag(e / (ridge (e + ridge))) V^T / P_jj. The model stores leading directions, and
    for each item the strongest of the remaining weights.
    """
    ridge = plan.ridge
    values, vectors = np.linalg.eigh(together)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    scale = values / (ridge * (values + ridge))
    gain = 1 / (np.square(vectors) @ (1 / (values + ridge)))
    weights = (vectors * scale) @ vectors.T * gain
    np.fill_diagonal(weights, 0.0)
    rank, neighbours, closeness = _compress(weights, vectors, scale, gain)
    return Model(
        popularity=guide.popularity,
        weights=guide.weights,
        head=covered.astype(np.int32),
        basis=vectors[:, :rank].astype(np.float32),
        scale=scale[:rank].astype(np.float32),
        gain=gain.astype(np.float32),
        neighbours=neighbours,
        closeness=closeness,
        popularity_share=plan.popularity_share,
    )


def factored(factors: Floats, rest: Floats, plan: Plan, guide: Guide) -> Model:
    """Return the model of the co-occurrences F F^T + diag(rest), F of shape (n_h, k).

    Off its diagonal the inverse has rank k (Woodbury 1950): P = R - W W^T with the
    diagonal R = 1 / (rest + ridge). So k directions contain all weights.
    """
    inverse = 1 / (rest + plan.ridge)
    inner = np.eye(factors.shape[1]) + factors.T @ (inverse[:, None] * factors)
    scaled = (inverse[:, None] * factors).T
    half = np.linalg.solve(np.linalg.cholesky(inner), scaled).T
    basis, singular, _ = np.linalg.svd(half, full_matrices=False)
    gain = 1 / (inverse - np.square(half).sum(axis=1))
    empty = np.empty((len(factors), 0))
    return Model(
        popularity=guide.popularity,
        weights=guide.weights,
        head=guide.head,
        basis=basis.astype(np.float32),
        scale=np.square(singular).astype(np.float32),
        gain=gain.astype(np.float32),
        neighbours=empty.astype(np.int32),
        closeness=empty.astype(np.float32),
        popularity_share=plan.popularity_share,
    )


def _compress(
    weights: Floats, vectors: Floats, scale: Floats, gain: Floats
) -> tuple[int, NDArray[np.int32], NDArray[np.float32]]:
    """Return rank, neighbours and closeness: the form that loses less of `weights`.

    The two forms are with leading directions, and without.
    """
    forms = []
    for rank in (0, min(RANK, len(weights))):
        leading = vectors[:, :rank]
        rest = weights - (leading * scale[:rank]) @ leading.T * gain
        np.fill_diagonal(rest, 0.0)
        neighbours = _strongest(rest)
        closeness = np.take_along_axis(rest, neighbours, axis=1)
        loss = np.square(rest).sum() - np.square(closeness).sum()
        forms.append((float(loss), rank, neighbours, closeness))
    _, rank, neighbours, closeness = min(forms, key=lambda form: form[:2])
    return rank, neighbours.astype(np.int32), closeness.astype(np.float32)


def _strongest(rest: Floats) -> NDArray[np.intp]:
    """Return the columns of each row's largest entries by size, in ascending order."""
    count = min(NEIGHBOURS, len(rest) - 1)
    size = np.abs(rest)
    np.fill_diagonal(size, -1.0)
    largest = np.argpartition(-size, max(count - 1, 0), axis=1)[:, :count]
    return np.sort(largest, axis=1)

"""EASE (Steck 2019): from how items go together to a model of item-to-item weights."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tactful.learning.model import Model
from tactful.learning.round_parameters import Guide
from tactful.learning.training_plan import Plan

Floats = NDArray[np.float64]

RANK, NEIGHBOURS = 32, 64


def ease(
    together: Floats, plan: Plan, guide: Guide, covered: NDArray[np.integer]
) -> Model:
    """The model with the weights -P_ij / P_jj, P the inverse of `together` plus a ridge.

    `together` has the co-occurrences of the `covered` items, their mean diagonal about 1; what is
    negative in its spectrum is noise. With an eigenbasis V the weights are
    V diag(e / (ridge (e + ridge))) V^T / P_jj: leading directions, and for each item what is left
    of its strongest weights.
    """
    ridge = plan.ridge
    values, vectors = np.linalg.eigh(together)
    values, vectors = np.maximum(values[::-1], 0.0), vectors[:, ::-1]
    scale = values / (ridge * (values + ridge))
    gain = 1 / (np.square(vectors) @ (1 / (values + ridge)))
    weights = (vectors * scale) @ vectors.T * gain
    np.fill_diagonal(weights, 0.0)
    rank, neighbours, closeness = _shortest(weights, vectors, scale, gain)
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
    """The same of the head's co-occurrences F F^T + diag(rest), with F of shape (n_h, k).

    Off its diagonal the inverse then has rank k (Woodbury 1950): P = R - W W^T with the diagonal
    R = 1 / (rest + ridge), so k directions hold all weights.
    """
    inverse = 1 / (rest + plan.ridge)
    inner = np.eye(factors.shape[1]) + factors.T @ (inverse[:, None] * factors)
    half = np.linalg.solve(np.linalg.cholesky(inner), (inverse[:, None] * factors).T).T
    basis, lengths, _ = np.linalg.svd(half, full_matrices=False)
    gain = 1 / (inverse - np.square(half).sum(axis=1))
    nothing = np.empty((len(factors), 0))
    return Model(
        popularity=guide.popularity,
        weights=guide.weights,
        head=guide.head,
        basis=basis.astype(np.float32),
        scale=np.square(lengths).astype(np.float32),
        gain=gain.astype(np.float32),
        neighbours=nothing.astype(np.int32),
        closeness=nothing.astype(np.float32),
        popularity_share=plan.popularity_share,
    )


def _shortest(
    weights: Floats, vectors: Floats, scale: Floats, gain: Floats
) -> tuple[int, NDArray[np.int32], NDArray[np.float32]]:
    """With directions or without: whichever leaves less of `weights` out of what is kept."""
    told = []
    for rank in (0, min(RANK, len(weights))):
        low = (vectors[:, :rank] * scale[:rank]) @ vectors[:, :rank].T * gain
        rest = weights - low
        np.fill_diagonal(rest, 0.0)
        neighbours = _strongest(rest)
        closeness = np.take_along_axis(rest, neighbours, axis=1)
        left = np.square(rest).sum() - np.square(closeness).sum()
        told.append((float(left), rank, neighbours, closeness))
    _, rank, neighbours, closeness = min(told, key=lambda one: one[:2])
    return rank, neighbours.astype(np.int32), closeness.astype(np.float32)


def _strongest(rest: Floats) -> NDArray[np.intp]:
    """The places of each row's largest entries in size, in ascending order."""
    count = min(NEIGHBOURS, len(rest) - 1)
    size = np.abs(rest)
    np.fill_diagonal(size, -1.0)
    return np.sort(np.argpartition(-size, max(count - 1, 0), axis=1)[:, :count], axis=1)

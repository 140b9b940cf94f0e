"""What a device adds to a sum: a vector of length exactly 1, or 0 if it has nothing to add.

Every vector is a fixed sequence of additions and products on one person's items, so a device
and a simulated person get the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput

if TYPE_CHECKING:
    from tactful.learning.subspace import Guide

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]


def contribution(kind: str, items: Ints, n: int, guide: Guide | None) -> Floats:
    """The vector for a round of this `kind`; rounds after the first are led by `guide`.

    Raises InvalidInput for an unknown kind, an item outside 0..n-1 or a missing guide.
    """
    if kind == "popularity":
        return popularity_vector(items, n)
    if kind != "subspace":
        raise InvalidInput("kind", f"{kind!r} is unknown", "use popularity or subspace")
    if guide is None or len(guide.weights) != n:
        raise InvalidInput("guide", f"there is none for {n} items", "fetch the round's guide")
    return subspace_vector(items, guide)


def popularity_vector(items: Ints, n: int) -> Floats:
    """The person's items, each with the same weight, shape (n,)."""
    mine = _distinct(items, n)
    vector = np.zeros(n)
    vector[mine] = 1 / np.sqrt(max(len(mine), 1))
    return vector


def subspace_vector(items: Ints, guide: Guide) -> Floats:
    """z s^T / |s| with s = D V^T z, row by row, shape (head * rank,); design/learning.md 2."""
    rows, history = weighted_history(items, guide)
    matrix = np.zeros(guide.basis.shape)
    direction = (guide.basis[rows] * history[:, None]).sum(axis=0) * guide.whitening
    length = np.sqrt(np.square(direction).sum())
    if length > 0:
        matrix[rows] = history[:, None] * (direction / length)
    return matrix.reshape(-1)


def weighted_history(items: Ints, guide: Guide) -> tuple[NDArray[np.int64], Floats]:
    """The rows of the head that the person has, and z on them: weights, scaled to length 1."""
    mine = _distinct(items, len(guide.weights))
    rows = guide.rows[mine]
    known = rows >= 0
    weights = guide.weights[mine[known]].astype(np.float64)
    length = np.sqrt(np.square(weights).sum())
    return rows[known], weights / length if length > 0 else weights


def _distinct(items: Ints, n: int) -> NDArray[np.int64]:
    mine = np.unique(np.asarray(items, dtype=np.int64))
    if len(mine) and not (mine[0] >= 0 and mine[-1] < n):
        raise InvalidInput("items", f"a number is not in 0..{n - 1}", "use catalog numbers")
    return mine

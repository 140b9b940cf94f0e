"""What a device adds to a sum: a vector of length exactly 1, or 0 if it has nothing to add.

Every vector is a fixed sequence of additions and products on one person's items, so a device
and a simulated person get the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful.learning.holdout_test import gains, parted
from tactful.learning.model import Model

if TYPE_CHECKING:
    from tactful.learning.round_parameters import Guide, RoundParameters

Floats = NDArray[np.float64]
Ints = NDArray[np.integer]


def contribution(
    kind: str, items: Ints, n: int, guide: RoundParameters | None
) -> Floats:
    """The vector for a round of this `kind`; `guide` leads it, or is the model on trial.

    What a person is asked about in a trial is left out of what made the model.
    Raises InvalidInput for an unknown kind, an item outside 0..n-1 or a missing guide.
    """
    if kind == "popularity":
        return popularity_vector(items, n)
    if kind not in ("subspace", "gram", "trial"):
        kinds = "popularity, subspace, gram or trial"
        raise InvalidInput("kind", f"{kind!r} is unknown", f"use {kinds}")
    if (
        guide is None
        or len(guide.weights) != n
        or isinstance(guide, Model) != (kind == "trial")
    ):
        raise InvalidInput(
            "guide", f"there is none for {n} items", "fetch the round's guide"
        )
    if isinstance(guide, Model):
        return gains(_distinct(items, n), guide)
    known = parted(_distinct(items, n))[1]
    return (
        subspace_vector(known, guide)
        if kind == "subspace"
        else gram_vector(known, guide)
    )


def popularity_vector(items: Ints, n: int) -> Floats:
    """The person's items, each with the same weight, shape (n,)."""
    mine = _distinct(items, n)
    vector = np.zeros(n)
    vector[mine] = 1 / np.sqrt(max(len(mine), 1))
    return vector


def subspace_vector(items: Ints, guide: Guide) -> Floats:
    """z s^T / |s| with s = V^T z, row by row, shape (head * rank,); design/learning.md 2."""
    rows, history = weighted_history(items, guide)
    matrix = np.zeros(guide.basis.shape)
    direction = (guide.basis[rows] * history[:, None]).sum(axis=0)
    length = np.sqrt(np.square(direction).sum())
    if length > 0:
        matrix[rows] = history[:, None] * (direction / length)
    return matrix.reshape(-1)


def gram_vector(items: Ints, guide: Guide) -> Floats:
    """z_i z_j for each pair of the head's items, i before j, scaled to length 1.

    Shape (head (head - 1) / 2,), row by row, or their sketch, shape (buckets,), where the guide
    has buckets; 0 for fewer than two items in the head.
    """
    rows, history = weighted_history(items, guide)
    first, second = np.triu_indices(len(rows), 1)
    places = pair_place(rows[first], rows[second], len(guide.head))
    vector = guide.sketch.of(places, history[first] * history[second])
    length = np.sqrt(np.square(vector).sum())
    unit: Floats = vector / length if length > 0 else vector
    return unit


def pair_place(
    rows: NDArray[np.int64], columns: NDArray[np.int64], size: int
) -> NDArray[np.int64]:
    """Where pairs of a row and a later column stand in the strict upper triangle."""
    return rows * size - rows * (rows + 1) // 2 + columns - rows - 1


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
        raise InvalidInput(
            "items", f"a number is not in 0..{n - 1}", "use catalog numbers"
        )
    return mine

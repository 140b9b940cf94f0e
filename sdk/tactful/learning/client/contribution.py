"""The contribution of a device: a vector of norm 1, or 0 if it has nothing to add.

Every vector is a fixed sequence of additions and products on one person's items, so a
device and a simulated person compute the same bits.
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
    """Return the vector for a round of this `kind`; `guide` has its parameters.

    Items that the holdout test asks about are left out of all vectors that make the
    model. Raise InvalidInput for an unknown kind, an item outside 0 to n - 1, or
    missing parameters.
    """
    if kind == "popularity":
        return popularity_vector(items, n)
    if kind not in ("subspace", "gram", "trial"):
        kinds = "popularity, subspace, gram or trial"
        raise InvalidInput("kind", f"{kind!r} is unknown", f"use {kinds}")
    is_right_kind = isinstance(guide, Model) == (kind == "trial")
    if guide is None or len(guide.weights) != n or not is_right_kind:
        raise InvalidInput(
            "guide", f"it does not fit {n} items", "fetch the parameters of the round"
        )
    if isinstance(guide, Model):
        return gains(_distinct(items, n), guide)
    _, visible = parted(_distinct(items, n))
    if kind == "subspace":
        return subspace_vector(visible, guide)
    return gram_vector(visible, guide)


def popularity_vector(items: Ints, n: int) -> Floats:
    """Return the person's items, each with the same weight, shape (n,)."""
    numbers = _distinct(items, n)
    vector = np.zeros(n)
    vector[numbers] = 1 / np.sqrt(max(len(numbers), 1))
    return vector


def subspace_vector(items: Ints, guide: Guide) -> Floats:
    """Return z s^T / |s| with s = V^T z, row by row, shape (head * rank,).

    Source: docs/spec/learning.md 2.
    """
    rows, history = weighted_history(items, guide)
    matrix = np.zeros(guide.basis.shape)
    direction = (guide.basis[rows] * history[:, None]).sum(axis=0)
    norm = np.sqrt(np.square(direction).sum())
    if norm > 0:
        matrix[rows] = history[:, None] * (direction / norm)
    return matrix.reshape(-1)


def gram_vector(items: Ints, guide: Guide) -> Floats:
    """Return z_i z_j for each pair of head items, i before j, scaled to norm 1.

    The shape is (head (head - 1) / 2,), row by row, or (buckets,) for the sketch of a
    guide with buckets. It is 0 for fewer than two items in the head.
    """
    rows, history = weighted_history(items, guide)
    first, second = np.triu_indices(len(rows), 1)
    places = pair_place(rows[first], rows[second], len(guide.head))
    vector = guide.sketch.of(places, history[first] * history[second])
    norm = np.sqrt(np.square(vector).sum())
    unit: Floats = vector / norm if norm > 0 else vector
    return unit


def pair_place(
    rows: NDArray[np.int64], columns: NDArray[np.int64], size: int
) -> NDArray[np.int64]:
    """Return the places of pairs in the strict upper triangle, row by row.

    Each column is after its row.
    """
    return rows * size - rows * (rows + 1) // 2 + columns - rows - 1


def weighted_history(items: Ints, guide: Guide) -> tuple[NDArray[np.int64], Floats]:
    """Return the head rows of the person's items, and z on them: weights of norm 1."""
    numbers = _distinct(items, len(guide.weights))
    rows = guide.rows[numbers]
    is_in_head = rows >= 0
    weights = guide.weights[numbers[is_in_head]].astype(np.float64)
    norm = np.sqrt(np.square(weights).sum())
    return rows[is_in_head], weights / norm if norm > 0 else weights


def _distinct(items: Ints, n: int) -> NDArray[np.int64]:
    numbers = np.unique(np.asarray(items, dtype=np.int64))
    if len(numbers) and not (numbers[0] >= 0 and numbers[-1] < n):
        raise InvalidInput(
            "items", f"a number is not in 0 to {n - 1}", "use catalog numbers"
        )
    return numbers

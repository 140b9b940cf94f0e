"""From a noisy sum of item pairs to a model: what goes together, read with what is alike.

The noisy co-occurrences of the head, or a sketch of them, are cleaned, what the catalog's words
make of all others is learned from them, and EASE (Steck 2019) turns both into item-to-item weights.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tactful.learning.item_features import Singles, Words, likeness
from tactful.learning.model import Model
from tactful.learning.popularity_estimate import largest
from tactful.learning.round_parameters import Guide, expected_diagonal
from tactful.learning.server.denoise import (
    Noisy,
    low_rank,
    recovered,
    shrunk,
    symmetric,
)
from tactful.learning.server.ease import ease
from tactful.learning.training_plan import Plan

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COVERED = 3_000  # items, the most popular, that words can bring into a model
KNOTS = (
    0.0,
    0.1,
    0.25,
    0.4,
    0.6,
    0.8,
    1.0,
)  # of likeness: between them its worth is linear
BINS = 4  # of pairs by how often they can be expected together
POPULAR_PAIR = 0.25  # power of d_i d_j by which likeness counts


class Expected(NamedTuple):
    """Co-occurrences of the covered items, before their diagonal, and where the head is there."""

    covered: Ints  # item numbers
    matrix: Floats
    diagonal: Floats
    head: Ints


def model_of(
    noisy_sum: Floats,
    tau: float,
    plan: Plan,
    guide: Guide,
    people: int,
    words: Words | None,
) -> Model:
    """The model after the sum of `people` persons' pairs, noise `tau` on each entry.

    `words` describe all items of the catalog, or None.
    """
    told = noisy_sum / math.sqrt(2)
    alike, covered = _alike(guide, words)
    expected = _expected(guide.sketch.read(told), guide, people, alike, covered)
    block = np.ix_(expected.head, expected.head)
    upper = np.triu_indices(len(guide.head), 1)
    beyond = told - guide.sketch.of_all(expected.matrix[block][upper])
    diagonal = expected.diagonal[expected.head]
    found = recovered(beyond, tau / math.sqrt(2), guide.sketch, diagonal)
    together = _restored(found, expected) * (len(guide.head) / people)
    return ease(together, plan, guide, expected.covered)


def _alike(guide: Guide, words: Words | None) -> tuple[Singles | None, Ints]:
    head = guide.head.astype(np.int64)
    if words is None:
        return None, head
    rest = np.setdiff1d(largest(guide.popularity, COVERED), head)
    covered = np.sort(np.concatenate([head, rest[: max(COVERED - len(head), 0)]]))
    return likeness([words[number] for number in covered]), covered


def _expected(
    pairs: Floats, guide: Guide, people: int, alike: Singles | None, covered: Ints
) -> Expected:
    """What popularity and likeness say of all pairs: their worth fits the head's pairs best."""
    diagonal = expected_diagonal(guide, covered, people)
    head = np.searchsorted(covered, guide.head)
    rows, columns = np.triu_indices(len(head), 1)
    chance = diagonal[head[rows]] * diagonal[head[columns]]
    shapes = [chance / people]
    if alike is not None:
        near = alike[head[rows], head[columns]]
        shapes += [hat * chance**POPULAR_PAIR for hat in hats(near)]
    known = np.array(shapes)
    worth = np.linalg.lstsq(known @ known.T, known @ pairs, rcond=1e-9)[0]
    worth = np.maximum(worth, 0.0)
    matrix: Floats = np.outer(diagonal, diagonal)
    if alike is None:
        return Expected(covered, matrix * (worth[0] / people), diagonal, head)
    by_likeness = np.interp(alike, KNOTS, [0.0, *worth[1:]]) * matrix**POPULAR_PAIR
    return Expected(covered, matrix * (worth[0] / people) + by_likeness, diagonal, head)


def hats(alike: NDArray[np.floating]) -> list[Floats]:
    """Functions of likeness that are 1 at one knot and 0 at the others, 0 for nothing alike."""
    eye = np.eye(len(KNOTS))
    return [np.interp(alike, KNOTS, eye[knot]) for knot in range(1, len(KNOTS))]


def _restored(beyond: Noisy, expected: Expected) -> Floats:
    """Co-occurrences of all covered items, with what was found `beyond` what is expected."""
    block = np.ix_(expected.head, expected.head)
    diagonal = expected.diagonal[expected.head]
    low = low_rank(beyond.matrix, beyond.tau, diagonal)
    upper = np.triu_indices(len(low), 1)
    groups = _groups(diagonal[upper[0]] * diagonal[upper[1]])
    rest = shrunk((beyond.matrix - low)[upper], beyond.tau, groups)
    whole = expected.matrix.copy()
    whole[block] += low + symmetric(rest, len(low))
    np.fill_diagonal(whole, expected.diagonal)
    whole[expected.head, expected.head] = np.maximum(diagonal, np.diag(low))
    return whole


def _groups(chance: Floats) -> Ints:
    """Pairs by how often they can be expected together: rests spread differently."""
    edges = np.quantile(chance, np.linspace(0, 1, BINS + 1)[1:-1])
    return np.searchsorted(edges, chance).astype(np.int64)

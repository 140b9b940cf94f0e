"""A model from a noisy sum of item pairs.

The noisy co-occurrences of the head, or a sketch of them, are denoised. The similarity
of items by their words predicts all other pairs. EASE (Steck 2019) turns both into
item-to-item weights.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tactful.learning.item_features import Singles, Words, likeness
from tactful.learning.model import Model
from tactful.learning.round_parameters import Guide, expected_diagonal
from tactful_aggregator.learning.denoise import (
    Noisy,
    low_rank,
    recovered,
    shrunk,
    symmetric,
)
from tactful_aggregator.learning.ease import ease
from tactful_aggregator.learning.popularity_estimate import largest
from tactful_aggregator.learning.training_plan import Plan

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COVERED = 3_000  # most popular items that words can bring into a model
# Of similarity; between knots its effect is linear.
KNOTS = (0.0, 0.1, 0.25, 0.4, 0.6, 0.8, 1.0)
BINS = 4  # of pairs by their expected co-occurrence
PAIR_POWER = 0.25  # of d_i d_j, by which the effect of similarity grows


class Expected(NamedTuple):
    """Expected co-occurrences of the covered items, without their diagonal.

    `covered` has item numbers, `head` the places of the head among them.
    """

    covered: Ints
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
    """Return the model after the sum of `people` persons' pairs with noise `tau`.

    `words` describe all items of the catalog, or are None.
    """
    # Each pair stands for two entries of the symmetric matrix.
    noisy_pairs = noisy_sum / math.sqrt(2)
    similarity, covered = _similarity(guide, words)
    pairs = guide.sketch.read(noisy_pairs)
    expected = _expected(pairs, guide, people, similarity, covered)
    block = np.ix_(expected.head, expected.head)
    upper = np.triu_indices(len(guide.head), 1)
    residual = noisy_pairs - guide.sketch.of_all(expected.matrix[block][upper])
    diagonal = expected.diagonal[expected.head]
    noisy = recovered(residual, tau / math.sqrt(2), guide.sketch, diagonal)
    together = _restored(noisy, expected) * (len(guide.head) / people)
    return ease(together, plan, guide, expected.covered)


def _similarity(guide: Guide, words: Words | None) -> tuple[Singles | None, Ints]:
    """Return the similarity of the covered items (None without words), and the items."""
    head = guide.head.astype(np.int64)
    if words is None:
        return None, head
    others = np.setdiff1d(largest(guide.popularity, COVERED), head)
    added = others[: max(COVERED - len(head), 0)]
    covered = np.sort(np.concatenate([head, added]))
    return likeness([words[number] for number in covered]), covered


def _expected(
    pairs: Floats,
    guide: Guide,
    people: int,
    similarity: Singles | None,
    covered: Ints,
) -> Expected:
    """Return what popularity and similarity predict for all pairs.

    The coefficients are the least-squares fit to the pairs of the head.
    """
    diagonal = expected_diagonal(guide, covered, people)
    head = np.searchsorted(covered, guide.head)
    rows, columns = np.triu_indices(len(head), 1)
    chance = diagonal[head[rows]] * diagonal[head[columns]]
    features = [chance / people]
    if similarity is not None:
        pair_similarity = similarity[head[rows], head[columns]]
        scale = chance**PAIR_POWER
        features += [hat * scale for hat in hats(pair_similarity)]
    design = np.array(features)
    solution = np.linalg.lstsq(design @ design.T, design @ pairs, rcond=1e-9)[0]
    coefficients = np.maximum(solution, 0.0)
    products: Floats = np.outer(diagonal, diagonal)
    matrix = products * (coefficients[0] / people)
    if similarity is not None:
        effect = np.interp(similarity, KNOTS, [0.0, *coefficients[1:]])
        matrix = matrix + effect * products**PAIR_POWER
    return Expected(covered, matrix, diagonal, head)


def hats(similarity: NDArray[np.floating]) -> list[Floats]:
    """Return for each knot above 0 the function that is 1 there and 0 at other knots."""
    eye = np.eye(len(KNOTS))
    return [np.interp(similarity, KNOTS, eye[knot]) for knot in range(1, len(KNOTS))]


def _restored(residual: Noisy, expected: Expected) -> Floats:
    """Return the co-occurrences of all covered items: expected plus denoised residual."""
    block = np.ix_(expected.head, expected.head)
    diagonal = expected.diagonal[expected.head]
    strong = low_rank(residual.matrix, residual.tau, diagonal)
    upper = np.triu_indices(len(strong), 1)
    groups = _groups(diagonal[upper[0]] * diagonal[upper[1]])
    rest = shrunk((residual.matrix - strong)[upper], residual.tau, groups)
    restored = expected.matrix.copy()
    restored[block] += strong + symmetric(rest, len(strong))
    np.fill_diagonal(restored, expected.diagonal)
    head_diagonal = np.maximum(diagonal, np.diag(strong))
    restored[expected.head, expected.head] = head_diagonal
    return restored


def _groups(chance: Floats) -> Ints:
    """Return a group for each pair by its expected co-occurrence.

    The residuals of rare and frequent pairs have different spreads.
    """
    edges = np.quantile(chance, np.linspace(0, 1, BINS + 1)[1:-1])
    return np.searchsorted(edges, chance).astype(np.int64)

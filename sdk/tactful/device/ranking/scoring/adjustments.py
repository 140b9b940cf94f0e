"""Score adjustments: popularity correction, leanings, exposure fatigue, rounding.

Every function takes and returns scores in [0, 1], of one list or of several lists, one
in each row.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tactful.device.ranking.scoring.catalog_scores import CatalogArrays
from tactful.device.ranking.values import Floats, Ints

POPULARITY_WEIGHT = 0.02  # score difference between least and most popular item
POPULARITY_FLOOR = 0.01  # share of the highest popularity; rarer items count as this
MIN_FATIGUE_FACTOR = 0.1  # of a score, however often the item was shown
MIN_LEANING_FACTOR = 0.01  # of a score, however much its category is disliked
GRID = 1 << 24  # steps between 0 and 1: the last bits of a sum must not decide


def log_popularity(popularity: NDArray[np.float32] | None) -> Floats | None:
    """Return the logarithm of popularity, rescaled to [0, 1]; None if it is unknown."""
    if popularity is None:
        return None
    floor = POPULARITY_FLOOR * popularity.max(initial=1e-12)
    return rescale(np.log(np.maximum(popularity, floor), dtype=np.float64))


def correct_popularity(scores: Floats, popularity: Floats | None) -> Floats:
    """Return `scores` lowered for popular items, rescaled to [0, 1]."""
    if popularity is None:
        return scores
    return rescale(scores - POPULARITY_WEIGHT * popularity)


def rescale(values: Floats) -> Floats:
    """Return each row stretched to [0, 1] (min-max); all 0 if its values are equal."""
    if not values.size:
        return values
    lowest = values.min(axis=-1, keepdims=True)
    spread = values.max(axis=-1, keepdims=True) - lowest
    rescaled: Floats = (values - lowest) / np.where(spread > 0, spread, 1.0)
    return rescaled


def fatigue_factor(wear: Floats, fatigue: float) -> Floats:
    """Return the factor, at most 1, for scores of items with fatigue `wear` >= 0.

    One unit of wear halves a score `fatigue` times.
    """
    factor: Floats = np.maximum(2.0 ** (-fatigue * wear), MIN_FATIGUE_FACTOR)
    return factor


def total_leaning(
    shelf: CatalogArrays, numbers: Ints, leanings: Mapping[tuple[str, int], float]
) -> Floats | None:
    """Return the sum of the leanings that apply to each item; None without leanings.

    `leanings` maps (scope, label) to halvings: below 0 of the score, above 0 of the
    distance from the best score.
    """
    if not leanings:
        return None
    total = np.zeros(len(numbers))
    for scope in sorted({scope for scope, _ in leanings}):
        labels = shelf.labels(scope)[numbers]
        for (leaning_scope, label), amount in leanings.items():
            if leaning_scope == scope:
                total[labels == label] += amount
    return total


def apply_leaning(scores: Floats, total: Floats | None) -> Floats:
    """Return `scores` after `total` leanings.

    Below 0 a leaning halves the score, above 0 the distance from the best score.
    """
    if total is None:
        return scores
    factor = np.maximum(2.0 ** np.minimum(total, 0), MIN_LEANING_FACTOR)
    lowered = scores * factor
    return 1 - (1 - lowered) * 2.0 ** -np.maximum(total, 0)


def round_to_grid(scores: Floats) -> Floats:
    """Return `scores` on a fixed grid, so that every device gets the same list."""
    return np.rint(scores * GRID) / GRID

"""Against monotony, softly: best-sellers weigh a little less, what was just shown much less.

Every function takes and gives scores in [0, 1], of one list or of several, one in each row.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from tactful.device.ranking.scoring.catalog_scores import CatalogArrays
from tactful.device.ranking.values import Floats, Ints

POPULARITY_WEIGHT = 0.02  # of the whole scale, from the least to the most popular item
POPULARITY_FLOOR = 0.01  # of the highest: rarer items are not lifted further
LEAST_LEFT = 0.1  # of a score, however often the item was shown
LEAST_LIKED = 0.01  # of a score, however much its kind is disliked
GRID = 1 << 24  # steps between 0 and 1: the last bits of a sum decide nothing


def favour(popularity: NDArray[np.float32] | None) -> Floats | None:
    """How popular items are, in [0, 1] by the logarithm; None where it is not known."""
    if popularity is None:
        return None
    known = np.maximum(popularity, POPULARITY_FLOOR * popularity.max(initial=1e-12))
    return unit(np.log(known, dtype=np.float64))


def correct_popularity(scores: Floats, favoured: Floats | None) -> Floats:
    """Less a share for popularity (what `favour` says), on one scale again (min-max)."""
    return scores if favoured is None else unit(scores - POPULARITY_WEIGHT * favoured)


def unit(values: Floats) -> Floats:
    """`values` stretched to [0, 1], each row alone; all 0 if they are equal."""
    if not values.size:
        return values
    low = values.min(axis=-1, keepdims=True)
    spread = values.max(axis=-1, keepdims=True) - low
    stretched: Floats = (values - low) / np.where(spread > 0, spread, 1.0)
    return stretched


def left(wear: Floats, fatigue: float) -> Floats:
    """What is left of each score after its `wear` >= 0: at most 1.

    One unit of wear halves a score `fatigue` times.
    """
    whole: Floats = np.maximum(2.0 ** (-fatigue * wear), LEAST_LEFT)
    return whole


def lean(
    shelf: CatalogArrays, numbers: Ints, leanings: Mapping[tuple[str, int], float]
) -> Floats | None:
    """What the person thinks of each item's brand, category, ..., added up; None for nothing."""
    if not leanings:
        return None
    total = np.zeros(len(numbers))
    for scope in sorted({scope for scope, _ in leanings}):
        column = shelf.labels(scope)[numbers]
        for (of, label), much in leanings.items():
            if of == scope:
                total[column == label] += much
    return total


def leant(scores: Floats, total: Floats | None) -> Floats:
    """Scores after leanings: below 0 they halve the score, above 0 the distance from the best."""
    if total is None:
        return scores
    lower = scores * np.maximum(2.0 ** np.minimum(total, 0), LEAST_LIKED)
    return 1 - (1 - lower) * 2.0 ** -np.maximum(total, 0)


def gridded(scores: Floats) -> Floats:
    """Rounded to a fixed grid, so that the same list comes out wherever it is computed."""
    return np.rint(scores * GRID) / GRID

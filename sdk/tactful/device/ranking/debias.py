"""Against monotony, softly: best-sellers weigh a little less, and what was just shown much less."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from tactful.device.ranking.scoring import Floats, Ints

POPULARITY_WEIGHT = 0.02  # of the whole scale, from the least to the most popular item
POPULARITY_FLOOR = 0.01  # of the highest: rarer items are not lifted further
WEAR_RATE = 1.0  # the score is halved by each unit of wear
LEAST_LEFT = 0.1  # of a score, however often the item was shown


def correct_popularity(scores: Floats, popularity: Floats) -> Floats:
    """Scores in [0, 1] less a share for log popularity, both on one scale again (min-max)."""
    known = np.maximum(popularity, POPULARITY_FLOOR * popularity.max(initial=1e-12))
    return unit(scores - POPULARITY_WEIGHT * unit(np.log(known)))


def unit(values: Floats) -> Floats:
    """`values` stretched to [0, 1]; all 0 if they are equal."""
    if not len(values):
        return values
    low, high = values.min(), values.max()
    return (values - low) / (high - low) if high > low else np.zeros(len(values))


def tire(scores: Floats, numbers: Ints, wear: Mapping[int, float]) -> Floats:
    """Scores of the items `numbers` after `wear` (item number to wear >= 0): never more."""
    if not wear:
        return scores
    worn = np.array([wear.get(number, 0.0) for number in numbers.tolist()])
    return scores * np.maximum(2.0 ** (-WEAR_RATE * worn), LEAST_LEFT)

"""Estimates from noisy counts: popularity, item weights, and the head.

The head is the set of items that a personal model covers.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST = 1e-9  # of an estimated count, so that every weight is finite
LEAST_RATIO = -30.0  # of a count to its noise; erfc underflows below
GAMMA, FLOOR = 0.25, 0.02  # of item weights (docs/spec/learning.md 3)


def cleaned(noisy: Floats, tau: float) -> Floats:
    """Return the posterior mean of counts >= 0 under a flat prior, above 0.

    `tau` is the standard deviation of the noise on each count.
    """
    ratios = np.maximum(noisy / tau, LEAST_RATIO)
    mass = np.array([math.erfc(-ratio / math.sqrt(2)) / 2 for ratio in ratios])
    density = np.exp(-np.square(ratios) / 2) / math.sqrt(2 * math.pi)
    estimates: Floats = np.maximum(noisy + tau * density / mass, LEAST)
    return estimates


def item_weights(
    popularity: NDArray[np.floating], gamma: float, floor: float
) -> Floats:
    """Return (h / max h + floor)^-gamma: popular items say less about a person."""
    weights: Floats = (popularity / popularity.max() + floor) ** -gamma
    return weights


def largest(popularity: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """Return the numbers of the `count` most popular items, in ascending order."""
    return np.sort(np.argsort(-popularity, kind="stable")[:count])

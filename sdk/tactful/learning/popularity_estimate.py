"""From noisy counts to popularity, item weights, and the head: the items worth learning about."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

LEAST = 1e-9  # of the cleaned sum, so that every weight is finite
GAMMA, FLOOR = 0.25, 0.02  # of item weights (design/learning.md 3)


def cleaned(noisy: Floats, tau: float) -> Floats:
    """The posterior mean of counts >= 0 under a flat prior, above 0; noise `tau` on each."""
    standing = np.maximum(noisy / tau, -30.0)
    below = np.array([math.erfc(-t / math.sqrt(2)) / 2 for t in standing])
    density = np.exp(-np.square(standing) / 2) / math.sqrt(2 * math.pi)
    above: Floats = np.maximum(noisy + tau * density / below, LEAST)
    return above


def item_weights(
    popularity: NDArray[np.floating], gamma: float, floor: float
) -> Floats:
    """Items that everyone has say little: (h / max h + floor)^-gamma."""
    weights: Floats = (popularity / popularity.max() + floor) ** -gamma
    return weights


def largest(popularity: NDArray[np.floating], count: int) -> NDArray[np.int64]:
    """The numbers of the `count` most popular items, in ascending order."""
    return np.sort(np.argsort(-popularity, kind="stable")[:count])

"""From real numbers to whole ones whose squares are bounded: the test that privacy rests on.

Conditional randomized rounding (Kairouz, Liu, Steinke 2021, beta = e^-1/2; design/privacy.md 1.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput

Coins = Callable[[int], bytes]
DRAWS = 64  # a draw passes with probability >= 0.39, so all fail once in 10^13


def norm_bound(levels: int, box: int, dimension: int) -> int:
    """Delta2, the most that the squares of a rounded vector may sum to: tested and accounted.

    It is floor(c^2 + d/4 + c + sqrt(d)/2) with c = L sqrt(d) / 2k, or what the box allows if that
    is less; whole numbers throughout.
    """
    half, twice = levels // 2, 2 * box
    squares = dimension * (levels**2 + box**2)
    roots = math.isqrt(dimension * (levels + box) ** 2 * twice**2)
    return min((squares + roots) // twice**2, half * half * dimension)


def round_within(
    values: NDArray[np.float64], bound: int, coins: Coins
) -> NDArray[np.int64]:
    """`values` rounded up or down at random until the squares sum to at most `bound`.

    `coins(n)` returns n random bytes. Coins that fail every test leave the rounding toward zero,
    which is never longer. Raises InvalidInput if even that is too long.
    """
    floor = np.floor(values)
    chance = ((values - floor) * 2.0**32).astype(np.uint64)  # 2^32 just below 0
    below = floor.astype(np.int64)
    for _ in range(DRAWS):
        rounded = below + (np.frombuffer(coins(4 * len(values)), dtype="<u4") < chance)
        if accepts(rounded, bound):
            return rounded
    shortest = np.trunc(values).astype(np.int64)
    if not accepts(shortest, bound):
        raise InvalidInput("vector", "it exceeds the norm bound", "nothing was sent")
    return shortest


def accepts(rounded: NDArray[np.int64], bound: int) -> bool:
    """The exact test (step 4); the squares sum to less than 2^37 in the largest encoding."""
    return int(np.dot(rounded, rounded)) <= bound

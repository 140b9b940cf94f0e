"""Randomized rounding of real vectors to integer vectors of bounded norm.

The exact test of the norm is what the sensitivity, and so the privacy claim, rests on.
Conditional randomized rounding: Kairouz, Liu, Steinke 2021, with beta = e^-1/2
(docs/spec/privacy.md 1.1).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput

Coins = Callable[[int], bytes]
# One attempt passes with probability >= 0.39, so all attempts fail once in 10^13.
DRAWS = 64


def norm_bound(levels: int, box: int, dimension: int) -> int:
    """Return Delta2, the largest sum of squares of a rounded vector, in squared levels.

    Devices test this bound, and the accountant uses it as squared sensitivity. It is
    floor(c^2 + d/4 + c + sqrt(d)/2) with c = L sqrt(d) / 2k, or what the box allows if
    that is less. L is `levels`, k is `box`, d is `dimension`. Only integers are used.
    """
    half, twice = levels // 2, 2 * box
    squares = dimension * (levels**2 + box**2)
    # Both sums have the denominator (2k)^2; c + sqrt(d)/2 is below one square root.
    roots = math.isqrt(dimension * (levels + box) ** 2 * twice**2)
    return min((squares + roots) // twice**2, half * half * dimension)


def round_within(
    values: NDArray[np.float64], bound: int, coins: Coins
) -> NDArray[np.int64]:
    """Return `values` rounded at random, with a sum of squares of at most `bound`.

    Each value is rounded up or down, without bias. A vector that is too long is rounded
    again, up to DRAWS times, then toward zero. `coins(n)` returns n random bytes. Raise
    InvalidInput if even the vector rounded toward zero is too long.
    """
    floor = np.floor(values)
    # In units of 2^-32; a fractional part just below 1 may give exactly 2^32.
    up_chance = ((values - floor) * 2.0**32).astype(np.uint64)
    rounded_down = floor.astype(np.int64)
    for _ in range(DRAWS):
        words = np.frombuffer(coins(4 * len(values)), dtype="<u4")
        rounded = rounded_down + (words < up_chance)
        if accepts(rounded, bound):
            return rounded
    # Rounding toward zero never lengthens a vector.
    shortest = np.trunc(values).astype(np.int64)
    if not accepts(shortest, bound):
        raise InvalidInput(
            "vector",
            "its norm exceeds the bound of the task",
            "clip the vector before rounding; nothing was sent",
        )
    return shortest


def accepts(rounded: NDArray[np.int64], bound: int) -> bool:
    """Return True if the sum of squares of `rounded` is at most `bound`; exact.

    The sum stays below 2^37 in the largest encoding, so int64 cannot overflow (step 4
    of docs/spec/privacy.md 1.1).
    """
    return int(np.dot(rounded, rounded)) <= bound

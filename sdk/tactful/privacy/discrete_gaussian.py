"""Integer Gaussian noise by table inversion: 128-bit thresholds, fixed steps, kernel entropy.

A table holds T_k = floor(2^128 P(X <= k)) for |k| <= ceil(14 sigma) + 2 (design/privacy.md 1.3).
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful.privacy.mechanism import FAMILIES, Family

Entropy = Callable[[int], bytes]
Limbs = NDArray[np.uint64]

LEAST_SIGMA2, MOST_SIGMA = Fraction(1, 16), 32_768  # in levels; a larger table costs seconds
TAIL = 14  # in sigmas: what lies beyond weighs less than 2^-140
DIGITS = 80  # the recurrences lose at most 12 of them
LANES = 16_384  # drawn at a time, so that a step's arrays stay in the cache


def draw(table: NoiseTable, count: int) -> NDArray[np.int64]:
    """`count` fresh draws from the kernel's entropy: the only sampler that releases anything."""
    return table.sample(count, secrets.token_bytes)


@dataclass(frozen=True, eq=False)
class NoiseTable:
    """The thresholds of one noise law, as high and low 64-bit limbs; `lowest` is the first k."""

    family: Family
    sigma2: Fraction
    lowest: int
    high: Limbs
    low: Limbs

    @classmethod
    def of(cls, family: Family, sigma2: Fraction) -> NoiseTable:
        """The table of `family` with variance parameter `sigma2` in squared levels, cached.

        Raises InvalidInput if the family is unknown or sigma is not in [1/4, 32,768] levels.
        """
        if family not in FAMILIES:
            raise InvalidInput("family", f"{family!r} is unknown", f"use one of {FAMILIES}")
        if not LEAST_SIGMA2 <= sigma2 <= MOST_SIGMA**2:
            raise InvalidInput(
                "sigma2",
                f"sigma^2 {float(sigma2):.6g}: sigma is not in [0.25, {MOST_SIGMA}] levels",
                "raise epsilon or this release's share of it, or use fewer levels",
            )
        return _table(family, Fraction(sigma2))

    def sample(self, count: int, entropy: Entropy) -> NDArray[np.int64]:
        """`count` draws, a pure function of the bytes that `entropy(how_many)` returns.

        Every draw takes the same steps, whatever its value.
        """
        words = np.frombuffer(entropy(8 * count), dtype="<u8").astype(np.uint64, copy=False)
        places = np.empty(count, dtype=np.int64)
        for start in range(0, count, LANES):
            places[start : start + LANES] = _bisect(self.high, words[start : start + LANES])
        for lane in np.flatnonzero(self.high[places] == words):
            places[lane] = self._settle(int(words[lane]), int.from_bytes(entropy(8), "little"))
        return places + self.lowest

    def threshold(self, number: int) -> int:
        """T_k of the k called `number`: 2^128 times the probability of a draw <= k, whole."""
        place = number - self.lowest
        if place < 0 or place >= self._entries:
            return 0 if place < 0 else 1 << 128
        return (int(self.high[place]) << 64) | int(self.low[place])

    def probability(self, number: int) -> Fraction:
        """The exact probability that `sample` returns `number`."""
        return Fraction(self.threshold(number) - self.threshold(number - 1), 1 << 128)

    @property
    def _entries(self) -> int:
        return -2 * self.lowest

    def _settle(self, high_word: int, low_word: int) -> int:
        """How many thresholds a draw passes whose high limb equals a threshold's."""
        value = (high_word << 64) | low_word
        first, last = 0, self._entries
        while first < last:
            middle = (first + last) // 2
            if self.threshold(middle + self.lowest) <= value:
                first = middle + 1
            else:
                last = middle
        return first


def _bisect(sorted_limbs: Limbs, words: Limbs) -> NDArray[np.int64]:
    """For each word, how many limbs are below it; the length of `sorted_limbs` is 2^steps."""
    places = np.zeros(len(words), dtype=np.int64)
    step = len(sorted_limbs) // 2
    while step:
        places += step * (sorted_limbs.take(places + (step - 1)) < words)
        step //= 2
    return places


@lru_cache(maxsize=16)
def _table(family: Family, sigma2: Fraction) -> NoiseTable:
    last = math.isqrt(math.ceil(TAIL * TAIL * sigma2) - 1) + 1 + 2
    with localcontext(Context(prec=DIGITS)):
        upper = _upper_tails(list(_masses(family, sigma2, last)))
    lower = [(1 << 128) - 1 - tail for tail in reversed(upper)]  # floor(2^128 (1 - tail))
    return _limbs(family, sigma2, -last, upper + lower)


def _upper_tails(masses: list[Decimal]) -> list[int]:
    """floor(2^128 P(X > k)) for k from the last but one down to 0, from the masses of k >= 0."""
    total = 2 * sum(masses[:0:-1], Decimal(0)) + masses[0]
    unit = Decimal(1 << 128) / total
    tails, tail = [], Decimal(0)
    for mass in masses[:0:-1]:
        tail += mass
        tails.append(int(tail * unit))
    return tails


def _masses(family: Family, sigma2: Fraction, last: int) -> Iterator[Decimal]:
    """The probabilities of 0..`last`, up to one common factor."""
    inverse = Decimal(sigma2.denominator) / Decimal(sigma2.numerator)
    ratio, square, weight = (-inverse / 2).exp(), (-inverse).exp(), Decimal(1)
    for number in range(last + 1):
        rounded = family == "rounded_gaussian"
        yield weight * _interval(number * inverse / 2, inverse / 4) if rounded else weight
        weight, ratio = weight * ratio, ratio * square


def _interval(product: Decimal, square: Decimal) -> Decimal:
    """The Gaussian mass of [x-t, x+t] over the density at x and 2t, t half a level.

    It is the sum over even m of He_m(x) t^m / (m+1)!; `product` is x t and `square` t^2, both
    in units of sigma.
    """
    before, term, total, order = Decimal(0), Decimal(1), Decimal(1), 0
    while True:
        for _ in range(2):
            before, term = term, (product * term - square * before) / (order + 1)
            order += 1
        total += term / (order + 1)
        if abs(term) + abs(before) < total.scaleb(-DIGITS):
            return total


def _limbs(family: Family, sigma2: Fraction, lowest: int, thresholds: list[int]) -> NoiseTable:
    """The thresholds in two limbs, filled up to a power of two with ones nothing can pass."""
    size = 1 << len(thresholds).bit_length()
    words = b"".join(threshold.to_bytes(16, "little") for threshold in thresholds)
    limbs = np.full((size, 2), np.iinfo(np.uint64).max, dtype=np.uint64)
    limbs[: len(thresholds)] = np.frombuffer(words, dtype="<u8").reshape(-1, 2)
    low, high = np.ascontiguousarray(limbs.T)
    low.flags.writeable = high.flags.writeable = False
    return NoiseTable(family, sigma2, lowest, high, low)

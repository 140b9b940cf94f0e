"""Integer noise by table inversion: 128-bit thresholds, fixed steps, kernel entropy.

A table holds T_k = floor(2^128 P(X <= k)) for |k| <= ceil(14 sigma) + 2, or ceil(98 scale) + 2 for
discrete Laplace noise (design/privacy.md 1.3).
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from itertools import count as whole_numbers
from itertools import islice, pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful.privacy.mechanism import read_family

Entropy = Callable[[int], bytes]
Limbs = NDArray[np.uint64]

LEAST_SIGMA2, MOST_SIGMA = (
    Fraction(1, 16),
    32_768,
)  # in levels; a larger table costs seconds
TAIL = 14  # in sigmas: what lies beyond weighs less than 2^-140
LAPLACE_TAIL = 98  # in scales, for the same
MOST_SCALE = (
    4_681  # of Laplace noise, in levels: as long a table as the widest Gaussian's
)
Law = Literal["rounded_gaussian", "discrete_gaussian", "discrete_laplace"]
DIGITS = 80  # the recurrences lose at most 12 of them
LANES = 16_384  # drawn at a time, so that a step's arrays stay in the cache


def draw(table: NoiseTable, count: int) -> NDArray[np.int64]:
    """`count` fresh draws from the kernel's entropy: the only sampler that releases anything."""
    return table.sample(count, secrets.token_bytes)


@dataclass(frozen=True, eq=False)
class NoiseTable:
    """The thresholds of one noise law, as high and low 64-bit limbs; `lowest` is the first k.

    `spread` is sigma^2 in squared levels, or the scale in levels of discrete Laplace noise.
    """

    law: Law
    spread: Fraction
    lowest: int
    high: Limbs
    low: Limbs

    @classmethod
    def of(cls, family: str, sigma2: Fraction) -> NoiseTable:
        """The table of `family` with variance parameter `sigma2` in squared levels, cached.

        Raises InvalidInput if the family is unknown or sigma is not in [1/4, 32,768] levels.
        """
        law = read_family(family)
        if not LEAST_SIGMA2 <= sigma2 <= MOST_SIGMA**2:
            raise InvalidInput(
                "sigma2",
                f"sigma^2 {float(sigma2):.6g}: sigma is not in [0.25, {MOST_SIGMA}] levels",
                "raise epsilon or this release's share of it, or use fewer levels",
            )
        return _table(law, Fraction(sigma2))

    @classmethod
    def laplace(cls, scale: Fraction) -> NoiseTable:
        """The table of discrete Laplace noise, P(k) ~ e^(-|k|/scale), cached.

        Raises InvalidInput if the scale is not in [1/16, 4,681] levels.
        """
        if not Fraction(1, 16) <= scale <= MOST_SCALE:
            raise InvalidInput(
                "scale",
                f"{float(scale):.6g} is not in [0.0625, {MOST_SCALE}] levels",
                "raise epsilon, or use fewer levels",
            )
        return _table("discrete_laplace", Fraction(scale))

    def sample(self, count: int, entropy: Entropy) -> NDArray[np.int64]:
        """`count` draws, a pure function of the bytes that `entropy(how_many)` returns.

        Every draw takes the same steps, whatever its value.
        """
        words = np.frombuffer(entropy(8 * count), dtype="<u8").astype(
            np.uint64, copy=False
        )
        places = np.empty(count, dtype=np.int64)
        for start in range(0, count, LANES):
            places[start : start + LANES] = _bisect(
                self.high, words[start : start + LANES]
            )
        for lane in np.flatnonzero(self.high[places] == words):
            places[lane] = self._settle(
                int(words[lane]), int.from_bytes(entropy(8), "little")
            )
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

    def masses(self) -> NDArray[np.float64]:
        """The probabilities of `lowest`, `lowest` + 1, ... -`lowest`, to double precision."""
        last = -self.lowest
        marks = [
            0,
            *(self.threshold(number) for number in range(self.lowest, last + 1)),
        ]
        differences = (after - before for before, after in pairwise(marks))
        return np.fromiter(
            (mass / (1 << 128) for mass in differences), float, last * 2 + 1
        )

    @property
    def variance(self) -> Fraction:
        """The exact variance of a draw, in squared levels."""
        upper = ((1 << 128) - self.threshold(number) for number in range(-self.lowest))
        # E[X^2] = 2 sum of (2k + 1) P(X > k) over k >= 0, for a symmetric law
        return Fraction(
            2 * sum((2 * k + 1) * tail for k, tail in enumerate(upper)), 1 << 128
        )

    @property
    def distance(self) -> Fraction:
        """How far, in total variation, a draw can be from the true law: tau."""
        return Fraction(self._entries, 1 << 128) + Fraction(1, 1 << 140)

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
def _table(law: Law, spread: Fraction) -> NoiseTable:
    laplace = law == "discrete_laplace"
    last = math.ceil(LAPLACE_TAIL * spread) + 2 if laplace else reach(spread)
    with localcontext(Context(prec=DIGITS)):
        weights = _laplace(spread) if laplace else _masses(law, spread)
        upper = _upper_tails(list(islice(weights, last + 1)))
    lower = [
        (1 << 128) - 1 - tail for tail in reversed(upper)
    ]  # floor(2^128 (1 - tail))
    return _limbs(law, spread, -last, upper + lower)


def reach(sigma2: Fraction) -> int:
    """The most that a draw of variance `sigma2` can be, either way: where its table ends."""
    return _ceil_root(TAIL * TAIL * sigma2) + 2


def _ceil_root(square: Fraction) -> int:
    return math.isqrt(math.ceil(square) - 1) + 1


def _laplace(scale: Fraction) -> Iterator[Decimal]:
    """The probabilities of 0, 1, ..., up to one common factor."""
    ratio, weight = (
        (-Decimal(scale.denominator) / Decimal(scale.numerator)).exp(),
        Decimal(1),
    )
    while True:
        yield weight
        weight *= ratio


def _upper_tails(masses: list[Decimal]) -> list[int]:
    """floor(2^128 P(X > k)) for k from the last but one down to 0, from the masses of k >= 0."""
    total = 2 * sum(masses[:0:-1], Decimal(0)) + masses[0]
    unit = Decimal(1 << 128) / total
    tails, tail = [], Decimal(0)
    for mass in masses[:0:-1]:
        tail += mass
        tails.append(int(tail * unit))
    return tails


def _masses(law: Law, sigma2: Fraction) -> Iterator[Decimal]:
    """The probabilities of 0, 1, ..., up to one common factor."""
    inverse = Decimal(sigma2.denominator) / Decimal(sigma2.numerator)
    ratio, square, weight = (-inverse / 2).exp(), (-inverse).exp(), Decimal(1)
    for number in whole_numbers():
        rounded = law == "rounded_gaussian"
        yield (
            weight * _interval(number * inverse / 2, inverse / 4) if rounded else weight
        )
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


def _limbs(
    law: Law, spread: Fraction, lowest: int, thresholds: list[int]
) -> NoiseTable:
    """The thresholds in two limbs, filled up to a power of two with ones nothing can pass."""
    size = 1 << len(thresholds).bit_length()
    words = b"".join(threshold.to_bytes(16, "little") for threshold in thresholds)
    limbs = np.full((size, 2), np.iinfo(np.uint64).max, dtype=np.uint64)
    limbs[: len(thresholds)] = np.frombuffer(words, dtype="<u8").reshape(-1, 2)
    low, high = np.ascontiguousarray(limbs.T)
    low.flags.writeable = high.flags.writeable = False
    return NoiseTable(law, spread, lowest, high, low)

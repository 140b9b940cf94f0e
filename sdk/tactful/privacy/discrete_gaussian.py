"""Samplers of integer noise, by inversion of a table of 128-bit thresholds.

A table has T_k = floor(2^128 P(X <= k)) for |k| <= ceil(14 sigma) + 2, or for
|k| <= ceil(98 scale) + 2 for discrete Laplace noise (docs/spec/privacy.md 1.3). A draw
is the number of thresholds that a random 128-bit word reaches. Every draw takes the
same number of steps, so its time does not depend on its value.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from decimal import Context, Decimal, localcontext
from fractions import Fraction
from functools import lru_cache
from itertools import count as integers_from_zero
from itertools import islice, pairwise
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful.privacy.mechanism import read_family

Entropy = Callable[[int], bytes]
Limbs = NDArray[np.uint64]

# In levels. Computing a larger table would take seconds.
LEAST_SIGMA2, MOST_SIGMA = Fraction(1, 16), 32_768
# The half width of a table in sigmas; the mass beyond is below 2^-140.
TAIL = 14
# The same for Laplace noise, in scales.
LAPLACE_TAIL = 98
# In levels. The table is then as long as that of the largest Gaussian.
MOST_SCALE = 4_681
Law = Literal["rounded_gaussian", "discrete_gaussian", "discrete_laplace"]
# Decimal digits of the computation; the recurrences lose at most 12.
DIGITS = 80
# The number of values that are drawn at once, so that the arrays fit into the cache.
LANES = 16_384


def draw(table: NoiseTable, count: int) -> NDArray[np.int64]:
    """Return `count` fresh draws by entropy of the kernel.

    Released noise comes from this function only; it cannot be given a seed.
    """
    return table.sample(count, secrets.token_bytes)


@dataclass(frozen=True, eq=False)
class NoiseTable:
    """Thresholds of one noise law, as arrays of their high and low 64-bit limbs.

    The first threshold belongs to the value `lowest`. `spread` is sigma^2 in squared
    levels; for discrete Laplace noise it is the scale in levels.
    """

    law: Law
    spread: Fraction
    lowest: int
    high: Limbs
    low: Limbs

    @classmethod
    def of(cls, family: str, sigma2: Fraction) -> NoiseTable:
        """Return the table of `family` with variance parameter `sigma2`, cached.

        `sigma2` is in squared levels. Raise InvalidInput if the family is unknown, or
        sigma is not in [1/4, 32,768] levels.
        """
        law = read_family(family)
        if not LEAST_SIGMA2 <= sigma2 <= MOST_SIGMA**2:
            raise InvalidInput(
                "sigma2",
                f"it is {float(sigma2):.6g}, but sigma must be in [0.25, {MOST_SIGMA}] "
                "levels",
                "raise epsilon or this release's share of it, or use fewer levels",
            )
        return _table(law, Fraction(sigma2))

    @classmethod
    def laplace(cls, scale: Fraction) -> NoiseTable:
        """Return the table of discrete Laplace noise, P(k) ~ e^(-|k|/scale), cached.

        Raise InvalidInput if the scale is not in [1/16, 4,681] levels.
        """
        if not Fraction(1, 16) <= scale <= MOST_SCALE:
            raise InvalidInput(
                "scale",
                f"{float(scale):.6g} is not in [0.0625, {MOST_SCALE}] levels",
                "raise epsilon, or use fewer levels",
            )
        return _table("discrete_laplace", Fraction(scale))

    def sample(self, count: int, entropy: Entropy) -> NDArray[np.int64]:
        """Return `count` draws, as a function of the bytes of `entropy(byte_count)`.

        Every draw takes the same steps, whatever its value.
        """
        buffer = np.frombuffer(entropy(8 * count), dtype="<u8")
        high_words = buffer.astype(np.uint64, copy=False)
        positions = np.empty(count, dtype=np.int64)
        for start in range(0, count, LANES):
            lanes = slice(start, start + LANES)
            positions[lanes] = _bisect(self.high, high_words[lanes])
        # A draw needs its low 64 bits only if its high ones equal those of a threshold.
        # This happens with a probability of about 2^-64 for each threshold.
        for lane in np.flatnonzero(self.high[positions] == high_words):
            low_word = int.from_bytes(entropy(8), "little")
            positions[lane] = self._resolve_tie(int(high_words[lane]), low_word)
        return positions + self.lowest

    def threshold(self, number: int) -> int:
        """Return floor(2^128 P(X <= `number`))."""
        position = number - self.lowest
        if position < 0:
            return 0
        if position >= self._entries:
            return 1 << 128
        return (int(self.high[position]) << 64) | int(self.low[position])

    def probability(self, number: int) -> Fraction:
        """Return the exact probability that `sample` returns `number`."""
        return Fraction(self.threshold(number) - self.threshold(number - 1), 1 << 128)

    def masses(self) -> NDArray[np.float64]:
        """Return the probabilities of `lowest` to -`lowest`, in double precision."""
        last = -self.lowest
        numbers = range(self.lowest, last + 1)
        thresholds = [0, *(self.threshold(number) for number in numbers)]
        masses = (
            (after - before) / (1 << 128) for before, after in pairwise(thresholds)
        )
        return np.fromiter(masses, float, last * 2 + 1)

    @property
    def variance(self) -> Fraction:
        """The exact variance of a draw, in squared levels."""
        # E[X^2] = 2 sum of (2k + 1) P(X > k) over k >= 0, for a symmetric law.
        doubled_sum = 0
        for k in range(-self.lowest):
            upper_tail = (1 << 128) - self.threshold(k)
            doubled_sum += 2 * (2 * k + 1) * upper_tail
        return Fraction(doubled_sum, 1 << 128)

    @property
    def distance(self) -> Fraction:
        """Upper bound on the total variation between a draw and the true law.

        Each threshold is rounded by less than 2^-128, and the tails are cut at 2^-140.
        """
        return Fraction(self._entries, 1 << 128) + Fraction(1, 1 << 140)

    @property
    def _entries(self) -> int:
        return -2 * self.lowest

    def _resolve_tie(self, high_word: int, low_word: int) -> int:
        """Return the number of thresholds that a 128-bit word reaches."""
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
    """Return for each word the number of limbs below it.

    The length of `sorted_limbs` must be a power of two. The search has no branch that
    depends on a word.
    """
    positions = np.zeros(len(words), dtype=np.int64)
    step = len(sorted_limbs) // 2
    while step:
        positions += step * (sorted_limbs.take(positions + (step - 1)) < words)
        step //= 2
    return positions


@lru_cache(maxsize=16)
def _table(law: Law, spread: Fraction) -> NoiseTable:
    with localcontext(Context(prec=DIGITS)):
        if law == "discrete_laplace":
            last = math.ceil(LAPLACE_TAIL * spread) + 2
            weights = _laplace_weights(spread)
        else:
            last = largest_draw(spread)
            weights = _gaussian_weights(law, spread)
        upper_tails = _upper_tails(list(islice(weights, last + 1)))
    # By symmetry P(X <= -k-1) = P(X > k). floor(2^128 (1 - tail)) is 2^128 - 1 less
    # floor(2^128 tail), unless the tail is a multiple of 2^-128.
    upper_half = [(1 << 128) - 1 - tail for tail in reversed(upper_tails)]
    return _noise_table(law, spread, -last, upper_tails + upper_half)


def largest_draw(sigma2: Fraction) -> int:
    """Return the largest absolute value of a draw with variance parameter `sigma2`."""
    return _ceil_root(TAIL * TAIL * sigma2) + 2


def _ceil_root(square: Fraction) -> int:
    return math.isqrt(math.ceil(square) - 1) + 1


def _laplace_weights(scale: Fraction) -> Iterator[Decimal]:
    """Yield the probabilities of 0, 1, ..., up to one common factor."""
    ratio = (-Decimal(scale.denominator) / Decimal(scale.numerator)).exp()
    weight = Decimal(1)
    while True:
        yield weight
        weight *= ratio


def _upper_tails(masses: list[Decimal]) -> list[int]:
    """Return floor(2^128 P(X > k)) for k from the last but one down to 0.

    `masses` are those of k >= 0, up to a common factor. The smallest are added first,
    so that no digits are lost.
    """
    total = 2 * sum(masses[:0:-1], Decimal(0)) + masses[0]
    unit = Decimal(1 << 128) / total
    tails, tail = [], Decimal(0)
    for mass in masses[:0:-1]:
        tail += mass
        tails.append(int(tail * unit))
    return tails


def _gaussian_weights(law: Law, sigma2: Fraction) -> Iterator[Decimal]:
    """Yield the probabilities of 0, 1, ..., up to one common factor."""
    inverse = Decimal(sigma2.denominator) / Decimal(sigma2.numerator)
    # e^(-(k+1)^2/2s^2) = e^(-k^2/2s^2) * ratio, where each ratio is e^(-1/s^2) times
    # the last one. So two exponentials serve for the complete table.
    ratio, ratio_step = (-inverse / 2).exp(), (-inverse).exp()
    weight = Decimal(1)
    for number in integers_from_zero():
        if law == "rounded_gaussian":
            yield weight * _interval_mass(number * inverse / 2, inverse / 4)
        else:
            yield weight
        weight, ratio = weight * ratio, ratio * ratio_step


def _interval_mass(product: Decimal, square: Decimal) -> Decimal:
    """Return the Gaussian mass of [x-t, x+t], divided by 2t times the density at x.

    t is half a level. The result is the Taylor series sum over even m of He_m(x) t^m /
    (m+1)!, with Hermite polynomials He_m by their recurrence. `product` is x t and
    `square` t^2, in units of sigma.
    """
    before, term, total, order = Decimal(0), Decimal(1), Decimal(1), 0
    while True:
        for _ in range(2):
            before, term = term, (product * term - square * before) / (order + 1)
            order += 1
        total += term / (order + 1)
        if abs(term) + abs(before) < total.scaleb(-DIGITS):
            return total


def _noise_table(
    law: Law, spread: Fraction, lowest: int, thresholds: list[int]
) -> NoiseTable:
    """Return the table of `thresholds`, as two arrays of limbs.

    The arrays are filled up to a power of two with the largest limb, which no word
    exceeds.
    """
    size = 1 << len(thresholds).bit_length()
    words = b"".join(threshold.to_bytes(16, "little") for threshold in thresholds)
    limbs = np.full((size, 2), np.iinfo(np.uint64).max, dtype=np.uint64)
    limbs[: len(thresholds)] = np.frombuffer(words, dtype="<u8").reshape(-1, 2)
    low, high = np.ascontiguousarray(limbs.T)
    low.flags.writeable = high.flags.writeable = False
    return NoiseTable(law, spread, lowest, high, low)

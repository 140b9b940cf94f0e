"""Field64: the prime field of 2^64 - 2^32 + 1, one word per element."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tactful.vdaf.field import (
    BALANCE,
    BITS32,
    DIGIT,
    LIMB,
    M32,
    Elements,
    Field,
    Ints,
    Shape,
)


class Field64(Field):
    """The field of p = 2^64 - 2^32 + 1, in which 2^64 = 2^32 - 1 and 2^96 = -1."""

    modulus = 2**64 - 2**32 + 1
    size, limbs, planes = 8, 3, ()
    _p, _wrap = np.uint64(modulus), np.uint64(2**32 - 1)
    _half = np.uint64((modulus - 1) // 2)

    def add(self, left: Elements, right: Elements) -> Elements:
        """Return the sum of each pair of elements."""
        room = self._p - right
        return np.asarray(np.where(left >= room, left - room, left + right))

    def subtract(self, left: Elements, right: Elements) -> Elements:
        """Return the difference of each pair of elements."""
        return np.asarray(
            np.where(left >= right, left - right, left + (self._p - right))
        )

    def _product(self, left: Elements, right: Elements) -> Elements:
        """Return the product: schoolbook on half words, then two reductions."""
        a, b = left & M32, left >> BITS32
        c, d = right & M32, right >> BITS32
        low, middle, high = a * c, a * d, b * d
        middle += low >> BITS32
        crossed = b * c
        crossed += middle & M32
        high += middle >> BITS32
        high += crossed >> BITS32
        low &= M32
        low |= crossed << BITS32
        top = high >> BITS32
        high &= M32
        rest = low - top
        rest -= (low < top) * self._wrap
        return self._folded(rest, high)

    def _folded(self, low: Elements, high: Elements) -> Elements:
        """Return low + 2^64 high, for a `high` below 2^32."""
        reduced = (high << BITS32) - high
        total = low + reduced
        total += (total < reduced) * self._wrap
        return np.asarray(np.where(total >= self._p, total - self._p, total))

    def from_integers(self, values: NDArray[np.integer]) -> Elements:
        """Return signed integers of at most 63 bits as elements."""
        wide = values.astype(np.int64)
        bits = wide.view(np.uint64)
        return np.asarray(np.where(wide < 0, bits + self._p, bits))

    def cut(self, elements: Elements) -> list[Ints]:
        """Return the balanced limbs of 22 bits, lowest first.

        Small negative numbers have only one limb that is not 0.
        """
        centred = self.to_integers(elements)
        limbs = []
        for _ in range(self.limbs - 1):
            limb = ((centred + BALANCE) & DIGIT) - BALANCE
            limbs.append(limb)
            centred = (centred - limb) >> LIMB
        return [*limbs, centred]

    def to_integers(self, elements: Elements) -> Ints:
        """Return the centred integers; elements above (p - 1) / 2 are negative."""
        wrapped = np.where(elements > self._half, elements - self._p, elements)
        return wrapped.view(np.int64)

    def _lifted(self, elements: Elements) -> Elements:
        return self._folded(
            elements << np.uint64(LIMB), elements >> np.uint64(64 - LIMB)
        )

    def _recombined(self, low: Elements, high: Elements) -> Elements:
        return self.add(low, self._folded(high << BITS32, high >> BITS32))

    def _words(self, elements: Elements) -> NDArray[np.uint64]:
        return elements

    def _from_words(self, words: NDArray[np.uint64], shape: Shape) -> Elements:
        return words.reshape(shape)

    def too_large(self, elements: Elements) -> NDArray[np.bool_]:
        """Return which values are not below the modulus."""
        return elements >= self._p


FIELD64 = Field64()

"""Field64: the whole numbers mod 2^64 - 2^32 + 1, one word each."""

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
    """p = 2^64 - 2^32 + 1, so that 2^64 = 2^32 - 1 and 2^96 = -1."""

    modulus = 2**64 - 2**32 + 1
    size, limbs, planes = 8, 3, ()
    _p, _wrap = np.uint64(modulus), np.uint64(2**32 - 1)
    _half = np.uint64((modulus - 1) // 2)

    def add(self, one: Elements, other: Elements) -> Elements:
        """The sum, element by element."""
        room = self._p - other
        return np.asarray(np.where(one >= room, one - room, one + other))

    def subtract(self, one: Elements, other: Elements) -> Elements:
        """The difference, element by element."""
        return np.asarray(np.where(one >= other, one - other, one + (self._p - other)))

    def _product(self, one: Elements, other: Elements) -> Elements:
        """Schoolbook on half words, then two folds."""
        a, b = one & M32, one >> BITS32
        c, d = other & M32, other >> BITS32
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
        """low + 2^64 high, for a `high` below 2^32."""
        worth = (high << BITS32) - high
        total = low + worth
        total += (total < worth) * self._wrap
        return np.asarray(np.where(total >= self._p, total - self._p, total))

    def from_integers(self, values: NDArray[np.integer]) -> Elements:
        """Signed whole numbers of at most 63 bits as elements."""
        wide = values.astype(np.int64)
        bits = wide.view(np.uint64)
        return np.asarray(np.where(wide < 0, bits + self._p, bits))

    def cut(self, elements: Elements) -> list[Ints]:
        """The balanced limbs of 22 bits, lowest first; small negative numbers have only one."""
        centred = np.where(elements > self._half, elements - self._p, elements).view(
            np.int64
        )
        limbs = []
        for _ in range(self.limbs - 1):
            limb = ((centred + BALANCE) & DIGIT) - BALANCE
            limbs.append(limb)
            centred = (centred - limb) >> LIMB
        return [*limbs, centred]

    def to_integers(self, elements: Elements) -> Ints:
        """Each element's centred representative: above (p - 1) / 2 it stands for a negative."""
        return np.where(elements > self._half, elements - self._p, elements).view(
            np.int64
        )

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
        """Which values are no elements, because they are not below the modulus."""
        return elements >= self._p


FIELD64 = Field64()

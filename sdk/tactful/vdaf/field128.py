"""Field128: the prime field of 2^128 - 28 * 2^64 + 1, two words per element."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tactful.vdaf.field import (
    BALANCE,
    BITS32,
    DIGIT,
    LIMB,
    Elements,
    Field,
    Ints,
    Shape,
)


class Field128(Field):
    """The field of p = 2^128 - 28 * 2^64 + 1, as two planes of words, low before high."""

    modulus = 2**128 - 28 * 2**64 + 1
    size, limbs, planes = 16, 6, (2,)
    _top = np.uint64(2**64 - 28)  # p's high word; its low word is 1

    def add(self, left: Elements, right: Elements) -> Elements:
        """Return the sum of each pair of elements."""
        low = left[0] + right[0]
        high = left[1] + right[1]
        carried = high + (low < right[0])
        over = (high < right[1]) | (carried < high)
        return self._once(low, carried, over)

    def subtract(self, left: Elements, right: Elements) -> Elements:
        """Return the difference of each pair of elements."""
        low = left[0] - right[0]
        high = left[1] - right[1]
        borrowed = high - (left[0] < right[0])
        under = (left[1] < right[1]) | (borrowed > high)
        raised = low + under.astype(np.uint64)
        top = borrowed + under * self._top + (raised < low)
        return np.stack([raised, top])

    def _product(self, left: Elements, right: Elements) -> Elements:
        """Return the product: schoolbook on limbs."""
        left_limbs, right_limbs = self.cut(left), self.cut(right)
        columns = []
        for place in range(2 * self.limbs - 1):
            first = max(0, place - self.limbs + 1)
            terms = [
                left_limbs[i] * right_limbs[place - i]
                for i in range(first, min(place, self.limbs - 1) + 1)
            ]
            columns.append(np.asarray(sum(terms[1:], terms[0])))
        return self._from_columns(columns)

    def from_integers(self, values: NDArray[np.integer]) -> Elements:
        """Return signed integers of at most 63 bits as elements."""
        wide = values.astype(np.int64)
        zeros = np.zeros(wide.shape, dtype=np.uint64)
        size = np.abs(wide).astype(np.uint64)
        positive = np.stack([np.where(wide < 0, zeros, size), zeros])
        return self.subtract(
            positive, np.stack([np.where(wide < 0, size, zeros), zeros])
        )

    def cut(self, elements: Elements) -> list[Ints]:
        """Return the balanced limbs of 22 bits, lowest first."""
        low, high = elements[0], elements[1]
        digits = [
            low,
            low >> np.uint64(22),
            (low >> np.uint64(44)) | (high << np.uint64(20)),
        ]
        digits += [high >> np.uint64(2), high >> np.uint64(24), high >> np.uint64(46)]
        limbs, carry = [], np.int64(0)
        for digit in digits[:-1]:
            value = (digit & np.uint64(DIGIT)).astype(np.int64) + carry
            limb = ((value + BALANCE) & DIGIT) - BALANCE
            limbs.append(limb)
            carry = (value - limb) >> LIMB
        return [*limbs, digits[-1].astype(np.int64) + carry]

    def _lifted(self, elements: Elements) -> Elements:
        up, down = np.uint64(LIMB), np.uint64(64 - LIMB)
        over = elements[1] >> down
        low = elements[0] << up
        high = (elements[1] << up) | (elements[0] >> down)
        no_carry = np.zeros_like(low) > 0
        reduced = self._once(low, high, no_carry)
        zeros = np.zeros_like(over)
        raised = self.add(reduced, np.stack([zeros, over * np.uint64(28)]))
        return self.subtract(raised, np.stack([over, zeros]))

    def _once(self, low: Elements, high: Elements, over: NDArray[np.bool_]) -> Elements:
        """Return `high`, `low` and the carry `over` as elements, reduced by p once."""
        large = over | (high > self._top) | ((high == self._top) & (low >= 1))
        lowered = low - large
        return np.stack([lowered, high - large * self._top - (lowered > low)])

    def _recombined(self, low: Elements, high: Elements) -> Elements:
        """Return low[0] + 2^32 high[0] + 2^64 low[1] + 2^96 high[1].

        Each sum has at most 63 bits.
        """
        zeros = np.zeros_like(low[0])
        # The upper half is multiplied by 2^128, which is 28 * 2^64 - 1.
        over = high[1] >> BITS32
        parts = [
            np.stack([high[0] << BITS32, high[0] >> BITS32]),
            np.stack([zeros, low[1]]),
            self._once(zeros, high[1] << BITS32, zeros > 0),
            self.subtract(
                np.stack([zeros, over * np.uint64(28)]), np.stack([over, zeros])
            ),
        ]
        total = np.stack([low[0], zeros])
        for part in parts:
            total = self.add(total, part)
        return total

    def _words(self, elements: Elements) -> NDArray[np.uint64]:
        return np.moveaxis(elements, 0, -1)

    def _from_words(self, words: NDArray[np.uint64], shape: Shape) -> Elements:
        return np.ascontiguousarray(np.moveaxis(words.reshape(*shape, 2), -1, 0))

    def too_large(self, elements: Elements) -> NDArray[np.bool_]:
        """Return which values are not below the modulus."""
        large: NDArray[np.bool_] = (elements[1] > self._top) | (
            (elements[1] == self._top) & (elements[0] >= 1)
        )
        return large


FIELD128 = Field128()

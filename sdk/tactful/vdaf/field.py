"""Prime fields, vectorised (draft-irtf-cfrg-vdaf, section 6.1).

A vector of Field64 is a `uint64` array. One of Field128 has its low and high words as two
planes along the first axis. All other axes mean the same in both, counted from the last.
Products of matrices are exact sums in floating point: each element is split into balanced
limbs of 22 bits, so that a sum of products fits the 53 bits in which `float64` is exact.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from tactful.errors import DecodeError

Elements = NDArray[np.uint64]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Shape = tuple[int, ...]

LIMB = 22  # bits
EXACT = 53  # bits of an integer that float64 represents exactly
BLOCK = 3 << 14  # limbs multiplied at a time, so that they fit the CPU cache
PIECE = 1 << 16  # elements of a matrix that are split into limbs at a time
M32, BITS32 = np.uint64(2**32 - 1), np.uint64(32)
BALANCE, DIGIT = np.int64(1 << (LIMB - 1)), np.int64((1 << LIMB) - 1)


class Field(ABC):
    """A prime field with many roots of unity; elements are always below the modulus.

    `size` is the number of bytes of an element, and `planes` are the axes in front of
    the axes of an array: () or (2,).
    """

    modulus: int
    size: int
    limbs: int
    planes: Shape

    # Defined by each field.

    @abstractmethod
    def add(self, left: Elements, right: Elements) -> Elements:
        """Return the sum of each pair of elements."""

    @abstractmethod
    def subtract(self, left: Elements, right: Elements) -> Elements:
        """Return the difference of each pair of elements."""

    @abstractmethod
    def _product(self, left: Elements, right: Elements) -> Elements:
        """Return the product of arrays that fit the CPU cache."""

    @abstractmethod
    def from_integers(self, values: NDArray[np.integer]) -> Elements:
        """Return signed integers of at most 63 bits as elements."""

    @abstractmethod
    def cut(self, elements: Elements) -> list[Ints]:
        """Return the balanced limbs of 22 bits, lowest first."""

    @abstractmethod
    def _lifted(self, elements: Elements) -> Elements:
        """Return the elements times 2^22."""

    @abstractmethod
    def _words(self, elements: Elements) -> NDArray[np.uint64]:
        """Return the elements as 64-bit words, low before high, along the last axis."""

    @abstractmethod
    def _from_words(self, words: NDArray[np.uint64], shape: Shape) -> Elements:
        """Return the elements that `_words` converted."""

    @abstractmethod
    def too_large(self, elements: Elements) -> NDArray[np.bool_]:
        """Return which values are not below the modulus."""

    # Common to all fields.

    def multiply(self, left: Elements, right: Elements) -> Elements:
        """Return the product of each pair of elements."""
        shape = np.broadcast_shapes(self.shape(left), self.shape(right))
        block = BLOCK // self.limbs
        if math.prod(shape) <= block:
            return self._product(left, right)
        left, right = self._spread(left, shape), self._spread(right, shape)
        product = np.empty(left.shape, dtype=np.uint64)
        for start in range(0, left.shape[-1], block):
            part = slice(start, start + block)
            product[..., part] = self._product(left[..., part], right[..., part])
        return self.reshape(product, *shape)

    def _spread(self, elements: Elements, shape: Shape) -> Elements:
        """Return the elements broadcast to `shape`, as one row."""
        return self.reshape(self._broadcast(elements, shape), -1)

    def _broadcast(self, elements: Elements, shape: Shape) -> Elements:
        """Return the elements broadcast to `shape`, which has no fewer axes."""
        old_shape = self.shape(elements)
        missing = [1] * (len(shape) - len(old_shape))
        aligned = self.reshape(elements, *missing, *old_shape)
        return np.broadcast_to(aligned, self.planes + shape)

    def zeros(self, *shape: int) -> Elements:
        """Return an array of zeros."""
        return np.zeros(self.planes + shape, dtype=np.uint64)

    def constants(self, values: Iterable[int]) -> Elements:
        """Return a vector of integers of any size, reduced modulo p."""
        reduced = [value % self.modulus for value in values]
        encoded = [value.to_bytes(self.size, "little") for value in reduced]
        return self.read(b"".join(encoded))

    def constant(self, value: int, *shape: int) -> Elements:
        """Return an array of one integer; without a shape it broadcasts to any shape."""
        full_shape = shape or (1,)
        element = self.reshape(self.constants([value]), *[1] * len(full_shape))
        return np.array(np.broadcast_to(element, self.planes + full_shape))

    def reshape(self, elements: Elements, *shape: int) -> Elements:
        """Return the elements in another shape."""
        return elements.reshape(self.planes + shape)

    def shape(self, elements: Elements) -> Shape:
        """Return the shape in elements."""
        return elements.shape[len(self.planes) :]

    def stack(self, vectors: Sequence[Elements]) -> Elements:
        """Return vectors as the rows of a new first axis."""
        return np.stack(vectors, axis=len(self.planes))

    def equal(self, left: Elements, right: Elements) -> NDArray[np.bool_]:
        """Return where two arrays are equal."""
        equal_words: NDArray[np.bool_] = left == right
        return np.asarray(equal_words.all(axis=0)) if self.planes else equal_words

    def total(self, elements: Elements) -> Elements:
        """Return the sum over the last axis, of at most 2^31 elements."""
        low = (elements & M32).sum(axis=-1, dtype=np.uint64)
        high = (elements >> BITS32).sum(axis=-1, dtype=np.uint64)
        return self._recombined(low, high)

    @abstractmethod
    def _recombined(self, low: Elements, high: Elements) -> Elements:
        """Return the elements for sums of low and of high half words."""

    def matmul(self, left: Elements, right: Elements) -> Elements:
        """Return the product of matrices (..., n, k) and (..., k, m), as numpy's `matmul`.

        Matrices are multiplied one pair at a time, so that limbs fit the CPU cache.
        """
        *_, rows, inner = self.shape(left)
        columns = self.shape(right)[-1]
        outer = np.broadcast_shapes(self.shape(left)[:-2], self.shape(right)[:-2])
        left = self._matrices(left, (*outer, rows, inner))
        right = self._matrices(right, (*outer, inner, columns))
        product = self.zeros(math.prod(outer), rows, columns)
        for place in range(math.prod(outer)):
            product[..., place, :, :] = self._product_of(
                left[..., place, :, :], right[..., place, :, :]
            )
        return self.reshape(product, *outer, rows, columns)

    def _matrices(self, elements: Elements, shape: Shape) -> Elements:
        return self.reshape(self._broadcast(elements, shape), -1, *shape[-2:])

    def _product_of(self, left: Elements, right: Elements) -> Elements:
        """Return the product of two matrices, summed over the inner axis in pieces.

        A piece is short enough for exact sums, and for limbs to fit the CPU cache.
        Limbs that are all 0 are skipped.
        """
        inner = self.shape(left)[-1]
        exact = (1 << (EXACT - 2 * LIMB + 2)) // self.limbs
        step = max(1, min(exact, PIECE // max(left.shape[-2], right.shape[-1])))
        columns: dict[int, Ints] = {}
        for start in range(0, inner, step):
            part = slice(start, start + step)
            left_limbs = self._limbs(left[..., part])
            right_limbs = self._limbs(right[..., part, :])
            for place in {i + j for i in left_limbs for j in right_limbs}:
                terms = [
                    left_limbs[i] @ right_limbs[place - i]
                    for i in left_limbs
                    if place - i in right_limbs
                ]
                column = np.asarray(sum(terms[1:], terms[0])).astype(np.int64)
                if place in columns:
                    column = columns[place] + column
                columns[place] = column
        empty = np.zeros((left.shape[-2], right.shape[-1]), dtype=np.int64)
        places = range(max(columns, default=0) + 1)
        return self._from_columns([columns.get(place, empty) for place in places])

    def _limbs(self, elements: Elements) -> dict[int, Floats]:
        """Return the limbs that are not all 0, by their place."""
        return {
            place: limb.astype(np.float64)
            for place, limb in enumerate(self.cut(elements))
            if limb.any()
        }

    def signed_sums(self, signs: Floats, elements: Elements) -> Elements:
        """Return `signs` (n, k) times a vector of k < 2^31 elements, shape (..., n).

        Each sign is -1, 0 or 1.
        """
        columns = [
            (limb.astype(np.float64) @ signs.T).astype(np.int64)
            for limb in self.cut(elements)
        ]
        return self._from_columns(columns)

    def _from_columns(self, columns: Sequence[Ints]) -> Elements:
        """Return the sum of columns[i] * 2^(22 i)."""
        total = self.from_integers(columns[-1])
        for column in reversed(columns[:-1]):
            total = self.add(self._lifted(total), self.from_integers(column))
        return total

    def powers(self, base: Elements, count: int) -> Elements:
        """Return base, base^2, ..., base^count along a new last axis."""
        table = self.zeros(*self.shape(base), count)
        table[..., 0] = base
        filled = 1
        while filled < count:
            added = min(filled, count - filled)
            last = table[..., filled - 1 : filled]
            table[..., filled : filled + added] = self.multiply(
                table[..., :added], last
            )
            filled += added
        return table

    def root(self, order: int) -> int:
        """Return the root of unity of this order (a power of two) in the draft."""
        return pow(7, (self.modulus - 1) // order, self.modulus)

    def inverse(self, value: int) -> int:
        """Return 1 / value."""
        return pow(value, -1, self.modulus)

    def integers(self, elements: Elements) -> list[int]:
        """Return the elements of a vector as Python integers."""
        encoded = self.encode(elements)
        step = self.size
        return [
            int.from_bytes(encoded[start : start + step], "little")
            for start in range(0, len(encoded), step)
        ]

    def signed(self, elements: Elements) -> list[int]:
        """Return the elements as integers; those above (p - 1) / 2 are negative."""
        half = (self.modulus - 1) // 2
        return [
            value - self.modulus if value > half else value
            for value in self.integers(elements)
        ]

    def encode(self, elements: Elements) -> bytes:
        """Return a vector as bytes, little-endian."""
        return self._words(elements).astype("<u8").tobytes()

    def read(self, encoded: bytes) -> Elements:
        """Return the vector in `encoded`, whose values must be below the modulus."""
        words = np.frombuffer(encoded, dtype="<u8").astype(np.uint64)
        return self._from_words(words, (len(encoded) // self.size,))

    def decode(self, encoded: bytes, length: int) -> Elements:
        """Return `length` elements.

        Raise DecodeError for another size, or a value that is not below the modulus.
        """
        if len(encoded) != self.size * length:
            raise DecodeError(f"share: {len(encoded)} bytes for {length} elements")
        elements = self.read(encoded)
        if self.too_large(elements).any():
            raise DecodeError("share: an element is not below the modulus")
        return elements

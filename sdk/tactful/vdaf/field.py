"""Prime fields, vectorised (draft-irtf-cfrg-vdaf, section 6.1).

A vector of Field64 is a `uint64` array; one of Field128 holds its low and high words as two planes
along the first axis. All other axes mean the same in both, counted from the last. Products of
matrices are exact sums in floating point: each element is cut into balanced limbs of 22 bits, so
that no sum of products leaves the 53 bits in which `float64` is a whole number.
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
EXACT = 53  # bits of a float64 that is a whole number
BLOCK = 3 << 14  # limbs multiplied at a time, so that they stay in the cache
PIECE = 1 << 16  # elements of a matrix that are cut into limbs at a time
M32, BITS32 = np.uint64(2**32 - 1), np.uint64(32)
BALANCE, DIGIT = np.int64(1 << (LIMB - 1)), np.int64((1 << LIMB) - 1)


class Field(ABC):
    """The whole numbers mod a prime with many roots of unity; elements are always below it."""

    modulus: int
    size: int  # bytes of an encoded element
    limbs: int
    planes: Shape  # the axes before an array's own: () or (2,)

    # what a field must know

    @abstractmethod
    def add(self, one: Elements, other: Elements) -> Elements:
        """The sum, element by element."""

    @abstractmethod
    def subtract(self, one: Elements, other: Elements) -> Elements:
        """The difference, element by element."""

    @abstractmethod
    def _product(self, one: Elements, other: Elements) -> Elements:
        """The product of what fits the cache."""

    @abstractmethod
    def from_integers(self, values: NDArray[np.integer]) -> Elements:
        """Signed whole numbers of at most 63 bits as elements."""

    @abstractmethod
    def cut(self, elements: Elements) -> list[Ints]:
        """The balanced limbs of 22 bits, lowest first."""

    @abstractmethod
    def _lifted(self, elements: Elements) -> Elements:
        """The elements times 2^22."""

    @abstractmethod
    def _words(self, elements: Elements) -> NDArray[np.uint64]:
        """The elements as 64-bit words, low before high, along the last axis."""

    @abstractmethod
    def _from_words(self, words: NDArray[np.uint64], shape: Shape) -> Elements:
        """What `_words` gave; the inverse."""

    @abstractmethod
    def too_large(self, elements: Elements) -> NDArray[np.bool_]:
        """Which values are no elements, because they are not below the modulus."""

    # what follows from it

    def multiply(self, one: Elements, other: Elements) -> Elements:
        """The product, element by element."""
        shape = np.broadcast_shapes(self.shape(one), self.shape(other))
        block = BLOCK // self.limbs
        if math.prod(shape) <= block:
            return self._product(one, other)
        left, right = (self._spread(side, shape) for side in (one, other))
        product = np.empty(left.shape, dtype=np.uint64)
        for start in range(0, left.shape[-1], block):
            here = slice(start, start + block)
            product[..., here] = self._product(left[..., here], right[..., here])
        return self.reshape(product, *shape)

    def _spread(self, elements: Elements, shape: Shape) -> Elements:
        """The elements as one row, repeated as they are when they meet an array of `shape`."""
        own = self.shape(elements)
        upright = self.reshape(elements, *[1] * (len(shape) - len(own)), *own)
        return self.reshape(np.broadcast_to(upright, self.planes + shape), -1)

    def zeros(self, *shape: int) -> Elements:
        """Nothing but 0."""
        return np.zeros(self.planes + shape, dtype=np.uint64)

    def constants(self, values: Iterable[int]) -> Elements:
        """A vector of whole numbers of any size, reduced."""
        reduced = b"".join(
            (value % self.modulus).to_bytes(self.size, "little") for value in values
        )
        return self.read(reduced)

    def constant(self, value: int, *shape: int) -> Elements:
        """One whole number everywhere; without a shape it stands beside arrays of any shape."""
        one = self.constants([value])
        return np.array(
            np.broadcast_to(
                self.reshape(one, *[1] * len(shape or "1")),
                self.planes + (shape or (1,)),
            )
        )

    def reshape(self, elements: Elements, *shape: int) -> Elements:
        """The same elements in another shape."""
        return elements.reshape(self.planes + shape)

    def shape(self, elements: Elements) -> Shape:
        """The shape as one counts elements."""
        return elements.shape[len(self.planes) :]

    def stack(self, vectors: Sequence[Elements]) -> Elements:
        """Vectors as the rows of a new first axis."""
        return np.stack(vectors, axis=len(self.planes))

    def equal(self, one: Elements, other: Elements) -> NDArray[np.bool_]:
        """Where two arrays hold the same."""
        same: NDArray[np.bool_] = one == other
        return np.asarray(same.all(axis=0)) if self.planes else same

    def negate(self, elements: Elements) -> Elements:
        """0 minus each element."""
        return self.subtract(np.zeros_like(elements), elements)

    def total(self, elements: Elements) -> Elements:
        """The sum over the last axis, of at most 2^31 elements."""
        low, high = elements & M32, elements >> BITS32
        return self._recombined(
            low.sum(axis=-1, dtype=np.uint64), high.sum(axis=-1, dtype=np.uint64)
        )

    @abstractmethod
    def _recombined(self, low: Elements, high: Elements) -> Elements:
        """The elements that sums of low and of high half words stand for."""

    def matmul(self, one: Elements, other: Elements) -> Elements:
        """The product of matrices (..., n, k) and (..., k, m), axes before as numpy's `matmul`.

        One pair of matrices after the other, so that their limbs stay in the cache.
        """
        *_, rows, inner = self.shape(one)
        columns = self.shape(other)[-1]
        outer = np.broadcast_shapes(self.shape(one)[:-2], self.shape(other)[:-2])
        left = self._matrices(one, (*outer, rows, inner))
        right = self._matrices(other, (*outer, inner, columns))
        product = self.zeros(math.prod(outer), rows, columns)
        for place in range(math.prod(outer)):
            product[..., place, :, :] = self._product_of(
                left[..., place, :, :], right[..., place, :, :]
            )
        return self.reshape(product, *outer, rows, columns)

    def _matrices(self, elements: Elements, shape: Shape) -> Elements:
        own = self.shape(elements)
        upright = self.reshape(elements, *[1] * (len(shape) - len(own)), *own)
        spread = np.broadcast_to(upright, self.planes + shape)
        return self.reshape(spread, -1, *shape[-2:])

    def _product_of(self, one: Elements, other: Elements) -> Elements:
        """The product of two matrices, summed over the inner axis piece by piece.

        A piece is short enough for exact sums, and for both sides' limbs to stay in the cache;
        limbs that are all 0 cost nothing.
        """
        inner = self.shape(one)[-1]
        exact = (1 << (EXACT - 2 * LIMB + 2)) // self.limbs
        step = max(1, min(exact, PIECE // max(one.shape[-2], other.shape[-1])))
        columns: dict[int, Ints] = {}
        for start in range(0, inner, step):
            here = slice(start, start + step)
            left = self._limbs(one[..., here])
            right = self._limbs(other[..., here, :])
            for place in {i + j for i in left for j in right}:
                sums = [left[i] @ right[place - i] for i in left if place - i in right]
                whole = np.asarray(sum(sums[1:], sums[0])).astype(np.int64)
                columns[place] = columns[place] + whole if place in columns else whole
        empty = np.zeros((one.shape[-2], other.shape[-1]), dtype=np.int64)
        top = max(columns, default=0)
        return self._from_columns(
            [columns.get(place, empty) for place in range(top + 1)]
        )

    def _limbs(self, elements: Elements) -> dict[int, Floats]:
        """The limbs that are not all 0, by their place."""
        return {
            place: limb.astype(np.float64)
            for place, limb in enumerate(self.cut(elements))
            if limb.any()
        }

    def signed_sums(self, signs: Floats, elements: Elements) -> Elements:
        """`signs` (n, k), each -1, 0 or 1, times a vector of k < 2^31 elements, shape (..., n)."""
        columns = [
            (limb.astype(np.float64) @ signs.T).astype(np.int64)
            for limb in self.cut(elements)
        ]
        return self._from_columns(columns)

    def _from_columns(self, columns: Sequence[Ints]) -> Elements:
        """The sum of columns[i] * 2^(22 i)."""
        total = self.from_integers(columns[-1])
        for column in reversed(columns[:-1]):
            total = self.add(self._lifted(total), self.from_integers(column))
        return total

    def powers(self, base: Elements, count: int) -> Elements:
        """base, base^2, ..., base^count along a new last axis."""
        table = self.zeros(*self.shape(base), count)
        table[..., 0] = base
        done = 1
        while done < count:
            more = min(done, count - done)
            table[..., done : done + more] = self.multiply(
                table[..., :more], table[..., done - 1 : done]
            )
            done += more
        return table

    def root(self, order: int) -> int:
        """The root of unity of this order, a power of two, that the draft names."""
        return pow(7, (self.modulus - 1) // order, self.modulus)

    def inverse(self, value: int) -> int:
        """1 / value."""
        return pow(value, -1, self.modulus)

    def integers(self, elements: Elements) -> list[int]:
        """The elements of a vector as Python's whole numbers."""
        encoded = self.encode(elements)
        step = self.size
        return [
            int.from_bytes(encoded[at : at + step], "little")
            for at in range(0, len(encoded), step)
        ]

    def signed(self, elements: Elements) -> list[int]:
        """The same, above (p - 1) / 2 as the negative numbers they stand for."""
        half = (self.modulus - 1) // 2
        return [
            value - self.modulus if value > half else value
            for value in self.integers(elements)
        ]

    def encode(self, elements: Elements) -> bytes:
        """A vector as bytes, little-endian."""
        return self._words(elements).astype("<u8").tobytes()

    def read(self, encoded: bytes) -> Elements:
        """The vector in `encoded`, whose values are trusted to be below the modulus."""
        words = np.frombuffer(encoded, dtype="<u8").astype(np.uint64)
        return self._from_words(words, (len(encoded) // self.size,))

    def decode(self, encoded: bytes, length: int) -> Elements:
        """`length` elements; raises DecodeError for another size or a value that is too large."""
        if len(encoded) != self.size * length:
            raise DecodeError(f"share: {len(encoded)} bytes for {length} elements")
        elements = self.read(encoded)
        if self.too_large(elements).any():
            raise DecodeError("share: an element is not below the modulus")
        return elements

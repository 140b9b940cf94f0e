"""Encoding of vectors of norm at most 1 as small integers, and back.

A vector is rotated, clipped to a box, rounded at random, and its exact squared norm is
bounded (docs/spec/aggregation.md 6, 7, 10).
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful.privacy import rounding
from tactful.privacy.rounding import Coins

Floats = NDArray[np.float64]
Levels = NDArray[np.uint8]

MAX_LENGTH = 1 << 22
BLOCK = 1 << 18  # coordinates transformed at a time, so that they fit the CPU cache


@dataclass(frozen=True)
class Encoding:
    """The encoding of a task's vectors as measurements, the same on every device.

    `levels` is even, so that 0 is a level. `box` is half the width of the box in
    standard deviations of a rotated coordinate. `seed` is the id of the task. Raises
    InvalidInput for a wrong field.
    """

    length: int
    levels: int
    box: int
    seed: bytes

    def __post_init__(self) -> None:
        """Raise InvalidInput for a wrong field."""
        _require_within("length", self.length, 1, MAX_LENGTH)
        _require_within("levels", self.levels, 2, 254)
        _require_within("box", self.box, 1, 16)
        if self.levels % 2:
            raise InvalidInput("levels", f"{self.levels} is odd", "use an even number")

    @cached_property
    def padded(self) -> int:
        """The length of a measurement: the next power of two."""
        return padded_length(self.length)

    @cached_property
    def levels_per_unit(self) -> float:
        """The number of levels in a coordinate of 1."""
        return self.levels * math.sqrt(self.padded) / (2 * self.box)

    @property
    def gamma2(self) -> Fraction:
        """The exact square of the width of a level."""
        return Fraction((2 * self.box) ** 2, self.levels**2 * self.padded)

    @cached_property
    def norm_bound(self) -> int:
        """The largest sum of (q - L/2)^2, Delta2.

        It is exact. The device and the proof check it, and the accounting uses it.
        """
        return rounding.norm_bound(self.levels, self.box, self.padded)

    def encode(self, vectors: Floats, coins: Coins) -> Levels:
        """Return a measurement in {0..L}^padded for each row, shape (rows, padded).

        `vectors` has shape (rows, length); a longer row is scaled to norm 1. `coins(n)`
        returns n random bytes. Rows take theirs one after the other, so the measurement
        of a row does not depend on other rows. Raise InvalidInput for NaN or infinity.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.length:
            raise InvalidInput(
                "vector",
                f"shape {vectors.shape} is not (rows, {self.length})",
                "use the length of the task",
            )
        if not np.isfinite(vectors).all():
            raise InvalidInput(
                "vector", "a coordinate is not finite", "pass finite numbers"
            )
        measurements = np.empty((len(vectors), self.padded), dtype=np.uint8)
        step = max(1, BLOCK // self.padded)
        for start in range(0, len(vectors), step):
            rotated = self._rotated(_clipped(vectors[start : start + step]))
            for row, values in enumerate(rotated, start):
                rounded = rounding.round_within(values, self.norm_bound, coins)
                measurements[row] = rounded + self.levels // 2
        return measurements

    def decode(self, total: NDArray[np.int64], count: int) -> Floats:
        """Return the sum of the vectors, shape (length,).

        `total` is the signed noisy sum of `count` measurements, shape (padded,).
        """
        centred = total.astype(np.int64) - count * (self.levels // 2)
        [transformed] = hadamard(centred[None, :].astype(np.float64))
        levels: Floats = transformed * self._signs
        scale = self.levels_per_unit * math.sqrt(self.padded)
        vector: Floats = levels[: self.length] / scale
        return vector

    @cached_property
    def _signs(self) -> Floats:
        """The public signs of the rotation, +1 or -1 for each coordinate."""
        byte_count = (self.padded + 7) // 8
        stream = hashlib.shake_128(self.seed + b"rotation").digest(byte_count)
        bits = np.unpackbits(np.frombuffer(stream, dtype=np.uint8))[: self.padded]
        return 1.0 - 2.0 * bits.astype(np.float64)

    def _rotated(self, vectors: Floats) -> Floats:
        """Return the rows, rotated and clipped to [-L/2, L/2], before rounding."""
        padded = np.zeros((len(vectors), self.padded))
        padded[:, : self.length] = vectors
        padded *= self._signs
        scale = self.levels_per_unit / math.sqrt(self.padded)
        half = self.levels / 2
        return np.clip(hadamard(padded) * scale, -half, half)


def padded_length(length: int) -> int:
    """Return the smallest power of two that is at least `length`."""
    return 1 << (length - 1).bit_length()


def hadamard(rows: Floats) -> Floats:
    """Return the Walsh-Hadamard transform of each row, not normalised.

    The width is a power of two. It uses only additions in a fixed order, so that the
    bits of a row do not depend on other rows. Two passes over the halves of the index
    keep the data in the CPU cache.
    """
    count, width = rows.shape
    outer = 1 << (width.bit_length() // 2)
    blocks = _butterflies(rows.reshape(count, outer, width // outer))
    transposed = np.ascontiguousarray(blocks.swapaxes(1, 2))
    result = _butterflies(transposed).swapaxes(1, 2)
    return np.ascontiguousarray(result).reshape(count, width)


def _butterflies(blocks: Floats) -> Floats:
    """Return the transform along the middle axis; shape (count, power of two, inner)."""
    count, remaining, inner = blocks.shape
    source, target = blocks, np.empty_like(blocks)
    while remaining > 1:
        remaining //= 2
        shape = (count, -1, 2, remaining * inner)
        pairs, sums = source.reshape(shape), target.reshape(shape)
        np.add(pairs[:, :, 0], pairs[:, :, 1], out=sums[:, :, 0])
        np.subtract(pairs[:, :, 0], pairs[:, :, 1], out=sums[:, :, 1])
        # The caller's array is never written to.
        spare = np.empty_like(blocks) if source is blocks else source
        source, target = target, spare
    return source


def _clipped(vectors: Floats) -> Floats:
    """Return the rows, longer ones scaled to norm 1, without overflow."""
    largest = np.maximum(np.abs(vectors).max(axis=1, keepdims=True), 1.0)
    scaled = vectors / largest
    norms = np.sqrt(np.square(scaled).sum(axis=1, keepdims=True))
    clipped: Floats = scaled / np.maximum(norms, 1.0 / largest)
    return clipped


def _require_within(field: str, value: int, least: int, most: int) -> None:
    if not isinstance(value, int) or not least <= value <= most:
        raise InvalidInput(
            field, f"{value!r} is not in [{least}, {most}]", "correct the task"
        )

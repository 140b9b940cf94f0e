"""From a vector of length at most 1 to small whole numbers whose squares are bounded, and back.

Rotate, box, round at random, test in whole numbers (design/secure-aggregation.md 6, 7, 10).
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

MOST_LENGTH = 1 << 22
BLOCK = 1 << 18  # coordinates transformed at a time, so that they stay in the cache


@dataclass(frozen=True)
class Encoding:
    """How the vectors of one task become measurements; public, the same on every device.

    `levels` is even, so that 0 is a level; `box` is the half-width of the box in standard
    deviations of a rotated coordinate; `seed` is the task's id. Raises InvalidInput.
    """

    length: int
    levels: int
    box: int
    seed: bytes

    def __post_init__(self) -> None:
        _within("length", self.length, 1, MOST_LENGTH)
        _within("levels", self.levels, 2, 254)
        _within("box", self.box, 1, 16)
        if self.levels % 2:
            raise InvalidInput("levels", f"{self.levels} is odd", "use an even number")

    @cached_property
    def padded(self) -> int:
        """The length of a measurement: the smallest power of two that is enough."""
        return padded_length(self.length)

    @cached_property
    def levels_per_unit(self) -> float:
        """How many levels a coordinate of 1 is wide."""
        return self.levels * math.sqrt(self.padded) / (2 * self.box)

    @property
    def gamma2(self) -> Fraction:
        """The square of a level's width, exact."""
        return Fraction((2 * self.box) ** 2, self.levels**2 * self.padded)

    @cached_property
    def norm_bound(self) -> int:
        """Delta2, the most that sum (q - L/2)^2 may be: exact, tested on the device, accounted."""
        return rounding.norm_bound(self.levels, self.box, self.padded)

    def encode(self, vectors: Floats, coins: Coins) -> Levels:
        """One measurement in {0..L}^padded per row of `vectors`, shape (rows, length).

        A longer row is scaled to length 1. `coins(n)` returns n random bytes; rows take theirs
        one after the other, so a row's measurement does not depend on what it is batched with.
        Raises InvalidInput for NaN or infinity.
        """
        if vectors.ndim != 2 or vectors.shape[1] != self.length:
            raise InvalidInput(
                "vector",
                f"shape {vectors.shape} is not (rows, {self.length})",
                "follow the task",
            )
        if not np.isfinite(vectors).all():
            raise InvalidInput(
                "vector", "a coordinate is not finite", "nothing was sent; fix it"
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
        """The sum of the vectors behind `total`, the signed noisy sum of `count` measurements."""
        centred = total.astype(np.int64) - count * (self.levels // 2)
        levels: Floats = hadamard(centred[None, :].astype(np.float64))[0] * self._signs
        vector: Floats = levels[: self.length] / (
            self.levels_per_unit * math.sqrt(self.padded)
        )
        return vector

    @cached_property
    def _signs(self) -> Floats:
        """The public signs of the rotation, +1 or -1 per coordinate."""
        stream = hashlib.shake_128(self.seed + b"rotation").digest(
            (self.padded + 7) // 8
        )
        bits = np.unpackbits(np.frombuffer(stream, dtype=np.uint8))[: self.padded]
        return 1.0 - 2.0 * bits.astype(np.float64)

    def _rotated(self, vectors: Floats) -> Floats:
        """The rows, rotated and boxed into [-L/2, L/2], still between the levels."""
        wide = np.zeros((len(vectors), self.padded))
        wide[:, : self.length] = vectors
        wide *= self._signs
        scale = self.levels_per_unit / math.sqrt(self.padded)
        half = self.levels / 2
        return np.clip(hadamard(wide) * scale, -half, half)


def padded_length(length: int) -> int:
    """The smallest power of two that is enough."""
    return 1 << (length - 1).bit_length()


def hadamard(rows: Floats) -> Floats:
    """The Walsh-Hadamard transform of each row, not normalised; the width is a power of two.

    Only additions in a fixed order, so a row's bits do not depend on the other rows.
    """
    count, width = rows.shape
    tall = 1 << (width.bit_length() // 2)
    blocks = _butterflies(rows.reshape(count, tall, width // tall))
    flipped = np.ascontiguousarray(blocks.swapaxes(1, 2))
    return np.ascontiguousarray(_butterflies(flipped).swapaxes(1, 2)).reshape(
        count, width
    )


def _butterflies(blocks: Floats) -> Floats:
    """The transform along the middle axis, shape (count, power of two, inner)."""
    count, tall, inner = blocks.shape
    here, there = blocks, np.empty_like(blocks)
    while tall > 1:
        tall //= 2
        shape = (count, -1, 2, tall * inner)
        pairs, sums = here.reshape(shape), there.reshape(shape)
        np.add(pairs[:, :, 0], pairs[:, :, 1], out=sums[:, :, 0])
        np.subtract(pairs[:, :, 0], pairs[:, :, 1], out=sums[:, :, 1])
        here, there = there, (here if here is not blocks else np.empty_like(blocks))
    return here


def _clipped(vectors: Floats) -> Floats:
    """The rows, scaled down to length 1 where they are longer; safe for any finite values."""
    largest = np.maximum(np.abs(vectors).max(axis=1, keepdims=True), 1.0)
    shrunk = vectors / largest
    norms = np.sqrt(np.square(shrunk).sum(axis=1, keepdims=True))
    clipped: Floats = shrunk / np.maximum(norms, 1.0 / largest)
    return clipped


def _within(field: str, value: int, least: int, most: int) -> None:
    if not isinstance(value, int) or not least <= value <= most:
        raise InvalidInput(
            field, f"{value!r} is not in [{least}, {most}]", "correct the task"
        )

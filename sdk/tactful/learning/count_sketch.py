"""Many numbers in few: each is added to several buckets, with signs as if drawn by coins.

A count sketch (Charikar, Chen and Farach-Colton 2002). It is linear, so sketches can be summed,
and it keeps lengths, but for a hundredth or so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HASHES = 4  # buckets of a number
GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Sketch:
    """How `entries` numbers are told in `buckets`; in 0, each by itself."""

    entries: int
    buckets: int

    def of(self, places: Ints, values: Floats) -> Floats:
        """The sketch of a vector with these values at distinct `places`, and 0 elsewhere."""
        if not self.buckets:
            return np.bincount(places, values, self.entries).astype(np.float64)
        return self._added(spread(places, self.buckets), values)

    def of_all(self, values: Floats) -> Floats:
        """The sketch of a whole vector, shape (entries,)."""
        return self._added(self._spread, values) if self.buckets else values

    def read(self, sketch: Floats) -> Floats:
        """What each number's buckets say of it: itself, with parts of those that share them."""
        if not self.buckets:
            return sketch
        told = np.zeros(self.entries)
        for buckets, signs in self._spread:
            told += signs * sketch[buckets]
        return told / math.sqrt(HASHES)

    def _added(self, spread: list[tuple[Ints, Floats]], values: Floats) -> Floats:
        total = np.zeros(self.buckets)
        for buckets, signs in spread:
            total += np.bincount(buckets, signs * values, self.buckets)
        return total / math.sqrt(HASHES)

    @cached_property
    def _spread(self) -> list[tuple[Ints, Floats]]:
        return spread(np.arange(self.entries), self.buckets)


def spread(places: Ints, buckets: int) -> list[tuple[Ints, Floats]]:
    """The bucket and the sign, -1 or 1, that each hash gives these places."""
    found = []
    for number in range(HASHES):
        bits = split_mix(places * HASHES + number)
        signs = 1.0 - 2.0 * (bits & np.uint64(1)).astype(np.float64)
        found.append(
            (((bits >> np.uint64(1)) % np.uint64(buckets)).astype(np.int64), signs)
        )
    return found


def split_mix(numbers: Ints) -> NDArray[np.uint64]:
    """The outputs of these numbers, from 0, of SplitMix64 (Steele, Lea and Flood 2014), seed 0."""
    state = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(GOLDEN)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))

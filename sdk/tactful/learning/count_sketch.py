"""Count sketches: a long vector in few numbers.

Each entry is added to several buckets with pseudo-random signs (Charikar, Chen and
Farach-Colton 2002). A sketch is linear, so sketches can be summed, and it preserves
norms up to about one percent.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HASHES = 4  # buckets of one entry
GOLDEN = 0x9E3779B97F4A7C15


@dataclass(frozen=True)
class Sketch:
    """Sketch of vectors with `entries` numbers in `buckets` numbers.

    With 0 buckets the vector itself stands for its sketch.
    """

    entries: int
    buckets: int

    def of(self, places: Ints, values: Floats) -> Floats:
        """Return the sketch of a vector with `values` at distinct `places`, 0 elsewhere."""
        if not self.buckets:
            return np.bincount(places, values, self.entries).astype(np.float64)
        return self._bucket_sums(spread(places, self.buckets), values)

    def of_all(self, values: Floats) -> Floats:
        """Return the sketch of a whole vector, shape (entries,)."""
        return self._bucket_sums(self._spread, values) if self.buckets else values

    def read(self, sketch: Floats) -> Floats:
        """Return the estimate of each entry, shape (entries,).

        It is the entry itself plus parts of entries that share its buckets.
        """
        if not self.buckets:
            return sketch
        estimates = np.zeros(self.entries)
        for buckets, signs in self._spread:
            estimates += signs * sketch[buckets]
        return estimates / math.sqrt(HASHES)

    def _bucket_sums(
        self, buckets_and_signs: list[tuple[Ints, Floats]], values: Floats
    ) -> Floats:
        sums = np.zeros(self.buckets)
        for buckets, signs in buckets_and_signs:
            sums += np.bincount(buckets, signs * values, self.buckets)
        return sums / math.sqrt(HASHES)

    @cached_property
    def _spread(self) -> list[tuple[Ints, Floats]]:
        return spread(np.arange(self.entries), self.buckets)


def spread(places: Ints, buckets: int) -> list[tuple[Ints, Floats]]:
    """Return the bucket and the sign (-1 or 1) that each hash gives to `places`."""
    buckets_and_signs = []
    for number in range(HASHES):
        bits = split_mix(places * HASHES + number)
        signs = 1.0 - 2.0 * (bits & np.uint64(1)).astype(np.float64)
        bucket = (bits >> np.uint64(1)) % np.uint64(buckets)
        buckets_and_signs.append((bucket.astype(np.int64), signs))
    return buckets_and_signs


def split_mix(numbers: Ints) -> NDArray[np.uint64]:
    """Return the outputs with these numbers (from 0) of SplitMix64 with seed 0.

    Source: Steele, Lea and Flood 2014.
    """
    state = (numbers.astype(np.uint64) + np.uint64(1)) * np.uint64(GOLDEN)
    state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return state ^ (state >> np.uint64(31))

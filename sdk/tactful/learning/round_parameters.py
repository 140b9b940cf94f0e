"""What leads a round: a guide of public numbers, or the model on trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful.learning.count_sketch import Sketch
from tactful.learning.model import Model, Singles, head_rows, named, read_columns

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Guide:
    """What every device needs for one round: public, signed, the same for all."""

    popularity: Singles  # (n,), h above 0
    weights: Singles  # (n,), above 0
    head: NDArray[np.int32]  # (n_h,), item numbers
    basis: Singles  # (n_h, k), orthonormal columns, orthogonal to popularity
    buckets: int = 0  # that hold the pairs of the head, 0 for one a pair

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Each item's row in the basis, -1 outside the head, shape (n,)."""
        return head_rows(self.head, len(self.weights))

    @cached_property
    def sketch(self) -> Sketch:
        """How a device tells the pairs of the head."""
        return Sketch(len(self.head) * (len(self.head) - 1) // 2, self.buckets)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The guide as named arrays for its file; `from_arrays` reads them back unchanged."""
        return {
            "popularity": self.popularity,
            "weights": self.weights,
            "head": self.head,
            "basis": self.basis,
            "buckets": np.array([self.buckets], dtype=np.int32),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Guide:
        """The guide in `arrays`; raises InvalidInput if shapes or values do not fit together."""
        buckets = named(arrays, "buckets", 1).astype(np.int32, copy=False)
        if len(buckets) != 1 or not buckets[0] >= 0:
            raise InvalidInput(
                "guide.buckets", "it is not one number from 0", "fetch it again"
            )
        return cls(*read_columns(arrays), int(buckets[0]))


RoundParameters: TypeAlias = Guide | Model


def lead_of(kind: str, arrays: Mapping[str, NDArray[np.generic]]) -> RoundParameters:
    """What leads a round of this kind, from its file; raises InvalidInput if it does not fit."""
    return Model.from_arrays(arrays) if kind == "trial" else Guide.from_arrays(arrays)


def guide_of(
    popularity: NDArray[np.floating],
    weights: NDArray[np.floating],
    head: NDArray[np.integer],
    basis: Floats,
    buckets: int = 0,
) -> Guide:
    """The guide in the precision of its file, so that what is published is what is used."""
    return Guide(
        popularity=popularity.astype(np.float32),
        weights=weights.astype(np.float32),
        head=head.astype(np.int32),
        basis=basis.astype(np.float32),
        buckets=buckets,
    )


def expected_diagonal(
    guide: Guide, items: NDArray[np.integer], people: float
) -> Floats:
    """The sums of z_i^2 of these items, as popularity has them: one a person over the head."""
    weighted = guide.weights.astype(np.float64) * guide.popularity
    share: Floats = people * weighted[items] / weighted[guide.head].sum()
    return share

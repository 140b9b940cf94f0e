"""The public parameters of a round: a guide of numbers, or the model under test."""

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
    """Numbers that every device needs for one round: public, signed, the same for all.

    - `popularity`: h, shape (n,), above 0; `weights`: w, shape (n,), above 0.
    - `head`: the item numbers of the head, shape (n_h,).
    - `basis`: orthonormal columns, orthogonal to popularity, shape (n_h, k).
    - `buckets`: of the sketch of the head's pairs; 0 for one number per pair.
    """

    popularity: Singles
    weights: Singles
    head: NDArray[np.int32]
    basis: Singles
    buckets: int = 0

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The row of each item in the basis, -1 outside the head, shape (n,)."""
        return head_rows(self.head, len(self.weights))

    @cached_property
    def sketch(self) -> Sketch:
        """The sketch of the head's pairs."""
        return Sketch(len(self.head) * (len(self.head) - 1) // 2, self.buckets)

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the guide as named arrays for its file, which `from_arrays` reads."""
        return {
            "popularity": self.popularity,
            "weights": self.weights,
            "head": self.head,
            "basis": self.basis,
            "buckets": np.array([self.buckets], dtype=np.int32),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Guide:
        """Return the guide in `arrays`.

        Raise InvalidInput if shapes or values do not fit together.
        """
        buckets = named(arrays, "buckets", 1).astype(np.int32, copy=False)
        if len(buckets) != 1 or not buckets[0] >= 0:
            raise InvalidInput(
                "guide.buckets", "it is not one number from 0", "fetch it again"
            )
        return cls(*read_columns(arrays), int(buckets[0]))


RoundParameters: TypeAlias = Guide | Model


def lead_of(kind: str, arrays: Mapping[str, NDArray[np.generic]]) -> RoundParameters:
    """Return the parameters of a round of this kind from their file.

    Raise InvalidInput if the arrays do not fit together.
    """
    if kind == "trial":
        return Model.from_arrays(arrays)
    return Guide.from_arrays(arrays)


def guide_of(
    popularity: NDArray[np.floating],
    weights: NDArray[np.floating],
    head: NDArray[np.integer],
    basis: Floats,
    buckets: int = 0,
) -> Guide:
    """Return the guide in the precision of its file: what is published is what is used."""
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
    """Return the sums of z_i^2 over people for `items`, as popularity predicts them.

    Each person has 1 in total over the head.
    """
    weighted = guide.weights.astype(np.float64) * guide.popularity
    diagonal: Floats = people * weighted[items] / weighted[guide.head].sum()
    return diagonal

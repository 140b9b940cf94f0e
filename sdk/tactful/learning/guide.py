"""What leads a round: a guide of public numbers, or the model on trial."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tactful.learning.model import Model, Singles, head_rows, read_columns

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Guide:
    """What every device needs for one round: public, signed, the same for all."""

    popularity: Singles  # (n,), h above 0
    weights: Singles  # (n,), above 0
    head: NDArray[np.int32]  # (n_h,), item numbers
    basis: Singles  # (n_h, k), orthonormal columns, orthogonal to popularity

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """Each item's row in the basis, -1 outside the head, shape (n,)."""
        return head_rows(self.head, len(self.weights))

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The guide as named arrays for its file; `from_arrays` reads them back unchanged."""
        return {
            "popularity": self.popularity,
            "weights": self.weights,
            "head": self.head,
            "basis": self.basis,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Guide:
        """The guide in `arrays`; raises InvalidInput if shapes or values do not fit together."""
        return cls(*read_columns(arrays))


Lead: TypeAlias = Guide | Model


def lead_of(kind: str, arrays: Mapping[str, NDArray[np.generic]]) -> Lead:
    """What leads a round of this kind, from its file; raises InvalidInput if it does not fit."""
    return Model.from_arrays(arrays) if kind == "trial" else Guide.from_arrays(arrays)


def guide_of(
    popularity: NDArray[np.floating],
    weights: NDArray[np.floating],
    head: NDArray[np.integer],
    basis: Floats,
) -> Guide:
    """The guide in the precision of its file, so that what is published is what is used."""
    return Guide(
        popularity=popularity.astype(np.float32),
        weights=weights.astype(np.float32),
        head=head.astype(np.int32),
        basis=basis.astype(np.float32),
    )


def expected_diagonal(guide: Guide, items: NDArray[np.integer], people: float) -> Floats:
    """The sums of z_i^2 of these items, as popularity has them: one a person over the head."""
    weighted = guide.weights.astype(np.float64) * guide.popularity
    share: Floats = people * weighted[items] / weighted[guide.head].sum()
    return share

"""What the aggregator makes of noisy sums: the next round's guide, and at last the model.

Spherical subspace iteration (design/learning.md 1-5). Everything here is computed from released
sums and public numbers, so it costs no budget.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful.learning import gate
from tactful.learning.model import Model, Singles, head_rows, read_columns
from tactful.learning.plan import Plan
from tactful.learning.popularity import cleaned, item_weights, largest

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Guide:
    """What every device needs for one round: public, signed, the same for all."""

    popularity: Singles  # (n,), h above 0
    weights: Singles  # (n,), above 0
    head: NDArray[np.int32]  # (n_h,), item numbers
    basis: Singles  # (n_h, k), orthonormal columns, orthogonal to popularity
    whitening: Singles  # (k,), D's diagonal

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
            "whitening": self.whitening,
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Guide:
        """The guide in `arrays`; raises InvalidInput if shapes or values do not fit together."""
        return cls(*read_columns(arrays, "whitening"))


Lead: TypeAlias = Guide | Model  # what leads a round: a guide, or the model on trial


def lead_of(kind: str, arrays: Mapping[str, NDArray[np.generic]]) -> Lead:
    """What leads a round of this kind, from its file; raises InvalidInput if it does not fit."""
    return Model.from_arrays(arrays) if kind == "trial" else Guide.from_arrays(arrays)


def first_guide(noisy_sum: Floats, tau: float, plan: Plan, seed: bytes) -> Guide:
    """The guide after round 0: a random basis, drawn from the public `seed`.

    `tau` is the standard deviation of the noise on each entry of `noisy_sum`, shape (n,).
    """
    popularity = cleaned(checked(noisy_sum, plan.items), tau)
    weights = item_weights(popularity, plan.gamma, plan.floor)
    head = largest(popularity, plan.head)
    public = np.random.default_rng(int.from_bytes(seed, "little"))
    start = public.standard_normal((plan.head, plan.rank))
    start *= np.sqrt(popularity[head] / popularity.max())[:, None]
    basis, _ = np.linalg.qr(without(direction(popularity, weights, head), start))
    return guide_of(popularity, weights, head, basis, np.ones(plan.rank))


def next_guide(noisy_sum: Floats, tau: float, plan: Plan, guide: Guide) -> tuple[Guide, Floats]:
    """The guide after a later round, and the singular values of its sum, shape (k,)."""
    basis, singular = _decompose(noisy_sum, guide)
    whitening = (singular / singular[0]) ** -plan.omega
    return guide_of(guide.popularity, guide.weights, guide.head, basis, whitening), singular


def finish(noisy_sum: Floats, tau: float, plan: Plan, guide: Guide | None) -> Model:
    """The model after the last round; popularity alone if nothing stands out of the noise.

    `guide` is the last round's; None for a plan whose only round is popularity.
    """
    if guide is None:
        popularity = cleaned(checked(noisy_sum, plan.items), tau)
        weights = item_weights(popularity, plan.gamma, plan.floor)
        return Model.of_popularity(popularity, weights, plan.popularity_share)
    basis, singular = _decompose(noisy_sum, guide)
    scale = shrunk(singular, tau, len(guide.head), plan.rho)
    if not (gate.stands_out(singular[0], tau, *basis.shape) and scale.any()):
        return Model.of_popularity(guide.popularity, guide.weights, plan.popularity_share)
    return Model(
        popularity=guide.popularity,
        weights=guide.weights,
        head=guide.head,
        basis=basis.astype(np.float32),
        scale=scale.astype(np.float32),
        popularity_share=plan.popularity_share,
        gain=np.full(len(guide.head), plan.beta, dtype=np.float32),
        neighbours=np.empty((len(guide.head), 0), dtype=np.int32),
        closeness=np.empty((len(guide.head), 0), dtype=np.float32),
    )


def direction(
    popularity: NDArray[np.floating],
    weights: NDArray[np.floating],
    head: NDArray[np.integer],
) -> Floats:
    """q: popularity as the basis sees it, of length 1."""
    weighted = weights[head].astype(np.float64) * popularity[head]
    unit: Floats = weighted / np.sqrt(np.square(weighted).sum())
    return unit


def without(unit: Floats, matrix: Floats) -> Floats:
    """`matrix` with its part along `unit` taken out of every column."""
    orthogonal: Floats = matrix - np.outer(unit, unit @ matrix)
    return orthogonal


def _decompose(noisy_sum: Floats, guide: Guide) -> tuple[Floats, Floats]:
    """The left singular vectors and the singular values of a sum, popularity taken out."""
    matrix = checked(noisy_sum, guide.basis.size).reshape(guide.basis.shape)
    popular = direction(guide.popularity, guide.weights, guide.head)
    basis, singular, _ = np.linalg.svd(without(popular, matrix), full_matrices=False)
    return basis, np.maximum(singular, np.finfo(np.float64).tiny)


def shrunk(singular: Floats, tau: float, head: int, rho: float) -> Floats:
    """How far to trust each direction, in [0, 1]; all 0 if none exceeds the noise.

    `c` estimates the squared cosine between the noisy and the true direction (section 3).
    """
    strength = np.sqrt(np.maximum(np.square(singular) - tau * tau * head, 0.0))
    if not strength.any():
        return strength
    alignment = np.square(strength / singular)
    gain = alignment * strength / (strength + rho * strength.max())
    scale: Floats = gain / gain.max()
    return scale


def guide_of(
    popularity: NDArray[np.floating],
    weights: NDArray[np.floating],
    head: NDArray[np.integer],
    basis: Floats,
    whitening: Floats,
) -> Guide:
    """The guide in the precision of its file, so that what is published is what is used."""
    return Guide(
        popularity=popularity.astype(np.float32),
        weights=weights.astype(np.float32),
        head=head.astype(np.int32),
        basis=basis.astype(np.float32),
        whitening=whitening.astype(np.float32),
    )


def checked(noisy_sum: Floats, entries: int) -> Floats:
    """The sum, if it has so many finite entries; raises InvalidInput."""
    if noisy_sum.shape != (entries,) or not np.isfinite(noisy_sum).all():
        raise InvalidInput("sum", f"it is not {entries} finite numbers", "collect the round again")
    return noisy_sum

"""Implicit ALS without privacy (Hu, Koren, Volinsky 2008), from the library `implicit`.

It is an optional extra: `pip install 'tactful-lab[ials]'`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful_lab.data_sets.loading import Dataset
from tactful_lab.ranking_metrics import Holdout, evaluate

if TYPE_CHECKING:
    from implicit.cpu.als import AlternatingLeastSquares
    from scipy.sparse import csr_matrix

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FACTORS, SWEEPS = 64, 12
CONFIDENCES = (2.0, 5.0)  # of interactions; all other pairs have confidence 1
RIDGES = (1.0, 10.0, 30.0)


def available() -> bool:
    """Return True if the library `implicit` is installed."""
    return find_spec("implicit") is not None


@dataclass(frozen=True, eq=False)
class Ials:
    """A fitted model of the library; a person's factors are solved from their items."""

    model: AlternatingLeastSquares
    items: int

    def __call__(self, histories: Sequence[Ints]) -> Floats:
        """Return the products of user and item factors, shape (people, items)."""
        people = np.arange(len(histories))
        interactions = interaction_matrix(histories, self.items)
        factors = self.model.recalculate_user(people, interactions)
        scores: Floats = (factors @ self.model.item_factors.T).astype(np.float64)
        return scores


def best_ials(dataset: Dataset, users: Ints, validation: Holdout) -> Ials:
    """Fit iALS to `users` and choose its parameters on the validation people.

    The confidence and the ridge are those with the highest NDCG@100. Raises
    InvalidInput if the library is not installed.
    """
    if not available():
        raise InvalidInput(
            "--methods",
            "ials needs the library implicit, which is not installed",
            "pip install 'tactful-lab[ials]'",
        )
    interactions = interaction_matrix(dataset.histories(users), dataset.items)
    candidates = [
        Ials(_fit(interactions, confidence, ridge), dataset.items)
        for confidence in CONFIDENCES
        for ridge in RIDGES
    ]
    return max(candidates, key=lambda model: evaluate(model, validation).ndcg_at_100)


def interaction_matrix(histories: Sequence[Ints], items: int) -> csr_matrix:
    """Return a sparse matrix, shape (people, items), with 1 for each interaction."""
    from scipy.sparse import csr_matrix

    bounds = np.cumsum([0, *(len(history) for history in histories)])
    columns = np.concatenate(histories)
    values = np.ones(len(columns), dtype=np.float32)
    return csr_matrix((values, columns, bounds), shape=(len(histories), items))


def _fit(
    interactions: csr_matrix, confidence: float, ridge: float
) -> AlternatingLeastSquares:
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    # The library runs its own threads and is slowed down by those of BLAS.
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=FACTORS,
            alpha=confidence,
            regularization=ridge,
            iterations=SWEEPS,
            random_state=0,
            use_cg=False,
        )
        model.fit(interactions, show_progress=False)
    return model

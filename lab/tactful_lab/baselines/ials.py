"""Implicit ALS without privacy (Hu, Koren, Volinsky 2008), by the `implicit` library.

An optional extra: `pip install 'tactful-lab[ials]'`.
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
CONFIDENCES = (2.0, 5.0)  # of what was chosen; what was not has 1
RIDGES = (1.0, 10.0, 30.0)


def available() -> bool:
    """True where the library is installed."""
    return find_spec("implicit") is not None


@dataclass(frozen=True, eq=False)
class Ials:
    """A fitted library model; a person's factors are solved from their items."""

    model: AlternatingLeastSquares
    items: int

    def __call__(self, histories: Sequence[Ints]) -> Floats:
        """Products of factors, shape (people, items)."""
        people = np.arange(len(histories))
        factors = self.model.recalculate_user(people, matrix_of(histories, self.items))
        scores: Floats = (factors @ self.model.item_factors.T).astype(np.float64)
        return scores


def best_ials(dataset: Dataset, users: Ints, validation: Holdout) -> Ials:
    """iALS of `users` with the confidence and ridge that rank best for the validation people.

    Raises InvalidInput where the library is not installed.
    """
    if not available():
        raise InvalidInput(
            "--methods", "ials needs a library", "pip install 'tactful-lab[ials]'"
        )
    known = matrix_of(dataset.histories(users), dataset.items)
    candidates = [
        Ials(_fitted(known, confidence, ridge), dataset.items)
        for confidence in CONFIDENCES
        for ridge in RIDGES
    ]
    return max(candidates, key=lambda one: evaluate(one, validation).ndcg_at_100)


def matrix_of(histories: Sequence[Ints], items: int) -> csr_matrix:
    """Who has what, as the library takes it."""
    from scipy.sparse import csr_matrix

    ends = np.cumsum([0, *(len(history) for history in histories)])
    chosen = np.concatenate(histories)
    ones = np.ones(len(chosen), dtype=np.float32)
    return csr_matrix((ones, chosen, ends), shape=(len(histories), items))


def _fitted(
    known: csr_matrix, confidence: float, ridge: float
) -> AlternatingLeastSquares:
    from implicit.cpu.als import AlternatingLeastSquares
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=FACTORS,
            alpha=confidence,
            regularization=ridge,
            iterations=SWEEPS,
            random_state=0,
            use_cg=False,
        )
        model.fit(known, show_progress=False)
    return model

"""Baselines without noise: popularity, EASE and content similarity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful.learning.item_features import likeness
from tactful.learning.model import Model
from tactful_lab.data_sets.loading import Dataset
from tactful_lab.ranking_metrics import Holdout, Scorer, evaluate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

# Ridges of EASE to choose from; small data sets need a small one.
LAMBDAS = (25.0, 50.0, 100.0, 200.0, 400.0, 800.0)


@dataclass(frozen=True, eq=False)
class Popularity:
    """The popularity baseline: the same ranking for everyone, by `counts`."""

    counts: Floats  # (items,)

    def __call__(self, histories: Sequence[Ints]) -> Floats:
        """Return the counts, once per person."""
        return np.broadcast_to(self.counts, (len(histories), len(self.counts)))


@dataclass(frozen=True, eq=False)
class Ease:
    """Item-to-item weights, shape (items, items), diagonal 0 (Steck 2019)."""

    weights: NDArray[np.float32]

    def __call__(self, histories: Sequence[Ints]) -> Floats:
        """Return for each person the sum of the weights of their items."""
        scores = rows_of(histories, len(self.weights)).astype(np.float32) @ self.weights
        return scores.astype(np.float64)


@dataclass(frozen=True, eq=False)
class Personal:
    """The scores that a device computes with the released model, for many people."""

    model: Model

    def __call__(self, histories: Sequence[Ints]) -> Floats:
        """Return the personal scores of each person."""
        return np.array([self.model.personal(history) for history in histories])


def by_words(dataset: Dataset) -> Ease:
    """Return the content baseline: item similarity by the catalog's words.

    It uses nobody's history, so it costs no privacy. Raises InvalidInput for a data set
    without item features.
    """
    if dataset.words is None:
        raise InvalidInput(
            "dataset",
            f"{dataset.name} has no item features",
            "leave the method words out",
        )
    similarity = likeness(dataset.words)
    np.fill_diagonal(similarity, 0.0)
    return Ease(similarity)


def popularity(dataset: Dataset, users: Ints) -> Popularity:
    """Count how many of `users` have each item."""
    items = np.concatenate(dataset.histories(users))
    return Popularity(np.bincount(items, minlength=dataset.items).astype(np.float64))


def best_ease(dataset: Dataset, users: Ints, validation: Holdout) -> Ease:
    """Fit EASE to `users` with the ridge that ranks best for the validation people."""
    # The counts do not depend on the ridge, so they are computed once.
    counts = co_occurrence(dataset, users)
    candidates = [ease(counts, ridge) for ridge in LAMBDAS]
    return max(candidates, key=lambda model: evaluate(model, validation).ndcg_at_100)


def ease(counts: Floats, ridge: float) -> Ease:
    """Return EASE: B_ij = -P_ij / P_jj with P the inverse of `counts` plus a ridge."""
    inverse = np.linalg.inv(counts + ridge * np.eye(len(counts)))
    weights = (-inverse / np.diag(inverse)).astype(np.float32)
    np.fill_diagonal(weights, 0.0)
    return Ease(weights)


def co_occurrence(dataset: Dataset, users: Ints, chunk: int = 2_000) -> Floats:
    """Count how many of `users` have both items of a pair, shape (items, items).

    `chunk` people are in memory at a time.
    """
    counts = np.zeros((dataset.items, dataset.items))
    for start in range(0, len(users), chunk):
        rows = rows_of(dataset.histories(users[start : start + chunk]), dataset.items)
        counts += rows.astype(np.float32).T @ rows.astype(np.float32)
    return counts


def rows_of(histories: Sequence[Ints], items: int) -> NDArray[np.bool_]:
    """Return a matrix with True for each item of each person, shape (people, items)."""
    rows = np.zeros((len(histories), items), dtype=np.bool_)
    for row, history in zip(rows, histories, strict=True):
        row[history] = True
    return rows


def scorer(model: Model) -> Scorer:
    """Return the model as a device uses it; the standard score if it has no other."""
    return Personal(model) if model.kind == "personal" else Popularity(model.standard())

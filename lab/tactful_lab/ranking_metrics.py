"""Ranking quality for people who took no part in the training.

The protocol is strong generalization with a holdout: see docs/spec/learning.md 8.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tactful_lab.data_sets.loading import Dataset

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HOLDOUT_SHARE = 0.2  # of each person's items; at least one item
VALIDATION_SEED, TEST_SEED = 1, 2
RANKING_DEPTH = 100  # places of a ranking that are evaluated
BATCH = 256  # people scored at a time


class Scorer(Protocol):
    """A recommender that scores all items for people whose histories it is given."""

    def __call__(self, histories: Sequence[Ints]) -> Floats:
        """Return scores, shape (people, items); higher is better."""
        ...


@dataclass(frozen=True)
class Holdout:
    """The items of each person in two parts: a recommender sees only `visible`."""

    visible: tuple[Ints, ...]
    hidden: tuple[Ints, ...]


@dataclass(frozen=True)
class Utility:
    """Means over people of three ranking metrics, each in [0, 1]."""

    recall_at_20: float
    recall_at_50: float
    ndcg_at_100: float


def hold_out(dataset: Dataset, users: Ints, seed: int) -> Holdout:
    """Hide a random fifth of the items of each of `users`."""
    generator = np.random.default_rng(seed)
    visible, hidden = [], []
    for history in dataset.histories(users):
        shuffled = generator.permutation(history)
        hidden_count = max(int(HOLDOUT_SHARE * len(history)), 1)
        hidden.append(shuffled[:hidden_count])
        visible.append(shuffled[hidden_count:])
    return Holdout(tuple(visible), tuple(hidden))


def evaluate(scorer: Scorer, holdout: Holdout) -> Utility:
    """Return the mean utility of the rankings of `scorer`, without visible items."""
    metrics_by_batch = []
    for start in range(0, len(holdout.visible), BATCH):
        visible = holdout.visible[start : start + BATCH]
        hidden = holdout.hidden[start : start + BATCH]
        ranking = top_items(scorer(visible), visible)
        metrics_by_batch.append(metrics(ranking, hidden))
    means = np.concatenate(metrics_by_batch).mean(axis=0)
    return Utility(*(float(mean) for mean in means))


def top_items(scores: Floats, excluded: Sequence[Ints]) -> Ints:
    """Return the best 100 items of each person, best first, without `excluded`.

    Items with the same score are in the order of their numbers.
    """
    scores = np.array(scores, dtype=np.float64)
    for row, items in zip(scores, excluded, strict=True):
        row[items] = -np.inf
    depth = min(RANKING_DEPTH, scores.shape[1])
    # Partition first: it is faster than sorting a whole catalog. The positions are
    # then sorted so that the stable sort breaks ties by item number.
    candidates = np.argpartition(-scores, depth - 1, axis=1)[:, :depth]
    best = np.sort(candidates, axis=1)
    best_scores = np.take_along_axis(scores, best, axis=1)
    order = np.argsort(-best_scores, axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)


def metrics(ranking: Ints, hidden: Sequence[Ints]) -> Floats:
    """Return recall@20, recall@50 and NDCG@100 of each person, shape (people, 3).

    Recall@K divides by the most hits that K places can hold. The ideal ranking of NDCG
    has all hidden items first, at most 100.
    """
    hits = np.array(
        [np.isin(row, items) for row, items in zip(ranking, hidden, strict=True)]
    )
    hidden_counts = np.array([len(items) for items in hidden])
    discount = 1 / np.log2(np.arange(2, ranking.shape[1] + 2))
    ideal_hits = np.minimum(hidden_counts, len(discount))
    ideal_gain = np.cumsum(discount)[ideal_hits - 1]
    recalls = [
        hits[:, :places].sum(axis=1) / np.minimum(hidden_counts, places)
        for places in (20, 50)
    ]
    # Gains are added in the same order as the ideal gain, so that a perfect ranking
    # has an NDCG of exactly 1 on every processor.
    gain = np.cumsum(hits * discount, axis=1)[:, -1]
    return np.column_stack([*recalls, gain / ideal_gain])

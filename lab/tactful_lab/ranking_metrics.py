"""How good a ranking is for people who were not in the training (design/learning.md 8)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tactful_lab.data_sets.loading import Dataset

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

HELD_OUT = 0.2  # of each person's items, at least one
VALIDATION_SEED, TEST_SEED = 1, 2
DEPTH = 100  # places of the ranking that count
BATCH = 256  # people scored at a time


class Scorer(Protocol):
    """Scores all items for people of whom only these items are known."""

    def __call__(self, histories: Sequence[Ints]) -> Floats:
        """Scores, shape (people, items); higher is better."""
        ...


@dataclass(frozen=True)
class Holdout:
    """What is known of each person, and what a good ranking would find."""

    known: tuple[Ints, ...]
    hidden: tuple[Ints, ...]


@dataclass(frozen=True)
class Utility:
    """Means over people, each in [0, 1]."""

    recall_at_20: float
    recall_at_50: float
    ndcg_at_100: float


def hold_out(dataset: Dataset, users: Ints, seed: int) -> Holdout:
    """Hide a random fifth of the items of each of `users`."""
    coin = np.random.default_rng(seed)
    known, hidden = [], []
    for history in dataset.histories(users):
        shuffled = coin.permutation(history)
        cut = max(int(HELD_OUT * len(history)), 1)
        hidden.append(shuffled[:cut])
        known.append(shuffled[cut:])
    return Holdout(tuple(known), tuple(hidden))


def evaluate(scorer: Scorer, holdout: Holdout) -> Utility:
    """The mean utility of the rankings `scorer` gives, known items left out."""
    rows = []
    for start in range(0, len(holdout.known), BATCH):
        known = holdout.known[start : start + BATCH]
        ranking = top(scorer(known), known)
        rows.append(metrics(ranking, holdout.hidden[start : start + BATCH]))
    return Utility(*(float(mean) for mean in np.concatenate(rows).mean(axis=0)))


def top(scores: Floats, known: Sequence[Ints]) -> Ints:
    """The best 100 items per person, best first, without the known ones; ties by number."""
    scores = np.array(scores, dtype=np.float64)
    for row, items in zip(scores, known, strict=True):
        row[items] = -np.inf
    depth = min(DEPTH, scores.shape[1])
    best = np.sort(np.argpartition(-scores, depth - 1, axis=1)[:, :depth], axis=1)
    order = np.argsort(-np.take_along_axis(scores, best, axis=1), axis=1, kind="stable")
    return np.take_along_axis(best, order, axis=1)


def metrics(ranking: Ints, hidden: Sequence[Ints]) -> Floats:
    """Recall at 20 and 50 and NDCG at 100 per person, shape (people, 3).

    Recall counts hits over the most that K places can hold; the ideal ranking of NDCG has all
    hidden items first, at most 100.
    """
    hits = np.array(
        [np.isin(row, items) for row, items in zip(ranking, hidden, strict=True)]
    )
    counts = np.array([len(items) for items in hidden])
    discount = 1 / np.log2(np.arange(2, ranking.shape[1] + 2))
    ideal = np.cumsum(discount)[np.minimum(counts, len(discount)) - 1]
    recalls = [
        hits[:, :places].sum(axis=1) / np.minimum(counts, places) for places in (20, 50)
    ]
    # added in the order of the ideal, so that a perfect ranking has exactly 1 on every processor
    gained = np.cumsum(hits * discount, axis=1)[:, -1]
    return np.column_stack([*recalls, gained / ideal])

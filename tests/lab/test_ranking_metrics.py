"""Ranking metrics equal values computed by hand."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tactful_lab.data_sets.loading import load, split
from tactful_lab.ranking_metrics import (
    TEST_SEED,
    Holdout,
    evaluate,
    hold_out,
    metrics,
    top_items,
)


def test_recall_and_ndcg_equal_values_computed_by_hand() -> None:
    ranking = np.array([[5, 1, 7, 2], [0, 3, 4, 6]])
    hidden = [np.array([1, 2, 9]), np.array([8])]

    recall_20, recall_50, ndcg = metrics(ranking, hidden)[0]

    assert recall_20 == recall_50 == pytest.approx(2 / 3)
    ideal = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg == pytest.approx((1 / math.log2(3) + 1 / math.log2(5)) / ideal)
    assert metrics(ranking, hidden)[1].tolist() == [0, 0, 0]


def test_recall_is_relative_to_the_number_of_places() -> None:
    ranking = np.arange(100)[None, :]

    figures = metrics(ranking, [np.arange(30)])[0]

    assert figures.tolist() == [1.0, 1.0, 1.0]


def test_excluded_items_are_not_ranked_and_ties_are_ordered_by_number() -> None:
    scores = np.array([[1.0, 9.0, 5.0, 5.0, 5.0]])

    assert top_items(scores, [np.array([1])])[0].tolist() == [2, 3, 4, 0, 1]
    assert scores[0, 1] == 9.0


@given(seed=st.integers(0, 99))
def test_top_items_are_the_first_hundred_of_all_sorted_items(seed: int) -> None:
    scores = np.random.default_rng(seed).standard_normal((3, 250))
    nothing = [np.array([], dtype=np.int64)] * 3

    assert np.array_equal(
        top_items(scores, nothing), np.argsort(-scores, axis=1)[:, :100]
    )


def test_an_oracle_has_utility_1_and_its_opposite_0() -> None:
    hidden = (np.array([3, 4]), np.array([200]))
    holdout = Holdout((np.array([1]), np.array([2])), hidden)

    class Oracle:
        def __init__(self, sign: float) -> None:
            self.sign = sign

        def __call__(
            self, histories: Sequence[NDArray[np.int64]]
        ) -> NDArray[np.float64]:
            scores = np.zeros((2, 300))
            for row, items in zip(scores, hidden, strict=True):
                row[items] = self.sign
            return scores

    best, worst = (evaluate(Oracle(sign), holdout) for sign in (1.0, -1.0))

    assert vars(best) == {"recall_at_20": 1.0, "recall_at_50": 1.0, "ndcg_at_100": 1.0}
    assert worst.ndcg_at_100 == 0


def test_a_holdout_hides_a_fifth_of_each_history() -> None:
    dataset = load("msweb")
    users = split(dataset).test

    holdout = hold_out(dataset, users, TEST_SEED)

    for history, visible, hidden in zip(
        dataset.histories(users), holdout.visible, holdout.hidden, strict=True
    ):
        assert len(hidden) == max(len(history) // 5, 1)
        assert sorted([*visible, *hidden]) == sorted(history)

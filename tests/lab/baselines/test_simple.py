"""Popularity and EASE equal their definitions."""

import numpy as np

from tactful_lab.baselines.simple import (
    Ease,
    Popularity,
    co_occurrence,
    ease,
    popularity,
)
from tactful_lab.data_sets.loading import load, split


def test_ease_weights_solve_a_ridge_regression_per_item() -> None:
    rows = (np.random.default_rng(0).random((200, 12)) < 0.3).astype(float)

    weights = ease(rows.T @ rows, 5.0).weights

    for item in range(12):
        others = np.delete(np.arange(12), item)
        gram = rows[:, others].T @ rows[:, others] + 5.0 * np.eye(11)
        expected = np.linalg.solve(gram, rows[:, others].T @ rows[:, item])
        assert np.allclose(weights[others, item], expected, atol=1e-5)
    assert not np.diag(weights).any()


def test_co_occurrence_does_not_depend_on_the_chunk_size() -> None:
    dataset = load("msweb")
    users = split(dataset).train[:500]

    assert np.array_equal(
        co_occurrence(dataset, users, 64), co_occurrence(dataset, users)
    )
    assert np.array_equal(
        np.diag(co_occurrence(dataset, users)), popularity(dataset, users).counts
    )


def test_baseline_scorers_return_a_row_per_person() -> None:
    histories = [np.array([0]), np.array([1, 2])]

    assert Popularity(np.arange(3.0))(histories).shape == (2, 3)
    assert Ease(np.eye(3, dtype=np.float32))(histories).tolist() == [
        [1, 0, 0],
        [0, 1, 1],
    ]

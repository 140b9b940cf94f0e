"""A contribution is a point on the sphere, made of one person's items and public numbers."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.errors import InvalidInput
from tactful.learning.client.contribution import (
    contribution,
    popularity_vector,
    subspace_vector,
)
from tactful.learning.round_parameters import Guide
from tactful_aggregator.learning.subspace import first_guide
from tactful_aggregator.learning.training_plan import Plan

N, HEAD, RANK = 60, 24, 4
PLAN = Plan(items=N, head=HEAD, rank=RANK, shares=(0.1, 0.3, 0.6))
histories = st.lists(st.integers(0, N - 1), max_size=40, unique=True).map(np.array)


def guide_of(seed: int = 0) -> Guide:
    popularity = np.random.default_rng(seed).gamma(1.0, 20.0, N)
    return first_guide(popularity, 0.5, PLAN, b"public seed")


@given(items=histories)
def test_every_contribution_has_length_one_or_zero(items: np.ndarray) -> None:
    guide = guide_of()

    counted, learned = popularity_vector(items, N), subspace_vector(items, guide)

    assert counted.shape == (N,)
    assert learned.shape == (HEAD * RANK,)
    assert np.linalg.norm(counted) == pytest.approx(
        1.0 if len(items) else 0.0, abs=1e-6
    )
    inside = np.isin(items, guide.head).any()
    assert np.linalg.norm(learned) == pytest.approx(1.0 if inside else 0.0, abs=1e-6)


def test_an_empty_history_and_one_outside_the_head_give_zeros_of_the_same_shape() -> (
    None
):
    guide = guide_of()
    outside = np.setdiff1d(np.arange(N), guide.head)
    nothing = np.array([], dtype=np.int64)

    for vector in (subspace_vector(nothing, guide), subspace_vector(outside, guide)):
        assert vector.shape == (HEAD * RANK,)
        assert not vector.any()
    assert not popularity_vector(nothing, N).any()


@given(items=histories)
def test_a_contribution_is_the_formula_of_the_design(items: np.ndarray) -> None:
    guide = guide_of()
    x = np.zeros(N)
    x[items.astype(int)] = 1.0
    z = (guide.weights.astype(float) * x)[guide.head]
    z = z / (np.linalg.norm(z) or 1.0)
    s = guide.basis.astype(float).T @ z

    expected = np.outer(z, s / (np.linalg.norm(s) or 1.0))

    assert np.allclose(
        subspace_vector(items, guide).reshape(HEAD, RANK), expected, atol=1e-12
    )


@given(items=histories, seed=st.integers(0, 9))
def test_order_and_repeats_change_no_bit(items: np.ndarray, seed: int) -> None:
    guide = guide_of()
    shuffled = np.random.default_rng(seed).permutation(
        np.concatenate([items, items[:3]])
    )

    for kind in ("popularity", "subspace"):
        assert np.array_equal(
            contribution(kind, items, N, guide), contribution(kind, shuffled, N, guide)
        )


@given(items=histories.filter(len))
def test_rows_outside_the_history_are_zero(items: np.ndarray) -> None:
    guide = guide_of()

    matrix = subspace_vector(items, guide).reshape(HEAD, RANK)

    assert set(guide.head[matrix.any(axis=1)]) <= set(items.tolist())


@pytest.mark.parametrize("wrong", [[-1], [N], [3, N + 5]])
def test_an_item_that_is_not_in_the_catalog_is_refused(wrong: list[int]) -> None:
    for kind in ("popularity", "subspace"):
        with pytest.raises(InvalidInput, match="items"):
            contribution(kind, np.array(wrong), N, guide_of())


def test_an_unknown_kind_or_a_missing_guide_is_refused() -> None:
    with pytest.raises(InvalidInput, match="kind"):
        contribution("gradient", np.array([1]), N, None)
    with pytest.raises(InvalidInput, match="guide"):
        contribution("subspace", np.array([1]), N, None)
    with pytest.raises(InvalidInput, match="guide"):
        contribution("subspace", np.array([1]), N + 1, guide_of())

"""From noisy sums to guide and model: orthonormal, free of popularity, and no model from noise."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful.learning.client.contribution import popularity_vector, subspace_vector
from tactful.learning.model import Model
from tactful.learning.round_parameters import Guide
from tactful_aggregator.learning.popularity_estimate import cleaned
from tactful_aggregator.learning.rounds import NoisySum, learn
from tactful_aggregator.learning.subspace import (
    above_noise,
    finish,
    first_guide,
    next_guide,
)
from tactful_aggregator.learning.training_plan import Plan, popularity_plan

N = 80
PLAN = Plan(items=N, head=60, rank=3, shares=(0.1, 0.3, 0.6), mean_root=3.4)
SMALL = replace(PLAN, head=40, rank=5)

seeds = st.integers(0, 1_000)


def crowd(people: int = 400) -> list[NDArray[np.int64]]:
    """People of four tastes, each with items of one quarter of the catalog and a few others."""
    generator = np.random.default_rng(0)
    quarters = [np.arange(N)[taste::4] for taste in range(4)]
    return [
        np.unique(
            np.concatenate(
                [generator.choice(quarters[one % 4], 10), generator.integers(0, N, 2)]
            )
        )
        for one in range(people)
    ]


def trained(tau: float, seed: int = 0) -> Model:
    """The model of the crowd when every sum carries noise of this size."""
    people, noise = crowd(), np.random.default_rng(seed)
    total = sum(popularity_vector(items, N) for items in people)
    guide = first_guide(total + tau * noise.standard_normal(N), tau, PLAN, b"seed")
    for _ in range(2):
        total = sum(subspace_vector(items, guide) for items in people)
        noisy = total + tau * noise.standard_normal(total.size)
        last, guide = guide, next_guide(noisy, guide)
    return finish(noisy, tau, PLAN, last, len(people))


def quarter_of_the_best(
    model: Model, person: NDArray[np.int64], places: int = 8
) -> float:
    scores = model.personal(person)
    scores[person] = -np.inf
    return float((np.argsort(-scores)[:places] % 4 == person[0] % 4).mean())


def popularity_direction(guide: Guide) -> NDArray[np.float64]:
    direction = guide.weights[guide.head].astype(float) * guide.popularity[guide.head]
    return direction / np.linalg.norm(direction)


@given(seed=seeds, tau=st.floats(0.01, 50))
@settings(max_examples=40)
def test_every_basis_is_orthonormal_and_free_of_popularity(
    seed: int, tau: float
) -> None:
    noise = np.random.default_rng(seed)
    first = first_guide(
        40 * noise.random(N) + tau * noise.standard_normal(N), tau, SMALL, b"x"
    )

    second = next_guide(tau * noise.standard_normal(200), first)

    for guide in (first, second):
        assert np.allclose(guide.basis.T @ guide.basis, np.eye(5), atol=1e-5)
        assert np.allclose(popularity_direction(guide) @ guide.basis, 0, atol=1e-5)


@given(seed=seeds, tau=st.floats(0.01, 1000))
@settings(max_examples=40)
def test_cleaned_popularity_is_above_zero_and_keeps_the_order(
    seed: int, tau: float
) -> None:
    noisy = np.random.default_rng(seed).standard_normal(N) * 100

    above = cleaned(noisy, tau)

    assert (above > 0).all()
    assert (np.diff(above[np.argsort(noisy)]) >= -1e-9 * above.max()).all()


def test_cleaning_leaves_what_stands_far_above_the_noise() -> None:
    assert cleaned(np.array([100.0, -1e6]), 1.0)[0] == pytest.approx(100.0)


def test_the_head_holds_the_most_popular_items() -> None:
    popularity = np.arange(N) * 10.0

    guide = first_guide(popularity, 0.1, SMALL, b"x")

    assert guide.head.tolist() == list(range(N - 40, N))
    assert (guide.rows[guide.head] == np.arange(40)).all()
    assert (guide.rows[: N - 40] == -1).all()


def test_the_same_public_seed_gives_the_same_guide() -> None:
    one, same, other = (
        first_guide(np.arange(N) * 1.0, 1.0, PLAN, seed) for seed in (b"a", b"a", b"b")
    )

    assert np.array_equal(one.basis, same.basis)
    assert not np.array_equal(one.basis, other.basis)


def test_a_planted_taste_is_found_without_and_with_noise() -> None:
    person = np.arange(2, N, 4)[:4]

    for tau in (1e-6, 0.5):
        model = trained(tau)
        assert model.kind == "personal"
        assert quarter_of_the_best(model, person) >= 0.75


@given(seed=st.integers(0, 30))
@settings(max_examples=10)
def test_noise_alone_never_becomes_a_personal_model(seed: int) -> None:
    """Noise passes once in a thousand sums; the seeds are fixed."""
    assert trained(tau=1e5, seed=seed).kind == "popularity"


def test_without_the_gate_noise_would_become_a_personal_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        "tactful_aggregator.learning.release_gate.stands_out", lambda *_: True
    )

    assert any(trained(tau=1e5, seed=seed).kind == "personal" for seed in range(5))


def test_a_plan_of_popularity_ends_after_its_first_round() -> None:
    here = NoisySum(np.arange(N) * 5.0, 1.0, 400, b"x")

    _plan, model = learn(popularity_plan(N), 0, None, here)

    assert isinstance(model, Model)
    assert model.kind == "popularity"
    assert model.standard().argmax() == N - 1
    assert np.array_equal(model.personal(np.array([1, 2])), model.standard())


def test_directions_below_the_noise_get_no_weight() -> None:
    strength = above_noise(np.array([300.0, 30.0, 11.0, 9.9, 1.0]), tau=1.0, head=100)

    assert strength[0] > 0.99 * 300
    assert 20 < strength[1] < 30
    assert 0 < strength[2] < 0.1 * 11
    assert not strength[3:].any()


def test_a_guide_survives_being_written_and_read() -> None:
    guide = first_guide(np.arange(N) * 1.0, 1.0, PLAN, b"x")

    again = Guide.from_arrays(guide.arrays())

    person = np.array([70, 75, 79])
    assert np.array_equal(
        subspace_vector(person, guide), subspace_vector(person, again)
    )


@pytest.mark.parametrize("wrong", [np.zeros(N - 1), np.full(N, np.nan)])
def test_a_sum_that_does_not_fit_is_refused(wrong: NDArray[np.float64]) -> None:
    with pytest.raises(InvalidInput, match="sum"):
        first_guide(wrong, 1.0, PLAN, b"x")
    with pytest.raises(InvalidInput, match="sum"):
        finish(wrong, 1.0, PLAN, first_guide(np.ones(N), 1.0, PLAN, b"x"), 9)


def test_a_catalog_smaller_than_the_head_is_learned_whole() -> None:
    plan = replace(PLAN, head=N)

    guide = first_guide(np.arange(N) * 1.0, 1.0, plan, b"x")

    assert guide.basis.shape == (N, 3)

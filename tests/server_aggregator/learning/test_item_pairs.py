"""From pairs to a model: vectors of length 1, noise taken out, EASE where there is none."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful.learning.client.contribution import (
    contribution,
    gram_vector,
    popularity_vector,
)
from tactful.learning.holdout_test import (
    HIDDEN,
    MAX_GAIN,
    MIXES,
    decided,
    gains,
    hidden,
    parted,
)
from tactful.learning.model import Model
from tactful.learning.round_parameters import Guide
from tactful_aggregator.learning.denoise import (
    above_the_edge,
    low_rank,
    posterior_mean,
    shrunk,
    symmetric,
)
from tactful_aggregator.learning.ease import ease, factored
from tactful_aggregator.learning.item_pairs import hats
from tactful_aggregator.learning.rounds import NoisySum, learn
from tactful_aggregator.learning.training_plan import Plan, choose_plan

N, PEOPLE = 60, 500
histories = st.lists(st.integers(0, N - 1), max_size=30, unique=True).map(
    lambda items: np.array(items, dtype=np.int64)
)
Ints = NDArray[np.int64]
Told = tuple[tuple[str, ...], ...]


@cache
def crowd(people: int = PEOPLE) -> list[Ints]:
    """People of four tastes, each with items of one quarter of the catalog and a few others."""
    generator = np.random.default_rng(0)
    quarters = [np.arange(N)[taste::4] for taste in range(4)]
    return [
        np.unique(
            np.concatenate(
                [generator.choice(quarters[one % 4], 7), generator.integers(0, N, 2)]
            )
        )
        for one in range(people)
    ]


def words_of_quarters() -> Told:
    return tuple((f"taste{number % 4}", f"item{number}") for number in range(N))


def plan_of(budget: float, *, described: bool = False, most: int | None = None) -> Plan:
    return choose_plan(N, PEOPLE, budget, 1.0, described=described, most=most)


@cache
def trained(
    tau: float,
    *,
    words: Told | None = None,
    seed: int = 0,
    budget: float = 5.0,
    most: int | None = None,
) -> tuple[Plan, Model]:
    """All rounds of the crowd when every sum carries noise of this size."""
    plan, lead, noise = (
        plan_of(budget, described=words is not None, most=most),
        None,
        np.random.default_rng(seed),
    )
    number = 0
    while number < plan.rounds:
        kind = plan.kind(number)
        led = None if kind == "popularity" else lead
        total = sum(contribution(kind, items, N, led) for items in crowd())
        noisy = total + tau * noise.standard_normal(len(total))
        plan, lead = learn(
            plan, number, lead, NoisySum(noisy, tau, PEOPLE, b"seed"), words
        )
        number += 1
    assert isinstance(lead, Model)
    return plan, lead


def quarter_of_the_best(model: Model, person: Ints, places: int = 6) -> float:
    scores = model.personal(person)
    scores[person] = -np.inf
    taste = np.bincount(person % 4).argmax()
    return float((np.argsort(-scores)[:places] % 4 == taste).mean())


def guide_of(head: int = 40) -> Guide:
    popularity = np.linspace(9, 1, N).astype(np.float32)
    return Guide(
        popularity=popularity,
        weights=(popularity / 9) ** np.float32(-0.25),
        head=np.arange(head, dtype=np.int32),
        basis=np.empty((head, 0), dtype=np.float32),
    )


@given(items=histories)
def test_pairs_are_those_of_the_head_in_a_vector_of_length_1_or_0(items: Ints) -> None:
    guide, inside = guide_of(), items[items < 40]
    z = np.zeros(40)
    z[inside] = guide.weights[inside]

    vector = gram_vector(items, guide)
    pairs = np.outer(z, z)[np.triu_indices(40, 1)]

    assert np.linalg.norm(vector) == pytest.approx(
        1.0 if len(inside) > 1 else 0.0, abs=1e-12
    )
    assert np.allclose(vector * np.linalg.norm(pairs), pairs)


@given(items=histories)
def test_a_sketch_of_pairs_has_length_1_or_0_too(items: Ints) -> None:
    guide = guide_of()
    sketched = replace(guide, buckets=64)

    vector = gram_vector(items, sketched)

    told = sketched.sketch.of_all(gram_vector(items, guide))
    assert np.linalg.norm(vector) == pytest.approx(
        1.0 if told.any() else 0.0, abs=1e-12
    )
    assert np.allclose(vector * np.linalg.norm(told), told)


@given(items=histories)
def test_what_is_hidden_for_the_trial_is_in_no_pair(items: Ints) -> None:
    hidden, known = parted(np.sort(items))

    assert sorted([*hidden, *known]) == sorted(items)
    assert len(hidden) <= HIDDEN * len(items) + 1
    assert len(known) >= min(len(items), 1)
    guide = guide_of(N)
    touched = symmetric(contribution("gram", items, N, guide), N).any(axis=1)
    assert not touched[hidden].any()


@given(people=st.lists(histories, min_size=1, max_size=6))
def test_many_people_hide_what_each_hides_alone(people: list[Ints]) -> None:
    bounds = np.cumsum([0, *map(len, people)])

    away = hidden(np.concatenate(people), bounds)

    for one, theirs in zip(people, np.split(away, bounds[1:-1]), strict=True):
        assert parted(one)[0].tolist() == one[theirs].tolist()


def test_the_hidden_items_are_a_part_of_all_and_spread_over_the_catalog() -> None:
    people = crowd(20_000)
    chosen = np.concatenate([parted(items)[0] for items in people])

    counts = np.bincount(chosen, minlength=N)
    assert len(chosen) == pytest.approx(HIDDEN * sum(map(len, people)), rel=0.05)
    assert counts.min() > 0.6 * counts.mean()
    assert counts.max() < 1.5 * counts.mean()


def test_a_strong_direction_is_found_below_the_noise_and_noise_alone_gives_nothing() -> (
    None
):
    noise = np.random.default_rng(3)
    upper = np.triu(noise.standard_normal((200, 200)), 1)
    noisy, direction = upper + upper.T, np.ones(200) / np.sqrt(200)

    found = above_the_edge(noisy + 80 * np.outer(direction, direction), 1.0)

    assert direction @ found @ direction > 60
    assert np.abs(above_the_edge(noisy, 1.1)).max() == 0
    assert (
        np.linalg.matrix_rank(
            low_rank(
                noisy + 80 * np.outer(direction, direction), 1.1, np.full(200, 9.0)
            ),
            tol=1e-6,
        )
        == 1
    )


def test_a_rest_is_shrunk_by_how_far_its_group_spreads() -> None:
    noise = np.random.default_rng(4)
    groups = np.repeat([0, 1], 4_000)
    true = np.where(groups == 1, 4 * noise.standard_normal(8_000), 0.0)
    noisy = true + noise.standard_normal(8_000)

    means = shrunk(noisy, 1.0, groups)

    assert np.square(means[groups == 0]).mean() < 0.02
    assert np.square((means - true)[groups == 1]).mean() < 1.1 * 16 / 17
    assert np.array_equal(shrunk(noisy, 0.0, groups), noisy)
    assert len(posterior_mean(np.empty(0))) == 0


def test_hats_are_1_at_their_knot_and_together_linear() -> None:
    alike = np.linspace(0, 1, 101)

    assert all(hat.max() == pytest.approx(1.0) and hat[0] == 0 for hat in hats(alike))
    assert np.allclose(sum(hats(alike))[10:], 1.0)


def test_a_model_of_few_items_has_the_weights_of_ease_whole() -> None:
    draws = np.random.default_rng(6).standard_normal((N, N + 5))
    whole, guide, plan = (
        draws @ draws.T / N,
        guide_of(N),
        replace(plan_of(5.0), ridge=0.5),
    )

    model = ease(whole, plan, guide, np.arange(N))

    assert_weights_of_ease(model, whole, 0.5)


def test_factors_and_a_diagonal_have_the_weights_of_ease_whole() -> None:
    draws = np.random.default_rng(7)
    factors, rest = draws.standard_normal((N, 5)), draws.random(N)
    plan = replace(plan_of(5.0), ridge=0.5)

    model = factored(factors, rest, plan, guide_of(N))

    assert model.basis.shape == (N, 5)
    assert_weights_of_ease(model, factors @ factors.T + np.diag(rest), 0.5)


def assert_weights_of_ease(
    model: Model, whole: NDArray[np.float64], ridge: float
) -> None:
    inverse = np.linalg.inv(whole + ridge * np.eye(N))
    weights = -inverse / np.diag(inverse)
    np.fill_diagonal(weights, 0)
    person = np.array([3, 8, 40])
    history = np.zeros(N)
    history[person] = model.weights[person] / np.linalg.norm(model.weights[person])
    others = np.setdiff1d(np.arange(N), person)
    own = (model.personal(person) - model.standard())[others]
    assert np.allclose(own, ((history @ weights) / model.weights)[others], atol=1e-4)


def test_tastes_are_found_in_noise_and_sooner_with_words() -> None:
    people, told = crowd()[:60], words_of_quarters()

    def found(tau: float, words: Told | None) -> float:
        _plan, model = trained(tau, words=words)
        return float(np.mean([quarter_of_the_best(model, one) for one in people]))

    assert found(0.3, None) > 0.9
    assert found(8.0, told) > found(8.0, None) + 0.2


@pytest.mark.parametrize("words", [None, words_of_quarters()])
def test_tastes_are_found_in_a_sketch_of_a_third_of_the_numbers(
    words: Told | None,
) -> None:
    plan, model = trained(0.3, words=words, most=N + 600)
    people = crowd()[:60]

    assert (plan.buckets, plan.length(1)) == (512, 512)
    assert plan.head * (plan.head - 1) // 2 > 2.5 * plan.buckets
    assert np.mean([quarter_of_the_best(model, one) for one in people]) > 0.9


def test_words_that_say_nothing_do_no_harm() -> None:
    coin = np.random.default_rng(1)
    told = tuple(
        (f"word{coin.integers(12)}", f"word{coin.integers(12)}") for _ in range(N)
    )

    _plan, model = trained(0.3, words=told)

    assert np.mean([quarter_of_the_best(model, one) for one in crowd()[:60]]) > 0.9


@given(items=histories)
@settings(max_examples=40)
def test_gains_are_those_of_ndcg_in_a_vector_of_length_at_most_1(items: Ints) -> None:
    _, model = trained(0.3)
    told = gains(np.sort(items), model)
    hidden, known = parted(np.sort(items))

    assert told.shape == (len(MIXES),)
    assert np.linalg.norm(told) <= 1 + 1e-12
    if not len(hidden):
        assert not told.any()
        return

    def ndcg(model: Model) -> float:
        scores = model.personal(known) if model.kind == "personal" else model.standard()
        scores[known] = -np.inf
        ranked = np.argsort(-scores, kind="stable")
        hits = np.isin(ranked[:100], hidden) / np.log2(np.arange(2, 2 + min(N, 100)))
        return float(hits.sum() / (1 / np.log2(np.arange(2, 2 + len(hidden)))).sum())

    expected = np.array([ndcg(replace(model, popularity_share=mix)) for mix in MIXES])
    expected -= ndcg(model.popular())
    expected /= max(np.linalg.norm(expected), MAX_GAIN)
    assert np.allclose(told, expected, atol=1e-6)


def test_a_trial_keeps_the_first_mix_unless_another_is_clearly_better_or_none_gains() -> (
    None
):
    _, model = trained(0.3)

    kept = decided(np.array([10.0, 10.5, 3.0]), 1.0, model)
    other = decided(np.array([10.0, 12.0, 3.0]), 1.0, model)
    none = decided(np.array([1.5, -3.0, -4.0]), 1.0, model)

    assert (kept.popularity_share, other.popularity_share) == (MIXES[0], MIXES[1])
    assert (kept.kind, none.kind) == ("personal", "popularity")
    assert np.array_equal(none.popularity, model.popularity)


def test_a_model_that_serves_nobody_is_not_released() -> None:
    """The crowd's tastes turned around: what goes together is what nobody has together."""
    plan, lead = plan_of(5.0), None
    plan, lead = learn(
        plan,
        0,
        None,
        NoisySum(sum(popularity_vector(one, N) for one in crowd()), 0.1, PEOPLE, b"s"),
    )
    total = sum(contribution("gram", items, N, lead) for items in crowd())
    plan, model = learn(plan, 1, lead, NoisySum(total.max() - total, 0.1, PEOPLE, b"s"))
    votes = sum(contribution("trial", items, N, model) for items in crowd())

    _, released = learn(plan, 2, model, NoisySum(votes, 0.1, PEOPLE, b"s"))

    assert isinstance(model, Model)
    assert model.kind == "personal"
    assert isinstance(released, Model)
    assert released.kind == "popularity"


def test_two_counts_are_joined_by_their_budget() -> None:
    plan = choose_plan(N, PEOPLE, 0.2, 1.0, described=True)
    total = np.asarray(sum(popularity_vector(items, N) for items in crowd()))

    plan, first = learn(plan, 0, None, NoisySum(total, 1e-6, PEOPLE, b"s"))
    assert plan.kinds == ("popularity", "popularity", "gram", "trial")
    plan, joined = learn(plan, 1, first, NoisySum(2 * total, 1e-6, PEOPLE, b"s"))

    one, two = plan.shares[:2]
    assert np.allclose(
        joined.popularity, total * (one + 2 * two) / (one + two), rtol=1e-5
    )


@pytest.mark.parametrize("kind", ["gram", "trial"])
def test_a_round_without_its_lead_is_refused(kind: str) -> None:
    with pytest.raises(InvalidInput, match=r"^guide: "):
        contribution(kind, np.array([1]), N, None)
    with pytest.raises(InvalidInput, match=r"^guide: "):
        contribution("trial", np.array([1]), N, guide_of())
    plan = plan_of(5.0)
    length = plan.length(plan.kinds.index(kind))
    with pytest.raises(InvalidInput, match=r"^guide: "):
        learn(
            plan, plan.kinds.index(kind), None, NoisySum(np.zeros(length), 1.0, 9, b"s")
        )

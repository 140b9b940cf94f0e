"""A plan is chosen from public numbers, spends at most the budget, and knows when to give up."""

import inspect
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.errors import InvalidInput
from tactful.learning.holdout_test import MIXES
from tactful_aggregator.learning import release_gate
from tactful_aggregator.learning.training_plan import (
    FACTOR_ONCE,
    FACTOR_PAIR,
    MAX_NUMBERS,
    Plan,
    choose_plan,
    settled,
)

publics = {
    "items": st.integers(1, 20_000),
    "users": st.integers(1, 10**7),
    "mu": st.floats(0.01, 5),
    "factor": st.sampled_from([FACTOR_ONCE, FACTOR_PAIR, 2.89]),
}


def later_plan(
    items: int,
    users: int,
    mu: float,
    factor: float,
    *,
    described: bool,
    mean_root: float = 5.0,
    flat: bool = False,
) -> Plan:
    """The plan once items of falling popularity have been counted, or of the same for all."""
    plan = choose_plan(items, users, mu, factor, described=described)
    popularity = users / (1.0 + np.arange(items) * (not flat))
    return settled(plan, popularity, mean_root) if plan.rounds > 1 else plan


@given(**publics, described=st.booleans(), mean_root=st.floats(-1, 40))
def test_what_is_settled_after_the_count_spends_the_rest_and_keeps_what_was_spent(
    items: int, users: int, mu: float, factor: float, described: bool, mean_root: float
) -> None:
    before = choose_plan(items, users, mu, factor, described=described)
    plan = later_plan(
        items, users, mu, factor, described=described, mean_root=mean_root
    )

    assert plan.shares[0] == before.shares[0]
    assert 0.999 < sum(Fraction(share) for share in plan.shares) <= 1
    assert min(plan.shares) > 0
    assert plan.kind(0) == "popularity"
    assert all(plan.length(t) > 0 for t in range(plan.rounds))


@given(**publics, mean_root=st.floats(0, 40), described=st.booleans())
def test_a_device_uploads_at_most_what_the_plan_allows(
    items: int, users: int, mu: float, factor: float, mean_root: float, described: bool
) -> None:
    plan = later_plan(
        items, users, mu, factor, described=described, mean_root=mean_root
    )
    uploaded = sum(plan.length(t) for t in range(plan.rounds))

    if 64 < items <= 2_000 and plan.rounds > 1:
        assert uploaded <= next(most for below, most in MAX_NUMBERS if plan.snr < below)


def test_what_is_asked_follows_from_signal_words_and_length() -> None:
    few, many = {"items": 400, "users": 1_000}, {"items": 400, "users": 20_000}
    kinds = {
        name: later_plan(
            **people, mu=0.5, factor=1.0, described=described, mean_root=root
        ).kinds
        for name, people, described, root in (
            ("few, plain", few, False, 1.5),
            ("few, words", few, True, 1.5),
            ("some, plain", few, False, 3.0),
            ("many, plain", many, False, 3.0),
            ("long, plain", {"items": 400, "users": 4_000}, False, 9.0),
            ("long, words", {"items": 400, "users": 4_000}, True, 9.0),
            ("long, loud", many, False, 9.0),
        )
    }
    assert kinds == {
        "few, plain": ("popularity", "popularity"),
        "few, words": ("popularity", "popularity", "gram", "trial"),
        "some, plain": ("popularity", "popularity", "gram", "trial"),
        "many, plain": ("popularity", "gram", "trial"),
        "long, plain": ("popularity", *("subspace",) * 3, "trial"),
        "long, words": ("popularity", "gram", "trial"),
        "long, loud": ("popularity", "gram", "trial"),
    }


@pytest.mark.parametrize("described", [False, True])
def test_pairs_that_an_upload_does_not_hold_are_told_in_a_sketch(
    described: bool,
) -> None:
    wide = {"items": 2_000, "users": 20_000, "mu": 0.5, "factor": 1.0, "mean_root": 3.0}

    few = later_plan(**wide, described=described)
    many = later_plan(**wide, described=described, flat=True)

    assert few.buckets == 0
    assert many.head * (many.head - 1) // 2 > 150_000 > many.length(1) == many.buckets
    assert many.buckets & (many.buckets - 1) == 0  # a power of two is not padded


@pytest.mark.parametrize("mean_root", [5.0, 9.0])
def test_a_smaller_upload_tells_less(mean_root: float) -> None:
    told = []
    for most in (5_000, 30_000, 60_000, 500_000):
        plan = choose_plan(
            1_000, 20_000, 2.0, 1.0, described=mean_root == 5.0, most=most
        )
        plan = settled(plan, 20_000 / (1.0 + np.arange(1_000)), mean_root)
        assert sum(plan.length(t) for t in range(plan.rounds)) <= most
        told.append(plan.length(1))

    assert told == sorted(set(told))


@given(**publics)
def test_no_plan_spends_more_than_the_budget(
    items: int, users: int, mu: float, factor: float
) -> None:
    plan = choose_plan(items, users, mu, factor)

    assert 0 < sum(Fraction(share) for share in plan.shares) <= 1
    assert sum(plan.shares) > 0.999
    assert min(plan.shares) > 0


@given(**publics)
def test_every_plan_fits_its_catalog(
    items: int, users: int, mu: float, factor: float
) -> None:
    plan = choose_plan(items, users, mu, factor)

    assert plan.length(0) == items
    assert all(plan.length(t) > 0 for t in range(plan.rounds))
    assert plan.head <= items


@given(**publics)
def test_below_the_gate_all_budget_goes_to_popularity(
    items: int, users: int, mu: float, factor: float
) -> None:
    plan = choose_plan(items, users, mu, factor)

    if release_gate.signal_to_noise(items, users, mu, factor) < release_gate.LEAST_SNR:
        assert plan.shares == (1.0,)
        assert plan.head == 0


def test_an_snr_of_5_is_gated_and_of_20_is_not() -> None:
    users = 1_000

    gated, trained = (
        choose_plan(900, users, snr * math.sqrt(900) / users, 1.0) for snr in (5, 20)
    )

    assert gated.rounds == 1
    assert trained.rounds > 1


def test_a_plan_sees_public_numbers_only() -> None:
    assert set(inspect.signature(choose_plan).parameters) == {
        *("items", "users", "mu", "factor", "described", "most")
    }
    assert set(inspect.signature(settled).parameters) == {
        "plan",
        "popularity",
        "mean_root",
    }
    assert choose_plan(1_000, 3_000, 0.6, 1.4) == choose_plan(1_000, 3_000, 0.6, 1.4)


@given(**publics, described=st.booleans(), mean_root=st.floats(0, 40))
def test_padding_wastes_at_most_a_third_of_a_measurement(
    items: int, users: int, mu: float, factor: float, described: bool, mean_root: float
) -> None:
    if items > 64:
        plan = later_plan(
            items, users, mu, factor, described=described, mean_root=mean_root
        )
        lengths = [
            plan.length(t) for t in range(plan.rounds) if plan.kind(t) != "popularity"
        ]
        lengths = [length for length in lengths if length > len(MIXES)]
        assert all(
            length >= 2 / 3 * (1 << (length - 1).bit_length()) for length in lengths
        )


@pytest.mark.parametrize("field", ["items", "users", "mu", "factor"])
@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_an_impossible_number_names_its_field(field: str, value: float) -> None:
    numbers = {"items": 100, "users": 100, "mu": 1.0, "factor": 1.0, field: value}

    with pytest.raises(InvalidInput, match=f"^{field}: "):
        choose_plan(**numbers)


def test_noise_alone_stands_out_less_than_once_in_three_hundred_sums() -> None:
    """1,200 sums of pure noise, at most 4 alarms; more than 4 of 1 in 1,000 come once in 125."""
    noise = np.random.default_rng(0)

    largest = [np.linalg.norm(noise.standard_normal((64, 8)), 2) for _ in range(1_200)]

    assert sum(release_gate.stands_out(value, 1.0, 64, 8) for value in largest) <= 4
    assert sum(value > math.sqrt(64) + math.sqrt(8) for value in largest) > 60
    assert release_gate.stands_out(
        2 * max(largest), 2.0, 64, 8
    ) == release_gate.stands_out(max(largest), 1.0, 64, 8)

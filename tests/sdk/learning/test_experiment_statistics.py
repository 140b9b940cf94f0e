"""Sums tell versions apart as raw data would, and say how far the noise lets them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.errors import InvalidInput
from tactful.learning.experiment_statistics import (
    Sums,
    difference,
    person_vector,
    ratio_p,
    width,
)

HALVES = np.array([0.5, 0.5])
unit = st.floats(0, 1)


@given(st.integers(0, 2), st.lists(st.tuples(unit, unit), min_size=1, max_size=4))
def test_nobody_adds_more_than_length_1_and_only_to_their_own_arm(arm, told) -> None:
    values, before = np.array(told).T
    vector = person_vector(arm, 3, values, before).reshape(3, -1)

    assert np.linalg.norm(vector) <= 1 + 1e-12
    assert vector.shape == (3, width(len(told)))
    assert not np.delete(vector, arm, axis=0).any()


@pytest.mark.parametrize("value", [-0.1, 1.1, math.nan])
def test_a_value_outside_its_bounds_is_refused(value: float) -> None:
    with pytest.raises(InvalidInput, match="clip and scale"):
        person_vector(0, 2, np.array([value]), np.array([0.5]))


def people(generator, count: int, effect: float, correlation: float = 0.8):
    """(arm, y, x) of `count` people, half in each arm; arm 1 has a mean higher by `effect`."""
    arm = generator.permutation(np.arange(count) % 2)
    shared = generator.normal(size=count)
    own = generator.normal(size=(2, count)) * math.sqrt(1 - correlation)
    y, x = 0.4 + 0.1 * (math.sqrt(correlation) * shared + own)
    return arm, np.clip(y + effect * arm, 0, 1), np.clip(x, 0, 1)


def summed(
    generator, count: int, effect: float, tau: float, correlation: float = 0.8
) -> Sums:
    arm, y, x = people(generator, count, effect, correlation)
    block = np.stack([np.ones(count), y, y * y, x, x * x, x * y], axis=1)
    arms = np.stack([block[arm == one].sum(axis=0) for one in (0, 1)])
    return Sums(arms + generator.normal(scale=tau, size=arms.shape), count, tau)


def test_sums_of_persons_vectors_are_their_sums() -> None:
    arm, y, x = people(np.random.default_rng(1), 60, 0.1)
    total = sum(
        person_vector(a, 2, np.array([one]), np.array([b]))
        for a, one, b in zip(arm, y, x, strict=True)
    )

    sums = Sums.of(total, 60, 0.0, 2)
    assert sums.arms[1, 1] == pytest.approx(y[arm == 1].sum())
    assert sums.arms[0, 5] == pytest.approx((x * y)[arm == 0].sum())


def test_without_noise_and_covariate_it_is_the_difference_of_means() -> None:
    generator = np.random.default_rng(2)
    arm, y, x = people(generator, 400, 0.05)
    block = np.stack([np.ones(400), y, y * y, 0 * x, 0 * x, 0 * x], axis=1)
    sums = Sums(np.stack([block[arm == one].sum(axis=0) for one in (0, 1)]), 400, 0.0)

    found = difference(sums, 1, 0, 0.05)
    assert found.value == pytest.approx(y[arm == 1].mean() - y[arm == 0].mean())
    variance = sum(y[arm == one].var() / 200 for one in (0, 1))
    assert found.variance == pytest.approx(variance)


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    generator = np.random.default_rng(3)
    truths = 0
    for _ in range(600):
        low, high = difference(summed(generator, 2000, 0.01, 8.0), 1, 0, 0.02).interval
        truths += low <= 0.01 <= high

    assert abs(truths / 600 - 0.95) < 4 * math.sqrt(0.95 * 0.05 / 600)


def test_what_came_before_narrows_the_interval() -> None:
    generator = np.random.default_rng(4)
    with_it, without = (
        np.mean(
            [
                difference(summed(generator, 2000, 0, 0.2, r), 1, 0, 0.02).variance
                for _ in range(40)
            ]
        )
        for r in (0.9, 0.0)
    )
    assert with_it < 0.4 * without


def test_reading_after_every_period_seldom_finds_what_is_not_there() -> None:
    generator = np.random.default_rng(5)
    alarms = 0
    for _ in range(300):
        total = summed(generator, 400, 0, 4.0)
        for _ in range(12):
            total = total + summed(generator, 400, 0, 4.0)
            if difference(total, 1, 0, 0.02).p_always < 0.05:
                alarms += 1
                break

    assert alarms / 300 <= 0.05


def test_a_planted_effect_is_found() -> None:
    generator = np.random.default_rng(6)
    found = 0
    for _ in range(100):
        total = summed(generator, 2000, 0.02, 4.0)
        for _ in range(5):
            total = total + summed(generator, 2000, 0.02, 4.0)
        found += difference(total, 1, 0, 0.02).p_always < 0.05

    assert found >= 95


def test_counts_that_fit_their_shares_raise_no_alarm_and_others_do() -> None:
    generator = np.random.default_rng(7)
    fair = [ratio_p(summed(generator, 2000, 0, 5.0), HALVES) for _ in range(300)]

    assert np.mean(np.array(fair) < 0.05) < 0.1
    assert min(fair) > 1e-4
    lost = summed(generator, 2000, 0, 5.0)
    lost.arms[1, 0] -= 250
    assert ratio_p(lost, HALVES) < 0.001


def test_too_few_people_for_the_noise_is_said() -> None:
    with pytest.raises(InvalidInput, match="wait for more"):
        difference(summed(np.random.default_rng(8), 20, 0, 10.0), 1, 0, 0.1)

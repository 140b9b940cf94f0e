"""Lower bounds from attacks meet other implementations, and hold at their stated rates."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.audit.statistics.distributions import (
    binomial_upper,
    chi2_upper,
    clopper_pearson,
    kolmogorov_upper,
    ranks,
    upper_tail,
)
from tactful.audit.statistics.epsilon_bounds import (
    Rates,
    best_one_run,
    gaussian,
    guesses,
    one_run,
    one_run_fdp,
)
from tactful.errors import InvalidInput
from tactful.privacy.accountant import epsilon_for, mu_for

SEARCHED_FROM = 0.01  # the other implementation's smallest answer


def test_bounds_from_one_run_match_the_vectors(shared: Path) -> None:
    content = json.loads((shared / "vectors" / "dp" / "one_run_audit.json").read_text())
    for row in content["rows"][::2]:
        asked = (
            row["m"],
            row["guesses"],
            row["correct"],
            row["significance"],
            row["delta"],
        )
        assert one_run(*asked) == pytest.approx(row["eps_lb_one_run"], abs=1e-6)
        if row["eps_lb_one_run_fdp_gaussian"] is not None:
            found = max(one_run_fdp(*asked), SEARCHED_FROM)
            assert found == pytest.approx(row["eps_lb_one_run_fdp_gaussian"], abs=1e-6)


@given(
    m=st.integers(20, 400), right=st.floats(0, 1), alpha=st.sampled_from([0.05, 0.001])
)
def test_more_right_guesses_and_a_larger_alpha_give_a_larger_bound(
    m: int, right: float, alpha: float
) -> None:
    count = round(right * (m - 1))
    bounds = [one_run(m, m, hits, alpha, 1e-6) for hits in (count, count + 1)]

    assert bounds == sorted(bounds)
    assert one_run(m, m, count, alpha / 10, 1e-6) <= bounds[0]


def scores(mu: float, seed: int, count: int = 1000) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    coins = (generator.random(count) < 0.5).astype(float)
    return coins + generator.standard_normal(count) / mu, coins


def test_correct_noise_is_refuted_no_more_often_than_alpha() -> None:
    """400 audits at alpha 0.05: 20 false alarms are expected, 38 happen once in 10,000; fixed."""
    mu, alarms = mu_for(4.0, 1e-6), 0
    for seed in range(400):
        found, coins = scores(mu, seed)
        bound = gaussian(found[coins == 1], found[coins == 0], 0.05)
        alarms += bound > mu
    assert alarms <= 38


def test_halved_noise_is_refuted_by_the_gaussian_bound_and_bounds_are_ordered() -> None:
    """privacy.md 4.3: halved noise is found with .86 to 1 at alpha 0.001."""
    mu, found = mu_for(4.0, 1e-6), 0
    for seed in range(10):
        halved, coins = scores(2 * mu, seed)
        found += gaussian(halved[coins == 1], halved[coins == 0], 0.001) > mu
        plain, curved = best_one_run(halved, coins, 0.001, 1e-6)
        assert plain <= curved + 0.2
    assert found == 10


def test_rates_of_two_inputs_bound_epsilon_and_mu() -> None:
    rates = Rates(true_positives=700, false_positives=100, runs=1000)

    assert 0 < rates.epsilon(0.05, 1e-6) < math.log(0.7 / 0.1)
    assert 0 < rates.mu(0.05) < 2
    assert (
        Rates(0, 1000, 1000).epsilon(0.05, 1e-6) == 0 == Rates(0, 1000, 1000).mu(0.05)
    )


def test_the_attack_guesses_from_the_highest_and_lowest_scores() -> None:
    coins = np.array([1.0, 0.0, 1.0, 0.0])

    assert guesses(np.array([9.0, 1.0, 8.0, 2.0]), coins, 1.0) == (4, 4)
    assert guesses(-np.array([9.0, 1.0, 8.0, 2.0]), coins, 0.5) == (2, 0)


@pytest.mark.parametrize("wrong", [(10, 11, 5), (10, 5, 6), (0, 0, 0), (10, 5, -1)])
def test_impossible_counts_are_refused(wrong: tuple[int, int, int]) -> None:
    for ask in (one_run, one_run_fdp):
        with pytest.raises(InvalidInput, match="guesses"):
            ask(*wrong, 0.05, 1e-6)


def test_scores_that_are_too_few_or_constant_are_refused() -> None:
    with pytest.raises(InvalidInput, match="fewer than 10"):
        gaussian(np.ones(3), np.ones(30), 0.05)
    with pytest.raises(InvalidInput, match="do not vary"):
        gaussian(np.ones(30), np.ones(30), 0.05)


def test_tails_and_quantiles_match_published_tables() -> None:
    assert upper_tail(1.959964) == pytest.approx(0.025, rel=1e-6)
    assert chi2_upper(124.342, 100) == pytest.approx(0.05, rel=0.01)
    assert kolmogorov_upper(1.358 / 100, 10_000) == pytest.approx(0.05, rel=0.03)
    assert binomial_upper(10, 0.5)[8] == pytest.approx(56 / 1024)
    low, high = clopper_pearson(5, 20, 0.025)
    assert (low, high) == (
        pytest.approx(0.0866, abs=2e-4),
        pytest.approx(0.4910, abs=2e-4),
    )
    assert ranks(np.array([3.0, 1.0, 3.0])).tolist() == [1.5, 0.0, 1.5]


def test_the_gaussian_bound_is_below_the_epsilon_of_correct_noise() -> None:
    found, coins = scores(1.0, 3)
    mu = gaussian(found[coins == 1], found[coins == 0], 0.05)

    assert 0 < epsilon_for(mu, 1e-6) < epsilon_for(1.0, 1e-6)

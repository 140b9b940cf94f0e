"""Off-policy estimates cover the true value; deterministic logs are refused."""

from pathlib import Path

import numpy as np
import pytest

from tactful.errors import InvalidInput
from tactful_lab.studies.off_policy import (
    ESTIMATORS,
    Log,
    doubly_robust,
    empirical,
    ips,
    logs,
    read,
    snips,
)

POSITIONS, ACTIONS = 3, 8
CHANCE = np.random.default_rng(5).uniform(0.02, 0.3, (POSITIONS, ACTIONS))
TARGET = np.random.default_rng(6).dirichlet(np.ones(ACTIONS), POSITIONS)


def drawn(count: int, seed: int) -> Log:
    """A log of a policy that favours low numbers, with the rewards of CHANCE."""
    draws = np.random.default_rng(seed)
    policy = np.exp(-0.3 * np.arange(ACTIONS))
    policy /= policy.sum()
    action, position = (
        draws.choice(ACTIONS, count, p=policy),
        draws.integers(0, POSITIONS, count),
    )
    reward = (draws.random(count) < CHANCE[position, action]).astype(float)
    return Log(position, action, policy[action], reward)


@pytest.mark.parametrize("name", ESTIMATORS)
def test_off_policy_intervals_cover_the_true_value_in_95_percent_of_logs(
    name: str,
) -> None:
    """Fewer than 176 or all of 200 logs: false alarm once in 100,000; seeds fixed."""
    truth = float((TARGET * CHANCE).sum(axis=1).mean())
    estimates = [ESTIMATORS[name](drawn(2000, seed), TARGET) for seed in range(200)]

    assert np.mean([estimate.value for estimate in estimates]) == pytest.approx(
        truth, rel=0.02
    )
    assert (
        176
        <= sum(estimate.low <= truth <= estimate.high for estimate in estimates)
        <= 200
    )


def test_the_doubly_robust_interval_is_narrower_than_that_of_ips() -> None:
    log = drawn(5000, 0)

    assert doubly_robust(log, TARGET).high - doubly_robust(log, TARGET).low < (
        ips(log, TARGET).high - ips(log, TARGET).low
    )


def test_ips_with_wrong_propensities_misses_the_true_value() -> None:
    """The removal test of the importance weights."""
    truth = float((TARGET * CHANCE).sum(axis=1).mean())
    log = drawn(20_000, 1)
    unweighted = Log(
        log.position, log.action, np.full(len(log), 1 / ACTIONS), log.reward
    )

    wrong = ips(unweighted, TARGET)
    assert not wrong.low <= truth <= wrong.high


def test_ips_of_the_logging_policy_is_the_mean_reward() -> None:
    log = drawn(4000, 2)
    policy = np.exp(-0.3 * np.arange(ACTIONS))
    logging_policy = np.tile(policy / policy.sum(), (POSITIONS, 1))

    assert ips(log, logging_policy).value == pytest.approx(log.reward.mean())
    assert snips(log, logging_policy).value == pytest.approx(log.reward.mean())
    assert ips(log, logging_policy).effective == pytest.approx(len(log))


@pytest.mark.parametrize(
    "propensity", [[1.0, 1.0], [0.0, 0.5], [np.nan, 0.5], [0.5, 2.0], []]
)
def test_a_log_with_invalid_or_deterministic_propensities_is_refused(
    propensity: list[float],
) -> None:
    rows = np.zeros(len(propensity), dtype=np.int64)

    with pytest.raises(InvalidInput, match="log"):
        Log(rows, rows, np.array(propensity), rows.astype(float))


def test_a_missing_column_of_an_off_policy_log_is_named() -> None:
    with pytest.raises(InvalidInput, match="propensity_score"):
        read("position,item_id,click\n1,2,0\n")


def test_off_policy_estimates_agree_with_the_log_of_the_target_policy(
    shared: Path,
) -> None:
    random, bandit = logs(shared / "datasets")
    target = empirical(bandit, (3, 34))
    truth = bandit.reward.mean()
    spread = 1.96 * bandit.reward.std() / np.sqrt(len(bandit))

    for estimator in ESTIMATORS.values():
        estimate = estimator(random, target)
        assert estimate.low - spread <= truth <= estimate.high + spread

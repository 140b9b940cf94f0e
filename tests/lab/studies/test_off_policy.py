"""Estimates from a log of draws find the truth, and a log without draws is refused."""

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
def test_the_interval_holds_the_truth_about_as_often_as_it_says(name: str) -> None:
    """Of 200 logs 95 % should; fewer than 176 or all 200 happen once in 100,000 runs."""
    truth = float((TARGET * CHANCE).sum(axis=1).mean())
    found = [ESTIMATORS[name](drawn(2000, seed), TARGET) for seed in range(200)]

    assert np.mean([one.value for one in found]) == pytest.approx(truth, rel=0.02)
    assert 176 <= sum(one.low <= truth <= one.high for one in found) <= 200


def test_the_doubly_robust_interval_is_the_narrower_one() -> None:
    log = drawn(5000, 0)

    assert doubly_robust(log, TARGET).high - doubly_robust(log, TARGET).low < (
        ips(log, TARGET).high - ips(log, TARGET).low
    )


def test_without_the_propensities_the_estimate_is_wrong() -> None:
    """The removal test: the weights are what makes the log of one policy tell of another."""
    truth = float((TARGET * CHANCE).sum(axis=1).mean())
    log = drawn(20_000, 1)
    unweighted = Log(
        log.position, log.action, np.full(len(log), 1 / ACTIONS), log.reward
    )

    wrong = ips(unweighted, TARGET)
    assert not wrong.low <= truth <= wrong.high


def test_a_policy_judged_by_its_own_log_is_its_mean() -> None:
    log = drawn(4000, 2)
    policy = np.exp(-0.3 * np.arange(ACTIONS))
    own = np.tile(policy / policy.sum(), (POSITIONS, 1))

    assert ips(log, own).value == pytest.approx(log.reward.mean())
    assert snips(log, own).value == pytest.approx(log.reward.mean())
    assert ips(log, own).effective == pytest.approx(len(log))


@pytest.mark.parametrize(
    "propensity", [[1.0, 1.0], [0.0, 0.5], [np.nan, 0.5], [0.5, 2.0], []]
)
def test_a_log_without_support_is_refused(propensity: list[float]) -> None:
    rows = np.zeros(len(propensity), dtype=np.int64)

    with pytest.raises(InvalidInput, match="log"):
        Log(rows, rows, np.array(propensity), rows.astype(float))


def test_a_missing_column_is_named() -> None:
    with pytest.raises(InvalidInput, match="propensity_score"):
        read("position,item_id,click\n1,2,0\n")


def test_on_real_logs_the_estimates_meet_what_really_happened(shared: Path) -> None:
    random, bandit = logs(shared / "datasets")
    target = empirical(bandit, (3, 34))
    truth = bandit.reward.mean()
    spread = 1.96 * bandit.reward.std() / np.sqrt(len(bandit))

    for estimator in ESTIMATORS.values():
        one = estimator(random, target)
        assert one.low - spread <= truth <= one.high + spread

"""Off-policy evaluation: `tactful-lab offpolicy`.

Estimates the mean reward of a target policy from the log of another policy with known
propensities. There are three estimators, each with a 95 % interval: inverse propensity
scores (IPS), self-normalised IPS (SNIPS), and doubly robust (DR, Dudik et al. 2011). A
log of a deterministic policy is refused: it says nothing about other actions.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful_lab.data_sets import loading
from tactful_lab.data_sets.loading import Source
from tactful_lab.data_sets.readers import Files, Raw
from tactful_lab.output_options import add_data_folder

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NAME = "obd-small-men"
Z95 = 1.959964
PRIOR = 50.0  # impressions of weight of the overall mean in the reward model of DR
FOLDS = 2  # of cross-fitting: no impression is predicted from a model fitted on it


@dataclass(frozen=True, eq=False)
class Log:
    """Logged impressions, one per row, with the propensity of the shown action.

    Raises InvalidInput if there are no rows, if a propensity is not in (0, 1], or if
    all are 1.
    """

    position: Ints
    action: Ints
    propensity: Floats
    reward: Floats

    def __post_init__(self) -> None:
        if not len(self.reward):
            raise InvalidInput(
                "log", "it has no impressions", "log at least one impression"
            )
        finite = np.isfinite(self.propensity)
        in_range = finite & (self.propensity > 0) & (self.propensity <= 1)
        if not in_range.all():
            raise InvalidInput(
                "log.propensity",
                "a value is not in (0, 1]",
                "log the probability with which each action was drawn",
            )
        if (self.propensity == 1).all():
            raise InvalidInput(
                "log.propensity",
                "every value is 1: the logging policy was deterministic",
                "use the log of a randomized policy",
            )

    def __len__(self) -> int:
        """Return the number of impressions."""
        return len(self.reward)


@dataclass(frozen=True)
class Estimate:
    """A mean reward per impression, its 95 % interval and the effective sample size."""

    value: float
    low: float
    high: float
    effective: float

    @classmethod
    def of(cls, terms: Floats, effective: float) -> Estimate:
        """Return the mean of independent `terms` with its interval."""
        value = float(terms.mean())
        half_width = np.inf
        if len(terms) > 1:
            half_width = Z95 * float(terms.std(ddof=1)) / np.sqrt(len(terms))
        return cls(value, value - half_width, value + half_width, effective)


Policy = NDArray[np.float64]
"""The probability of each action at each position, shape (positions, actions)."""


def ips(log: Log, target: Policy) -> Estimate:
    """Weight each reward by target probability over propensity."""
    weights = _importance_weights(log, target)
    return Estimate.of(weights * log.reward, _effective_size(weights))


def snips(log: Log, target: Policy) -> Estimate:
    """Divide IPS by the mean weight; the interval comes from the delta method."""
    weights = _importance_weights(log, target)
    value = 0.0
    if weights.sum():
        value = float((weights * log.reward).sum() / weights.sum())
    # If all weights are 0, the influence is 0; the bound avoids a division by 0.
    influence = weights * (log.reward - value) / max(float(weights.mean()), 1e-12)
    return Estimate.of(value + influence, _effective_size(weights))


def doubly_robust(log: Log, target: Policy) -> Estimate:
    """Correct a reward model by weighted residuals.

    The estimate is consistent if either the propensities or the model are right.
    """
    weights = _importance_weights(log, target)
    predicted, expected = np.empty(len(log)), np.empty(len(log))
    fold_of_row = np.arange(len(log)) % FOLDS
    for fold in range(FOLDS):
        rewards = reward_model(log, fold_of_row != fold, target.shape)
        rows = fold_of_row == fold
        predicted[rows] = rewards[log.position[rows], log.action[rows]]
        expected[rows] = (target * rewards).sum(axis=1)[log.position[rows]]
    terms = expected + weights * (log.reward - predicted)
    return Estimate.of(terms, _effective_size(weights))


def reward_model(log: Log, rows: NDArray[np.bool_], shape: tuple[int, int]) -> Floats:
    """Return the mean reward by position and action, shrunk to the overall mean."""
    impressions, rewards = np.zeros(shape), np.zeros(shape)
    cells = (log.position[rows], log.action[rows])
    np.add.at(impressions, cells, 1)
    np.add.at(rewards, cells, log.reward[rows])
    overall = log.reward[rows].mean()
    mean: Floats = (rewards + PRIOR * overall) / (impressions + PRIOR)
    return mean


def empirical(log: Log, shape: tuple[int, int]) -> Policy:
    """Return the frequency of each action at each position of a log."""
    impressions = np.zeros(shape)
    np.add.at(impressions, (log.position, log.action), 1)
    totals = impressions.sum(axis=1, keepdims=True)
    policy: Policy = impressions / np.maximum(totals, 1)
    return policy


ESTIMATORS: dict[str, Callable[[Log, Policy], Estimate]] = {
    "IPS": ips,
    "SNIPS": snips,
    "DR": doubly_robust,
}


def _importance_weights(log: Log, target: Policy) -> Floats:
    weights: Floats = target[log.position, log.action] / log.propensity
    return weights


def _effective_size(weights: Floats) -> float:
    """Return the effective sample size of a weighted sample (Kish 1965)."""
    squares = float(np.square(weights).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def read(text: str) -> Log:
    """Parse a log of the Open Bandit Dataset; raise InvalidInput without a column."""
    rows = list(csv.DictReader(io.StringIO(text)))
    for name in ("position", "item_id", "propensity_score", "click"):
        if rows and name not in rows[0]:
            raise InvalidInput(
                f"log.{name}",
                "the column is missing",
                "download the original file again",
            )
    return Log(
        position=_column(rows, "position").astype(np.int64) - 1,
        action=_column(rows, "item_id").astype(np.int64),
        propensity=_column(rows, "propensity_score"),
        reward=_column(rows, "click"),
    )


def _column(rows: Sequence[Mapping[str, str]], name: str) -> Floats:
    return np.array([float(row[name]) for row in rows])


def logs(folder: Path | None) -> tuple[Log, Log]:
    """Return the logs of the uniformly random policy and of the bandit.

    They are read from the archive in `folder`.
    """
    files = loading.files(SOURCE, folder)
    random = read(files.read("random/men/men.csv").decode())
    bandit = read(files.read("bts/men/men.csv").decode())
    return random, bandit


def _refuse_as_dataset(files: Files) -> Raw:
    raise InvalidInput(
        "dataset",
        f"{NAME} is a log of impressions without user histories",
        "use tactful-lab offpolicy",
    )


SOURCE = Source(
    NAME,
    _refuse_as_dataset,
    "2 x 10,000 impressions of 34",
    34,
    0,
    0,
    "Apache-2.0 repository zr-obp; Open Bandit Dataset (Saito et al. 2020)",
    "the folder obd/ of the zr-obp repository",
    "f5468de5cd5ac3076ea90f906ca3af5a0c55d78ed9c1c19afd5366919ab4b340",
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `tactful-lab offpolicy`."""
    summary = "estimate the clicks of a policy from the log of another policy"
    parser = subparsers.add_parser("offpolicy", help=summary, description=summary)
    add_data_folder(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run `tactful-lab offpolicy` and return its exit status."""
    random, bandit = logs(loading.folder(options.data))
    positions = int(max(random.position.max(), bandit.position.max())) + 1
    actions = int(max(random.action.max(), bandit.action.max())) + 1
    shape = (positions, actions)
    uniform = np.full(shape, 1 / actions)
    print(f"clicks per 1,000 impressions of {NAME}, with 95 % intervals")
    _print_table(
        "bandit policy, from the log of the uniform policy",
        random,
        empirical(bandit, shape),
        on_policy=bandit,
    )
    _print_table(
        "uniform policy, from the log of the bandit", bandit, uniform, on_policy=random
    )
    return 0


def _print_table(title: str, log: Log, target: Policy, on_policy: Log) -> None:
    """Print all estimates for `target`, and the mean of the log of `target` itself."""
    print(f"\n{title}")
    for name, estimator in ESTIMATORS.items():
        _print_row(name, estimator(log, target))
    _print_row("on-policy", Estimate.of(on_policy.reward, float(len(on_policy))))


def _print_row(name: str, estimate: Estimate) -> None:
    value, low, high = (
        1000 * figure for figure in (estimate.value, estimate.low, estimate.high)
    )
    print(
        f"  {name:12}{value:7.2f}  ({low:6.2f} to {high:6.2f})"
        f"  effective sample size {estimate.effective:7,.0f}"
    )

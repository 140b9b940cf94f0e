"""`tactful-lab offpolicy`: what another policy would have earned, from a log of a random one.

Three estimators on logged propensities: inverse propensity scores (IPS), their self-normalised form
(SNIPS) and the doubly robust one (DR, Dudik et al. 2011), each with a 95 % interval. A log that
always did the same has no support; nothing is reported from it.
"""

from __future__ import annotations

import argparse
import csv
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful_lab.data_sets import loading
from tactful_lab.data_sets.loading import Source
from tactful_lab.data_sets.readers import Files, Raw

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NAME = "obd-small-men"
Z95 = 1.959964
PRIOR = 50.0  # impressions that the mean of all is worth, in the reward model of DR
FOLDS = 2  # of cross-fitting: no impression is predicted by a model that has seen it


@dataclass(frozen=True, eq=False)
class Log:
    """One impression a row: where it stood, what was shown, with which probability, what came."""

    position: Ints
    action: Ints
    propensity: Floats
    reward: Floats

    def __post_init__(self) -> None:
        if not len(self.reward):
            raise InvalidInput("log", "it is empty", "log some impressions")
        inside = (
            np.isfinite(self.propensity)
            & (self.propensity > 0)
            & (self.propensity <= 1)
        )
        if not inside.all():
            raise InvalidInput(
                "log.propensity", "one is not in (0, 1]", "log what was drawn with"
            )
        if (self.propensity == 1).all():
            problem = "every propensity is 1: the log always did the same"
            raise InvalidInput("log.propensity", problem, "log a policy that draws")

    def __len__(self) -> int:
        return len(self.reward)


@dataclass(frozen=True)
class Estimate:
    """A mean reward per impression with its 95 % interval, and the log's worth in impressions."""

    value: float
    low: float
    high: float
    effective: float

    @classmethod
    def of(cls, terms: Floats, effective: float) -> Estimate:
        """The mean of independent `terms`."""
        value = float(terms.mean())
        half = (
            Z95 * float(terms.std(ddof=1)) / np.sqrt(len(terms))
            if len(terms) > 1
            else np.inf
        )
        return cls(value, value - half, value + half, effective)


Policy = NDArray[np.float64]
"""The probability of each action at each position, shape (positions, actions)."""


def ips(log: Log, target: Policy) -> Estimate:
    """Each reward counts as often as the target would have shown what earned it."""
    weights = _weights(log, target)
    return Estimate.of(weights * log.reward, _effective(weights))


def snips(log: Log, target: Policy) -> Estimate:
    """The same over the sum of weights; the interval is by the delta method."""
    weights = _weights(log, target)
    value = (
        float((weights * log.reward).sum() / weights.sum()) if weights.sum() else 0.0
    )
    influence = weights * (log.reward - value) / max(float(weights.mean()), 1e-12)
    return Estimate.of(value + influence, _effective(weights))


def doubly_robust(log: Log, target: Policy) -> Estimate:
    """A model of rewards, corrected by what it missed; right if either side is."""
    weights = _weights(log, target)
    predicted, expected = np.empty(len(log)), np.empty(len(log))
    fold = np.arange(len(log)) % FOLDS
    for one in range(FOLDS):
        rewards = reward_model(log, fold != one, target.shape)
        here = fold == one
        predicted[here] = rewards[log.position[here], log.action[here]]
        expected[here] = (target * rewards).sum(axis=1)[log.position[here]]
    return Estimate.of(
        expected + weights * (log.reward - predicted), _effective(weights)
    )


def reward_model(log: Log, rows: NDArray[np.bool_], shape: tuple[int, int]) -> Floats:
    """The mean reward of each action at each position, drawn towards that of all."""
    shown, earned = np.zeros(shape), np.zeros(shape)
    np.add.at(shown, (log.position[rows], log.action[rows]), 1)
    np.add.at(earned, (log.position[rows], log.action[rows]), log.reward[rows])
    mean: Floats = (earned + PRIOR * log.reward[rows].mean()) / (shown + PRIOR)
    return mean


def empirical(log: Log, shape: tuple[int, int]) -> Policy:
    """How often a log showed each action at each position."""
    shown = np.zeros(shape)
    np.add.at(shown, (log.position, log.action), 1)
    policy: Policy = shown / np.maximum(shown.sum(axis=1, keepdims=True), 1)
    return policy


ESTIMATORS: dict[str, Callable[[Log, Policy], Estimate]] = {
    "IPS": ips,
    "SNIPS": snips,
    "DR": doubly_robust,
}


def _weights(log: Log, target: Policy) -> Floats:
    weights: Floats = target[log.position, log.action] / log.propensity
    return weights


def _effective(weights: Floats) -> float:
    """How many impressions of the target the log is worth (Kish)."""
    squares = float(np.square(weights).sum())
    return float(weights.sum()) ** 2 / squares if squares else 0.0


def read(text: str) -> Log:
    """A log of the Open Bandit Dataset; raises InvalidInput naming a column that is missing."""
    rows = list(csv.DictReader(io.StringIO(text)))
    columns = ("position", "item_id", "propensity_score", "click")
    for name in columns:
        if rows and name not in rows[0]:
            raise InvalidInput(
                f"log.{name}", "the column is missing", "copy the file again"
            )
    position, action, propensity, click = (
        np.array([float(row[name]) for row in rows]) for name in columns
    )
    return Log(
        position.astype(np.int64) - 1, action.astype(np.int64), propensity, click
    )


def logs(folder: Path | None) -> tuple[Log, Log]:
    """The log of the uniformly random policy and that of the bandit, from the packed archive."""
    files = loading.files(SOURCE, folder)
    random, bandit = (
        read(files.read(f"{n}/men/men.csv").decode()) for n in ("random", "bts")
    )
    return random, bandit


def _no_items(files: Files) -> Raw:
    raise InvalidInput(
        "dataset", f"{NAME} is a log of impressions", "use tactful-lab offpolicy"
    )


SOURCE = Source(
    NAME,
    _no_items,
    "2 x 10,000 impressions of 34",
    34,
    0,
    0,
    "Apache-2.0 repository zr-obp; Open Bandit Dataset (Saito et al. 2020)",
    "the folder obd/ of the zr-obp repository",
    "f5468de5cd5ac3076ea90f906ca3af5a0c55d78ed9c1c19afd5366919ab4b340",
)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Offer `tactful-lab offpolicy`."""
    told = "what a policy would have earned, from the log of another"
    parser = subparsers.add_parser("offpolicy", help=told, description=told)
    parser.add_argument(
        "--data", type=Path, help="folder of packed archives; or set TACTFUL_DATA"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """What `tactful-lab offpolicy` does."""
    random, bandit = logs(loading.folder(options.data))
    shape = (
        int(max(random.position.max(), bandit.position.max())) + 1,
        int(max(random.action.max(), bandit.action.max())) + 1,
    )
    print("clicks per 1,000 impressions of " + NAME + ", 95 % intervals")
    _table("the bandit, from the uniform log", random, empirical(bandit, shape), bandit)
    _table(
        "the uniform one, from the bandit's log",
        bandit,
        np.full(shape, 1 / shape[1]),
        random,
    )
    return 0


def _table(title: str, log: Log, target: Policy, truth: Log) -> None:
    print(f"\n{title}")
    for name, estimator in ESTIMATORS.items():
        _line(name, estimator(log, target))
    _line("as it was", Estimate.of(truth.reward, float(len(truth))))


def _line(name: str, one: Estimate) -> None:
    print(
        f"  {name:12}{1000 * one.value:7.2f}  ({1000 * one.low:6.2f} to {1000 * one.high:6.2f})"
        f"  worth {one.effective:7,.0f} impressions"
    )

"""Robustness of a model to dropouts, poisoning, outliers and catalog changes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from tactful.errors import InvalidInput
from tactful.learning.model import Model
from tactful_lab.baselines import simple
from tactful_lab.data_sets import loading
from tactful_lab.data_sets.loading import Dataset
from tactful_lab.output_options import (
    DATASET_HELP,
    Outputs,
    Progress,
    add_outputs,
    progress,
)
from tactful_lab.ranking_metrics import (
    BATCH,
    TEST_SEED,
    Holdout,
    Scorer,
    evaluate,
    hold_out,
)
from tactful_lab.simulation.adversity import (
    PROVED,
    Changing,
    Dropping,
    Poisoned,
    by_popularity,
    dominated,
    shortened,
    with_outliers,
    without,
)
from tactful_lab.simulation.population import Floats, Ints, Population
from tactful_lab.simulation.training import DELTA

SEED_LIMIT = 30
EXPOSED_PLACES = 20  # places of a list in which a pushed item counts as exposed
ATTACKER_SHARES = (0.01, 0.02, 0.05)  # of the people
CHANGED_SHARE = 0.1  # of the items, retired or new
SINGLE_EVENT_SHARE = 0.5  # of the people
OUTLIER_SHARE = 0.05  # of the people, with 5,000 more events
DOMINANT_ITEMS, DOMINANT_CHANCE = 3, 0.9  # items that nearly everybody has


class Setup(NamedTuple):
    """The people of the training and of the test."""

    dataset: Dataset
    train: Ints
    test: Ints


class Scenario(NamedTuple):
    """A crowd to train with, the data set of the test people, and retired items."""

    crowd: Population
    test_dataset: Dataset
    retired: Ints


MakeScenario = Callable[[Setup, np.random.Generator], Scenario]


@dataclass(frozen=True)
class Row:
    """NDCG@100 under one condition: of the released model and of DP popularity.

    Both are means over seeds; `ndcg_sd` is a standard deviation over seeds.
    """

    condition: str
    ndcg_at_100: float
    ndcg_sd: float
    popularity_ndcg_at_100: float


@dataclass(frozen=True)
class Push:
    """The effect of attackers who push one item of median popularity.

    They send the longest vectors that `proof` allows. `exposure` is the share of test
    lists of 20 that contain the item, `rank` its median rank. Each pair holds the value
    without and with attackers, as means over seeds.
    """

    cheaters: float
    proof: str
    length: float
    exposure: tuple[float, float]
    rank: tuple[float, float]
    ndcg_at_100: tuple[float, float]


@dataclass(frozen=True)
class Stress:
    """All figures of one command, with the noise of both aggregators in float sums."""

    dataset: str
    users: int
    epsilon: float
    delta: float
    seeds: int
    rows: tuple[Row, ...]
    pushes: tuple[Push, ...]


def stress(
    dataset: Dataset,
    *,
    epsilon: float = 3.0,
    delta: float = DELTA,
    seeds: int = 3,
    progress: Progress = lambda line: None,
) -> Stress:
    """Train under each condition; raise InvalidInput for seeds not in 1..30."""
    if not 1 <= seeds <= SEED_LIMIT:
        raise InvalidInput("seeds", f"{seeds} is not in 1..{SEED_LIMIT}", "use 3")
    people = loading.rankable_split(dataset)
    setup = Setup(dataset, people.train, people.test)
    learner = _Learner(epsilon, delta)
    rows = []
    for name, make_scenario in CONDITIONS.items():
        progress(name)
        rows.append(_row(name, make_scenario, setup, learner, seeds))
    progress("attackers")
    pushes = tuple(_pushes(setup, learner, seeds))
    return Stress(
        dataset.name, len(people.train), epsilon, delta, seeds, tuple(rows), pushes
    )


class _Learner(NamedTuple):
    epsilon: float
    delta: float

    def model(self, crowd: Population, seed: int, *, personal: bool = True) -> Model:
        """Return the released model of this crowd, or its DP popularity."""
        train = crowd.train if personal else crowd.dp_popularity
        generator = np.random.default_rng(seed)
        training = train(
            self.epsilon,
            self.delta,
            noise="pair",
            generator=generator,
            fidelity="float",
        )
        return training.model


def _row(
    name: str, make_scenario: MakeScenario, setup: Setup, learner: _Learner, seeds: int
) -> Row:
    figures = []
    for seed in range(seeds):
        scenario = make_scenario(setup, np.random.default_rng([seed, 1]))
        # Both trainings draw from the same generator of dropouts, in this order.
        personal = learner.model(scenario.crowd, seed)
        personal_ndcg = _ndcg(personal, scenario, setup.test)
        popularity = learner.model(scenario.crowd, seed, personal=False)
        popularity_ndcg = _ndcg(popularity, scenario, setup.test)
        figures.append([personal_ndcg, popularity_ndcg])
    means = np.mean(figures, axis=0)
    return Row(
        condition=name,
        ndcg_at_100=float(means[0]),
        ndcg_sd=float(np.std([personal_ndcg for personal_ndcg, _ in figures])),
        popularity_ndcg_at_100=float(means[1]),
    )


def _ndcg(model: Model, scenario: Scenario, test: Ints) -> float:
    lengths = np.diff(scenario.test_dataset.indptr)[test]
    # A holdout needs one visible and one hidden item.
    holdout = hold_out(scenario.test_dataset, test[lengths >= 2], TEST_SEED)
    scorer = _without_retired(simple.scorer(model), scenario.retired)
    return evaluate(scorer, holdout).ndcg_at_100


def _without_retired(scorer: Scorer, retired: Ints) -> Scorer:
    """Return `scorer` with retired items last."""

    def scores(histories: Sequence[Ints]) -> Floats:
        table = np.array(scorer(histories))
        table[:, retired] = -np.inf
        return table

    return scores


NONE = np.empty(0, dtype=np.int64)


def _unmodified(setup: Setup, generator: np.random.Generator) -> Scenario:
    crowd = Population(setup.dataset, setup.train)
    return Scenario(crowd, setup.dataset, NONE)


def _dropouts(share: float) -> MakeScenario:
    def make_scenario(setup: Setup, generator: np.random.Generator) -> Scenario:
        crowd = Dropping(setup.dataset, setup.train, share, generator)
        return Scenario(crowd, setup.dataset, NONE)

    return make_scenario


def _single_events(setup: Setup, generator: np.random.Generator) -> Scenario:
    users = _sample(setup.train, SINGLE_EVENT_SHARE, generator)
    crowd = Population(shortened(setup.dataset, users, 1), setup.train)
    return Scenario(crowd, setup.dataset, NONE)


def _outliers(setup: Setup, generator: np.random.Generator) -> Scenario:
    users = _sample(setup.train, OUTLIER_SHARE, generator)
    crowd = Population(with_outliers(setup.dataset, users, generator), setup.train)
    return Scenario(crowd, setup.dataset, NONE)


def _dominant_items(setup: Setup, generator: np.random.Generator) -> Scenario:
    items = by_popularity(setup.dataset, setup.train)[:DOMINANT_ITEMS]
    dataset = dominated(setup.dataset, items, DOMINANT_CHANCE, generator)
    return Scenario(Population(dataset, setup.train), dataset, NONE)


def _retired_items(setup: Setup, generator: np.random.Generator) -> Scenario:
    retired = _sample(np.arange(setup.dataset.items), CHANGED_SHARE, generator)
    crowd = Changing(setup.dataset, setup.train, retired)
    return Scenario(crowd, without(setup.dataset, retired), retired)


def _new_items(setup: Setup, generator: np.random.Generator) -> Scenario:
    new = _sample(np.arange(setup.dataset.items), CHANGED_SHARE, generator)
    crowd = Population(without(setup.dataset, new), setup.train)
    return Scenario(crowd, setup.dataset, NONE)


def _sample(numbers: Ints, share: float, generator: np.random.Generator) -> Ints:
    """Return a random `share` of `numbers`, sorted."""
    return np.sort(generator.permutation(numbers)[: int(share * len(numbers))])


CONDITIONS: dict[str, MakeScenario] = {
    "unmodified": _unmodified,
    "10 % drop out of each round": _dropouts(0.1),
    "30 % drop out of each round": _dropouts(0.3),
    "50 % drop out of each round": _dropouts(0.5),
    "half of the people have one event": _single_events,
    "5 % of the people have 5,000 more events": _outliers,
    "3 items that 90 % of the people have": _dominant_items,
    "10 % of items retired after the first round": _retired_items,
    "10 % of items new since the training": _new_items,
}


def _pushes(setup: Setup, learner: _Learner, seeds: int) -> Iterator[Push]:
    """Yield the effect of each share of attackers at the bound of each proof.

    The same seeds are measured without attackers.
    """
    ranked = by_popularity(setup.dataset, setup.train)
    target = int(ranked[len(ranked) // 2])
    holdout = hold_out(setup.dataset, setup.test, TEST_SEED)
    honest = Population(setup.dataset, setup.train)
    before = _influence(honest, target, holdout, learner, seeds)
    for proof, length in PROVED.items():
        for share in ATTACKER_SHARES:
            count = max(round(share * len(setup.train)), 1)
            crowd = Poisoned(setup.dataset, setup.train[count:], count, target, length)
            after = _influence(crowd, target, holdout, learner, seeds)
            yield Push(
                cheaters=share,
                proof=proof,
                length=length,
                exposure=(float(before[0]), float(after[0])),
                rank=(float(before[1]), float(after[1])),
                ndcg_at_100=(float(before[2]), float(after[2])),
            )


def _influence(
    crowd: Population, target: int, holdout: Holdout, learner: _Learner, seeds: int
) -> Floats:
    """Return exposure and median rank of `target`, and NDCG@100, shape (3,).

    All are means over seeds.
    """
    figures: list[list[float]] = []
    for seed in range(seeds):
        scorer = simple.scorer(learner.model(crowd, seed))
        ranks = target_ranks(scorer, target, holdout)
        exposure = float((ranks <= EXPOSED_PLACES).mean())
        ndcg = evaluate(scorer, holdout).ndcg_at_100
        figures.append([exposure, float(np.median(ranks)), ndcg])
    mean: Floats = np.mean(figures, axis=0)
    return mean


def target_ranks(scorer: Scorer, target: int, holdout: Holdout) -> Floats:
    """Return the rank of `target`, from 1, for each person who does not have it."""
    ranks = []
    for start in range(0, len(holdout.visible), BATCH):
        visible = holdout.visible[start : start + BATCH]
        scores = np.array(scorer(visible))
        for row, items in zip(scores, visible, strict=True):
            row[items[items != target]] = -np.inf
        batch_ranks = (scores > scores[:, [target]]).sum(axis=1) + 1.0
        ranks.append(batch_ranks[[target not in items for items in visible]])
    return np.concatenate(ranks)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `tactful-lab stress`."""
    summary = "measure robustness to dropouts, poisoning, outliers and new catalogs"
    parser = subparsers.add_parser("stress", help=summary, description=summary)
    parser.add_argument("dataset", help=DATASET_HELP)
    parser.add_argument(
        "--epsilon", type=float, default=3.0, help="default: %(default)s"
    )
    parser.add_argument(
        "--delta", type=float, default=DELTA, help="default: %(default)s"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=3,
        help="number of seeds of noise and scenarios; default: %(default)s",
    )
    add_outputs(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run `tactful-lab stress` and return its exit status."""
    outputs = Outputs.of(options)
    figures = stress(
        loading.load(options.dataset, loading.folder(options.data)),
        epsilon=options.epsilon,
        delta=options.delta,
        seeds=options.seeds,
        progress=progress(),
    )
    outputs.write(table(figures), json.dumps(asdict(figures), indent=2))
    return 0


def table(figures: Stress) -> str:
    """Return the printed table."""
    lines = [
        f"{figures.dataset}: {figures.users} training people, "
        f"epsilon {figures.epsilon:g} at delta {figures.delta:g}, "
        f"noise of both aggregators, {figures.seeds} seeds",
        "",
        f"{'NDCG@100':46}{'ours':>8}{'sd':>7}{'popularity':>12}",
    ]
    lines += [
        f"{row.condition:46}{row.ndcg_at_100:8.4f}{row.ndcg_sd:7.4f}"
        f"{row.popularity_ndcg_at_100:12.4f}"
        for row in figures.rows
    ]
    lines += [
        "",
        f"{'attackers who push one item':30}{'hit rate@20':>16}{'median rank':>16}"
        f"{'NDCG@100':>18}",
    ]
    lines += [
        f"{push.cheaters:4.0%} within {push.proof:18}"
        f"{_change(push.exposure, '.1%'):>16}"
        f"{_change(push.rank, '.0f'):>16}{_change(push.ndcg_at_100, '.4f'):>18}"
        for push in figures.pushes
    ]
    return "\n".join(lines) + "\n"


def _change(pair: tuple[float, float], number_format: str) -> str:
    before, after = pair
    return f"{before:{number_format}} > {after:{number_format}}"

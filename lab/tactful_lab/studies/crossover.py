"""Cohort size from which a personal model ranks better than popularity, by epsilon."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import NamedTuple

import numpy as np

from tactful.errors import InvalidInput
from tactful.privacy.accountant import mu_for
from tactful_lab import plots
from tactful_lab.baselines import simple
from tactful_lab.data_sets import loading
from tactful_lab.output_options import (
    DATASET_HELP,
    Outputs,
    Progress,
    add_outputs,
    progress,
)
from tactful_lab.ranking_metrics import TEST_SEED, Holdout, evaluate, hold_out
from tactful_lab.simulation.population import Ints, Population
from tactful_lab.simulation.training import DELTA, MOST_DEVICES
from tactful_lab.studies.compare import half_width

USERS, EPSILONS, SEEDS = (500, 1_000, 2_000, 5_000, 20_000, 100_000), (1.0, 3.0, 8.0), 3
SEED_LIMIT = 30
COHORT_SEED = 100  # of the order in which people join (docs/spec/learning.md 8)


@dataclass(frozen=True)
class Cell:
    """One cohort at one epsilon, with the noise of both aggregators; means over seeds.

    If `synthetic`, the people are copies of the training people in turn: the noise is
    right, but there is less variety. `gain` is the NDCG@100 minus that of DP popularity
    for the same people and budget, `gain_half_width` half of its 95 % interval over
    seeds. `personal` is the share of seeds in which a personal model is released.
    """

    users: int
    synthetic: bool
    epsilon: float
    ndcg_at_100: float
    popularity_ndcg_at_100: float
    gain: float
    gain_half_width: float | None
    personal: float

    @property
    def is_better(self) -> bool:
        """True if the gain is greater than half of its interval."""
        return self.gain > (self.gain_half_width or 0.0)


@dataclass(frozen=True)
class Crossover:
    """All cells of one command, with the noise of both aggregators in float sums."""

    dataset: str
    people: int
    items: int
    delta: float
    seeds: int
    popularity: float
    cells: tuple[Cell, ...]

    def turning_point(self, epsilon: float) -> int | None:
        """Return the smallest cohort from which on all gain; None if there is none."""
        cells = [cell for cell in self.cells if cell.epsilon == epsilon]
        cells.sort(key=lambda cell: cell.users, reverse=True)
        turning_point = None
        for cell in cells:
            if not cell.is_better:
                break
            turning_point = cell.users
        return turning_point


def crossover(
    dataset: loading.Dataset,
    *,
    users: Sequence[int] = USERS,
    epsilons: Sequence[float] = EPSILONS,
    seeds: int = SEEDS,
    delta: float = DELTA,
    progress: Progress = lambda line: None,
) -> Crossover:
    """Train all cohorts at each epsilon; raise InvalidInput for values out of range."""
    _check(users, epsilons, seeds, delta)
    people = loading.rankable_split(dataset)
    test = hold_out(dataset, people.test, TEST_SEED)
    cells = []
    for count in sorted(set(users)):
        for epsilon in epsilons:
            progress(f"{count} people, epsilon {epsilon:g}")
            measure = partial(
                _measure, dataset, people.train, count, epsilon, delta, test
            )
            results = [measure(seed) for seed in range(seeds)]
            synthetic = count > len(people.train)
            cells.append(_cell(count, synthetic, epsilon, results))
    popularity = simple.popularity(dataset, people.train)
    return Crossover(
        dataset=dataset.name,
        people=len(people.train),
        items=dataset.items,
        delta=delta,
        seeds=seeds,
        popularity=evaluate(popularity, test).ndcg_at_100,
        cells=tuple(cells),
    )


def cohort(train: Ints, count: int, seed: int) -> Ints:
    """Return `count` people in random order, or all of them in turn if that is more."""
    order = np.random.default_rng(COHORT_SEED + seed).permutation(train)
    # np.resize repeats the array if `count` is larger than it.
    return np.resize(order, count)


class _SeedResult(NamedTuple):
    """NDCG@100 of the released model and of DP popularity, for one seed."""

    model_ndcg: float
    popularity_ndcg: float
    is_personal: float  # 1 or 0


def _measure(
    dataset: loading.Dataset,
    train: Ints,
    count: int,
    epsilon: float,
    delta: float,
    test: Holdout,
    seed: int,
) -> _SeedResult:
    crowd = Population(dataset, cohort(train, count, seed))
    model, popularity = (
        train_crowd(
            epsilon,
            delta,
            noise="pair",
            generator=np.random.default_rng(seed),
            fidelity="float",
        ).model
        for train_crowd in (crowd.train, crowd.dp_popularity)
    )
    return _SeedResult(
        model_ndcg=evaluate(simple.scorer(model), test).ndcg_at_100,
        popularity_ndcg=evaluate(simple.scorer(popularity), test).ndcg_at_100,
        is_personal=float(model.kind == "personal"),
    )


def _cell(
    count: int, synthetic: bool, epsilon: float, results: Sequence[_SeedResult]
) -> Cell:
    means = _SeedResult(*(float(mean) for mean in np.mean(results, axis=0)))
    gains = [result.model_ndcg - result.popularity_ndcg for result in results]
    return Cell(
        users=count,
        synthetic=synthetic,
        epsilon=epsilon,
        ndcg_at_100=means.model_ndcg,
        popularity_ndcg_at_100=means.popularity_ndcg,
        gain=float(np.mean(gains)),
        gain_half_width=half_width(gains),
        personal=means.is_personal,
    )


def _check(
    users: Sequence[int], epsilons: Sequence[float], seeds: int, delta: float
) -> None:
    if not 1 <= seeds <= SEED_LIMIT:
        raise InvalidInput("seeds", f"{seeds} is not in 1..{SEED_LIMIT}", "use 3")
    for count in users:
        if not 1 <= count <= MOST_DEVICES:
            raise InvalidInput(
                "--users", f"{count} is not in 1..{MOST_DEVICES}", "use 1000"
            )
    for epsilon in epsilons:
        mu_for(epsilon, delta)  # raises InvalidInput
    if not users or not epsilons:
        raise InvalidInput(
            "--users, --epsilon", "no value was given", "pass at least one of each"
        )


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `tactful-lab crossover`."""
    summary = "find the cohort size from which a personal model beats popularity"
    parser = subparsers.add_parser("crossover", help=summary, description=summary)
    parser.add_argument("dataset", help=DATASET_HELP)
    parser.add_argument(
        "--users",
        type=int,
        nargs="+",
        default=USERS,
        metavar="COUNT",
        help="cohort sizes; default: 6 sizes, 500 to 100000; cohorts larger than the "
        "data set are filled with synthetic copies",
    )
    parser.add_argument(
        "--epsilon", type=float, nargs="+", default=EPSILONS, help="default: 1 3 8"
    )
    parser.add_argument(
        "--delta", type=float, default=DELTA, help="default: %(default)s"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=SEEDS,
        help="number of seeds of noise and cohorts; default: %(default)s",
    )
    add_outputs(parser, "crossover.svg")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run `tactful-lab crossover` and return its exit status."""
    outputs = Outputs.of(options, "crossover.svg")
    figures = crossover(
        loading.load(options.dataset, loading.folder(options.data)),
        users=options.users,
        epsilons=options.epsilon,
        seeds=options.seeds,
        delta=options.delta,
        progress=progress(),
    )
    document = json.dumps(asdict(figures), indent=2)
    outputs.write(table(figures), document, lambda: plot(figures))
    return 0


def table(figures: Crossover) -> str:
    """Return the printed table: a row per cohort, a column per epsilon."""
    epsilons = list(dict.fromkeys(cell.epsilon for cell in figures.cells))
    headings = [f"epsilon {epsilon:g}" for epsilon in epsilons]
    lines = [
        f"{figures.dataset}: {figures.people} training people, {figures.items} items; "
        f"popularity without privacy: NDCG@100 {figures.popularity:.4f}; "
        f"delta {figures.delta:g}, noise of both aggregators, {figures.seeds} seeds",
        "NDCG@100 and its gain over DP popularity; "
        "* with synthetic copies, = popularity is released",
        "",
        "people".rjust(12) + "".join(f"{heading:>22}" for heading in headings),
    ]
    for count in dict.fromkeys(cell.users for cell in figures.cells):
        row = [cell for cell in figures.cells if cell.users == count]
        mark = "*" if row[0].synthetic else " "
        lines.append(f"{count:,}{mark}".rjust(12) + "".join(map(_table_cell, row)))
    ends = [_turning_point(figures, epsilon) for epsilon in epsilons]
    lines.append("better from".rjust(12) + "".join(f"{end:>22}" for end in ends))
    return "\n".join(lines) + "\n"


def _table_cell(cell: Cell) -> str:
    mark = " " if cell.personal else "="
    return f"{cell.ndcg_at_100:13.4f}{cell.gain:+8.3f}{mark}"


def _turning_point(figures: Crossover, epsilon: float) -> str:
    turning_point = figures.turning_point(epsilon)
    return "never" if turning_point is None else f"{turning_point:,}"


def plot(figures: Crossover) -> str:
    """Return a plot of NDCG@100 over people, a curve per epsilon, as SVG.

    A level line shows popularity.
    """
    curves: dict[str, list[tuple[float, float, float]]] = {}
    for cell in figures.cells:
        interval = cell.gain_half_width or 0.0
        point = (float(cell.users), cell.ndcg_at_100, interval)
        curves.setdefault(f"epsilon {cell.epsilon:g}", []).append(point)
    levels = {"popularity": figures.popularity}
    across = f"contributing people (synthetic copies beyond {figures.people:,})"
    return plots.with_intervals(curves, levels, label="NDCG@100", across=across)

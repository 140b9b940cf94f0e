"""From how many people on a personal model ranks better than popularity, by epsilon."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from tactful.errors import InvalidInput
from tactful.privacy.accountant import mu_for
from tactful_lab import plots
from tactful_lab.baselines import simple
from tactful_lab.data_sets import loading
from tactful_lab.output_options import Outputs, Progress, add_outputs, progress
from tactful_lab.ranking_metrics import TEST_SEED, Holdout, evaluate, hold_out
from tactful_lab.simulation.population import Ints, Population
from tactful_lab.simulation.training import DELTA, MOST_DEVICES
from tactful_lab.studies.compare import half_width

USERS, EPSILONS, SEEDS = (500, 1_000, 2_000, 5_000, 20_000, 100_000), (1.0, 3.0, 8.0), 3
SEED_LIMIT = 30
COHORT_SEED = 100  # of the order in which people join (design/learning.md 8)


@dataclass(frozen=True)
class Cell:
    """One cohort at one epsilon, as the pair releases it; means over seeds.

    `synthetic` ones are copies of the real training people in turn: right noise, less variety.
    `gain` is NDCG@100 over that of DP popularity for the same people and budget, `gain_half_width`
    half of its 95 % interval over seeds. `personal` is the share of seeds with a personal model.
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
        """True if the personal model is better beyond the interval."""
        return self.gain > (self.gain_half_width or 0.0)


@dataclass(frozen=True)
class Crossover:
    """All cells of one command, with the noise of both halves in float sums."""

    dataset: str
    people: int
    items: int
    delta: float
    seeds: int
    popularity: float
    cells: tuple[Cell, ...]

    def turning_point(self, epsilon: float) -> int | None:
        """The fewest people from which on a personal model is better; None if it never is."""
        column = sorted(
            (cell for cell in self.cells if cell.epsilon == epsilon),
            key=lambda cell: cell.users,
        )
        better = None
        for cell in reversed(column):
            if not cell.is_better:
                break
            better = cell.users
        return better


def crossover(
    dataset: loading.Dataset,
    *,
    users: Sequence[int] = USERS,
    epsilons: Sequence[float] = EPSILONS,
    seeds: int = SEEDS,
    delta: float = DELTA,
    progress: Progress = lambda line: None,
) -> Crossover:
    """Train every cohort at every epsilon; raises InvalidInput for what is out of range."""
    _check(users, epsilons, seeds, delta)
    people = loading.rankable_split(dataset)
    test = hold_out(dataset, people.test, TEST_SEED)
    cells = []
    for count in sorted(set(users)):
        for epsilon in epsilons:
            progress(f"{count} people, epsilon {epsilon:g}")
            measure = partial(
                _measured, dataset, people.train, count, epsilon, delta, test
            )
            cells.append(
                _cell(
                    count,
                    len(people.train),
                    epsilon,
                    [measure(s) for s in range(seeds)],
                )
            )
    counted = simple.popularity(dataset, people.train)
    return Crossover(
        dataset=dataset.name,
        people=len(people.train),
        items=dataset.items,
        delta=delta,
        seeds=seeds,
        popularity=evaluate(counted, test).ndcg_at_100,
        cells=tuple(cells),
    )


def cohort(train: Ints, count: int, seed: int) -> Ints:
    """`count` of the people: as many in random order, or all of them in turn if that is more."""
    order = np.random.default_rng(COHORT_SEED + seed).permutation(train)
    return np.resize(order, count)


def _measured(
    dataset: loading.Dataset,
    train: Ints,
    count: int,
    epsilon: float,
    delta: float,
    test: Holdout,
    seed: int,
) -> tuple[float, float, float]:
    """NDCG@100 of the model and of DP popularity, and 1 if the model is personal."""
    crowd = Population(dataset, cohort(train, count, seed))
    ours, counts = (
        learn(
            epsilon,
            delta,
            noise="pair",
            generator=np.random.default_rng(seed),
            fidelity="float",
        ).model
        for learn in (crowd.train, crowd.dp_popularity)
    )
    ndcg = [
        evaluate(simple.scorer(model), test).ndcg_at_100 for model in (ours, counts)
    ]
    return ndcg[0], ndcg[1], float(ours.kind == "personal")


def _cell(
    count: int,
    real: int,
    epsilon: float,
    measured: Sequence[tuple[float, float, float]],
) -> Cell:
    ours, counts, personal = np.mean(measured, axis=0)
    gains = [one[0] - one[1] for one in measured]
    return Cell(
        users=count,
        synthetic=count > real,
        epsilon=epsilon,
        ndcg_at_100=float(ours),
        popularity_ndcg_at_100=float(counts),
        gain=float(np.mean(gains)),
        gain_half_width=half_width(gains),
        personal=float(personal),
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
        mu_for(epsilon, delta)
    if not users or not epsilons:
        raise InvalidInput(
            "--users, --epsilon", "there is none", "name at least one of each"
        )


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Offer `tactful-lab crossover`."""
    parser = subparsers.add_parser(
        "crossover", help="from how many people on personal is better"
    )
    parser.add_argument(
        "dataset", help="a name that `tactful-lab datasets` lists, or a CSV file"
    )
    parser.add_argument(
        "--users",
        type=int,
        nargs="+",
        default=USERS,
        help="default 500 to 100000; more than there are get synthetic copies",
    )
    parser.add_argument(
        "--epsilon", type=float, nargs="+", default=EPSILONS, help="default 1 3 8"
    )
    parser.add_argument(
        "--delta", type=float, default=DELTA, help="default %(default)s"
    )
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, help="of noise and cohort; default 3"
    )
    add_outputs(parser, "crossover.svg")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """What `tactful-lab crossover` does."""
    outputs = Outputs.of(options, "crossover.svg")
    figures = crossover(
        loading.load(options.dataset, loading.folder(options.data)),
        users=options.users,
        epsilons=options.epsilon,
        seeds=options.seeds,
        delta=options.delta,
        progress=progress(),
    )
    outputs.write(
        table(figures), json.dumps(asdict(figures), indent=2), lambda: plot(figures)
    )
    return 0


def table(figures: Crossover) -> str:
    """The figures for people: a row per cohort, a column per epsilon."""
    epsilons = list(dict.fromkeys(cell.epsilon for cell in figures.cells))
    lines = [
        f"{figures.dataset}: {figures.people} real people, {figures.items} items, popularity "
        f"{figures.popularity:.4f} without privacy; delta {figures.delta:g}, noise of both halves, "
        f"{figures.seeds} seeds",
        "NDCG@100 and its gain over DP popularity; * synthetic copies, = popularity is released",
        "",
        "people".rjust(12) + "".join(f"{f'epsilon {one:g}':>22}" for one in epsilons),
    ]
    for count in dict.fromkeys(cell.users for cell in figures.cells):
        row = [cell for cell in figures.cells if cell.users == count]
        lines.append(
            f"{count:,}{'*' if row[0].synthetic else ' '}".rjust(12)
            + "".join(map(_told, row))
        )
    points = (figures.turning_point(epsilon) for epsilon in epsilons)
    ends = "".join(f"{'never' if one is None else f'{one:,}':>22}" for one in points)
    return "\n".join([*lines, "better from".rjust(12) + ends]) + "\n"


def _told(cell: Cell) -> str:
    released = " " if cell.personal else "="
    return f"{cell.ndcg_at_100:13.4f}{cell.gain:+8.3f}{released}"


def plot(figures: Crossover) -> str:
    """NDCG@100 over people, a curve per epsilon, with the level of popularity, as SVG."""
    curves = {
        f"epsilon {epsilon:g}": [
            (float(cell.users), cell.ndcg_at_100, cell.gain_half_width or 0.0)
            for cell in figures.cells
            if cell.epsilon == epsilon
        ]
        for epsilon in dict.fromkeys(cell.epsilon for cell in figures.cells)
    }
    levels = {"popularity": figures.popularity}
    across = (
        f"people who contribute (more than {figures.people:,} are synthetic copies)"
    )
    return plots.with_intervals(curves, levels, label="NDCG@100", across=across)

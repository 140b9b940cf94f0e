"""Ranking quality against upload size: the same training at several upload limits."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

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
from tactful_lab.simulation.population import Population
from tactful_lab.simulation.training import DELTA, crowd_of
from tactful_lab.studies.compare import half_width

LIMITS = (5_000, 10_000, 25_000, 50_000, 150_000, 400_000, 1_000_000)
EPSILONS, SEEDS = (1.0, 3.0, 8.0), 3


@dataclass(frozen=True)
class Point:
    """The upload of one device, and NDCG@100, with one limit at one epsilon.

    `limit` is None for the default of the training plan. `numbers` counts the numbers
    uploaded in all rounds, as a mean over seeds. `half_width` is half of the 95 %
    interval over seeds.
    """

    epsilon: float
    limit: int | None
    numbers: float
    megabytes: float
    ndcg_at_100: float
    half_width: float | None


def curve(
    dataset: loading.Dataset,
    *,
    limits: Sequence[int] = LIMITS,
    epsilons: Sequence[float] = EPSILONS,
    seeds: int = SEEDS,
    devices: int | None = None,
    progress: Progress = lambda line: None,
) -> list[Point]:
    """Train at each limit and at the plan's default, with noise once, in float sums.

    `devices` is the number of synthetic devices: copies of the training people in turn.
    Raises InvalidInput for a limit below 1, an impossible epsilon or no seed.
    """
    if min(limits, default=0) < 1 or seeds < 1:
        raise InvalidInput("--numbers, --seeds", "a value is below 1", "use 1 or more")
    for epsilon in epsilons:
        mu_for(epsilon, DELTA)  # raises InvalidInput
    people = loading.rankable_split(dataset)
    test = hold_out(dataset, people.test, TEST_SEED)
    crowd = crowd_of(dataset, people.train, devices)
    points = []
    for epsilon in epsilons:
        for limit in (None, *limits):
            progress(f"epsilon {epsilon:g}, limit {limit or 'of the default plan'}")
            points.append(_measure(crowd, epsilon, limit, seeds, test))
    return points


def _measure(
    crowd: Population, epsilon: float, limit: int | None, seeds: int, test: Holdout
) -> Point:
    trainings = [
        crowd.train(
            epsilon,
            DELTA,
            noise="once",
            generator=np.random.default_rng(seed),
            fidelity="float",
            most=limit,
        )
        for seed in range(seeds)
    ]
    ndcg = [
        evaluate(simple.scorer(training.model), test).ndcg_at_100
        for training in trainings
    ]
    rounds = [info for training in trainings for info in training.rounds]
    return Point(
        epsilon=epsilon,
        limit=limit,
        numbers=sum(info.encoding.length for info in rounds) / seeds,
        megabytes=sum(info.upload_bytes for info in rounds) / seeds / 1e6,
        ndcg_at_100=float(np.mean(ndcg)),
        half_width=half_width(ndcg),
    )


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `tactful-lab upload`."""
    summary = "measure ranking quality against the upload size of a device"
    parser = subparsers.add_parser("upload", help=summary, description=summary)
    parser.add_argument("dataset", help=DATASET_HELP)
    parser.add_argument(
        "--numbers",
        type=int,
        nargs="+",
        default=LIMITS,
        metavar="LIMIT",
        help="most numbers that a device uploads; default: 7 limits, 5000 to 1000000",
    )
    parser.add_argument(
        "--epsilon", type=float, nargs="+", default=EPSILONS, help="default: 1 3 8"
    )
    parser.add_argument(
        "--seeds",
        type=int,
        default=SEEDS,
        help="number of noise seeds; default: %(default)s",
    )
    parser.add_argument(
        "--devices",
        type=int,
        help="number of synthetic devices: copies of the training people in turn",
    )
    add_outputs(parser, "upload.svg")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run `tactful-lab upload` and return its exit status."""
    outputs = Outputs.of(options, "upload.svg")
    points = curve(
        loading.load(options.dataset, loading.folder(options.data)),
        limits=options.numbers,
        epsilons=options.epsilon,
        seeds=options.seeds,
        devices=options.devices,
        progress=progress(),
    )
    if options.devices is not None:
        print(f"{options.devices:,} SYNTHETIC devices: copies of the training people")
    document = json.dumps([asdict(point) for point in points], indent=2)
    outputs.write(table(points), document, lambda: plot(points))
    return 0


def table(points: Sequence[Point]) -> str:
    """Return the printed table; the limit of the training plan is "default"."""
    lines = [
        f"{'epsilon':>8}{'limit':>12}{'uploaded':>12}{'MB':>8}"
        f"{'NDCG@100':>10}{'95 %':>9}"
    ]
    for point in points:
        limit = "default" if point.limit is None else f"{point.limit:,}"
        interval = "" if point.half_width is None else f"±{point.half_width:.4f}"
        lines.append(
            f"{point.epsilon:8g}{limit:>12}{point.numbers:12,.0f}"
            f"{point.megabytes:8.2f}{point.ndcg_at_100:10.4f}{interval:>9}"
        )
    return "\n".join(lines) + "\n"


def plot(points: Sequence[Point]) -> str:
    """Return a plot of NDCG@100 over uploaded numbers, a curve per epsilon, as SVG."""
    curves: dict[str, list[tuple[float, float, float]]] = {}
    for point in points:
        uploaded = float(round(point.numbers))
        plotted = (uploaded, point.ndcg_at_100, point.half_width or 0.0)
        curves.setdefault(f"epsilon {point.epsilon:g}", []).append(plotted)
    for curve_points in curves.values():
        curve_points.sort()
    across = "numbers that one device uploads in all rounds"
    return plots.with_intervals(curves, {}, label="NDCG@100", across=across)

"""How well a model ranks for what a device uploads: the same training at several limits."""

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
from tactful_lab.output_options import Outputs, Progress, add_outputs, progress
from tactful_lab.ranking_metrics import TEST_SEED, evaluate, hold_out
from tactful_lab.simulation.training import DELTA, crowd_of
from tactful_lab.studies.compare import half_width

LIMITS = (5_000, 10_000, 25_000, 50_000, 150_000, 400_000, 1_000_000)
EPSILONS, SEEDS = (1.0, 3.0, 8.0), 3


@dataclass(frozen=True)
class Point:
    """One limit at one epsilon, None for the rule's: what a device uploads, and NDCG@100.

    `numbers` are uploaded in all rounds, as the mean over seeds; `half_width` is half of the 95 %
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
    """Train at each limit and at the rule's own, with noise once, in float sums.

    With `devices` as many synthetic ones contribute: copies of the training people in turn.
    Raises InvalidInput for a limit below 1, an impossible epsilon or no seed.
    """
    if min(limits, default=0) < 1 or seeds < 1:
        raise InvalidInput("--numbers, --seeds", "one is below 1", "use 1 or more")
    for epsilon in epsilons:
        mu_for(epsilon, DELTA)
    people = loading.rankable_split(dataset)
    test = hold_out(dataset, people.test, TEST_SEED)
    crowd = crowd_of(dataset, people.train, devices)
    points = []
    for epsilon in epsilons:
        for limit in (None, *limits):
            progress(f"epsilon {epsilon:g}, at most {limit or 'what the rule says'}")
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
                evaluate(simple.scorer(one.model), test).ndcg_at_100
                for one in trainings
            ]
            rounds = [here for one in trainings for here in one.rounds]
            points.append(
                Point(
                    epsilon,
                    limit,
                    sum(here.encoding.length for here in rounds) / seeds,
                    sum(here.upload_bytes for here in rounds) / seeds / 1e6,
                    float(np.mean(ndcg)),
                    half_width(ndcg),
                )
            )
    return points


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Offer `tactful-lab upload`."""
    parser = subparsers.add_parser(
        "upload", help="utility against what a device uploads"
    )
    parser.add_argument(
        "dataset", help="a name that `tactful-lab datasets` lists, or a CSV file"
    )
    parser.add_argument(
        "--numbers",
        type=int,
        nargs="+",
        default=LIMITS,
        help="limits; default 5000 to 1000000",
    )
    parser.add_argument(
        "--epsilon", type=float, nargs="+", default=EPSILONS, help="default 1 3 8"
    )
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, help="of the noise; default 3"
    )
    parser.add_argument(
        "--devices", type=int, help="synthetic ones: copies of the people in turn"
    )
    add_outputs(parser, "upload.svg")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """What `tactful-lab upload` does."""
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
        print(
            f"{options.devices:,} SYNTHETIC devices, copies of the training people in turn"
        )
    document = json.dumps([asdict(one) for one in points], indent=2)
    outputs.write(table(points), document, lambda: plot(points))
    return 0


def table(points: Sequence[Point]) -> str:
    """The figures for people; the rule's own choice is marked."""
    lines = [
        f"{'epsilon':>8}{'at most':>12}{'numbers':>12}{'MB':>8}{'NDCG@100':>10}{'95 %':>9}"
    ]
    for one in points:
        limit = "the rule" if one.limit is None else f"{one.limit:,}"
        spread = "" if one.half_width is None else f"±{one.half_width:.4f}"
        lines.append(
            f"{one.epsilon:8g}{limit:>12}{one.numbers:12,.0f}{one.megabytes:8.2f}"
            f"{one.ndcg_at_100:10.4f}{spread:>9}"
        )
    return "\n".join(lines) + "\n"


def plot(points: Sequence[Point]) -> str:
    """NDCG@100 over uploaded numbers, a curve per epsilon, as SVG."""
    curves = {
        f"epsilon {epsilon:g}": sorted(
            (float(round(one.numbers)), one.ndcg_at_100, one.half_width or 0.0)
            for one in points
            if one.epsilon == epsilon
        )
        for epsilon in dict.fromkeys(one.epsilon for one in points)
    }
    across = "numbers that one device uploads in all rounds"
    return plots.with_intervals(curves, {}, label="NDCG@100", across=across)

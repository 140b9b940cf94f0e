"""Simulation of one training: its privacy cost, its upload and its ranking quality."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from concurrent.futures import Executor
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import get_args

import numpy as np

from tactful.errors import InvalidInput
from tactful_aggregator.learning.training_plan import Plan, popularity_plan
from tactful_lab.baselines import simple
from tactful_lab.data_sets import loading
from tactful_lab.output_options import (
    DATASET_HELP,
    Outputs,
    Progress,
    add_outputs,
    progress,
)
from tactful_lab.ranking_metrics import (
    TEST_SEED,
    VALIDATION_SEED,
    Scorer,
    Utility,
    evaluate,
    hold_out,
)
from tactful_lab.simulation.population import Fidelity, Ints, Population, Training
from tactful_lab.simulation.workers import KINDS, workers

DELTA = 1e-6
MIB = 1 << 20
MOST_DEVICES = 100_000_000  # 8 bytes of memory each
METHODS = ("popularity", "dp_popularity", "private", "released", "ease")
FIDELITIES: dict[Fidelity, str] = {
    "exact": "exact sums of measurements",
    "float": "sums of floats, with rounding as noise",
}


@dataclass(frozen=True)
class Simulation:
    """The figures of one run, with `utility` by method.

    The method "private" has the noise once, like published central baselines;
    "released" has the noise of both aggregators, as in production. Both have the same
    privacy claim. `epsilon` is the requested value; `epsilon_claimed`, at most that,
    follows from the integer noise. `rounds`, `plan` and upload are those of "released".
    `users` people contributed. If `synthetic`, they are copies of `people` real ones in
    turn: the noise is right for `users`, the variety is that of `people`.
    """

    dataset: str
    users: int
    people: int
    synthetic: bool
    fidelity: Fidelity
    items: int
    epsilon: float
    delta: float
    unit_of_privacy: str
    adjacency: str
    epsilon_claimed: float
    epsilon_rho: float
    epsilon_replace_one: float
    seed: int
    rounds: int
    upload_bytes_per_device: int
    plan: Plan
    utility: dict[str, Utility]
    seconds: float
    device_rounds_per_second: float
    peak_rss_mb: float

    def document(self) -> str:
        """Return the figures as JSON."""
        return json.dumps(asdict(self), indent=2)


def simulate(
    dataset: loading.Dataset,
    *,
    epsilon: float,
    delta: float = DELTA,
    seed: int = 0,
    devices: int | None = None,
    fidelity: Fidelity = "exact",
    executor: Executor | None = None,
    progress: Progress = lambda line: None,
) -> Simulation:
    """Train on the training people of `dataset` and rank for its test people.

    `devices` is the number of synthetic devices: copies of the training people in turn.
    """
    if seed < 0:
        raise InvalidInput("seed", f"{seed} is below 0", "use a whole number >= 0")
    started = time.monotonic()
    people = loading.rankable_split(dataset)
    crowd = crowd_of(dataset, people.train, devices)
    train = partial(
        crowd.train,
        epsilon,
        delta,
        fidelity=fidelity,
        executor=executor,
        progress=progress,
    )
    # Each training has the same seed, so that they differ in noise and plan only.
    released = train(noise="pair", generator=np.random.default_rng(seed))
    private = train(noise="once", generator=np.random.default_rng(seed))
    dp_popularity = train(
        noise="once",
        generator=np.random.default_rng(seed),
        plan=popularity_plan(dataset.items),
    )
    training_seconds = time.monotonic() - started
    progress("evaluating the models and the baselines popularity and EASE")
    test = hold_out(dataset, people.test, TEST_SEED)
    scorers = {
        **_non_private_baselines(dataset, people),
        "dp_popularity": simple.scorer(dp_popularity.model),
        "private": simple.scorer(private.model),
        "released": simple.scorer(released.model),
    }
    utility = {name: evaluate(scorers[name], test) for name in METHODS}
    trainings = (released, private, dp_popularity)
    rounds = sum(len(training.rounds) for training in trainings)
    figures = _figures(crowd, epsilon, released, utility, seed=seed, started=started)
    return replace(
        figures,
        people=min(len(people.train), len(crowd)),
        synthetic=devices is not None,
        fidelity=fidelity,
        device_rounds_per_second=round(rounds * len(crowd) / training_seconds, 1),
    )


def crowd_of(dataset: loading.Dataset, train: Ints, devices: int | None) -> Population:
    """Return the people `train`, or `devices` synthetic copies of them in turn.

    Raises InvalidInput if `devices` is out of range.
    """
    if devices is not None and not 1 <= devices <= MOST_DEVICES:
        raise InvalidInput(
            "--devices", f"{devices} is not in 1..{MOST_DEVICES}", "use 100000"
        )
    return Population(dataset, np.resize(train, devices or len(train)))


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `tactful-lab simulate`."""
    summary = "simulate one training without a network, and evaluate its model"
    parser = subparsers.add_parser("simulate", help=summary, description=summary)
    parser.add_argument("dataset", help=DATASET_HELP)
    parser.add_argument(
        "--epsilon", type=float, required=True, help="budget of the whole training"
    )
    parser.add_argument(
        "--delta", type=float, default=DELTA, help="default: %(default)s"
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        help="of the simulated noise and coins; default: %(default)s",
    )
    parser.add_argument(
        "--devices",
        type=int,
        help="number of synthetic devices: copies of the training people in turn",
    )
    parser.add_argument(
        "--fidelity",
        choices=get_args(Fidelity),
        help="exact: sum the measurements that devices send; float: sum vectors and "
        "draw the rounding error as noise; default: float with --devices, else exact",
    )
    add_workers(parser)
    add_outputs(parser)
    parser.set_defaults(run=run)


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Add the options --workers and --on."""
    parser.add_argument(
        "--workers",
        type=int,
        default=1,
        help="number of parallel workers; default: %(default)s",
    )
    parser.add_argument(
        "--on",
        choices=KINDS,
        default=KINDS[0],
        help="kind of workers; default: %(default)s",
    )


def run(options: argparse.Namespace) -> int:
    """Run `tactful-lab simulate` and return its exit status."""
    outputs = Outputs.of(options)
    dataset = loading.load(options.dataset, loading.folder(options.data))
    default_fidelity: Fidelity = "exact" if options.devices is None else "float"
    with workers(options.on, options.workers) as executor:
        figures = simulate(
            dataset,
            epsilon=options.epsilon,
            delta=options.delta,
            seed=options.seed,
            devices=options.devices,
            fidelity=options.fidelity or default_fidelity,
            executor=executor,
            progress=progress(),
        )
    outputs.write(table(figures), figures.document())
    return 0


def table(figures: Simulation) -> str:
    """Return the printed table."""
    crowd = f"{figures.users} training people"
    if figures.synthetic:
        crowd = f"{figures.users} SYNTHETIC devices, copies of {figures.people} people"
    megabytes = figures.upload_bytes_per_device / 1e6
    lines = [
        f"{figures.dataset}: {crowd}, {figures.items} items; "
        f"{FIDELITIES[figures.fidelity]}",
        f"epsilon {figures.epsilon:.3g} at delta {figures.delta:g} "
        f"per {figures.unit_of_privacy} ({figures.adjacency}; "
        f"{figures.epsilon_replace_one:.3g} with replace_one)",
        f"{figures.rounds} reports per device, {megabytes:.2f} MB; "
        f"{figures.seconds:.0f} s, {figures.peak_rss_mb:.0f} MB of memory, "
        f"{figures.device_rounds_per_second:,.0f} device-rounds per second",
        "",
        f"{'method':16}{'recall@20':>10}{'NDCG@100':>10}",
    ]
    for name, utility in figures.utility.items():
        lines.append(
            f"{name.replace('_', ' '):16}{utility.recall_at_20:10.4f}"
            f"{utility.ndcg_at_100:10.4f}"
        )
    return "\n".join(lines) + "\n"


def _non_private_baselines(
    dataset: loading.Dataset, people: loading.Split
) -> dict[str, Scorer]:
    """Return popularity and EASE; the ridge of EASE is chosen on validation people."""
    validation = hold_out(dataset, people.validation, VALIDATION_SEED)
    return {
        "popularity": simple.popularity(dataset, people.train),
        "ease": simple.best_ease(dataset, people.train, validation),
    }


def _figures(
    crowd: Population,
    epsilon: float,
    released: Training,
    utility: dict[str, Utility],
    *,
    seed: int,
    started: float,
) -> Simulation:
    claim = released.claim
    return Simulation(
        dataset=crowd.dataset.name,
        users=len(crowd),
        people=len(crowd),
        synthetic=False,
        fidelity="exact",
        items=crowd.dataset.items,
        epsilon=epsilon,
        delta=claim.delta,
        unit_of_privacy=str(claim.unit),
        adjacency=str(claim.adjacency),
        epsilon_claimed=claim.epsilon,
        epsilon_rho=claim.epsilon_rho,
        epsilon_replace_one=claim.epsilon_replace_one,
        seed=seed,
        rounds=len(released.rounds),
        upload_bytes_per_device=sum(
            completed.upload_bytes for completed in released.rounds
        ),
        plan=released.plan,
        utility=utility,
        seconds=round(time.monotonic() - started, 2),
        device_rounds_per_second=0.0,
        peak_rss_mb=round(peak_rss_bytes() / MIB, 1),
    )


def peak_rss_bytes() -> int:
    """Return the peak resident memory of this process in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # getrusage reports bytes on macOS and kibibytes elsewhere.
    return peak if sys.platform == "darwin" else peak * 1024

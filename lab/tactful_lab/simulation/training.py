"""One training on simulated people: what it costs in privacy and bytes, and how well it ranks."""

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
from tactful.learning.training_plan import Plan, popularity_plan
from tactful_lab.baselines import simple
from tactful_lab.data_sets import loading
from tactful_lab.output_options import Outputs, Progress, add_outputs, progress
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
    "exact": "sums of whole numbers, as devices send them",
    "float": "sums of floats, with rounding as noise",
}


@dataclass(frozen=True)
class Simulation:
    """The figures of one run; `utility` by method, both private ones at the same claim.

    "private" has the noise once, as central baselines are published; "released" has the noise
    of both halves, as the pair releases it. `epsilon` was asked for; `epsilon_claimed`, at most
    that, follows from the whole-number noise. `rounds`, `plan` and upload are the released one's.
    `users` contributed; with `synthetic` they are copies of `people` real ones in turn: the noise
    is right for that many, the variety is that of the real ones.
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
        """The figures as JSON."""
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

    With `devices` as many synthetic ones contribute: copies of the training people in turn.
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
    released = train(noise="pair", generator=np.random.default_rng(seed))
    private = train(noise="once", generator=np.random.default_rng(seed))
    counted = train(
        noise="once",
        generator=np.random.default_rng(seed),
        plan=popularity_plan(dataset.items),
    )
    trained = time.monotonic() - started
    progress("comparing with popularity and EASE")
    test = hold_out(dataset, people.test, TEST_SEED)
    scorers = {
        **_seeing_everything(dataset, people),
        "dp_popularity": simple.scorer(counted.model),
        "private": simple.scorer(private.model),
        "released": simple.scorer(released.model),
    }
    utility = {name: evaluate(scorers[name], test) for name in METHODS}
    rounds = sum(len(one.rounds) for one in (released, private, counted))
    figures = _figures(crowd, epsilon, released, utility, seed=seed, started=started)
    return replace(
        figures,
        people=min(len(people.train), len(crowd)),
        synthetic=devices is not None,
        fidelity=fidelity,
        device_rounds_per_second=round(rounds * len(crowd) / trained, 1),
    )


def crowd_of(dataset: loading.Dataset, train: Ints, devices: int | None) -> Population:
    """Who contributes: the people `train`, or so many synthetic ones, copies of these in turn."""
    if devices is not None and not 1 <= devices <= MOST_DEVICES:
        raise InvalidInput(
            "--devices", f"{devices} is not in 1..{MOST_DEVICES}", "use fewer"
        )
    return Population(dataset, np.resize(train, devices or len(train)))


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Offer `tactful-lab simulate`."""
    parser = subparsers.add_parser(
        "simulate", help="one training on simulated people, no network"
    )
    parser.add_argument(
        "dataset", help="a name that `tactful-lab datasets` lists, or a CSV file"
    )
    parser.add_argument(
        "--epsilon", type=float, required=True, help="of the whole training"
    )
    parser.add_argument(
        "--delta", type=float, default=DELTA, help="default %(default)s"
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of noise and coins (simulated only)"
    )
    parser.add_argument(
        "--devices",
        type=int,
        help="that many synthetic ones: copies of the real people in turn",
    )
    parser.add_argument(
        "--fidelity",
        choices=get_args(Fidelity),
        help="exact: whole numbers as devices send them; float: their sum before rounding, which "
        "is drawn as noise; default float with --devices, else exact",
    )
    add_workers(parser)
    add_outputs(parser)
    parser.set_defaults(run=run)


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Offer --workers and --on."""
    parser.add_argument("--workers", type=int, default=1, help="default %(default)s")
    parser.add_argument(
        "--on", choices=KINDS, default=KINDS[0], help="default %(default)s"
    )


def run(options: argparse.Namespace) -> int:
    """What `tactful-lab simulate` does."""
    outputs = Outputs.of(options)
    dataset = loading.load(options.dataset, loading.folder(options.data))
    with workers(options.on, options.workers) as executor:
        figures = simulate(
            dataset,
            epsilon=options.epsilon,
            delta=options.delta,
            seed=options.seed,
            devices=options.devices,
            fidelity=options.fidelity
            or ("exact" if options.devices is None else "float"),
            executor=executor,
            progress=progress(),
        )
    outputs.write(table(figures), figures.document())
    return 0


def table(figures: Simulation) -> str:
    """The figures for people."""
    crowd = f"{figures.users} people"
    if figures.synthetic:
        crowd = f"{figures.users} SYNTHETIC devices, copies of {figures.people} people"
    lines = [
        f"{figures.dataset}: {crowd}, {figures.items} items; {FIDELITIES[figures.fidelity]}",
        f"epsilon {figures.epsilon:.3g} at delta {figures.delta:g} per {figures.unit_of_privacy} "
        f"({figures.adjacency}; {figures.epsilon_replace_one:.3g} if one is replaced)",
        f"{figures.rounds} reports per device, {figures.upload_bytes_per_device / 1e6:.2f} MB; "
        f"{figures.seconds:.0f} s, {figures.peak_rss_mb:.0f} MB, "
        f"{figures.device_rounds_per_second:,.0f} device-rounds a second",
        "",
        f"{'':16}{'recall@20':>10}{'NDCG@100':>10}",
    ]
    lines += [
        f"{name.replace('_', ' '):16}{one.recall_at_20:10.4f}{one.ndcg_at_100:10.4f}"
        for name, one in figures.utility.items()
    ]
    return "\n".join(lines) + "\n"


def _seeing_everything(
    dataset: loading.Dataset, people: loading.Split
) -> dict[str, Scorer]:
    """The baselines without privacy; EASE's ridge is chosen on the validation people."""
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
    claimed = released.claim
    return Simulation(
        dataset=crowd.dataset.name,
        users=len(crowd),
        people=len(crowd),
        synthetic=False,
        fidelity="exact",
        items=crowd.dataset.items,
        epsilon=epsilon,
        delta=claimed.delta,
        unit_of_privacy=str(claimed.unit),
        adjacency=str(claimed.adjacency),
        epsilon_claimed=claimed.epsilon,
        epsilon_rho=claimed.epsilon_rho,
        epsilon_replace_one=claimed.epsilon_replace_one,
        seed=seed,
        rounds=len(released.rounds),
        upload_bytes_per_device=sum(here.upload_bytes for here in released.rounds),
        plan=released.plan,
        utility=utility,
        seconds=round(time.monotonic() - started, 2),
        device_rounds_per_second=0.0,
        peak_rss_mb=round(peak_rss_bytes() / MIB, 1),
    )


def peak_rss_bytes() -> int:
    """The most memory this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes but on macOS

"""One training on simulated people: what it costs in privacy and bytes, and how well it ranks."""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tactful.errors import InvalidInput
from tactful.learning.plan import Plan
from tactful_lab import baselines, datasets
from tactful_lab.evaluation import (
    TEST_SEED,
    VALIDATION_SEED,
    Scorer,
    Utility,
    evaluate,
    hold_out,
)
from tactful_lab.population import Noise, Population, Training

DELTA = 1e-6
MIB = 1 << 20
METHODS = ("popularity", "dp_popularity", "private", "released", "ease")

Progress = Callable[[str], None]


@dataclass(frozen=True)
class Simulation:
    """The figures of one run; `utility` by method, both private ones at the same claim.

    "private" has the noise once, as central baselines are published; "released" has the noise
    of both halves, as the pair releases it. `epsilon` was asked for; `epsilon_claimed`, at most
    that, follows from the whole-number noise. `rounds`, `plan` and upload are the released one's.
    """

    dataset: str
    users: int
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
    peak_rss_mb: float

    def document(self) -> str:
        """The figures as JSON."""
        return json.dumps(asdict(self), indent=2)


def simulate(
    dataset: datasets.Dataset,
    *,
    epsilon: float,
    delta: float = DELTA,
    seed: int = 0,
    progress: Progress = lambda line: None,
) -> Simulation:
    """Train on the training people of `dataset` and rank for its test people."""
    if seed < 0:
        raise InvalidInput("seed", f"{seed} is below 0", "use a whole number >= 0")
    started = time.monotonic()
    people = datasets.split(dataset)
    crowd = Population(dataset, people.train)
    released = _train(crowd, epsilon, delta, "pair", seed, progress)
    private = _train(crowd, epsilon, delta, "once", seed, progress)
    counted = crowd.dp_popularity(
        epsilon, delta, noise="once", generator=np.random.default_rng(seed)
    )
    progress("comparing with popularity and EASE")
    test = hold_out(dataset, people.test, TEST_SEED)
    scorers = {
        **_seeing_everything(dataset, people),
        "dp_popularity": baselines.scorer(counted.model),
        "private": baselines.scorer(private.model),
        "released": baselines.scorer(released.model),
    }
    utility = {name: evaluate(scorers[name], test) for name in METHODS}
    return _figures(crowd, epsilon, released, utility, seed=seed, started=started)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Offer `tactful-lab simulate`."""
    parser = subparsers.add_parser("simulate", help="one training on simulated people, no network")
    parser.add_argument("dataset", help="a name that `tactful-lab datasets` lists")
    parser.add_argument("--epsilon", type=float, required=True, help="of the whole training")
    parser.add_argument("--delta", type=float, default=DELTA, help="default %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of noise and coins (simulated only)")
    parser.add_argument("--data", type=Path, help="folder of packed archives; or set TACTFUL_DATA")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """What `tactful-lab simulate` does."""
    if options.json is not None:
        prepare(options.json, "--json")
    dataset = datasets.load(options.dataset, datasets.folder(options.data))
    figures = simulate(
        dataset,
        epsilon=options.epsilon,
        delta=options.delta,
        seed=options.seed,
        progress=_tell if sys.stderr.isatty() else lambda line: None,
    )
    if options.json is not None:
        options.json.write_text(figures.document() + "\n")
    sys.stdout.write(table(figures))
    return 0


def table(figures: Simulation) -> str:
    """The figures for people."""
    lines = [
        f"{figures.dataset}: {figures.users} people, {figures.items} items",
        f"epsilon {figures.epsilon:.3g} at delta {figures.delta:g} per {figures.unit_of_privacy} "
        f"({figures.adjacency}; {figures.epsilon_replace_one:.3g} if one is replaced)",
        f"{figures.rounds} reports per device, {figures.upload_bytes_per_device / 1e6:.2f} MB; "
        f"{figures.seconds:.0f} s, {figures.peak_rss_mb:.0f} MB",
        "",
        f"{'':16}{'recall@20':>10}{'NDCG@100':>10}",
    ]
    lines += [
        f"{name.replace('_', ' '):16}{one.recall_at_20:10.4f}{one.ndcg_at_100:10.4f}"
        for name, one in figures.utility.items()
    ]
    return "\n".join(lines) + "\n"


def _seeing_everything(dataset: datasets.Dataset, people: datasets.Split) -> dict[str, Scorer]:
    """The baselines without privacy; EASE's ridge is chosen on the validation people."""
    validation = hold_out(dataset, people.validation, VALIDATION_SEED)
    return {
        "popularity": baselines.popularity(dataset, people.train),
        "ease": baselines.best_ease(dataset, people.train, validation),
    }


def _train(
    crowd: Population, epsilon: float, delta: float, noise: Noise, seed: int, progress: Progress
) -> Training:
    generator = np.random.default_rng(seed)
    return crowd.train(epsilon, delta, noise=noise, generator=generator, progress=progress)


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
        peak_rss_mb=round(peak_rss_bytes() / MIB, 1),
    )


def prepare(path: Path, field: str) -> None:
    """Make sure that the file can be written, before minutes are spent on its content."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as refused:
        raise InvalidInput(
            field, f"{path} cannot be written ({refused.strerror})", "name another file"
        ) from refused


def peak_rss_bytes() -> int:
    """The most memory this process has held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes but on macOS


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")

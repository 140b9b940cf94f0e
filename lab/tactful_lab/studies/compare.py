"""Recommenders on the same people, split, budget and seeds: how well each ranks, and its upload."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from tactful.errors import InvalidInput
from tactful.privacy.accountant import mu_for
from tactful_lab import plots
from tactful_lab.baselines import (
    central_noise,
    ials,
    private_factors,
    private_item_pairs,
    simple,
)
from tactful_lab.baselines.central_noise import Curator, Fitted
from tactful_lab.data_sets import loading
from tactful_lab.output_options import Outputs, Progress, add_outputs, progress
from tactful_lab.ranking_metrics import (
    TEST_SEED,
    VALIDATION_SEED,
    Holdout,
    Scorer,
    Utility,
    evaluate,
    hold_out,
)
from tactful_lab.simulation.device_cost import device_seconds as cost
from tactful_lab.simulation.population import Noise, Population
from tactful_lab.simulation.training import DELTA

EPSILONS, SEEDS = (1.0, 3.0, 8.0), 3
SEED_LIMIT = 30
# Two-sided 95 % quantiles of Student's t by degrees of freedom; beyond them a series in 1/df.
STUDENT = (12.7062, 4.3027, 3.1824, 2.7764)
NORMAL = 1.959964


@dataclass(frozen=True, eq=False)
class Arena:
    """What every method gets: the same people, split and delta."""

    dataset: loading.Dataset
    people: loading.Split
    delta: float


class Method(NamedTuple):
    """One recommender; `epsilon` and seed mean nothing to one that is not private."""

    private: bool
    fit: Callable[[Arena, float, int], Fitted]


@dataclass(frozen=True)
class Figure:
    """One method at one epsilon: NDCG@100 and recall@20 over seeds, means over test people.

    `epsilon` is None without privacy. `ndcg_half_width` is that of a 95 % interval of the mean
    over seeds of the noise (Student's t), None for one seed or without noise. Bytes and CPU are of
    one device in all rounds (`device_cost`), None for what does not go over our wire.
    """

    method: str
    epsilon: float | None
    ndcg_at_100: float
    ndcg_half_width: float | None
    recall_at_20: float
    recall_at_50: float
    ndcg_by_seed: tuple[float, ...]
    coordinates_per_device: int
    upload_bytes_per_device: int | None
    device_cpu_seconds: float | None


@dataclass(frozen=True)
class Comparison:
    """All figures of one command, at one delta; one person's contributions against zeros."""

    dataset: str
    train_users: int
    test_users: int
    items: int
    delta: float
    adjacency: str
    seeds: int
    figures: tuple[Figure, ...]

    def document(self) -> str:
        """The figures as JSON."""
        return json.dumps(asdict(self), indent=2)


def compare(
    dataset: loading.Dataset,
    *,
    epsilons: Sequence[float] = EPSILONS,
    seeds: int = SEEDS,
    methods: Sequence[str] | None = None,
    delta: float = DELTA,
    progress: Progress = lambda line: None,
) -> Comparison:
    """Fit each of `methods` (default: all that are installed) and rank for the test people.

    Raises InvalidInput for an unknown method, no epsilon, or seeds not in 1..30.
    """
    chosen = _checked(_named(methods, dataset), epsilons, seeds, delta)
    arena = Arena(dataset, loading.rankable_split(dataset), delta)
    test = hold_out(dataset, arena.people.test, TEST_SEED)
    figures = []
    for name in chosen:
        private = METHODS[name].private
        for epsilon in epsilons if private else (None,):
            progress(f"{name}" + (f", epsilon {epsilon:g}" if epsilon else ""))
            fits = (
                METHODS[name].fit(arena, epsilon or math.inf, seed)
                for seed in range(seeds)
            )
            first = next(fits)
            rest = list(fits) if private else []
            measured = [evaluate(one.scorer, test) for one in (first, *rest)]
            figures.append(_figure(name, epsilon, measured, first))
    return Comparison(
        dataset=dataset.name,
        train_users=len(arena.people.train),
        test_users=len(arena.people.test),
        items=dataset.items,
        delta=delta,
        adjacency="zero_out",
        seeds=seeds,
        figures=tuple(figures),
    )


def half_width(values: Sequence[float]) -> float | None:
    """Half of the 95 % interval of the mean; None for one value."""
    if len(values) < 2:
        return None
    return (
        student(len(values) - 1)
        * float(np.std(values, ddof=1))
        / math.sqrt(len(values))
    )


def student(freedom: int) -> float:
    """The 97.5 % quantile of Student's t (Abramowitz, Stegun 1972, 26.7.5), within 0.003."""
    if freedom <= len(STUDENT):
        return STUDENT[freedom - 1]
    z = NORMAL
    terms = (z**3 + z) / 4, (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + terms[0] / freedom + terms[1] / freedom**2 + third / freedom**3


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Offer `tactful-lab compare`."""
    parser = subparsers.add_parser(
        "compare", help="private recommenders at equal epsilon"
    )
    parser.add_argument(
        "dataset", help="a name that `tactful-lab datasets` lists, or a CSV file"
    )
    parser.add_argument(
        "--epsilon", type=float, nargs="+", default=EPSILONS, help="default 1 3 8"
    )
    parser.add_argument(
        "--delta", type=float, default=DELTA, help="default %(default)s"
    )
    parser.add_argument(
        "--seeds", type=int, default=SEEDS, help="of the noise; default 3"
    )
    parser.add_argument("--methods", nargs="+", metavar="NAME", help=", ".join(METHODS))
    add_outputs(parser, "compare.svg")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """What `tactful-lab compare` does."""
    outputs = Outputs.of(options, "compare.svg")
    comparison = compare(
        loading.load(options.dataset, loading.folder(options.data)),
        epsilons=options.epsilon,
        seeds=options.seeds,
        methods=options.methods,
        delta=options.delta,
        progress=progress(),
    )
    outputs.write(table(comparison), comparison.document(), lambda: plot(comparison))
    return 0


def table(comparison: Comparison) -> str:
    """The figures for people: NDCG@100 with its 95 % interval, and what a device uploads."""
    lines = [
        f"{comparison.dataset}: {comparison.train_users} people train, {comparison.test_users} "
        f"test, {comparison.items} items; delta {comparison.delta:g} ({comparison.adjacency}), "
        f"{comparison.seeds} seeds of noise",
        "",
        f"{'':18}{'epsilon':>8}{'NDCG@100':>10}{'95 %':>9}{'recall@20':>11}{'coordinates':>13}"
        f"{'MB':>7}{'CPU s':>7}",
    ]
    for one in comparison.figures:
        epsilon = "none" if one.epsilon is None else f"{one.epsilon:g}"
        spread = "" if one.ndcg_half_width is None else f"±{one.ndcg_half_width:.4f}"
        upload = (
            f"{one.coordinates_per_device:,}"
            if one.coordinates_per_device
            else "history"
        )
        upload = "nothing" if one.method == "words" else upload
        lines.append(
            f"{one.method:18}{epsilon:>8}{one.ndcg_at_100:10.4f}{spread:>9}"
            f"{one.recall_at_20:11.4f}{upload:>13}{_sent(one)}"
        )
    return "\n".join(lines) + "\n"


def _sent(one: Figure) -> str:
    """Megabytes and CPU seconds of a device in all rounds, where they are known."""
    if one.upload_bytes_per_device is None or one.device_cpu_seconds is None:
        return ""
    return f"{one.upload_bytes_per_device / 1e6:7.2f}{one.device_cpu_seconds:7.2f}"


def plot(comparison: Comparison) -> str:
    """NDCG@100 over epsilon with intervals, and over upload, as SVG."""
    private = {
        name: [
            (one.epsilon, one.ndcg_at_100, one.ndcg_half_width or 0.0)
            for one in comparison.figures
            if one.method == name and one.epsilon is not None
        ]
        for name in dict.fromkeys(one.method for one in comparison.figures)
    }
    lines = {
        one.method: one.ndcg_at_100 for one in comparison.figures if one.epsilon is None
    }
    curves = {name: sorted(points) for name, points in private.items() if points}
    return plots.with_intervals(curves, lines, label="NDCG@100", across="epsilon")


def _named(methods: Sequence[str] | None, dataset: loading.Dataset) -> Sequence[str]:
    """The methods asked for, or all that can be run."""
    if methods is not None:
        return methods
    cannot = {"ials": not ials.available(), "words": dataset.words is None}
    return [name for name in METHODS if not cannot.get(name)]


def _checked(
    methods: Sequence[str], epsilons: Sequence[float], seeds: int, delta: float
) -> list[str]:
    if not 1 <= seeds <= SEED_LIMIT:
        raise InvalidInput("seeds", f"{seeds} is not in 1..{SEED_LIMIT}", "use 3")
    if not epsilons:
        raise InvalidInput("epsilon", "there is none", "name at least one, as 1 3 8")
    for epsilon in epsilons:
        mu_for(epsilon, delta)
    for name in methods:
        if name not in METHODS:
            raise InvalidInput(
                "methods", f"{name!r} is unknown", f"use {', '.join(METHODS)}"
            )
    return list(dict.fromkeys(methods))


def _figure(
    name: str, epsilon: float | None, measured: Sequence[Utility], first: Fitted
) -> Figure:
    ndcg = tuple(one.ndcg_at_100 for one in measured)
    return Figure(
        method=name,
        epsilon=epsilon,
        ndcg_at_100=float(np.mean(ndcg)),
        ndcg_half_width=half_width(ndcg),
        recall_at_20=float(np.mean([one.recall_at_20 for one in measured])),
        recall_at_50=float(np.mean([one.recall_at_50 for one in measured])),
        ndcg_by_seed=ndcg,
        coordinates_per_device=first.coordinates,
        upload_bytes_per_device=first.upload_bytes,
        device_cpu_seconds=first.device_cpu_seconds,
    )


def _open(make: Callable[[Arena], Scorer]) -> Method:
    """A method that sees everything; the server has the histories."""
    return Method(False, lambda arena, epsilon, seed: Fitted(make(arena), 0))


def _curated(fit: Callable[[Curator], Fitted]) -> Method:
    """A method of a trusted server with noise once."""

    def fitted(arena: Arena, epsilon: float, seed: int) -> Fitted:
        mu, generator = mu_for(epsilon, arena.delta), np.random.default_rng(seed)
        return fit(Curator(arena.dataset, arena.people.train, mu, generator))

    return Method(True, fitted)


def _ours(noise: Noise, *, personal: bool = True, words: bool = True) -> Method:
    """What the shipped learner does, its rounding as noise of the same size."""

    def fitted(arena: Arena, epsilon: float, seed: int) -> Fitted:
        dataset = arena.dataset if words else arena.dataset.without_words()
        crowd = Population(dataset, arena.people.train)
        learn = crowd.train if personal else crowd.dp_popularity
        generator = np.random.default_rng(seed)
        training = learn(
            epsilon, arena.delta, noise=noise, generator=generator, fidelity="float"
        )
        return Fitted(
            scorer=simple.scorer(training.model),
            coordinates=sum(here.encoding.length for here in training.rounds),
            upload_bytes=sum(here.upload_bytes for here in training.rounds),
            device_cpu_seconds=None
            if seed
            else cost(crowd.dataset, crowd.users, training.rounds),
        )

    return Method(True, fitted)


def _validation(arena: Arena) -> Holdout:
    return hold_out(arena.dataset, arena.people.validation, VALIDATION_SEED)


METHODS = {
    "popularity": _open(lambda one: simple.popularity(one.dataset, one.people.train)),
    "words": _open(lambda one: simple.by_words(one.dataset)),
    "ease": _open(
        lambda one: simple.best_ease(one.dataset, one.people.train, _validation(one))
    ),
    "ials": _open(
        lambda one: ials.best_ials(one.dataset, one.people.train, _validation(one))
    ),
    "dp-popularity": _ours("once", personal=False),
    "local-popularity": _curated(central_noise.local_popularity),
    "gram-ease": _curated(private_item_pairs.gram_ease),
    "gram-pca": _curated(private_item_pairs.gram_pca),
    "dp-als": _curated(private_factors.dp_als),
    "fed-recon": _curated(private_factors.fed_recon),
    "ours-plain": _ours("once", words=False),
    "ours": _ours("once"),
    "ours-pair": _ours("pair"),
}

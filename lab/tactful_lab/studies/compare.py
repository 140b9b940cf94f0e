"""Recommenders compared on the same people, split, budget and seeds.

For each method: ranking quality for test people, and what one device uploads.
"""

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
    Holdout,
    Scorer,
    Utility,
    evaluate,
    hold_out,
)
from tactful_lab.simulation.device_cost import device_seconds
from tactful_lab.simulation.population import Noise, Population
from tactful_lab.simulation.training import DELTA

EPSILONS, SEEDS = (1.0, 3.0, 8.0), 3
SEED_LIMIT = 30
# Two-sided 95 % quantiles of Student's t for 1 to 4 degrees of freedom; `student` uses
# a series in 1 / df beyond.
STUDENT = (12.7062, 4.3027, 3.1824, 2.7764)
NORMAL = 1.959964  # two-sided 95 % quantile of the normal distribution


@dataclass(frozen=True, eq=False)
class Setup:
    """The input that all methods share: people, split and delta."""

    dataset: loading.Dataset
    people: loading.Split
    delta: float


class Method(NamedTuple):
    """One recommender; a method that is not private ignores epsilon and seed."""

    private: bool
    fit: Callable[[Setup, float, int], Fitted]


@dataclass(frozen=True)
class Figure:
    """The result of one method at one epsilon: means over test people and seeds.

    `epsilon` is None without privacy. `ndcg_half_width` is half of a 95 % interval of
    the mean over seeds of the noise (Student's t), None for one seed or without noise.
    Bytes and CPU time are those of one device in all rounds (`device_cost`), None for
    methods that do not use the wire format of Tactful.
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
    """All figures of one command, at one delta and with one adjacency."""

    dataset: str
    train_users: int
    test_users: int
    items: int
    delta: float
    adjacency: str
    seeds: int
    figures: tuple[Figure, ...]

    def document(self) -> str:
        """Return the figures as JSON."""
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
    """Fit each of `methods` (default: all that are installed) and rank for test people.

    Raises InvalidInput for an unknown method, no epsilon, or seeds not in 1..30.
    """
    names = list(dict.fromkeys(_default_methods(methods, dataset)))
    _check(names, epsilons, seeds, delta)
    setup = Setup(dataset, loading.rankable_split(dataset), delta)
    test = hold_out(dataset, setup.people.test, TEST_SEED)
    figures = []
    for name in names:
        method_epsilons = epsilons if METHODS[name].private else (None,)
        for epsilon in method_epsilons:
            progress(f"{name}" + (f", epsilon {epsilon:g}" if epsilon else ""))
            figures.append(_measure(name, epsilon, seeds, setup, test))
    return Comparison(
        dataset=dataset.name,
        train_users=len(setup.people.train),
        test_users=len(setup.people.test),
        items=dataset.items,
        delta=delta,
        adjacency="zero_out",
        seeds=seeds,
        figures=tuple(figures),
    )


def half_width(values: Sequence[float]) -> float | None:
    """Return half of the 95 % interval of the mean; None for one value."""
    if len(values) < 2:
        return None
    deviation = float(np.std(values, ddof=1))
    return student(len(values) - 1) * deviation / math.sqrt(len(values))


def student(freedom: int) -> float:
    """Return the 97.5 % quantile of Student's t, within 0.003.

    See Abramowitz, Stegun 1972, 26.7.5.
    """
    if freedom <= len(STUDENT):
        return STUDENT[freedom - 1]
    z = NORMAL
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    third = (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384
    return z + first / freedom + second / freedom**2 + third / freedom**3


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `tactful-lab compare`."""
    summary = "compare private recommenders and baselines at equal epsilon"
    parser = subparsers.add_parser("compare", help=summary, description=summary)
    parser.add_argument("dataset", help=DATASET_HELP)
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
        help="number of noise seeds per epsilon; default: %(default)s",
    )
    parser.add_argument(
        "--methods",
        nargs="+",
        metavar="NAME",
        help=f"default: all that are installed, of: {', '.join(METHODS)}",
    )
    add_outputs(parser, "compare.svg")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run `tactful-lab compare` and return its exit status."""
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
    """Return the printed table: ranking quality, 95 % interval and device upload."""
    lines = [
        f"{comparison.dataset}: {comparison.train_users} training people, "
        f"{comparison.test_users} test people, {comparison.items} items; "
        f"delta {comparison.delta:g} ({comparison.adjacency}), "
        f"{comparison.seeds} noise seeds",
        "",
        f"{'method':18}{'epsilon':>8}{'NDCG@100':>10}{'95 %':>9}{'recall@20':>11}"
        f"{'coordinates':>13}{'MB':>7}{'CPU s':>7}",
    ]
    lines += [_table_row(figure) for figure in comparison.figures]
    return "\n".join(lines) + "\n"


def _table_row(figure: Figure) -> str:
    epsilon = "none" if figure.epsilon is None else f"{figure.epsilon:g}"
    interval = ""
    if figure.ndcg_half_width is not None:
        interval = f"±{figure.ndcg_half_width:.4f}"
    return (
        f"{figure.method:18}{epsilon:>8}{figure.ndcg_at_100:10.4f}{interval:>9}"
        f"{figure.recall_at_20:11.4f}{_uploaded(figure):>13}{_device_cost(figure)}"
    )


def _uploaded(figure: Figure) -> str:
    """Return how many numbers a device uploads, or that it sends its history."""
    if figure.method == "words":
        return "nothing"
    if not figure.coordinates_per_device:
        return "history"
    return f"{figure.coordinates_per_device:,}"


def _device_cost(figure: Figure) -> str:
    """Return megabytes and CPU seconds of a device in all rounds, if measured."""
    if figure.upload_bytes_per_device is None or figure.device_cpu_seconds is None:
        return ""
    megabytes = figure.upload_bytes_per_device / 1e6
    return f"{megabytes:7.2f}{figure.device_cpu_seconds:7.2f}"


def plot(comparison: Comparison) -> str:
    """Return a plot of NDCG@100 over epsilon with intervals, as SVG."""
    curves: dict[str, list[tuple[float, float, float]]] = {}
    levels = {}
    for figure in comparison.figures:
        if figure.epsilon is None:
            levels[figure.method] = figure.ndcg_at_100
        else:
            interval = figure.ndcg_half_width or 0.0
            point = (figure.epsilon, figure.ndcg_at_100, interval)
            curves.setdefault(figure.method, []).append(point)
    for points in curves.values():
        points.sort()
    return plots.with_intervals(curves, levels, label="NDCG@100", across="epsilon")


def _default_methods(
    methods: Sequence[str] | None, dataset: loading.Dataset
) -> Sequence[str]:
    """Return `methods`, or if None all that this installation and dataset support."""
    if methods is not None:
        return methods
    unsupported = set()
    if not ials.available():
        unsupported.add("ials")
    if dataset.words is None:
        unsupported.add("words")
    return [name for name in METHODS if name not in unsupported]


def _check(
    names: Sequence[str], epsilons: Sequence[float], seeds: int, delta: float
) -> None:
    if not 1 <= seeds <= SEED_LIMIT:
        raise InvalidInput("seeds", f"{seeds} is not in 1..{SEED_LIMIT}", "use 3")
    if not epsilons:
        raise InvalidInput(
            "epsilon", "no value was given", "pass at least one, for example 1 3 8"
        )
    for epsilon in epsilons:
        mu_for(epsilon, delta)  # raises InvalidInput
    for name in names:
        if name not in METHODS:
            raise InvalidInput(
                "methods", f"{name!r} is unknown", f"use {', '.join(METHODS)}"
            )


def _measure(
    name: str, epsilon: float | None, seeds: int, setup: Setup, test: Holdout
) -> Figure:
    """Fit one method once per seed, or once if it is not private, and evaluate it."""
    method = METHODS[name]
    # Without noise, every seed gives the same figures.
    fit_count = seeds if method.private else 1
    fits = [method.fit(setup, epsilon or math.inf, seed) for seed in range(fit_count)]
    utilities = [evaluate(fit.scorer, test) for fit in fits]
    return _figure(name, epsilon, utilities, fits[0])


def _figure(
    name: str, epsilon: float | None, utilities: Sequence[Utility], first: Fitted
) -> Figure:
    ndcg = tuple(utility.ndcg_at_100 for utility in utilities)
    return Figure(
        method=name,
        epsilon=epsilon,
        ndcg_at_100=float(np.mean(ndcg)),
        ndcg_half_width=half_width(ndcg),
        recall_at_20=float(np.mean([utility.recall_at_20 for utility in utilities])),
        recall_at_50=float(np.mean([utility.recall_at_50 for utility in utilities])),
        ndcg_by_seed=ndcg,
        coordinates_per_device=first.coordinates,
        upload_bytes_per_device=first.upload_bytes,
        device_cpu_seconds=first.device_cpu_seconds,
    )


def _without_privacy(make: Callable[[Setup], Scorer]) -> Method:
    """Return a method whose server sees all histories."""
    return Method(False, lambda setup, epsilon, seed: Fitted(make(setup), 0))


def _central(fit_curator: Callable[[Curator], Fitted]) -> Method:
    """Return a method whose trusted server adds noise once."""

    def fit(setup: Setup, epsilon: float, seed: int) -> Fitted:
        mu, generator = mu_for(epsilon, setup.delta), np.random.default_rng(seed)
        curator = Curator(setup.dataset, setup.people.train, mu, generator)
        return fit_curator(curator)

    return Method(True, fit)


def _tactful(noise: Noise, *, personal: bool = True, words: bool = True) -> Method:
    """Return the learner of Tactful, with rounding simulated as noise of equal size."""

    def fit(setup: Setup, epsilon: float, seed: int) -> Fitted:
        dataset = setup.dataset if words else setup.dataset.without_words()
        crowd = Population(dataset, setup.people.train)
        train = crowd.train if personal else crowd.dp_popularity
        generator = np.random.default_rng(seed)
        training = train(
            epsilon, setup.delta, noise=noise, generator=generator, fidelity="float"
        )
        # The cost does not depend on the noise, so it is measured for one seed only.
        cpu_seconds = None
        if seed == 0:
            cpu_seconds = device_seconds(dataset, crowd.users, training.rounds)
        return Fitted(
            scorer=simple.scorer(training.model),
            coordinates=sum(info.encoding.length for info in training.rounds),
            upload_bytes=sum(info.upload_bytes for info in training.rounds),
            device_cpu_seconds=cpu_seconds,
        )

    return Method(True, fit)


def _popularity(setup: Setup) -> Scorer:
    return simple.popularity(setup.dataset, setup.people.train)


def _words(setup: Setup) -> Scorer:
    return simple.by_words(setup.dataset)


def _ease(setup: Setup) -> Scorer:
    return simple.best_ease(setup.dataset, setup.people.train, _validation(setup))


def _ials(setup: Setup) -> Scorer:
    return ials.best_ials(setup.dataset, setup.people.train, _validation(setup))


def _validation(setup: Setup) -> Holdout:
    return hold_out(setup.dataset, setup.people.validation, VALIDATION_SEED)


METHODS = {
    "popularity": _without_privacy(_popularity),
    "words": _without_privacy(_words),
    "ease": _without_privacy(_ease),
    "ials": _without_privacy(_ials),
    "dp-popularity": _tactful("once", personal=False),
    "local-popularity": _central(central_noise.local_popularity),
    "gram-ease": _central(private_item_pairs.gram_ease),
    "gram-pca": _central(private_item_pairs.gram_pca),
    "dp-als": _central(private_factors.dp_als),
    "fed-recon": _central(private_factors.fed_recon),
    "ours-plain": _tactful("once", words=False),
    "ours": _tactful("once"),
    "ours-pair": _tactful("pair"),
}

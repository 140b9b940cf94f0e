"""A model that is refreshed under one lifetime budget against one that is not, day by day."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import islice, repeat

import numpy as np

from tactful.errors import InvalidInput
from tactful.privacy.accountant import claim, mu_for
from tactful.privacy.mechanism import GaussianRelease
from tactful_lab import plots
from tactful_lab.baselines import simple
from tactful_lab.data_sets import loading
from tactful_lab.data_sets.loading import Dataset
from tactful_lab.output_options import Outputs, Progress, add_outputs, progress
from tactful_lab.ranking_metrics import Floats, Holdout, Ints, Scorer, evaluate
from tactful_lab.simulation.periods import active, periods, together, upcoming
from tactful_lab.simulation.population import Population
from tactful_lab.simulation.refresh import Memory, refresh, refresh_plan
from tactful_lab.simulation.training import DELTA

HOURS, DECAY, EPSILON = 6, 0.3, 8.0
RIDGE = 100.0  # of EASE that sees every history
DAY = 24  # hours
SEEN = 24  # hours of their own past that people are ranked by


@dataclass(frozen=True)
class Drift:
    """NDCG@100 by method and day after the first: means over the lists that begin on that day.

    `epsilon_claimed` is what the refreshes cost a device that takes part in every one.
    """

    dataset: str
    people: int
    items: int
    hours: int
    decay: float
    epsilon: float
    epsilon_claimed: float
    delta: float
    seed: int
    refreshes: int
    days: tuple[int, ...]
    lists: tuple[int, ...]
    ndcg_at_100: dict[str, tuple[float, ...]]

    def mean(self, method: str) -> float:
        """Over all lists."""
        return float(np.average(self.ndcg_at_100[method], weights=self.lists))


def drift(
    dataset: Dataset,
    *,
    epsilon: float = EPSILON,
    delta: float = DELTA,
    hours: int = HOURS,
    decay: float = DECAY,
    seed: int = 0,
    audience: Ints | None = None,
    progress: Progress = lambda line: None,
) -> Drift:
    """Train on people period by period; rank for `audience` (default: test people) in the next.

    Raises InvalidInput for what is out of range or a data set without times.
    """
    _check(decay, seed)
    mu, people = mu_for(epsilon, delta), loading.rankable_split(dataset)
    cut = periods(dataset, hours)
    first = max(DAY // hours, 1)
    if len(cut) <= first:
        raise InvalidInput(
            "dataset", "it is over after a day", "use one of several days"
        )
    crowds = [
        Population(one, np.intersect1d(active(one), people.train)) for one in cut[:-1]
    ]
    listeners = people.test if audience is None else audience
    nexts = [_next(cut, period, hours, listeners) for period in range(1, len(cut))]
    spent: list[GaussianRelease] = []
    methods = {
        "stale": _stale(cut[:first], people.train, epsilon, delta, seed),
        "refreshed": _refreshed(crowds, mu, 0.0, seed, spent),
        "refreshed, decayed": _refreshed(crowds, mu, decay, seed, []),
        "popularity, refreshed": _refreshed(crowds, mu, 0.0, seed, [], personal=False),
        "EASE, no privacy": _ease(crowds),
    }
    days = [period * hours // DAY for period in range(first, len(cut))]
    counts = [len(coming.known) for coming in nexts[first - 1 :]]
    ndcg = {}
    for name, scorers in methods.items():
        progress(name)
        late = islice(zip(scorers, nexts, strict=False), first - 1, None)
        ndcg[name] = _by_day(
            [_ndcg(scorer, coming) for scorer, coming in late], counts, days
        )
    return Drift(
        dataset=dataset.name,
        people=len(people.train),
        items=dataset.items,
        hours=hours,
        decay=decay,
        epsilon=epsilon,
        epsilon_claimed=claim(spent, delta).epsilon,
        delta=delta,
        seed=seed,
        refreshes=len(crowds),
        days=tuple(sorted({day + 1 for day in days})),
        lists=tuple(int(one) for one in _sums(counts, days)),
        ndcg_at_100=ndcg,
    )


def _check(decay: float, seed: int) -> None:
    if not 0 <= decay < 1:
        raise InvalidInput("--decay", f"{decay!r} is not in [0, 1)", "use 0.3")
    if seed < 0:
        raise InvalidInput("seed", f"{seed} is below 0", "use a whole number >= 0")


def _next(cut: tuple[Dataset, ...], period: int, hours: int, audience: Ints) -> Holdout:
    past = cut[max(period - max(SEEN // hours, 1), 0) : period]
    return upcoming(together(past), cut[period], audience)


def _stale(
    cut: tuple[Dataset, ...], train: Ints, epsilon: float, delta: float, seed: int
) -> Iterator[Scorer]:
    """The model of the first day, on which the whole budget was spent, for ever."""
    day = together(cut)
    crowd = Population(day, np.intersect1d(active(day), train))
    generator = np.random.default_rng(seed)
    model = crowd.train(
        epsilon, delta, noise="pair", generator=generator, fidelity="float"
    ).model
    return repeat(simple.scorer(model))


def _refreshed(
    crowds: Sequence[Population],
    mu: float,
    decay: float,
    seed: int,
    spent: list[GaussianRelease],
    *,
    personal: bool = True,
) -> Iterator[Scorer]:
    """The model after each period; what it cost is added to `spent`."""
    n, generator = crowds[0].dataset.items, np.random.default_rng(seed)
    users = int(np.median([len(crowd) for crowd in crowds])) if personal else 0
    plan = refresh_plan(n, len(crowds), users=users, mu=mu, decay=decay)
    memory = Memory.empty(n, plan.rank)
    for crowd in crowds:
        done = refresh(crowd, plan, mu, memory, decay, generator)
        memory = done.memory
        spent.extend(done.releases)
        yield simple.scorer(done.model)


def _ease(crowds: Sequence[Population]) -> Iterator[Scorer]:
    """What a server could do that sees every history of the period."""
    for crowd in crowds:
        yield simple.ease(simple.co_occurrence(crowd.dataset, crowd.users), RIDGE)


def _ndcg(scorer: Scorer, coming: Holdout) -> float:
    return evaluate(scorer, coming).ndcg_at_100 if coming.known else 0.0


def _by_day(
    values: Sequence[float], counts: Sequence[int], days: Sequence[int]
) -> tuple[float, ...]:
    """The mean over all lists of each day, from means over the lists of each period."""
    sums = _sums(np.multiply(values, counts), days)
    return tuple((sums / np.maximum(_sums(counts, days), 1)).tolist())


def _sums(values: Sequence[float] | Floats, days: Sequence[int]) -> Floats:
    """The sum of each day's values, for the days that are there."""
    _, place = np.unique(days, return_inverse=True)
    return np.bincount(place, values).astype(np.float64)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Offer `tactful-lab drift`."""
    parser = subparsers.add_parser(
        "drift", help="a refreshed model against a stale one"
    )
    parser.add_argument(
        "dataset", help="one with times: globo-news, online-retail, a CSV file"
    )
    parser.add_argument(
        "--epsilon", type=float, default=EPSILON, help="of all refreshes together"
    )
    parser.add_argument(
        "--delta", type=float, default=DELTA, help="default %(default)s"
    )
    parser.add_argument(
        "--hours", type=int, default=HOURS, help="of a period; default %(default)s"
    )
    parser.add_argument(
        "--decay",
        type=float,
        default=DECAY,
        help="of old sums per refresh; default %(default)s",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the noise (simulated only)"
    )
    add_outputs(parser, "drift.svg")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """What `tactful-lab drift` does."""
    outputs = Outputs.of(options, "drift.svg")
    figures = drift(
        loading.load(options.dataset, loading.folder(options.data)),
        epsilon=options.epsilon,
        delta=options.delta,
        hours=options.hours,
        decay=options.decay,
        seed=options.seed,
        progress=progress(),
    )
    outputs.write(
        table(figures), json.dumps(asdict(figures), indent=2), lambda: plot(figures)
    )
    return 0


def table(figures: Drift) -> str:
    """The figures for people: a row per day, a column per method."""
    lines = [
        f"{figures.dataset}: {figures.people} people train, {figures.items} items; "
        f"{figures.refreshes} refreshes, one per {figures.hours} hours, decay {figures.decay:g}",
        f"epsilon {figures.epsilon:g} at delta {figures.delta:g} for the first day (stale) or all "
        f"refreshes ({figures.epsilon_claimed:.3f} for who takes part in each); noise of both "
        "halves",
        "NDCG@100 in the next period, float sums",
        "",
        "day   lists" + "".join(f"{name:>23}" for name in figures.ndcg_at_100),
    ]
    for place, (day, count) in enumerate(zip(figures.days, figures.lists, strict=True)):
        values = "".join(
            f"{column[place]:23.4f}" for column in figures.ndcg_at_100.values()
        )
        lines.append(f"{day:3}{count:8}{values}")
    means = "".join(f"{figures.mean(name):23.4f}" for name in figures.ndcg_at_100)
    return "\n".join([*lines, f"all{sum(figures.lists):8}{means}"]) + "\n"


def plot(figures: Drift) -> str:
    """NDCG@100 by day, a curve per method, as SVG."""
    return plots.by_day(
        figures.days, figures.ndcg_at_100, label="NDCG@100 in the next period"
    )

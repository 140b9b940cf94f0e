"""Temporal drift: a model refreshed under one lifetime budget against a stale model."""

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
from tactful_lab.simulation.periods import active, merge_periods, periods, upcoming
from tactful_lab.simulation.population import Population
from tactful_lab.simulation.refresh import RefreshState, refresh, refresh_plan
from tactful_lab.simulation.training import DELTA

HOURS, DECAY, EPSILON = 6, 0.3, 8.0
RIDGE = 100.0  # of the EASE baseline, which sees every history
DAY = 24  # hours
HISTORY_HOURS = 24  # hours of their own past from which people get their ranking


@dataclass(frozen=True)
class Drift:
    """NDCG@100 by method and by day after the first.

    Each figure is a mean over the lists of the periods that begin on that day.
    `epsilon_claimed` is the cost of all refreshes for a device that joins each one.
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
        """Return the mean over all lists."""
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
    """Train in each period and rank in the next one for `audience`.

    The default audience are the test people. Raises InvalidInput for a parameter out of
    range or a data set without times.
    """
    _check(decay, seed)
    mu, people = mu_for(epsilon, delta), loading.rankable_split(dataset)
    slices = periods(dataset, hours)
    first = _periods_of_first_day(slices, hours)
    crowds = [_active_crowd(period, people.train) for period in slices[:-1]]
    audience = people.test if audience is None else audience
    holdouts = _next_holdouts(slices, hours, audience)
    releases: list[GaussianRelease] = []
    # The generators are lazy: each method trains while it is measured below.
    methods = {
        "stale": _stale(slices[:first], people.train, epsilon, delta, seed),
        "refreshed": _refreshed(crowds, mu, 0.0, seed, releases),
        "refreshed, decayed": _refreshed(crowds, mu, decay, seed, []),
        "popularity, refreshed": _refreshed(crowds, mu, 0.0, seed, [], personal=False),
        "EASE, no privacy": _ease(crowds),
    }
    days = [number * hours // DAY for number in range(first, len(slices))]
    counts = [len(holdout.visible) for holdout in holdouts[first - 1 :]]
    ndcg = {}
    for name, scorers in methods.items():
        progress(name)
        # All methods are measured from the second day on: "stale" needs the first day.
        pairs = islice(zip(scorers, holdouts, strict=False), first - 1, None)
        values = [_ndcg(scorer, holdout) for scorer, holdout in pairs]
        ndcg[name] = _mean_by_day(values, counts, days)
    return Drift(
        dataset=dataset.name,
        people=len(people.train),
        items=dataset.items,
        hours=hours,
        decay=decay,
        epsilon=epsilon,
        epsilon_claimed=claim(releases, delta).epsilon,
        delta=delta,
        seed=seed,
        refreshes=len(crowds),
        days=tuple(sorted({day + 1 for day in days})),
        lists=tuple(int(total) for total in _sum_by_day(counts, days)),
        ndcg_at_100=ndcg,
    )


def _check(decay: float, seed: int) -> None:
    if not 0 <= decay < 1:
        raise InvalidInput("--decay", f"{decay!r} is not in [0, 1)", "use 0.3")
    if seed < 0:
        raise InvalidInput("seed", f"{seed} is below 0", "use a whole number >= 0")


def _periods_of_first_day(slices: tuple[Dataset, ...], hours: int) -> int:
    """Return the number of periods in the first day; raise if there are no others."""
    first = max(DAY // hours, 1)
    if len(slices) <= first:
        raise InvalidInput(
            "dataset", "it covers only one day", "use a data set of several days"
        )
    return first


def _next_holdouts(
    slices: tuple[Dataset, ...], hours: int, audience: Ints
) -> list[Holdout]:
    """Return the holdout of each period but the first; the history is the day before."""
    history_periods = max(HISTORY_HOURS // hours, 1)
    holdouts = []
    for number in range(1, len(slices)):
        start = max(number - history_periods, 0)
        history = merge_periods(slices[start:number])
        holdouts.append(upcoming(history, slices[number], audience))
    return holdouts


def _active_crowd(period: Dataset, train: Ints) -> Population:
    """Return the training people who are active in the period."""
    return Population(period, np.intersect1d(active(period), train))


def _stale(
    slices: tuple[Dataset, ...], train: Ints, epsilon: float, delta: float, seed: int
) -> Iterator[Scorer]:
    """Yield the model of the first day for ever; it spent the whole budget."""
    crowd = _active_crowd(merge_periods(slices), train)
    generator = np.random.default_rng(seed)
    training = crowd.train(
        epsilon, delta, noise="pair", generator=generator, fidelity="float"
    )
    return repeat(simple.scorer(training.model))


def _refreshed(
    crowds: Sequence[Population],
    mu: float,
    decay: float,
    seed: int,
    releases: list[GaussianRelease],
    *,
    personal: bool = True,
) -> Iterator[Scorer]:
    """Yield the model after each period; append its releases to `releases`."""
    items, generator = crowds[0].dataset.items, np.random.default_rng(seed)
    # A plan for 0 users has popularity only.
    users = int(np.median([len(crowd) for crowd in crowds])) if personal else 0
    plan = refresh_plan(items, len(crowds), users=users, mu=mu, decay=decay)
    state = RefreshState.empty(items, plan.rank)
    for crowd in crowds:
        refreshed = refresh(crowd, plan, mu, state, decay, generator)
        state = refreshed.state
        releases.extend(refreshed.releases)
        yield simple.scorer(refreshed.model)


def _ease(crowds: Sequence[Population]) -> Iterator[Scorer]:
    """Yield the EASE baseline, whose server sees every history of the period."""
    for crowd in crowds:
        yield simple.ease(simple.co_occurrence(crowd.dataset, crowd.users), RIDGE)


def _ndcg(scorer: Scorer, holdout: Holdout) -> float:
    return evaluate(scorer, holdout).ndcg_at_100 if holdout.visible else 0.0


def _mean_by_day(
    values: Sequence[float], counts: Sequence[int], days: Sequence[int]
) -> tuple[float, ...]:
    """Return the mean over all lists of each day, from means over each period."""
    sums = _sum_by_day(np.multiply(values, counts), days)
    lists = np.maximum(_sum_by_day(counts, days), 1)
    return tuple((sums / lists).tolist())


def _sum_by_day(values: Sequence[float] | Floats, days: Sequence[int]) -> Floats:
    """Return the sum of the values of each day that occurs in `days`."""
    _, day_index = np.unique(days, return_inverse=True)
    return np.bincount(day_index, values).astype(np.float64)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `tactful-lab drift`."""
    summary = "compare a model that is refreshed each period with a stale one"
    parser = subparsers.add_parser("drift", help=summary, description=summary)
    parser.add_argument(
        "dataset",
        help="a data set with times: globo-news, online-retail or a CSV file",
    )
    parser.add_argument(
        "--epsilon",
        type=float,
        default=EPSILON,
        help="lifetime budget of all refreshes together; default: %(default)s",
    )
    parser.add_argument(
        "--delta", type=float, default=DELTA, help="default: %(default)s"
    )
    parser.add_argument(
        "--hours",
        type=int,
        default=HOURS,
        help="length of a period; default: %(default)s",
    )
    parser.add_argument(
        "--decay",
        type=float,
        default=DECAY,
        help="factor of the old sums at each refresh; default: %(default)s",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="of the simulated noise; default: 0"
    )
    add_outputs(parser, "drift.svg")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run `tactful-lab drift` and return its exit status."""
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
    document = json.dumps(asdict(figures), indent=2)
    outputs.write(table(figures), document, lambda: plot(figures))
    return 0


def table(figures: Drift) -> str:
    """Return the printed table: a row per day, a column per method."""
    lines = [
        f"{figures.dataset}: {figures.people} training people, {figures.items} items; "
        f"{figures.refreshes} refreshes, one per {figures.hours} hours, "
        f"decay {figures.decay:g}",
        f"epsilon {figures.epsilon:g} at delta {figures.delta:g}, for the first day "
        "(stale) or for all refreshes "
        f"({figures.epsilon_claimed:.3f} for a device that joins each one); "
        "noise of both aggregators",
        "NDCG@100 in the next period; sums of floats",
        "",
        "day   lists" + "".join(f"{name:>23}" for name in figures.ndcg_at_100),
    ]
    columns = figures.ndcg_at_100.values()
    for row, (day, count) in enumerate(zip(figures.days, figures.lists, strict=True)):
        values = "".join(f"{column[row]:23.4f}" for column in columns)
        lines.append(f"{day:3}{count:8}{values}")
    means = "".join(f"{figures.mean(name):23.4f}" for name in figures.ndcg_at_100)
    lines.append(f"all{sum(figures.lists):8}{means}")
    return "\n".join(lines) + "\n"


def plot(figures: Drift) -> str:
    """Return a plot of NDCG@100 by day, a curve per method, as SVG."""
    return plots.by_day(
        figures.days, figures.ndcg_at_100, label="NDCG@100 in the next period"
    )

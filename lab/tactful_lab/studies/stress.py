"""What is left of a model when devices drop out, cheat or are odd, or the catalog changes."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple

import numpy as np

from tactful.errors import InvalidInput
from tactful.learning.model import Model
from tactful_lab.baselines import simple
from tactful_lab.data_sets import loading
from tactful_lab.data_sets.loading import Dataset
from tactful_lab.output_options import Outputs, Progress, add_outputs, progress
from tactful_lab.ranking_metrics import (
    BATCH,
    TEST_SEED,
    Holdout,
    Scorer,
    evaluate,
    hold_out,
)
from tactful_lab.simulation.adversity import (
    PROVED,
    Changing,
    Dropping,
    Poisoned,
    busy,
    by_popularity,
    dominated,
    shortened,
    without,
)
from tactful_lab.simulation.population import Floats, Ints, Population
from tactful_lab.simulation.training import DELTA

SEED_LIMIT = 30
SHOWN = 20  # places of a list, in which a pushed item is an exposure
CHEATING = (0.01, 0.02, 0.05)
CHANGED = 0.1  # of the items, retired or new
LONELY, BUSY = 0.5, 0.05  # of the people, with one event, with 5,000 more
SELLERS, HEAVY = 3, 0.9  # items that nearly everybody has

Coin = np.random.Generator


class Arena(NamedTuple):
    """Who trains, and for whom lists are made."""

    dataset: Dataset
    train: Ints
    test: Ints


class Trial(NamedTuple):
    """A crowd to train, the data set that test people live in, and items no longer sold."""

    crowd: Population
    world: Dataset
    retired: Ints


@dataclass(frozen=True)
class Row:
    """One condition: NDCG@100 of what the pair releases, and of DP popularity, over seeds."""

    condition: str
    ndcg_at_100: float
    ndcg_sd: float
    popularity_ndcg_at_100: float


@dataclass(frozen=True)
class Push:
    """What cheaters reach for one item of middling popularity, who send the longest vectors.

    `exposure` is the share of test lists of 20 that show it, `rank` its median place; before and
    after, as well as NDCG@100, are means over seeds.
    """

    cheaters: float
    proof: str
    length: float
    exposure: tuple[float, float]
    rank: tuple[float, float]
    ndcg_at_100: tuple[float, float]


@dataclass(frozen=True)
class Stress:
    """All figures of one command, at one epsilon, with the noise of both halves in float sums."""

    dataset: str
    users: int
    epsilon: float
    delta: float
    seeds: int
    rows: tuple[Row, ...]
    pushes: tuple[Push, ...]


def stress(
    dataset: Dataset,
    *,
    epsilon: float = 3.0,
    delta: float = DELTA,
    seeds: int = 3,
    progress: Progress = lambda line: None,
) -> Stress:
    """Train under each condition; raises InvalidInput for seeds not in 1..30."""
    if not 1 <= seeds <= SEED_LIMIT:
        raise InvalidInput("seeds", f"{seeds} is not in 1..{SEED_LIMIT}", "use 3")
    people = loading.rankable_split(dataset)
    arena = Arena(dataset, people.train, people.test)
    learn = _Learner(epsilon, delta)
    rows = []
    for name, make in CONDITIONS.items():
        progress(name)
        rows.append(_row(name, make, arena, learn, seeds))
    progress("cheaters")
    pushes = tuple(_pushes(arena, learn, seeds))
    return Stress(
        dataset.name, len(people.train), epsilon, delta, seeds, tuple(rows), pushes
    )


class _Learner(NamedTuple):
    epsilon: float
    delta: float

    def model(self, crowd: Population, seed: int, *, personal: bool = True) -> Model:
        """What the pair releases to this crowd."""
        learn = crowd.train if personal else crowd.dp_popularity
        coin = np.random.default_rng(seed)
        return learn(
            self.epsilon, self.delta, noise="pair", generator=coin, fidelity="float"
        ).model


def _row(
    name: str,
    make: Callable[[Arena, Coin], Trial],
    arena: Arena,
    learn: _Learner,
    seeds: int,
) -> Row:
    figures = []
    for seed in range(seeds):
        trial = make(arena, np.random.default_rng([seed, 1]))
        figures.append(
            [
                _ndcg(
                    learn.model(trial.crowd, seed, personal=personal), trial, arena.test
                )
                for personal in (True, False)
            ]
        )
    ours, counts = np.mean(figures, axis=0)
    return Row(
        name, float(ours), float(np.std([one[0] for one in figures])), float(counts)
    )


def _ndcg(model: Model, trial: Trial, test: Ints) -> float:
    lengths = np.diff(trial.world.indptr)[test]
    holdout = hold_out(trial.world, test[lengths >= 2], TEST_SEED)
    return evaluate(_sold(simple.scorer(model), trial.retired), holdout).ndcg_at_100


def _sold(scorer: Scorer, retired: Ints) -> Scorer:
    """`scorer`, but what is not sold is last."""

    def scores(histories: Sequence[Ints]) -> Floats:
        table = np.array(scorer(histories))
        table[:, retired] = -np.inf
        return table

    return scores


NONE = np.empty(0, dtype=np.int64)


def _as_it_is(arena: Arena, coin: Coin) -> Trial:
    return Trial(Population(arena.dataset, arena.train), arena.dataset, NONE)


def _missing(part: float) -> Callable[[Arena, Coin], Trial]:
    return lambda arena, coin: Trial(
        Dropping(arena.dataset, arena.train, part, coin), arena.dataset, NONE
    )


def _lonely(arena: Arena, coin: Coin) -> Trial:
    chosen = _some(arena.train, LONELY, coin)
    crowd = Population(shortened(arena.dataset, chosen, 1), arena.train)
    return Trial(crowd, arena.dataset, NONE)


def _busy(arena: Arena, coin: Coin) -> Trial:
    chosen = _some(arena.train, BUSY, coin)
    return Trial(
        Population(busy(arena.dataset, chosen, coin), arena.train), arena.dataset, NONE
    )


def _heavy_sellers(arena: Arena, coin: Coin) -> Trial:
    top = by_popularity(arena.dataset, arena.train)[:SELLERS]
    world = dominated(arena.dataset, top, HEAVY, coin)
    return Trial(Population(world, arena.train), world, NONE)


def _retired(arena: Arena, coin: Coin) -> Trial:
    gone = _some(np.arange(arena.dataset.items), CHANGED, coin)
    crowd = Changing(arena.dataset, arena.train, gone)
    return Trial(crowd, without(arena.dataset, gone), gone)


def _added(arena: Arena, coin: Coin) -> Trial:
    new = _some(np.arange(arena.dataset.items), CHANGED, coin)
    return Trial(
        Population(without(arena.dataset, new), arena.train), arena.dataset, NONE
    )


def _some(numbers: Ints, part: float, coin: Coin) -> Ints:
    return np.sort(coin.permutation(numbers)[: int(part * len(numbers))])


CONDITIONS: dict[str, Callable[[Arena, Coin], Trial]] = {
    "as it is": _as_it_is,
    "10 % miss each round": _missing(0.1),
    "30 % miss each round": _missing(0.3),
    "50 % miss each round": _missing(0.5),
    "half have one event": _lonely,
    "5 % have 5,000 events more": _busy,
    "3 items that 90 % have": _heavy_sellers,
    "10 % of items retired after the first round": _retired,
    "10 % of items new since the training": _added,
}


def _pushes(arena: Arena, learn: _Learner, seeds: int) -> Iterator[Push]:
    """Each share of cheaters at the bound of each proof, against the same seeds without them."""
    ranked = by_popularity(arena.dataset, arena.train)
    target = int(ranked[len(ranked) // 2])
    holdout = hold_out(arena.dataset, arena.test, TEST_SEED)
    before = _influence(
        Population(arena.dataset, arena.train), target, holdout, learn, seeds
    )
    for proof, length in PROVED.items():
        for part in CHEATING:
            count = max(round(part * len(arena.train)), 1)
            crowd = Poisoned(arena.dataset, arena.train[count:], count, target, length)
            after = _influence(crowd, target, holdout, learn, seeds)
            pairs = [
                (float(one), float(two)) for one, two in zip(before, after, strict=True)
            ]
            yield Push(part, proof, length, *pairs)


def _influence(
    crowd: Population, target: int, holdout: Holdout, learn: _Learner, seeds: int
) -> Floats:
    """Exposure and median rank of the target, and NDCG@100: means over seeds, shape (3,)."""
    figures: list[list[float]] = []
    for seed in range(seeds):
        scorer = simple.scorer(learn.model(crowd, seed))
        places = _places(scorer, target, holdout)
        ndcg = evaluate(scorer, holdout).ndcg_at_100
        figures.append(
            [float((places <= SHOWN).mean()), float(np.median(places)), ndcg]
        )
    mean: Floats = np.mean(figures, axis=0)
    return mean


def _places(scorer: Scorer, target: int, holdout: Holdout) -> Floats:
    """The target's place, from 1, in the list of each person who does not have it."""
    places = []
    for start in range(0, len(holdout.known), BATCH):
        known = holdout.known[start : start + BATCH]
        scores = np.array(scorer(known))
        for row, items in zip(scores, known, strict=True):
            row[items[items != target]] = -np.inf
        here = (scores > scores[:, [target]]).sum(axis=1) + 1.0
        places.append(here[[target not in items for items in known]])
    return np.concatenate(places)


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Offer `tactful-lab stress`."""
    parser = subparsers.add_parser(
        "stress", help="dropouts, cheaters, odd people, new catalogs"
    )
    parser.add_argument(
        "dataset", help="a name that `tactful-lab datasets` lists, or a CSV file"
    )
    parser.add_argument(
        "--epsilon", type=float, default=3.0, help="default %(default)s"
    )
    parser.add_argument(
        "--delta", type=float, default=DELTA, help="default %(default)s"
    )
    parser.add_argument(
        "--seeds", type=int, default=3, help="of noise and chance; default 3"
    )
    add_outputs(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """What `tactful-lab stress` does."""
    outputs = Outputs.of(options)
    figures = stress(
        loading.load(options.dataset, loading.folder(options.data)),
        epsilon=options.epsilon,
        delta=options.delta,
        seeds=options.seeds,
        progress=progress(),
    )
    outputs.write(table(figures), json.dumps(asdict(figures), indent=2))
    return 0


def table(figures: Stress) -> str:
    """The figures for people."""
    lines = [
        f"{figures.dataset}: {figures.users} people, epsilon {figures.epsilon:g} at delta "
        f"{figures.delta:g}, noise of both halves, {figures.seeds} seeds",
        "",
        f"{'NDCG@100':46}{'ours':>8}{'sd':>7}{'popularity':>12}",
    ]
    lines += [
        f"{row.condition:46}{row.ndcg_at_100:8.4f}{row.ndcg_sd:7.4f}"
        f"{row.popularity_ndcg_at_100:12.4f}"
        for row in figures.rows
    ]
    lines += [
        "",
        f"{'cheaters who push one item':30}{'in 20':>16}{'rank':>16}{'NDCG@100':>18}",
    ]
    lines += [
        f"{push.cheaters:4.0%} within {push.proof:18}{_change(push.exposure, '.1%'):>16}"
        f"{_change(push.rank, '.0f'):>16}{_change(push.ndcg_at_100, '.4f'):>18}"
        for push in figures.pushes
    ]
    return "\n".join(lines) + "\n"


def _change(pair: tuple[float, float], form: str) -> str:
    return f"{pair[0]:{form}} > {pair[1]:{form}}"

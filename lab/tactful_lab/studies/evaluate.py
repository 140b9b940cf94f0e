"""`tactful-lab evaluate DATASET`: what lists are like as balance and diversity turn, with plots.

Lists are the device's own. The people were not in the training; a fifth of what each took to is
hidden, and a good list finds it. Sessions are simulated: a list a day, all of it seen.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tactful.device.catalog import Catalog, Item
from tactful.device.ranking import list_metrics
from tactful.device.ranking.device_metrics import DeviceMetrics
from tactful.device.ranking.pipeline import rank
from tactful.device.ranking.results import relaxed_in
from tactful.device.ranking.scoring.balance import normalised_rank
from tactful.device.ranking.scoring.catalog_scores import CatalogArrays, ItemPopularity
from tactful.device.ranking.scoring.list_context import ListContext
from tactful.device.ranking.scoring.taste import Taste
from tactful.device.ranking.selection.near_duplicates import standing
from tactful.device.settings import Settings
from tactful.errors import InvalidInput
from tactful.learning.model import Model
from tactful_lab import plots
from tactful_lab.data_sets import loading
from tactful_lab.data_sets.loading import Dataset
from tactful_lab.ranking_metrics import TEST_SEED, Holdout, hold_out
from tactful_lab.simulation import sessions as repetition
from tactful_lab.simulation.population import Population

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LENGTH, DELTA = 10, 1e-6
PURCHASE = 3.0  # the strength of one fresh purchase
STEPS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
DEFAULT = Settings(path=None)


@dataclass(frozen=True)
class Reading:
    """Means over people's lists of ten; each as tactful.device.ranking.list_metrics defines it."""

    balance: float
    diversity: float
    ndcg: float
    recall: float
    sufficient: float
    diversity_of_list: float
    entropy: float
    ranked_entropy: float
    coverage: float
    gini: float
    novelty: float
    serendipity: float
    calibration_kl: float
    popularity: float
    popularity_lift: float
    long_tail: float
    promoted: float
    relaxations: float
    standard_share: float


@dataclass(frozen=True)
class Sessions:
    """Thirty days of `people` with defaults, and with nothing but the ranker's scores.

    `ndcg` is of everyone's first list; coverage is over all lists, of top-sellers-first as well.
    The last are means of what the devices measured of their own lists, with defaults
    (tactful.device.ranking.device_metrics).
    """

    people: int
    unwanted: float
    unwanted_plain: float
    ndcg: float
    ndcg_plain: float
    coverage: float
    coverage_plain: float
    coverage_top_sellers: float
    covered_users: float
    overlap: float
    jaccard: float
    fatigue: float
    fatigue_plain: float
    cap_hits: float
    faithfulness: float


@dataclass(frozen=True)
class World:
    """One data set with its model, and people of whom a part is hidden."""

    dataset: Dataset
    catalog: Catalog
    model: Model
    holdout: Holdout

    @property
    def people(self) -> int:
        """How many people lists are made for."""
        return len(self.holdout.known)


def world(dataset: Dataset, people: int, epsilon: float, seed: int) -> World:
    """Train on the training people as the pair releases it, and choose test people."""
    parts = loading.split(dataset)
    if not 1 <= people <= len(parts.test):
        raise InvalidInput(
            "--people", f"{people} is out of range", f"use 1 to {len(parts.test)}"
        )
    generator = np.random.default_rng(seed)
    model = Population(dataset, parts.train).train(
        epsilon, DELTA, noise="pair", generator=generator
    )
    named = zip(dataset.item_ids, dataset.titles, dataset.categories, strict=True)
    catalog = Catalog(
        Item(id=i, title=title, category=kind) for i, title, kind in named
    )
    return World(
        dataset, catalog, model.model, hold_out(dataset, parts.test[:people], TEST_SEED)
    )


def curve(
    here: World, balances: Sequence[float], diversities: Sequence[float]
) -> list[Reading]:
    """A reading for each pair of knobs."""
    everyone = standing(CatalogArrays(here.catalog), here.model)
    return [
        read(here, everyone, b, d) for b, d in zip(balances, diversities, strict=True)
    ]


def read(
    here: World, worth: ItemPopularity, balance: float, diversity: float
) -> Reading:
    """What everyone's first list is like at these knobs."""
    lists, shares, rankings = [], [], []
    for known in here.holdout.known:
        taste = Taste(
            likes=dict.fromkeys(known.tolist(), PURCHASE),
            withheld=frozenset(known.tolist()),
            known=len(known),
        )
        evidence = len(known) / (len(known) + 2)
        ranking = rank(
            ListContext(worth, min(balance, evidence), diversity, taste=taste),
            length=LENGTH,
        )
        found = [n for n in ranking.line() if n not in taste.withheld][:LENGTH]
        lists.append(np.array(found, dtype=np.int64))
        rankings.append(ranking)
        everyone = ranking.scored.field.everyone.shared_ranks(found)
        mine = ranking.scored.shared_ranks(found)
        shares.append(np.mean([e <= m for e, m in zip(everyone, mine, strict=True)]))
    made = _reading(here, worth, lists, balance, diversity)
    promoted = (
        list_metrics.lowest_promoted(one.scored.ranks(items.tolist()), LENGTH)
        for one, items in zip(rankings, lists, strict=True)
    )
    relaxed = (len(relaxed_in(one, LENGTH)) for one in rankings)
    return replace(
        made,
        standard_share=float(np.mean(shares)),
        promoted=_mean(promoted),
        relaxations=_mean(relaxed),
    )


def _reading(
    here: World,
    worth: ItemPopularity,
    lists: list[Ints],
    balance: float,
    diversity: float,
) -> Reading:
    """What can be told from the lists alone; the rest is 0."""
    shelf, items = worth.shelf, len(here.catalog)
    counts = np.bincount(
        np.concatenate(here.dataset.histories(np.arange(here.dataset.users)))
    )
    popularity = np.maximum(np.resize(counts, items), 1) / here.dataset.users
    head = np.flatnonzero(worth.best_sellers == 0)
    mixes = [shelf.category_mix(one) for one in lists]
    pairs = list(zip(lists, here.holdout.known, here.holdout.hidden, strict=True))
    personal = [_chances(worth, known) for known in here.holdout.known]
    everyone = normalised_rank(worth.scores)
    return Reading(
        balance=balance,
        diversity=diversity,
        ndcg=_mean(ndcg(one, hidden) for one, _, hidden in pairs),
        recall=_mean(
            np.isin(one, hidden).sum() / min(len(hidden), LENGTH)
            for one, _, hidden in pairs
        ),
        diversity_of_list=_mean(
            list_metrics.intra_list_diversity(one, shelf.similarity) for one in lists
        ),
        sufficient=list_metrics.sufficient(lists, LENGTH),
        entropy=_mean(map(list_metrics.entropy, mixes)),
        ranked_entropy=_mean(
            list_metrics.rank_biased_entropy(shelf.category[one].tolist())
            for one in lists
        ),
        coverage=list_metrics.catalog_coverage(lists, items),
        gini=list_metrics.gini(list_metrics.exposure(lists, items)),
        novelty=_mean(list_metrics.novelty(one, popularity) for one in lists),
        serendipity=_mean(
            list_metrics.serendipity(one, mine, everyone, hidden)
            for (one, _, hidden), mine in zip(pairs, personal, strict=True)
        ),
        calibration_kl=_mean(
            list_metrics.calibration_kl(shelf.category_mix(known), mix)
            for (_, known, _), mix in zip(pairs, mixes, strict=True)
        ),
        popularity=_mean(
            list_metrics.average_popularity(one, popularity) for one in lists
        ),
        popularity_lift=_mean(
            list_metrics.popularity_lift(one, known, popularity)
            for one, known, _ in pairs
        ),
        long_tail=_mean(list_metrics.long_tail_share(one, head) for one in lists),
        promoted=0.0,
        relaxations=0.0,
        standard_share=0.0,
    )


def _chances(worth: ItemPopularity, known: Ints) -> Floats:
    return normalised_rank(worth.personal(dict.fromkeys(known.tolist(), PURCHASE)))


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


def ndcg(items: Ints, hidden: Ints) -> float:
    """NDCG of one list: gains of hidden items, discounted by place, over the best possible."""
    discount = 1 / np.log2(np.arange(2, LENGTH + 2))
    hits = np.isin(items, hidden)
    ideal = discount[: min(len(hidden), LENGTH)].sum()
    return float(hits @ discount[: len(items)] / ideal) if len(hidden) else 0.0


def sessions(here: World, people: int) -> Sessions:
    """The first lists of everyone, and thirty days of the first `people`, by default and plain."""
    lists: dict[bool, list[list[Ints]]] = {}
    told: dict[bool, list[DeviceMetrics]] = {}
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        for capped in (True, False):
            live = partial(_live, here, people, capped)
            lives = list(pool.map(live, range(here.people), chunksize=4))
            lists[capped] = [one for one, _ in lives]
            told[capped] = [own for _, own in lives[:people] if own is not None]
    hidden = here.holdout.hidden
    found, plain = (
        _mean(ndcg(one[0], few) for one, few in zip(lists[capped], hidden, strict=True))
        for capped in (True, False)
    )
    top = [_top_sellers(here, known) for known in here.holdout.known[:people]]
    return Sessions(
        people=people,
        unwanted=_unwanted(lists[True][:people]),
        unwanted_plain=_unwanted(lists[False][:people]),
        ndcg=found,
        ndcg_plain=plain,
        coverage=_coverage(here, lists[True][:people]),
        coverage_plain=_coverage(here, lists[False][:people]),
        coverage_top_sellers=_coverage(here, top),
        covered_users=list_metrics.covered_users([one[0] for one in lists[True]]),
        overlap=_mean(own.overlap for own in told[True]),
        jaccard=_mean(own.jaccard for own in told[True]),
        fatigue=_mean(own.fatigue for own in told[True]),
        fatigue_plain=_mean(own.fatigue for own in told[False]),
        cap_hits=_mean(own.cap_hits for own in told[True]),
        faithfulness=_mean(own.faithfulness for own in told[True]),
    )


def _live(
    here: World, people: int, capped: bool, person: int
) -> tuple[list[Ints], DeviceMetrics | None]:
    """Thirty days of one of the first `people`, one of the others."""
    history = [here.dataset.item_ids[item] for item in here.holdout.known[person]]
    days = repetition.SESSIONS if person < people else 1
    lists, own = repetition.lived(
        here.catalog, here.model, history, capped=capped, days=days
    )
    return [
        np.array([here.catalog.number(i) for i in one], dtype=np.int64) for one in lists
    ], own


def _unwanted(crowd: Sequence[list[Ints]]) -> float:
    """Nobody asked for a repeat: what was bought is not offered again, so all are unwanted."""
    window = repetition.SESSIONS
    rates = [
        list_metrics.repetition_rates(lists, lambda item, index: False, window)
        for lists in crowd
    ]
    return _mean(unwanted for _, unwanted in rates)


def _coverage(here: World, crowd: Sequence[list[Ints]]) -> float:
    return list_metrics.catalog_coverage(
        [one for lists in crowd for one in lists], len(here.catalog)
    )


def _top_sellers(here: World, known: Ints) -> list[Ints]:
    """The same best-sellers for everyone, less what each has."""
    order = np.argsort(-here.model.standard(), kind="stable")
    return [order[~np.isin(order, known)][:LENGTH]]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Offer `tactful-lab evaluate`."""
    told = "what lists are like as balance and diversity turn, with plots"
    parser = subparsers.add_parser("evaluate", help=told, description=told)
    parser.add_argument(
        "dataset", help="a name that `tactful-lab datasets` lists, or a CSV file"
    )
    parser.add_argument("--people", type=int, default=200, help="default %(default)s")
    parser.add_argument(
        "--epsilon", type=float, default=3.0, help="of the model, %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--sessions", type=int, default=40, help="people simulated for 30 days"
    )
    parser.add_argument("--out", type=Path, default=Path("out/evaluate"))
    parser.add_argument(
        "--data", type=Path, help="folder of packed archives; or set TACTFUL_DATA"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """What `tactful-lab evaluate` does."""
    known = loading.load(options.dataset, loading.folder(options.data))
    if not 0 <= options.sessions <= options.people:
        raise InvalidInput(
            "--sessions", f"{options.sessions} is out of range", "0 to --people"
        )
    options.out.mkdir(parents=True, exist_ok=True)
    here = world(known, options.people, options.epsilon, options.seed)
    balances = curve(here, STEPS, [DEFAULT.diversity] * len(STEPS))
    diversities = curve(here, [DEFAULT.balance] * len(STEPS), STEPS)
    told: dict[str, object] = {
        "dataset": known.name,
        "over_balance": [asdict(one) for one in balances],
        "over_diversity": [asdict(one) for one in diversities],
    }
    print(
        f"{known.name}: {here.people} people, lists of {LENGTH}, model at {options.epsilon:g}"
    )
    print(_table("balance", balances))
    print(_table("diversity", diversities))
    if options.sessions:
        days = sessions(here, options.sessions)
        told["sessions"] = asdict(days)
        print(_days(days))
    (options.out / f"{known.name}.json").write_text(json.dumps(told, indent=1) + "\n")
    for name, readings in (("balance", balances), ("diversity", diversities)):
        path = options.out / f"{known.name}-{name}.svg"
        path.write_text(plot(name, readings))
        print(f"plot: {path}")
    return 0


COLUMNS = {
    "NDCG@10": "ndcg",
    "diversity": "diversity_of_list",
    "coverage": "coverage",
    "Gini": "gini",
    "novelty": "novelty",
    "serend.": "serendipity",
    "KL": "calibration_kl",
    "RBE": "ranked_entropy",
    "ARP": "popularity",
    "APLT": "long_tail",
    "LIP": "promoted",
    "pop lift": "popularity_lift",
    "standard": "standard_share",
}


def _table(knob: str, readings: Sequence[Reading]) -> str:
    lines = [f"\n{knob:>10}" + "".join(f"{name:>11}" for name in COLUMNS)]
    for one in readings:
        figures = "".join(f"{getattr(one, name):11.4f}" for name in COLUMNS.values())
        lines.append(f"{getattr(one, knob):10.1f}{figures}")
    return "\n".join(lines)


def _days(one: Sessions) -> str:
    ratio = one.unwanted / one.unwanted_plain if one.unwanted_plain else 0.0
    return (
        f"\n{one.people} people over {repetition.SESSIONS} days, with defaults / scores alone\n"
        f"  unwanted repeats per show  {one.unwanted:.3f} / {one.unwanted_plain:.3f}"
        f"  ({ratio:.2f})\n"
        f"  NDCG@10 of all first lists {one.ndcg:.4f} / {one.ndcg_plain:.4f}"
        f"  ({one.ndcg / max(one.ndcg_plain, 1e-9) - 1:+.1%})\n"
        f"  catalog coverage           {one.coverage:.3f} / {one.coverage_plain:.3f}"
        f"  (top-sellers first {one.coverage_top_sellers:.3f})\n"
        f"  wear of what is shown      {one.fatigue:.3f} / {one.fatigue_plain:.3f}\n"
        f"  from one list to the next  RBO {one.overlap:.3f}, Jaccard {one.jaccard:.3f}\n"
        f"  refused by limits          {one.cap_hits:.3f} of what they were asked\n"
        f"  faithful reasons           {one.faithfulness:.3f}; people with a list"
        f" {one.covered_users:.3f}"
    )


def plot(knob: str, readings: Sequence[Reading]) -> str:
    """What one knob trades: relevance, variety and reach over its whole range."""
    shown = {
        "NDCG@10": "ndcg",
        "diversity in the list": "diversity_of_list",
        "catalog coverage": "coverage",
        "standard share": "standard_share",
    }
    across = [float(getattr(one, knob)) for one in readings]
    curves = {
        label: [float(getattr(one, name)) for one in readings]
        for label, name in shown.items()
    }
    default = DEFAULT.balance if knob == "balance" else DEFAULT.diversity
    return plots.trade_offs(across, curves, across_label=knob, default=default)

"""Evaluation of recommendation lists: `tactful-lab evaluate DATASET`.

It reports list quality over balance and over diversity, with plots, and simulated
sessions: a list a day for thirty days, of which the person sees every item.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np

from tactful.device.ranking import list_metrics
from tactful.device.ranking.device_metrics import DeviceMetrics
from tactful.device.settings import Settings
from tactful.errors import InvalidInput
from tactful_lab import plots
from tactful_lab.data_sets import loading
from tactful_lab.output_options import DATASET_HELP, add_data_folder
from tactful_lab.simulation.sessions import SESSIONS, measured_sessions
from tactful_lab.studies.list_quality import (
    LENGTH,
    EvaluationSetup,
    Ints,
    ListQuality,
    mean,
    ndcg,
    prepare,
    quality_curve,
)

STEPS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
DEFAULT = Settings(path=None)


@dataclass(frozen=True)
class SessionFigures:
    """Thirty days of `people` with default settings, and ("plain") with scores alone.

    `ndcg` is the mean over everyone's first list. Coverage is over all lists, also of a
    list of top sellers. `overlap` and the values after it are means of what the
    devices measured of their own lists (tactful.device.ranking.device_metrics).
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
class SimulatedPeople:
    """The lists of everyone, and the device metrics of those with all sessions."""

    lists: list[list[Ints]]
    metrics: list[DeviceMetrics]

    def first_ndcg(self, hidden: Sequence[Ints]) -> float:
        """Return the mean NDCG@10 of everyone's first list."""
        return mean(
            ndcg(lists[0], items)
            for lists, items in zip(self.lists, hidden, strict=True)
        )


def session_figures(setup: EvaluationSetup, people: int) -> SessionFigures:
    """Simulate everyone's first list, and thirty days of the first `people`."""
    with ProcessPoolExecutor(max_workers=os.cpu_count()) as pool:
        default = _simulate(pool, setup, people, capped=True)
        plain = _simulate(pool, setup, people, capped=False)
    hidden = setup.holdout.hidden
    first_lists = [lists[0] for lists in default.lists]
    top_sellers = [
        [_top_sellers(setup, visible)] for visible in setup.holdout.visible[:people]
    ]
    return SessionFigures(
        people=people,
        unwanted=_unwanted_rate(default.lists[:people]),
        unwanted_plain=_unwanted_rate(plain.lists[:people]),
        ndcg=default.first_ndcg(hidden),
        ndcg_plain=plain.first_ndcg(hidden),
        coverage=_coverage(setup, default.lists[:people]),
        coverage_plain=_coverage(setup, plain.lists[:people]),
        coverage_top_sellers=_coverage(setup, top_sellers),
        covered_users=list_metrics.covered_users(first_lists),
        overlap=mean(metrics.overlap for metrics in default.metrics),
        jaccard=mean(metrics.jaccard for metrics in default.metrics),
        fatigue=mean(metrics.fatigue for metrics in default.metrics),
        fatigue_plain=mean(metrics.fatigue for metrics in plain.metrics),
        cap_hits=mean(metrics.cap_hits for metrics in default.metrics),
        faithfulness=mean(metrics.faithfulness for metrics in default.metrics),
    )


def _simulate(
    pool: ProcessPoolExecutor, setup: EvaluationSetup, people: int, *, capped: bool
) -> SimulatedPeople:
    """Simulate all sessions of the first `people`, and one session of the others."""
    simulate_person = partial(_simulate_person, setup, people, capped)
    results = list(pool.map(simulate_person, range(setup.people), chunksize=4))
    return SimulatedPeople(
        lists=[lists for lists, _ in results],
        metrics=[metrics for _, metrics in results[:people] if metrics is not None],
    )


def _simulate_person(
    setup: EvaluationSetup, people: int, capped: bool, person: int
) -> tuple[list[Ints], DeviceMetrics | None]:
    visible = setup.holdout.visible[person]
    history = [setup.dataset.item_ids[item] for item in visible]
    days = SESSIONS if person < people else 1
    id_lists, metrics = measured_sessions(
        setup.catalog, setup.model, history, capped=capped, days=days
    )
    number = setup.catalog.number
    lists = [
        np.array([number(item_id) for item_id in ids], dtype=np.int64)
        for ids in id_lists
    ]
    return lists, metrics


def _unwanted_rate(people: Sequence[list[Ints]]) -> float:
    """Return the mean rate of unwanted repeats.

    Purchased items are not recommended again, so nobody wants any repeat.
    """
    rates = [
        list_metrics.repetition_rates(lists, lambda item, index: False, SESSIONS)
        for lists in people
    ]
    return mean(unwanted for _, unwanted in rates)


def _coverage(setup: EvaluationSetup, people: Sequence[list[Ints]]) -> float:
    """Return the share of the catalog that occurs in any list."""
    all_lists = [items for lists in people for items in lists]
    return list_metrics.catalog_coverage(all_lists, len(setup.catalog))


def _top_sellers(setup: EvaluationSetup, visible: Ints) -> Ints:
    """Return the most popular items that the person does not have."""
    order = np.argsort(-setup.model.standard(), kind="stable")
    return order[~np.isin(order, visible)][:LENGTH]


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `tactful-lab evaluate`."""
    summary = "measure the quality of lists over balance and diversity, with plots"
    parser = subparsers.add_parser("evaluate", help=summary, description=summary)
    parser.add_argument("dataset", help=DATASET_HELP)
    parser.add_argument(
        "--people",
        type=int,
        default=200,
        help="test people whose lists are evaluated; default: %(default)s",
    )
    parser.add_argument(
        "--epsilon", type=float, default=3.0, help="of the model; default: %(default)s"
    )
    parser.add_argument("--seed", type=int, default=0, help="default: %(default)s")
    parser.add_argument(
        "--sessions",
        type=int,
        default=40,
        help="people simulated for 30 days; default: %(default)s",
    )
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        default=Path("out/evaluate"),
        help="folder for the JSON file and the plots; default: %(default)s",
    )
    add_data_folder(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run `tactful-lab evaluate` and return its exit status."""
    dataset = loading.load(options.dataset, loading.folder(options.data))
    if not 0 <= options.sessions <= options.people:
        raise InvalidInput(
            "--sessions",
            f"{options.sessions} is out of range",
            f"use 0 to {options.people} (--people)",
        )
    options.out.mkdir(parents=True, exist_ok=True)
    setup = prepare(dataset, options.people, options.epsilon, options.seed)
    over_balance = quality_curve(setup, STEPS, [DEFAULT.diversity] * len(STEPS))
    over_diversity = quality_curve(setup, [DEFAULT.balance] * len(STEPS), STEPS)
    document: dict[str, object] = {
        "dataset": dataset.name,
        "over_balance": [asdict(quality) for quality in over_balance],
        "over_diversity": [asdict(quality) for quality in over_diversity],
    }
    print(
        f"{dataset.name}: {setup.people} test people, lists of {LENGTH}, "
        f"model at epsilon {options.epsilon:g}"
    )
    print(_quality_table("balance", over_balance))
    print(_quality_table("diversity", over_diversity))
    if options.sessions:
        figures = session_figures(setup, options.sessions)
        document["sessions"] = asdict(figures)
        print(_session_table(figures))
    json_file = options.out / f"{dataset.name}.json"
    json_file.write_text(json.dumps(document, indent=1) + "\n")
    for name, curve in (("balance", over_balance), ("diversity", over_diversity)):
        path = options.out / f"{dataset.name}-{name}.svg"
        path.write_text(plot(name, curve))
        print(f"plot: {path}")
    return 0


# Headings of the printed table, and the attributes of ListQuality below them.
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


def _quality_table(parameter: str, curve: Sequence[ListQuality]) -> str:
    """Return a table with a row for each value of `parameter`."""
    lines = [f"\n{parameter:>10}" + "".join(f"{name:>11}" for name in COLUMNS)]
    for quality in curve:
        values = [getattr(quality, attribute) for attribute in COLUMNS.values()]
        columns = "".join(f"{value:11.4f}" for value in values)
        lines.append(f"{getattr(quality, parameter):10.1f}{columns}")
    return "\n".join(lines)


def _session_table(figures: SessionFigures) -> str:
    repeat_ratio = 0.0
    if figures.unwanted_plain:
        repeat_ratio = figures.unwanted / figures.unwanted_plain
    ndcg_change = figures.ndcg / max(figures.ndcg_plain, 1e-9) - 1
    return (
        f"\n{figures.people} people over {SESSIONS} days: "
        "default settings / scores alone\n"
        f"  unwanted repeats per impression  {figures.unwanted:.3f}"
        f" / {figures.unwanted_plain:.3f}  ({repeat_ratio:.2f})\n"
        f"  NDCG@10 of all first lists       {figures.ndcg:.4f}"
        f" / {figures.ndcg_plain:.4f}  ({ndcg_change:+.1%})\n"
        f"  catalog coverage                 {figures.coverage:.3f}"
        f" / {figures.coverage_plain:.3f}"
        f"  (top sellers {figures.coverage_top_sellers:.3f})\n"
        f"  fatigue of listed items          {figures.fatigue:.3f}"
        f" / {figures.fatigue_plain:.3f}\n"
        f"  overlap of consecutive lists     RBO {figures.overlap:.3f},"
        f" Jaccard {figures.jaccard:.3f}\n"
        f"  cap hits                         {figures.cap_hits:.3f} of all decisions\n"
        f"  faithful reasons                 {figures.faithfulness:.3f}\n"
        f"  people with a list               {figures.covered_users:.3f}"
    )


def plot(parameter: str, curve: Sequence[ListQuality]) -> str:
    """Return a plot of relevance, variety and reach over one parameter, as SVG."""
    panels = {
        "NDCG@10": "ndcg",
        "diversity in the list": "diversity_of_list",
        "catalog coverage": "coverage",
        "standard share": "standard_share",
    }
    positions = [float(getattr(quality, parameter)) for quality in curve]
    curves = {
        label: [float(getattr(quality, attribute)) for quality in curve]
        for label, attribute in panels.items()
    }
    default = DEFAULT.balance if parameter == "balance" else DEFAULT.diversity
    return plots.trade_offs(positions, curves, across_label=parameter, default=default)

"""Figures of the demo: ranking quality of the released model, and repeated items."""

from __future__ import annotations

import resource
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tactful.device.caps import Rules
from tactful.device.catalog import Catalog
from tactful.learning.model import Model
from tactful.protocol.documents.model_release import ModelRelease
from tactful_lab.baselines import simple
from tactful_lab.data_sets import loading
from tactful_lab.demo.report_page import PersonPage, ReportContent, Round
from tactful_lab.ranking_metrics import (
    TEST_SEED,
    VALIDATION_SEED,
    Scorer,
    Utility,
    evaluate,
    hold_out,
)
from tactful_lab.simulation import sessions
from tactful_lab.simulation.sessions import Repetition

SIMULATED_PEOPLE = 40  # test people whose sessions are simulated
NAMES = {
    "wire": "released by the pair",
    "words": "words of titles, no histories",
    "popularity": "popularity, no privacy",
    "private": "in one process, as if all reported",
    "ease": "EASE, no privacy",
}
ASSUMPTIONS = (
    "Both aggregators run on one machine in this demo. In production, two operators "
    "who do not collude run them.",
    "Most devices are simulated: they are measured together in one process by the same "
    "code, and each sends its own encrypted report. The full devices have a vault, a "
    "ledger and consent.",
    "1,000 devices report to the running pair, each with a proof that its measurement "
    "is in range. The model “in one process, as if all reported” is computed by the "
    "same code from all histories, without proofs and without a network. It was not "
    "released.",
    "The sessions are simulated: one list a day, of which the person sees every item.",
)


@dataclass(frozen=True)
class Shop:
    """The data set, its split and its catalog."""

    dataset: loading.Dataset
    people: loading.Split
    catalog: Catalog

    def bought(self, user: int) -> list[str]:
        """Return the ids of the items that a person bought."""
        return [self.dataset.item_ids[item] for item in self.dataset.history(user)]


@dataclass(frozen=True)
class DemoResult:
    """The options and results of one demo.

    `model` was released by the pair; `model_of_all` was computed in one process from
    the histories of all training people.
    """

    shop: Shop
    epsilon: float
    devices: int
    seed: int
    release: ModelRelease
    model: Model
    model_of_all: Model


def report_content(
    result: DemoResult, rounds: Sequence[Round], page: PersonPage, started: float
) -> ReportContent:
    """Evaluate the model, print the figures and return the content of the report.

    `started` is the monotonic time at which the demo began.
    """
    utility = compare_methods(result)
    _print_table(utility)
    capped = _simulate_sessions(result, capped=True)
    uncapped = _simulate_sessions(result, capped=False)
    print(
        f"unwanted repeats in {sessions.SESSIONS} sessions: "
        f"{uncapped.unwanted_rate:.1%} without caps and diversity, "
        f"{capped.unwanted_rate:.1%} with default settings; "
        f"{capped.cap_violations} cap violations"
    )
    metrics_by_name = {
        NAMES[method]: (metrics.recall_at_20, metrics.ndcg_at_100)
        for method, metrics in utility.items()
    }
    return ReportContent(
        figures=_figures(result, rounds, utility, capped, uncapped, started),
        utility=metrics_by_name,
        ours=NAMES["wire"],
        rounds=rounds,
        cap_epsilon=result.epsilon,
        uncapped=uncapped,
        capped=capped,
        sessions=f"{SIMULATED_PEOPLE} test people with {sessions.SESSIONS} simulated "
        f"daily sessions, each with a list of {sessions.LENGTH} items.",
        person=page,
        tiles=_tiles(result, rounds, utility, capped, uncapped),
        command=f"tactful-lab demo --epsilon {result.epsilon:g} "
        f"--devices {result.devices} --seed {result.seed}",
        assumptions=ASSUMPTIONS,
    )


def compare_methods(result: DemoResult) -> dict[str, Utility]:
    """Return the ranking quality of each method, the released model first."""
    dataset, people = result.shop.dataset, result.shop.people
    validation = hold_out(dataset, people.validation, VALIDATION_SEED)
    test = hold_out(dataset, people.test, TEST_SEED)
    scorers: dict[str, Scorer] = {
        "wire": simple.scorer(result.model),
        "words": simple.by_words(dataset),
        "popularity": simple.popularity(dataset, people.train),
        "private": simple.scorer(result.model_of_all),
        "ease": simple.best_ease(dataset, people.train, validation),
    }
    return {name: evaluate(scorer, test) for name, scorer in scorers.items()}


def _simulate_sessions(result: DemoResult, *, capped: bool) -> Repetition:
    """Simulate the sessions of a random sample of test people."""
    shop = result.shop
    generator = np.random.default_rng(result.seed)
    size = min(SIMULATED_PEOPLE, len(shop.people.test))
    users = generator.choice(shop.people.test, size=size, replace=False)
    crowd = [
        sessions.sessions(
            shop.catalog, result.model, shop.bought(int(user)), capped=capped
        )
        for user in users
    ]
    return sessions.summary(crowd, Rules.default())


def _figures(
    result: DemoResult,
    rounds: Sequence[Round],
    utility: dict[str, Utility],
    capped: Repetition,
    uncapped: Repetition,
    started: float,
) -> dict[str, object]:
    """Return the content of figures.json."""
    shop, release = result.shop, result.release
    return {
        "dataset": shop.dataset.name,
        "users": len(shop.people.train),
        "items": len(shop.catalog),
        "epsilon": release.epsilon,
        "delta": release.delta,
        "unit_of_privacy": release.unit,
        "adjacency": release.adjacency,
        "rounds": len(rounds),
        "full_devices": result.devices,
        "wire_devices": release.batch_size,  # the least in any round
        "wire_reports": sum(completed.reports for completed in rounds),
        "upload_bytes_per_device": _upload_bytes(rounds),
        "utility": {
            method: {
                "recall_at_20": metrics.recall_at_20,
                "ndcg_at_100": metrics.ndcg_at_100,
            }
            for method, metrics in utility.items()
        },
        "repetition": {
            "uncapped": {"unwanted_rate": uncapped.unwanted_rate},
            "capped": {
                "unwanted_rate": capped.unwanted_rate,
                "cap_violations": capped.cap_violations,
            },
        },
        "seconds": round(time.monotonic() - started, 1),
        "peak_rss_mb": round(peak_rss_mb(), 1),
    }


def _upload_bytes(rounds: Sequence[Round]) -> int:
    """Return the bytes that one device uploads in all rounds."""
    return sum(completed.upload_bytes for completed in rounds)


def _tiles(
    result: DemoResult,
    rounds: Sequence[Round],
    utility: dict[str, Utility],
    capped: Repetition,
    uncapped: Repetition,
) -> dict[str, str]:
    """Return the large figures at the top of the report, by label."""
    ndcg = {method: metrics.ndcg_at_100 for method, metrics in utility.items()}
    over_words = ndcg["wire"] / ndcg["words"] - 1
    over_popularity = ndcg["wire"] / ndcg["popularity"] - 1
    kilobytes = _upload_bytes(rounds) / 1000
    return {
        "NDCG@100 of the released model over public words alone": f"{over_words:+.0%}",
        "NDCG@100 of the released model over popularity": f"{over_popularity:+.0%}",
        "epsilon spent by each device, all rounds": f"{result.release.epsilon:.2f}",
        "unwanted repeats, default settings": f"{capped.unwanted_rate:.0%}",
        "unwanted repeats without caps": f"{uncapped.unwanted_rate:.0%}",
        "sent by each device": f"{kilobytes:.0f} kB",
        "cap violations": f"{capped.cap_violations}",
    }


def _print_table(utility: dict[str, Utility]) -> None:
    print(f"\n{'for test people':36}{'recall@20':>10}{'NDCG@100':>10}")
    for method, metrics in utility.items():
        name = NAMES[method]
        print(f"{name:36}{metrics.recall_at_20:10.4f}{metrics.ndcg_at_100:10.4f}")
    print()


def peak_rss_mb() -> float:
    """Return the peak memory of this process plus that of its largest ended child."""
    # getrusage reports bytes on macOS and kibibytes elsewhere.
    unit = 1 if sys.platform == "darwin" else 1024
    self_peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    child_peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return (self_peak + child_peak) * unit / (1 << 20)

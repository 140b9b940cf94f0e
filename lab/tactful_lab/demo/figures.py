"""What the demo measures once a model is released: how well it ranks, how often it repeats."""

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

WATCHED = 40  # held-out people whose sessions are simulated
NAMES = {
    "wire": "released by the pair",
    "words": "words of the titles, no histories",
    "popularity": "popularity: everyone's counts",
    "private": "in one process, as if all reported",
    "ease": "EASE: raw histories, no privacy",
}
ASSUMPTIONS = (
    "Both halves run on one machine here. That shows the mechanism, not the separation: in use, "
    "two operators who do not collude run them.",
    "Most devices of the crowd are light ones: measured together in one process by the same code, "
    "each sending its own sealed report. The full devices keep a vault, a ledger and consent.",
    "1,000 devices report to the running pair, each with a proof that its measurement is in range. "
    "The model in one process, as if all reported, is computed by the same code from all "
    "histories, without proofs and without a network: nobody released it.",
    "The sessions are simulated: one list a day, everything in it seen.",
)


@dataclass(frozen=True)
class Shop:
    """The data set, who is in the training and who is not, and the catalog."""

    dataset: loading.Dataset
    people: loading.Split
    catalog: Catalog

    def bought(self, user: int) -> list[str]:
        """The ids of what a person bought."""
        return [self.dataset.item_ids[item] for item in self.dataset.history(user)]


@dataclass(frozen=True)
class Facts:
    """What was asked for and what came out: the pair's model, and the one of everyone."""

    shop: Shop
    epsilon: float
    devices: int
    seed: int
    release: ModelRelease
    model: Model
    everyone: Model


def story(
    facts: Facts, rounds: Sequence[Round], page: PersonPage, started: float
) -> ReportContent:
    """Measure, print the table, and put everything together."""
    utility = compared(facts)
    _print_table(utility)
    capped, uncapped = (_sessions(facts, capped=capped) for capped in (True, False))
    print(
        f"unwanted repeats in {sessions.SESSIONS} sessions: {uncapped.unwanted_rate:.1%} without "
        f"caps and variety, {capped.unwanted_rate:.1%} as shipped; {capped.cap_violations} cap "
        "violations"
    )
    figures = _figures(facts, rounds, utility, capped, uncapped, started)
    return ReportContent(
        figures=figures,
        utility={
            NAMES[n]: (one.recall_at_20, one.ndcg_at_100) for n, one in utility.items()
        },
        ours=NAMES["wire"],
        rounds=rounds,
        cap_epsilon=facts.epsilon,
        uncapped=uncapped,
        capped=capped,
        sessions=f"{WATCHED} held-out people, {sessions.SESSIONS} daily sessions of "
        f"{sessions.LENGTH} items each, simulated.",
        person=page,
        tiles=_tiles(facts, rounds, utility, capped, uncapped),
        command=f"tactful-lab demo --epsilon {facts.epsilon:g} --devices {facts.devices} "
        f"--seed {facts.seed}",
        assumptions=ASSUMPTIONS,
    )


def compared(facts: Facts) -> dict[str, Utility]:
    """Return how well each method ranks for people outside the training, the released one first."""
    dataset, people = facts.shop.dataset, facts.shop.people
    validation = hold_out(dataset, people.validation, VALIDATION_SEED)
    test = hold_out(dataset, people.test, TEST_SEED)
    scorers: dict[str, Scorer] = {
        "wire": simple.scorer(facts.model),
        "words": simple.by_words(dataset),
        "popularity": simple.popularity(dataset, people.train),
        "private": simple.scorer(facts.everyone),
        "ease": simple.best_ease(dataset, people.train, validation),
    }
    return {name: evaluate(scorer, test) for name, scorer in scorers.items()}


def _sessions(facts: Facts, *, capped: bool) -> Repetition:
    """The sessions of some held-out people, drawn by the seed."""
    test = facts.shop.people.test
    drawn = np.random.default_rng(facts.seed).choice(
        test, size=min(WATCHED, len(test)), replace=False
    )
    crowd = [
        sessions.sessions(
            facts.shop.catalog, facts.model, facts.shop.bought(int(u)), capped=capped
        )
        for u in drawn
    ]
    return sessions.summary(crowd, Rules.default())


def _figures(
    facts: Facts,
    rounds: Sequence[Round],
    utility: dict[str, Utility],
    capped: Repetition,
    uncapped: Repetition,
    started: float,
) -> dict[str, object]:
    release = facts.release
    return {
        "dataset": facts.shop.dataset.name,
        "users": len(facts.shop.people.train),
        "items": len(facts.shop.catalog),
        "epsilon": release.epsilon,
        "delta": release.delta,
        "unit_of_privacy": release.unit,
        "adjacency": release.adjacency,
        "rounds": len(rounds),
        "full_devices": facts.devices,
        "wire_devices": release.batch_size,  # the fewest that reported in any round
        "wire_reports": sum(one.reports for one in rounds),
        "upload_bytes_per_device": sum(one.upload_bytes for one in rounds),
        "utility": {
            name: {"recall_at_20": one.recall_at_20, "ndcg_at_100": one.ndcg_at_100}
            for name, one in utility.items()
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


def _tiles(
    facts: Facts,
    rounds: Sequence[Round],
    utility: dict[str, Utility],
    capped: Repetition,
    uncapped: Repetition,
) -> dict[str, str]:
    over_words, over_popularity = (
        utility["wire"].ndcg_at_100 / utility[name].ndcg_at_100 - 1
        for name in ("words", "popularity")
    )
    return {
        "NDCG@100 of the released model over public words alone": f"{over_words:+.0%}",
        "NDCG@100 of the released model over popularity": f"{over_popularity:+.0%}",
        "epsilon spent by each device, all rounds": f"{facts.release.epsilon:.2f}",
        "unwanted repeats, as shipped": f"{capped.unwanted_rate:.0%}",
        "unwanted repeats without caps": f"{uncapped.unwanted_rate:.0%}",
        "sent by each device": f"{sum(one.upload_bytes for one in rounds) / 1000:.0f} kB",
        "cap violations": f"{capped.cap_violations}",
    }


def _print_table(utility: dict[str, Utility]) -> None:
    print(f"\n{'on held-out customers':36}{'recall@20':>10}{'NDCG@100':>10}")
    for name, one in utility.items():
        print(f"{NAMES[name]:36}{one.recall_at_20:10.4f}{one.ndcg_at_100:10.4f}")
    print()


def peak_rss_mb() -> float:
    """The peak memory of this process and, once they ended, of the largest one it started."""
    unit = 1 if sys.platform == "darwin" else 1024
    who = (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)
    return sum(resource.getrusage(one).ru_maxrss * unit for one in who) / (1 << 20)

"""Quality of recommendation lists by balance and diversity.

The lists are the device's own. People took no part in the training; a fifth of each
person's items is hidden, and a good list contains hidden items.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from tactful.device.catalog import Catalog, Item
from tactful.device.ranking import list_metrics
from tactful.device.ranking.pipeline import rank
from tactful.device.ranking.results import relaxed_in
from tactful.device.ranking.scoring.balance import normalised_rank
from tactful.device.ranking.scoring.catalog_scores import CatalogArrays, ItemPopularity
from tactful.device.ranking.scoring.list_context import ListContext
from tactful.device.ranking.scoring.taste import Taste
from tactful.device.ranking.selection.near_duplicates import standing
from tactful.errors import InvalidInput
from tactful.learning.model import Model
from tactful_lab.data_sets import loading
from tactful_lab.data_sets.loading import Dataset
from tactful_lab.ranking_metrics import TEST_SEED, Holdout, hold_out
from tactful_lab.simulation.population import Population

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

LENGTH, DELTA = 10, 1e-6
PURCHASE = 3.0  # the strength of one fresh purchase in a profile


@dataclass(frozen=True)
class ListQuality:
    """Means over lists of ten, as defined in tactful.device.ranking.list_metrics."""

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
class EvaluationSetup:
    """A data set with a trained model, and test people with hidden items."""

    dataset: Dataset
    catalog: Catalog
    model: Model
    holdout: Holdout

    @property
    def people(self) -> int:
        """The number of people whose lists are evaluated."""
        return len(self.holdout.visible)


def prepare(
    dataset: Dataset, people: int, epsilon: float, seed: int
) -> EvaluationSetup:
    """Train a model with the noise of both aggregators, and choose test people."""
    split = loading.split(dataset)
    if not 1 <= people <= len(split.test):
        raise InvalidInput(
            "--people", f"{people} is out of range", f"use 1 to {len(split.test)}"
        )
    generator = np.random.default_rng(seed)
    crowd = Population(dataset, split.train)
    training = crowd.train(epsilon, DELTA, noise="pair", generator=generator)
    columns = zip(dataset.item_ids, dataset.titles, dataset.categories, strict=True)
    catalog = Catalog(
        Item(id=item_id, title=title, category=category)
        for item_id, title, category in columns
    )
    holdout = hold_out(dataset, split.test[:people], TEST_SEED)
    return EvaluationSetup(dataset, catalog, training.model, holdout)


def quality_curve(
    setup: EvaluationSetup, balances: Sequence[float], diversities: Sequence[float]
) -> list[ListQuality]:
    """Return the list quality for each pair of balance and diversity."""
    popularity = standing(CatalogArrays(setup.catalog), setup.model)
    return [
        list_quality(setup, popularity, balance, diversity)
        for balance, diversity in zip(balances, diversities, strict=True)
    ]


def list_quality(
    setup: EvaluationSetup, popularity: ItemPopularity, balance: float, diversity: float
) -> ListQuality:
    """Return the quality of everyone's first list with this balance and diversity."""
    lists, standard_shares, rankings = [], [], []
    for visible in setup.holdout.visible:
        taste = Taste(
            likes=dict.fromkeys(visible.tolist(), PURCHASE),
            withheld=frozenset(visible.tolist()),
            known=len(visible),
        )
        # A device limits the balance likewise if it knows few items.
        evidence = len(visible) / (len(visible) + 2)
        context = ListContext(
            popularity, min(balance, evidence), diversity, taste=taste
        )
        ranking = rank(context, length=LENGTH)
        items = [item for item in ranking.line() if item not in taste.withheld]
        items = items[:LENGTH]
        lists.append(np.array(items, dtype=np.int64))
        rankings.append(ranking)
        standard_ranks = ranking.scored.field.everyone.shared_ranks(items)
        personal_ranks = ranking.scored.shared_ranks(items)
        is_standard = [
            standard <= personal
            for standard, personal in zip(standard_ranks, personal_ranks, strict=True)
        ]
        standard_shares.append(np.mean(is_standard))
    promoted = (
        list_metrics.lowest_promoted(ranking.scored.ranks(items.tolist()), LENGTH)
        for ranking, items in zip(rankings, lists, strict=True)
    )
    relaxations = (len(relaxed_in(ranking, LENGTH)) for ranking in rankings)
    quality = _quality_of_lists(setup, popularity, lists, balance, diversity)
    return replace(
        quality,
        standard_share=float(np.mean(standard_shares)),
        promoted=mean(promoted),
        relaxations=mean(relaxations),
    )


def _quality_of_lists(
    setup: EvaluationSetup,
    popularity: ItemPopularity,
    lists: list[Ints],
    balance: float,
    diversity: float,
) -> ListQuality:
    """Return the metrics that need only the lists; the others are 0."""
    shelf, item_count = popularity.shelf, len(setup.catalog)
    all_histories = setup.dataset.histories(np.arange(setup.dataset.users))
    counts = np.bincount(np.concatenate(all_histories))
    shares = np.maximum(np.resize(counts, item_count), 1) / setup.dataset.users
    head = np.flatnonzero(popularity.best_sellers == 0)
    mixes = [shelf.category_mix(items) for items in lists]
    visible, hidden = setup.holdout.visible, setup.holdout.hidden
    personal = [_personal_ranks(popularity, history) for history in visible]
    standard = normalised_rank(popularity.scores)
    return ListQuality(
        balance=balance,
        diversity=diversity,
        ndcg=mean(map(ndcg, lists, hidden)),
        recall=mean(map(_recall, lists, hidden)),
        diversity_of_list=mean(
            list_metrics.intra_list_diversity(items, shelf.similarity)
            for items in lists
        ),
        sufficient=list_metrics.sufficient(lists, LENGTH),
        entropy=mean(map(list_metrics.entropy, mixes)),
        ranked_entropy=mean(
            list_metrics.rank_biased_entropy(shelf.category[items].tolist())
            for items in lists
        ),
        coverage=list_metrics.catalog_coverage(lists, item_count),
        gini=list_metrics.gini(list_metrics.exposure(lists, item_count)),
        novelty=mean(list_metrics.novelty(items, shares) for items in lists),
        serendipity=mean(
            list_metrics.serendipity(items, ranks, standard, relevant)
            for items, ranks, relevant in zip(lists, personal, hidden, strict=True)
        ),
        calibration_kl=mean(
            list_metrics.calibration_kl(shelf.category_mix(history), mix)
            for history, mix in zip(visible, mixes, strict=True)
        ),
        popularity=mean(
            list_metrics.average_popularity(items, shares) for items in lists
        ),
        popularity_lift=mean(
            list_metrics.popularity_lift(items, history, shares)
            for items, history in zip(lists, visible, strict=True)
        ),
        long_tail=mean(list_metrics.long_tail_share(items, head) for items in lists),
        promoted=0.0,
        relaxations=0.0,
        standard_share=0.0,
    )


def _personal_ranks(popularity: ItemPopularity, history: Ints) -> Floats:
    likes = dict.fromkeys(history.tolist(), PURCHASE)
    return normalised_rank(popularity.personal(likes))


def ndcg(items: Ints, hidden: Ints) -> float:
    """Return NDCG@10 of one list; `hidden` are the relevant items."""
    discount = 1 / np.log2(np.arange(2, LENGTH + 2))
    hits = np.isin(items, hidden)
    ideal_gain = discount[: min(len(hidden), LENGTH)].sum()
    return float(hits @ discount[: len(items)] / ideal_gain) if len(hidden) else 0.0


def _recall(items: Ints, hidden: Ints) -> float:
    return float(np.isin(items, hidden).sum() / min(len(hidden), LENGTH))


def mean(values: Iterable[float]) -> float:
    """Return the mean of `values` as a float."""
    return float(np.mean(list(values)))

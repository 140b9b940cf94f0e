"""The demo evaluates the released model first."""

from fractions import Fraction

import numpy as np
import pytest

from tactful.device.catalog import Catalog, Item
from tactful.learning.model import Model
from tactful.protocol.documents.model_release import ModelRelease
from tactful_lab.baselines.simple import scorer
from tactful_lab.data_sets.loading import Dataset, split
from tactful_lab.demo.figures import DemoResult, Shop, compare_methods
from tactful_lab.ranking_metrics import TEST_SEED, evaluate, hold_out

ITEMS, USERS, HISTORY = 30, 120, 6


@pytest.fixture
def shop() -> Shop:
    generator = np.random.default_rng(7)
    draws = [generator.choice(ITEMS, HISTORY, replace=False) for _ in range(USERS)]
    names = tuple(f"item {number}" for number in range(ITEMS))
    dataset = Dataset(
        name="made",
        licence="CC0",
        indptr=np.arange(0, USERS * HISTORY + 1, HISTORY),
        indices=np.concatenate(draws),
        item_ids=names,
        titles=names,
        categories=("",) * ITEMS,
        prices=np.full(ITEMS, np.nan),
    )
    return Shop(dataset, split(dataset), Catalog(Item(id=n, title=n) for n in names))


def popularity_model(order: int) -> Model:
    popularity = np.arange(1, ITEMS + 1, dtype=np.float64)[::order]
    return Model.of_popularity(popularity, np.ones(ITEMS), 1.0)


def test_the_first_row_of_the_demo_is_the_model_released_by_the_pair(
    shop: Shop,
) -> None:
    released, in_one_process = popularity_model(1), popularity_model(-1)
    result = DemoResult(shop, 3.0, 12, 0, release(), released, in_one_process)

    utility = compare_methods(result)

    test = hold_out(shop.dataset, shop.people.test, TEST_SEED)
    assert list(utility)[:2] == ["wire", "words"]
    assert utility["wire"] == evaluate(scorer(released), test)
    assert utility["private"] == evaluate(scorer(in_one_process), test)
    assert utility["wire"] != utility["private"]


def release() -> ModelRelease:
    return ModelRelease(
        version=1,
        model="shop",
        kind="popularity",
        catalog="c" * 64,
        items=ITEMS,
        file="f" * 64,
        tasks=("a" * 64,),
        rho=str(Fraction(1, 8)),
        epsilon=3.0,
        delta=1e-6,
        adjacency="zero_out",
        unit="device",
        batch_size=1000,
        placement="aggregator",
        created=1,
        expires=2,
    )

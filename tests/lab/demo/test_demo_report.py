"""The demo's report says whose result it highlights, and highlights the released model."""

import re
from fractions import Fraction

import numpy as np
import pytest

from tactful.device.catalog import Catalog, Item
from tactful.learning.model import Model
from tactful.protocol.documents.model_release import ModelRelease
from tactful_lab.baselines.simple import scorer
from tactful_lab.data_sets.loading import Dataset, split
from tactful_lab.demo import figures as demo_figures
from tactful_lab.demo.figures import DemoResult, Shop, compare_methods
from tactful_lab.demo.report_page import PersonPage, Repetition, ReportContent, render
from tactful_lab.ranking_metrics import TEST_SEED, evaluate, hold_out

ITEMS, USERS, HISTORY = 30, 120, 6
PAGE = PersonPage(liked=[], before=[], after=[], withheld="", why_not="", sent=[])
NO_REPEATS = Repetition(unwanted_rate=0.0, times_seen={"once": 1.0}, cap_violations=0)


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


def test_the_first_row_is_the_released_model_and_not_the_one_of_all_histories(
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


def test_the_page_names_the_highlighted_bar_and_states_its_source(monkeypatch) -> None:
    highlighted: list[str] = []

    def bars(values: dict[str, float], *, ours: str, label: str, form: str = "") -> str:
        highlighted.append(ours)
        return ""

    monkeypatch.setattr("tactful_lab.demo.report_page.plots.bars", bars)
    name = demo_figures.NAMES["wire"]
    figures = {
        "wire_devices": 1000,
        "delta": 1e-6,
        "unit_of_privacy": "",
        "adjacency": "",
    }
    page = render(
        ReportContent(
            figures=figures,
            utility={name: (0.3, 0.29), demo_figures.NAMES["words"]: (0.2, 0.2)},
            ours=name,
            rounds=[],
            cap_epsilon=3.0,
            uncapped=NO_REPEATS,
            capped=NO_REPEATS,
            sessions="",
            person=PAGE,
            tiles={},
            command="",
            assumptions=(),
        )
    )

    text = re.sub(r"\s+", " ", page)
    assert highlighted[0] == name
    assert f"“{name}”, is the model that leader and helper released" in text
    assert "at least 1,000 devices reported to them in each round" in text
    assert "what the pair really released" not in text

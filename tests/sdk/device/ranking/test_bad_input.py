"""What an app may get wrong: a typed error that names the field, or the safe answer."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import numpy as np
import pytest
from small_world import made_model

from tactful import Catalog, Consent, Event, Item, Personalizer, Settings
from tactful.device.clock import ManualClock
from tactful.device.ranking.results import Missing
from tactful.errors import InvalidInput
from tactful.testing import FIXED_KEY, small_catalog

ALL = Consent.to("local_profile", "local_personalization", "diagnostics")


def device(catalog: Catalog | None = None, path: Path | None = None) -> Personalizer:
    catalog = small_catalog() if catalog is None else catalog
    settings = Settings(path=None if path is None else str(path))
    return Personalizer(
        catalog, settings, key=FIXED_KEY, consent=ALL, clock=ManualClock()
    )


@pytest.mark.parametrize(
    ("named", "asked"),
    [
        ("n", {"n": -1}),
        ("n", {"n": 2.5}),
        ("n", {"n": "3"}),
        ("balance", {"balance": float("nan")}),
        ("balance", {"balance": "1"}),
        ("balance", {"balance": 1.01}),
        ("surface", {"surface": ""}),
        ("surface", {"surface": None}),
        ("exclude", {"exclude": "item-1"}),
        ("exclude", {"exclude": [1, "item-1"]}),
    ],
)
def test_what_makes_no_sense_is_named_and_reserves_nothing(
    named: str, asked: dict
) -> None:
    with device() as me:
        before = me.rights.export()["records"]
        with pytest.raises(InvalidInput, match=f"^{named}: "):
            me.recommend(**{"n": 3, **asked})
        assert me.rights.export()["records"] == before


def test_numbers_of_numpy_are_numbers() -> None:
    with device() as me:
        picks = me.recommend(np.int64(3), balance=np.float32(0.5))

        assert len(picks) == 3
        assert me.explain.replay(picks.decision_id).same


def test_looking_back_is_no_looking_ahead() -> None:
    with device() as me, pytest.raises(InvalidInput, match="ahead"):
        me.explain.preview(3, ahead=timedelta(seconds=-1))


@pytest.mark.parametrize(
    ("named", "given"),
    [
        ("id", {"id": ""}),
        ("title", {"title": 5}),
        ("category", {"category": None}),
        ("tags", {"tags": "sale"}),
        ("tags", {"tags": (1,)}),
        ("item_class", {"item_class": "best"}),
        ("since", {"since": "2026-01-01"}),
        ("price", {"price": "9"}),
        ("price", {"price": float("nan")}),
    ],
)
def test_an_item_that_makes_no_sense_is_refused_by_field(
    named: str, given: dict
) -> None:
    with pytest.raises(InvalidInput, match=named):
        Item(**{"id": "a", "title": "A", **given})


def test_a_catalog_is_made_of_items_with_ids_of_their_own() -> None:
    with pytest.raises(InvalidInput, match="'a' is not an item"):
        Catalog(["a"])
    with pytest.raises(InvalidInput, match="'a' stands twice"):
        Catalog([Item(id="a", title="A"), Item(id="a", title="B")])


@pytest.mark.parametrize("balance", [0.0, 1.0])
@pytest.mark.parametrize("items", [0, 1])
def test_an_empty_catalog_and_one_of_one_item_give_what_there_is(
    items: int, balance: float
) -> None:
    with device(small_catalog(items)) as me:
        for item in me.catalog:
            me.observe(Event(kind="like", item_id=item.id))
        picks = me.recommend(3, balance=balance)

        assert len(picks) == items
        assert picks.missing == (Missing.EXHAUSTED,) * (3 - items)
        assert all(pick.reasons for pick in picks)
        assert (me.explain.metrics() is None) == (items == 0)


def test_a_catalog_that_lost_everything_gives_an_empty_list(tmp_path: Path) -> None:
    kinds = ("like", "dislike", "purchase", "click", "hide", "save", "view", "report")
    with device(path=tmp_path / "v") as me:
        for number, kind in enumerate(kinds):
            me.observe(Event(kind=kind, item_id=f"item-{number}"))
        me.observe(Event(kind="dislike", item_id="item-20", scope="category"))
        picks = me.recommend(4)

    other = Catalog([Item(id="new", title="New")])
    for catalog, left in ((other, 1), (Catalog([]), 0)):
        with device(catalog, tmp_path / "v") as me:
            for pick in picks:
                me.observe(pick.impression())
            assert len(me.recommend(3)) == left
            assert not me.explain.replay(picks.decision_id).same
            assert {one.scope for one in me.explain.interests()} <= {
                "item",
                "category",
                "brand",
            }
            with pytest.raises(InvalidInput, match="not in the catalog"):
                me.explain.trace(picks.decision_id, picks[0].item.id)


@pytest.mark.parametrize("wrong", ["a model", 7])
def test_what_is_no_model_is_refused(wrong: object) -> None:
    with pytest.raises(InvalidInput, match="is not a model"):
        Personalizer(
            small_catalog(),
            Settings(path=None),
            key=FIXED_KEY,
            consent=ALL,
            model=wrong,
        )


def test_a_model_whose_numbers_are_none_is_refused() -> None:
    for name in ("basis", "scale", "weights"):
        for wrong in (np.nan, np.inf):
            model = made_model(30)
            getattr(model, name)[0] = wrong
            with pytest.raises(InvalidInput, match="model"):
                Personalizer(
                    small_catalog(),
                    Settings(path=None),
                    key=FIXED_KEY,
                    consent=ALL,
                    model=model,
                )

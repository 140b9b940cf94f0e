"""What people take together and the catalog tells apart only by id is one family."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_world import context

from tactful.device.catalog import Catalog, Item
from tactful.device.list_policy import ListPolicy
from tactful.device.ranking.pipeline import rank
from tactful.device.ranking.scoring.catalog_scores import CatalogArrays
from tactful.device.ranking.selection import near_duplicates
from tactful.device.ranking.selection.near_duplicates import joined, standing
from tactful.learning.model import Model

FACTORS = 16


def model_of(rows: np.ndarray) -> Model:
    """A model whose items have these factors."""
    count = len(rows)
    return Model(
        popularity=np.linspace(1, 0.1, count).astype(np.float32),
        weights=np.ones(count, dtype=np.float32),
        head=np.arange(count, dtype=np.int32),
        basis=rows.astype(np.float32),
        scale=np.ones(rows.shape[1], dtype=np.float32),
        popularity_share=0.2,
        gain=np.full(count, 0.7, dtype=np.float32),
        neighbours=np.empty((count, 0), dtype=np.int32),
        closeness=np.empty((count, 0), dtype=np.float32),
    )


def shelf_of(count: int, **same: str) -> CatalogArrays:
    return CatalogArrays(
        Catalog(Item(id=f"i{n}", title=f"Title {n}", **same) for n in range(count))
    )


def one_family(labels: np.ndarray) -> set[frozenset[int]]:
    groups = {frozenset(np.flatnonzero(labels == label).tolist()) for label in labels}
    return {group for group in groups if len(group) > 1}


def test_items_whose_factors_point_the_same_way_are_one_family() -> None:
    rows = np.random.default_rng(1).standard_normal((9, FACTORS))
    rows[7] = 3 * rows[2] + 0.01 * rows[0]

    assert one_family(joined(shelf_of(9), model_of(rows))) == {frozenset({2, 7})}


def test_a_list_holds_one_of_them() -> None:
    rows = np.random.default_rng(1).standard_normal((12, FACTORS))
    rows[1] = rows[0]
    shelf, model = shelf_of(12), model_of(rows)

    first = rank(
        context({}, 0, standing=standing(shelf, model), list_policy=ListPolicy()),
        length=5,
    )

    assert {0, 1} & set(first.placed_list.numbers) == {0}
    apart = replace(
        model, basis=np.random.default_rng(2).standard_normal((12, FACTORS))
    )
    second = rank(
        context({}, 0, standing=standing(shelf, apart), list_policy=ListPolicy()),
        length=5,
    )
    assert {0, 1} <= set(second.placed_list.numbers)


@pytest.mark.parametrize("differs", ["category", "brand", "family"])
def test_what_the_catalog_tells_apart_stays_apart(differs: str) -> None:
    rows = np.random.default_rng(1).standard_normal((4, FACTORS))
    rows[3] = rows[0]
    items = [Item(id=f"i{n}", title=f"T{n}", **{differs: f"v{n}"}) for n in range(4)]

    assert one_family(joined(CatalogArrays(Catalog(items)), model_of(rows))) == set()


def test_few_factors_join_nothing() -> None:
    rows = np.ones((5, near_duplicates.LEAST_FACTORS - 1))

    assert one_family(joined(shelf_of(5), model_of(rows))) == set()


def test_a_chain_of_neighbours_does_not_join_its_ends() -> None:
    angles = np.radians([0, 15, 30, 45])
    rows = np.zeros((4, FACTORS))
    rows[:, 0], rows[:, 1] = np.cos(angles), np.sin(angles)

    assert one_family(joined(shelf_of(4), model_of(rows))) == {
        frozenset({0, 1}),
        frozenset({2, 3}),
    }


@given(seed=st.integers(0, 999), copies=st.lists(st.integers(0, 19), max_size=8))
def test_families_are_those_of_a_slow_search_for_leaders(
    seed: int, copies: list[int]
) -> None:
    draws = np.random.default_rng(seed)
    rows = draws.standard_normal((20, FACTORS))
    for place, of in enumerate(copies):
        rows[19 - place] = rows[of] + 0.1 * draws.standard_normal(FACTORS)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    wanted, leaders = list(range(20)), list[int]()
    for number in range(20):
        near = [
            one for one in leaders if unit[one] @ unit[number] >= near_duplicates.NEAR
        ]
        wanted[number] = near[0] if near else number
        leaders += [] if near else [number]

    assert one_family(joined(shelf_of(20), model_of(rows))) == one_family(
        np.array(wanted)
    )


def test_large_groups_are_compared_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(near_duplicates, "MOST_COMPARED", 10)
    rows = np.random.default_rng(3).standard_normal((50, FACTORS))
    rows[25:] = rows[:25]

    pairs = one_family(joined(shelf_of(50), model_of(rows)))

    assert pairs <= {frozenset({n, n + 25}) for n in range(25)}
    assert len(pairs) > 15  # those on two sides of a cut stay apart

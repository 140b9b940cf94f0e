"""Sixty items with a model of random taste, and contexts of people who like some of them."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from tactful.device.catalog import Catalog, Item
from tactful.device.list_policy import ListPolicy, PlacementRules
from tactful.device.ranking.scoring.catalog_scores import CatalogArrays, ItemPopularity
from tactful.device.ranking.scoring.list_context import ListContext
from tactful.device.ranking.scoring.scored_items import Candidates
from tactful.device.ranking.scoring.taste import Taste
from tactful.learning.model import Model

ITEMS, CATEGORIES, BRANDS, RANK = 60, 6, 7, 4
CATALOG = Catalog(
    Item(
        id=f"i{n:02}",
        title=f"Item {n}",
        category=f"c{n % CATEGORIES}",
        brand=f"b{n % BRANDS}",
    )
    for n in range(ITEMS)
)
SHELF = CatalogArrays(CATALOG)


def made_model(items: int = ITEMS, seed: int = 7) -> Model:
    """A small model of random taste, popularity falling with the number."""
    draws = np.random.default_rng(seed)
    basis, _ = np.linalg.qr(draws.standard_normal((items, RANK)))
    return Model(
        popularity=np.linspace(1, 0.05, items).astype(np.float32),
        weights=np.ones(items, dtype=np.float32),
        head=np.arange(items, dtype=np.int32),
        basis=basis.astype(np.float32),
        scale=np.ones(RANK, dtype=np.float32),
        popularity_share=0.2,
        gain=np.full(items, 0.7, dtype=np.float32),
        neighbours=np.empty((items, 0), dtype=np.int32),
        closeness=np.empty((items, 0), dtype=np.float32),
    )


MODEL = made_model()
STANDING, PLAIN = ItemPopularity(SHELF, MODEL), ItemPopularity(SHELF, None)
FREE = ListPolicy(most={}, places={})
numbers = st.integers(0, ITEMS - 1)
histories = st.dictionaries(numbers, st.floats(0.1, 9), max_size=8)
balances = st.floats(0, 1)


def context(
    likes: dict[int, float],
    balance: float,
    diversity: float = 0.3,
    *,
    list_policy: ListPolicy = FREE,
    rules: PlacementRules | None = None,
    standing: ItemPopularity = STANDING,
    seed: bytes = b"",
    **taste: object,
) -> ListContext:
    """The context of one person; `taste` has what else is known of them."""
    return ListContext(
        standing,
        balance,
        diversity,
        list_policy,
        rules or PlacementRules(),
        Taste(likes=likes, **taste),
        seed=seed,
    )


def field(one: ListContext) -> Candidates:
    """Every item of the catalog, weighed."""
    return Candidates(one, np.arange(ITEMS))

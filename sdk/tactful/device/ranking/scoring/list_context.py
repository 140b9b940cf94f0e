"""What one list is made from: public things, the app's wishes, and what is known of the person."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tactful.device.list_policy import ListPolicy, PlacementRules
from tactful.device.ranking.scoring.catalog_scores import ItemPopularity, LikedItems
from tactful.device.ranking.scoring.taste import NOTHING, Taste


@dataclass(frozen=True)
class ListContext:
    """What one list is made from; `today` in days since 1970, `seed` decides what is tried.

    `excluded` are ids that the app cannot offer now to anyone, `hidden` (scope, value) what this
    person wants to see nothing of.
    """

    standing: ItemPopularity
    balance: float
    diversity: float = 0.1
    list_policy: ListPolicy = field(default_factory=ListPolicy)
    rules: PlacementRules = field(default_factory=PlacementRules)
    taste: Taste = NOTHING
    today: int = 0
    seed: bytes = b""
    excluded: frozenset[str] = frozenset()
    hidden: frozenset[tuple[str, str]] = frozenset()

    @cached_property
    def liking(self) -> LikedItems:
        """What is liked, as the standing reads it."""
        return LikedItems(self.standing, self.taste.likes)

    def of_nobody(self) -> ListContext:
        """The same without anything of the person: what is not shared, nothing may depend on."""
        return replace(self, taste=NOTHING, seed=b"", hidden=frozenset())

    def numbers(self, *item_ids: str) -> dict[str, int]:
        """The numbers of those items that the catalog has."""
        catalog = self.standing.shelf.catalog
        return {
            item_id: catalog.number(item_id)
            for item_id in item_ids
            if item_id in catalog
        }

    def kept(self) -> NDArray[np.bool_]:
        """Which items may be in a list at all, shape (items,)."""
        shelf = self.standing.shelf
        kept = np.ones(len(shelf.catalog), dtype=np.bool_)
        kept[[*self.taste.withheld, *self.numbers(*self.excluded).values()]] = False
        for mark in (*self.rules.never, *self.hidden):
            kept &= ~shelf.having(*mark)
        return kept

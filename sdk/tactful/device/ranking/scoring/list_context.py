"""The inputs of one list: public values, the app's policy, the person's taste."""

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
    """Everything that one list depends on.

    `today` is in days since 1970. `seed` determines the draw of exploration.
    `excluded` has ids that the app cannot offer now to anyone; `hidden` has the
    (scope, value) pairs that this person hid.
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
    def liked_items(self) -> LikedItems:
        """The person's likes, prepared for scoring."""
        return LikedItems(self.standing, self.taste.likes)

    def without_person(self) -> ListContext:
        """Return the same context without anything about the person."""
        return replace(self, taste=NOTHING, seed=b"", hidden=frozenset())

    def numbers(self, *item_ids: str) -> dict[str, int]:
        """Return the number of each of `item_ids` that the catalog has."""
        catalog = self.standing.shelf.catalog
        return {
            item_id: catalog.number(item_id)
            for item_id in item_ids
            if item_id in catalog
        }

    def eligible(self) -> NDArray[np.bool_]:
        """Return which items a list may hold at all, shape (items,)."""
        shelf = self.standing.shelf
        is_eligible = np.ones(len(shelf.catalog), dtype=np.bool_)
        excluded = self.numbers(*self.excluded).values()
        is_eligible[[*self.taste.withheld, *excluded]] = False
        for attribute, value in (*self.rules.never, *self.hidden):
            is_eligible &= ~shelf.has_value(attribute, value)
        return is_eligible

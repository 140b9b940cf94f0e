"""What one list is made from: public things, the app's wishes, and what is known of the person."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tactful.device.ranking.scoring import Liking, Standing
from tactful.device.ranking.taste import NOTHING, Taste
from tactful.device.wishes import BrandRules, Wishes


@dataclass(frozen=True)
class Context:
    """What one list is made from; `today` in days since 1970, `seed` decides what is tried.

    `excluded` are ids that the app cannot offer now to anyone, `hidden` (scope, value) what this
    person wants to see nothing of.
    """

    standing: Standing
    balance: float
    diversity: float = 0.1
    wishes: Wishes = field(default_factory=Wishes)
    rules: BrandRules = field(default_factory=BrandRules)
    taste: Taste = NOTHING
    today: int = 0
    seed: bytes = b""
    excluded: frozenset[str] = frozenset()
    hidden: frozenset[tuple[str, str]] = frozenset()

    @cached_property
    def liking(self) -> Liking:
        """What is liked, as the standing reads it."""
        return Liking(self.standing, self.taste.likes)

    def of_nobody(self) -> Context:
        """The same without anything of the person: what is not shared, nothing may depend on."""
        return replace(self, taste=NOTHING, seed=b"", hidden=frozenset())

    def numbers(self, *item_ids: str) -> dict[str, int]:
        """The numbers of those items that the catalog has."""
        catalog = self.standing.shelf.catalog
        return {item_id: catalog.number(item_id) for item_id in item_ids if item_id in catalog}

    def kept(self) -> NDArray[np.bool_]:
        """Which items may be in a list at all, shape (items,)."""
        shelf = self.standing.shelf
        kept = np.ones(len(shelf.catalog), dtype=np.bool_)
        kept[[*self.taste.withheld, *self.numbers(*self.excluded).values()]] = False
        for mark in (*self.rules.never, *self.hidden):
            kept &= ~shelf.having(*mark)
        return kept

"""What can be shown: items, numbered in a fixed order that the shared model knows."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from tactful.errors import InvalidInput

ItemClass = Literal["critical", "high", "normal", "promo"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One thing that can be shown; only `id` and `title` must be given.

    `family` joins variants of one thing; `price` is in the app's own currency unit;
    `replenishable` things are welcome again when they are used up; `since` is the first day in the
    catalog.
    """

    id: str
    title: str
    category: str = ""
    brand: str = ""
    campaign: str = ""
    family: str = ""
    creative: str = ""
    channel: str = ""
    tags: tuple[str, ...] = ()
    item_class: ItemClass = "normal"
    priority: int = 0
    price: float | None = None
    replenishable: bool = False
    since: date | None = None

    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True}

    def __post_init__(self) -> None:
        if not isinstance(self.id, str) or not self.id:
            raise InvalidInput("item.id", f"{self.id!r} is not a text", "give each item an id")
        if self.price is not None and not (math.isfinite(self.price) and self.price >= 0):
            raise InvalidInput(
                f"item {self.id!r}: price", f"{self.price!r} is no price", "use a number >= 0"
            )


class Catalog:
    """All items, numbered from 0 in the order given; ids are unique.

    Raises InvalidInput for a repeated id.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self.items: tuple[Item, ...] = tuple(items)
        self._numbers = {item.id: number for number, item in enumerate(self.items)}
        if len(self._numbers) < len(self.items):
            raise InvalidInput("catalog", f"item {self._repeated()!r} stands twice", "remove one")

    @classmethod
    def from_file(cls, path: str | Path) -> Catalog:
        """Read a JSON list of items; errors name the item and the field."""
        from pydantic import TypeAdapter, ValidationError

        try:
            return cls(TypeAdapter(list[Item]).validate_json(Path(path).read_bytes()))
        except OSError as absent:
            raise InvalidInput("catalog", f"{path} cannot be read", "name a JSON file") from absent
        except ValidationError as wrong:
            first = wrong.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "document"
            raise InvalidInput(f"catalog: {where}", first["msg"], "correct the file") from wrong

    def corrected(self, replenishable: Mapping[str, bool]) -> Catalog:
        """The catalog with what a person said of single items; the same if they said nothing."""
        if not any(item_id in self for item_id in replenishable):
            return self
        said = replenishable.get
        return Catalog(
            replace(one, replenishable=said(one.id, one.replenishable)) for one in self.items
        )

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __contains__(self, item_id: object) -> bool:
        return item_id in self._numbers

    def __getitem__(self, item_id: str) -> Item:
        return self.items[self.number(item_id)]

    def number(self, item_id: str) -> int:
        """The number of `item_id`; raises InvalidInput if the catalog has no such item."""
        try:
            return self._numbers[item_id]
        except KeyError:
            raise InvalidInput(
                "item_id", f"{item_id!r} is not in the catalog", "use the id of a catalog item"
            ) from None

    def find(self, item_id: str) -> int | None:
        """The number of `item_id`; None if the catalog has no such item."""
        return self._numbers.get(item_id)

    @cached_property
    def sha256(self) -> str:
        """The hash of the ids in order: device and aggregator must number items alike."""
        return hashlib.sha256("\n".join(self._numbers).encode()).hexdigest()

    def _repeated(self) -> str:
        counts = Counter(item.id for item in self.items)
        return counts.most_common(1)[0][0]

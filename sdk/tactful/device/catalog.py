"""The catalog: all items that can be shown, numbered in the order of the model."""

from __future__ import annotations

import hashlib
import math
from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import ClassVar, Literal, get_args, overload

from tactful.device import checks
from tactful.errors import InvalidInput

MAX_CACHED_ITEMS = 5_000
MOST = 10**9  # the largest absolute value of a priority
COLUMNS = (
    "category",
    "brand",
    "campaign",
    "family",
    "creative",
    "channel",
    "tags",
    "item_class",
    "priority",
    "price",
    "replenishable",
    "since",
)
TEXTS = ("title", "category", "brand", "campaign", "family", "creative", "channel")
ItemClass = Literal["critical", "high", "normal", "promo"]
CLASSES: tuple[str, ...] = get_args(ItemClass)


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    """One thing that can be shown; only `id` and `title` are required.

    `family` joins variants of one item. `price` is in the app's own currency unit.
    `replenishable` items are welcome again once they are used up. `since` is the first
    day in the catalog.
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

    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "strict": True,
    }

    def __post_init__(self) -> None:
        """Raise InvalidInput for a wrong field."""
        checks.text("item.id", self.id)
        where = f"item {self.id!r}: "
        for name in TEXTS:
            checks.text(where + name, getattr(self, name), most=math.inf, empty=True)
        checks.names(where + "tags", self.tags)
        checks.one_of(where + "item_class", self.item_class, CLASSES)
        checks.whole(
            where + "priority", self.priority, -MOST, MOST, "use a whole number"
        )
        checks.flag(where + "replenishable", self.replenishable)
        if self.since is not None:
            has_time = isinstance(self.since, datetime)
            is_day = isinstance(self.since, date) and not has_time
            problem = f"{self.since!r} is not a date"
            checks.require(
                is_day, where + "since", problem, "use a date without a time"
            )
        if self.price is not None:
            checks.number(
                where + "price", self.price, 0, checks.FINITE, "use a number >= 0"
            )


class Column:
    """One attribute of all items: the distinct values, in the order of first use.

    `codes` has the index of each item's value; it is empty if all have the same value.
    """

    def __init__(self) -> None:
        self._indices: dict[object, int] = {}
        self.values: list[object] = []
        self.codes = array("i")

    def append(self, value: object) -> None:
        """Append the value of the next item."""
        self.codes.append(self._indices.setdefault(value, len(self._indices)))

    def settle(self) -> None:
        """Finish the column after the last item, and free what only appending needs."""
        self.values = list(self._indices)
        self._indices = {}
        if len(self.values) == 1:
            self.codes = array("i")

    def of(self, number: int) -> object:
        """Return the value of one item."""
        return self.values[self.codes[number] if self.codes else 0]


class Texts:
    """Many strings in one buffer, which saves memory for 100,000 items."""

    def __init__(self) -> None:
        self._buffer = bytearray()
        self._ends = array("Q", [0])

    def append(self, text: str) -> None:
        """Append the text of the next item."""
        self._buffer += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._buffer))

    def encoded(self, number: int) -> bytes:
        """Return one text in UTF-8, which sorts like the text itself."""
        start, end = self._ends[number], self._ends[number + 1]
        return bytes(self._buffer[start:end])

    def __getitem__(self, number: int) -> str:
        return self.encoded(number).decode("utf-8", "surrogatepass")


class Items(Sequence[Item]):
    """All items of a catalog in columns; `Item` objects are created when needed."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.ids, self.titles = Texts(), Texts()
        self.columns = {name: Column() for name in COLUMNS}
        self._count = 0
        self._cache: dict[int, Item] = {}
        checks.instance("catalog", items, Iterable, "pass items")
        for item in items:
            if not isinstance(item, Item):
                raise InvalidInput(
                    "catalog", f"{item!r} is not an item", "make it of tactful.Item"
                )
            self._count += 1
            self.ids.append(item.id)
            self.titles.append(item.title)
            for name, column in self.columns.items():
                value = getattr(item, name)
                column.append(tuple(value) if name == "tags" else value)
        for column in self.columns.values():
            column.settle()

    def __len__(self) -> int:
        return self._count

    @overload
    def __getitem__(self, number: int) -> Item: ...
    @overload
    def __getitem__(self, number: slice) -> Sequence[Item]: ...
    def __getitem__(self, number: int | slice) -> Item | Sequence[Item]:
        """Return one item by its number, or the items of a slice."""
        if isinstance(number, slice):
            return [self[index] for index in range(*number.indices(self._count))]
        return self.at(range(self._count)[number])

    def at(self, number: int) -> Item:
        """Return one item by its number, which must be in range."""
        item = self._cache.get(number)
        if item is None:
            if len(self._cache) >= MAX_CACHED_ITEMS:
                self._cache.clear()
            item = self._cache[number] = self._item(number)
        return item

    def __iter__(self) -> Iterator[Item]:
        for number in range(self._count):
            yield self._cache.get(number) or self._item(number)

    def corrected(self, name: str, corrections: Mapping[int, object]) -> Items:
        """Return the same items with one attribute changed for some, by number."""
        old_column = self.columns[name]
        column = Column()
        for number in range(self._count):
            column.append(corrections.get(number, old_column.of(number)))
        column.settle()
        items = copy(self)
        items.columns = {**self.columns, name: column}
        items._cache = {}
        return items

    def _item(self, number: int) -> Item:
        item = object.__new__(Item)  # its fields were checked when it was appended
        object.__setattr__(item, "id", self.ids[number])
        object.__setattr__(item, "title", self.titles[number])
        for name, column in self.columns.items():
            object.__setattr__(item, name, column.of(number))
        return item


class Catalog:
    """All items, numbered from 0 in the order given; ids are unique.

    Raises InvalidInput for a repeated id.
    """

    def __init__(self, items: Iterable[Item]) -> None:
        self.items = Items(items)
        ids = [self.items.ids.encoded(number) for number in range(len(self.items))]
        self.by_id = array("i", sorted(range(len(ids)), key=ids.__getitem__))
        self._numbers: dict[str, int] = {}  # a cache of numbers by item id
        for number, next_number in pairwise(self.by_id):
            if ids[number] == ids[next_number]:
                name = self.items.ids[number]
                raise InvalidInput(
                    "catalog", f"item {name!r} stands twice", "remove one"
                )

    @classmethod
    def from_file(cls, path: str | Path) -> Catalog:
        """Read a JSON list of items; raise InvalidInput with item and field."""
        from pydantic import TypeAdapter, ValidationError

        checks.path("catalog", path)
        try:
            return cls(TypeAdapter(list[Item]).validate_json(Path(path).read_bytes()))
        except OSError as absent:
            raise InvalidInput(
                "catalog", f"{path} cannot be read", "name a JSON file"
            ) from absent
        except ValidationError as wrong:
            first = wrong.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "document"
            raise InvalidInput(
                f"catalog: {where}", first["msg"], "correct the file"
            ) from wrong

    def corrected(self, replenishable: Mapping[str, bool]) -> Catalog:
        """Return the catalog with the person's corrections, by item id.

        Unknown ids are ignored; without corrections the same catalog is returned.
        """
        corrections: dict[int, bool] = {}
        for item_id, is_replenishable in replenishable.items():
            number = self.find(item_id)
            if number is not None:
                corrections[number] = is_replenishable
        if not corrections:
            return self
        catalog = copy(self)
        catalog.items = self.items.corrected("replenishable", corrections)
        return catalog

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Item]:
        return iter(self.items)

    def __contains__(self, item_id: object) -> bool:
        return isinstance(item_id, str) and self.find(item_id) is not None

    def __getitem__(self, item_id: str) -> Item:
        return self.items[self.number(item_id)]

    def at(self, number: int) -> Item:
        """Return one item by its number, and cache the number of its id."""
        item = self.items.at(number)
        self._numbers[item.id] = number
        return item

    def number(self, item_id: str) -> int:
        """Return the number of `item_id`; raise InvalidInput if there is none."""
        number = self.find(item_id)
        if number is None:
            raise InvalidInput(
                "item_id",
                f"{item_id!r} is not in the catalog",
                "use the id of a catalog item",
            )
        return number

    def find(self, item_id: str) -> int | None:
        """Return the number of `item_id`; None if the catalog has no such item."""
        if not isinstance(item_id, str):
            return None
        number = self._numbers.get(item_id)
        return self._search(item_id) if number is None else number

    def _search(self, item_id: str) -> int | None:
        """Return the number of `item_id` by binary search over the sorted ids."""
        wanted = item_id.encode("utf-8", "surrogatepass")
        encoded = self.items.ids.encoded
        place = bisect_left(self.by_id, wanted, key=encoded)
        if place == len(self.by_id) or encoded(self.by_id[place]) != wanted:
            return None
        self._numbers[item_id] = self.by_id[place]
        return self.by_id[place]

    @cached_property
    def sha256(self) -> str:
        """The hash of all ids in order; device and aggregator must number alike."""
        ids = (self.items.ids.encoded(number) for number in range(len(self.items)))
        return hashlib.sha256(b"\n".join(ids)).hexdigest()

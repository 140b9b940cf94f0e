"""What can be shown: items, numbered in a fixed order that the shared model knows."""

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

MADE_KEPT = 5_000  # items at hand
MOST = 10**9  # of a priority, either way
COLUMNS = (
    *(
        "category",
        "brand",
        "campaign",
        "family",
        "creative",
        "channel",
        "tags",
        "item_class",
    ),
    *("priority", "price", "replenishable", "since"),
)
TEXTS = ("title", "category", "brand", "campaign", "family", "creative", "channel")
ItemClass = Literal["critical", "high", "normal", "promo"]
CLASSES: tuple[str, ...] = get_args(ItemClass)


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

    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "strict": True,
    }

    def __post_init__(self) -> None:
        """Raise InvalidInput by field."""
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
            day = isinstance(self.since, date) and not isinstance(self.since, datetime)
            problem = f"{self.since!r} is no date"
            checks.require(day, where + "since", problem, "use a date without a time")
        if self.price is not None:
            checks.number(
                where + "price", self.price, 0, checks.FINITE, "use a number >= 0"
            )


class Column:
    """One attribute of all items: each distinct value once, in the order of their first items.

    `codes` has for each item the place of its value; it is empty if all have the same.
    """

    def __init__(self) -> None:
        self._known: dict[object, int] = {}
        self.values: list[object] = []
        self.codes = array("i")

    def append(self, value: object) -> None:
        """The value of the next item."""
        self.codes.append(self._known.setdefault(value, len(self._known)))

    def settle(self) -> None:
        """Keep only what reading needs: no more items come."""
        self.values, self._known = list(self._known), {}
        if len(self.values) == 1:
            self.codes = array("i")

    def of(self, number: int) -> object:
        """The value of one item."""
        return self.values[self.codes[number] if self.codes else 0]


class Texts:
    """Many texts as one, so that 100,000 of them take little more than their letters."""

    def __init__(self) -> None:
        self._all, self._ends = bytearray(), array("Q", [0])

    def append(self, text: str) -> None:
        """The text of the next item."""
        self._all += text.encode("utf-8", "surrogatepass")
        self._ends.append(len(self._all))

    def encoded(self, number: int) -> bytes:
        """One text in UTF-8, whose bytes are in the order of the letters."""
        return bytes(self._all[self._ends[number] : self._ends[number + 1]])

    def __getitem__(self, number: int) -> str:
        return self.encoded(number).decode("utf-8", "surrogatepass")


class Items(Sequence[Item]):
    """All items of a catalog in columns; an item is made when it is asked for."""

    def __init__(self, items: Iterable[Item]) -> None:
        self.ids, self.titles = Texts(), Texts()
        self.columns = {name: Column() for name in COLUMNS}
        self._count, self._made = 0, dict[int, Item]()
        checks.instance("catalog", items, Iterable, "hand in items")
        for item in items:
            if not isinstance(item, Item):
                raise InvalidInput(
                    "catalog", f"{item!r} is no item", "make it of tactful.Item"
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
        """One item by its number."""
        if isinstance(number, slice):
            return [self[one] for one in range(*number.indices(self._count))]
        return self.at(range(self._count)[number])

    def at(self, number: int) -> Item:
        """One item by its number, which is one of theirs."""
        item = self._made.get(number)
        if item is None:
            if len(self._made) >= MADE_KEPT:
                self._made.clear()
            item = self._made[number] = self._item(number)
        return item

    def __iter__(self) -> Iterator[Item]:
        return (
            self._made.get(number) or self._item(number)
            for number in range(self._count)
        )

    def corrected(self, name: str, said: Mapping[int, object]) -> Items:
        """The same items but for one attribute of some of them, by number."""
        items, column, old = copy(self), Column(), self.columns[name]
        for number in range(self._count):
            column.append(said.get(number, old.of(number)))
        column.settle()
        items.columns, items._made = {**self.columns, name: column}, {}
        return items

    def _item(self, number: int) -> Item:
        item = object.__new__(Item)  # all of it was checked when it came
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
        self._found: dict[str, int] = {}
        for one, other in pairwise(self.by_id):
            if ids[one] == ids[other]:
                name = self.items.ids[one]
                raise InvalidInput(
                    "catalog", f"item {name!r} stands twice", "remove one"
                )

    @classmethod
    def from_file(cls, path: str | Path) -> Catalog:
        """Read a JSON list of items; errors name the item and the field."""
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
        """The catalog with what a person said of single items; the same if they said nothing."""
        found = ((self.find(item_id), told) for item_id, told in replenishable.items())
        said = {number: told for number, told in found if number is not None}
        if not said:
            return self
        catalog = copy(self)
        catalog.items = self.items.corrected("replenishable", said)
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
        """One item by its number; its id is found at once from then on."""
        item = self.items.at(number)
        self._found[item.id] = number
        return item

    def number(self, item_id: str) -> int:
        """The number of `item_id`; raises InvalidInput if the catalog has no such item."""
        number = self.find(item_id)
        if number is None:
            raise InvalidInput(
                "item_id",
                f"{item_id!r} is not in the catalog",
                "use the id of a catalog item",
            )
        return number

    def find(self, item_id: str) -> int | None:
        """The number of `item_id`; None if the catalog has no such item."""
        if not isinstance(item_id, str):
            return None
        number = self._found.get(item_id)
        return self._searched(item_id) if number is None else number

    def _searched(self, item_id: str) -> int | None:
        wanted, encoded = (
            item_id.encode("utf-8", "surrogatepass"),
            self.items.ids.encoded,
        )
        place = bisect_left(self.by_id, wanted, key=encoded)
        if place == len(self.by_id) or encoded(self.by_id[place]) != wanted:
            return None
        self._found[item_id] = self.by_id[place]
        return self.by_id[place]

    @cached_property
    def sha256(self) -> str:
        """The hash of the ids in order: device and aggregator must number items alike."""
        ids = (self.items.ids.encoded(number) for number in range(len(self.items)))
        return hashlib.sha256(b"\n".join(ids)).hexdigest()

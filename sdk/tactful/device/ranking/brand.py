"""The house's own rules for every list: what stands where, what must be there, what never meets.

They come last and are the same for everyone. Repetition limits and hides still hold above them. An
item is shown as the catalog has it: price and safety text are never made for a person.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import ceil

from tactful.device.catalog import Item
from tactful.errors import InvalidInput

Mark = tuple[str, str]  # an attribute of an item, and its value: ("brand", "acme")
ATTRIBUTES = ("id", "family", "category", "brand", "campaign", "tag")


@dataclass(frozen=True, kw_only=True)
class BrandRules:
    """`pins`: place (from 0) to item id. `notices`: ids of items that must be in every list.

    `standard_share`: at least this share of each list is what stands first for everyone.
    `apart`: pairs of marks whose items are never in one list.
    """

    pins: Mapping[int, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    standard_share: float = 0.0
    apart: tuple[tuple[Mark, Mark], ...] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.standard_share <= 1:
            problem = f"{self.standard_share!r} is out of range"
            raise InvalidInput("brand.standard_share", problem, "use 0 to 1")
        if any(place < 0 for place in self.pins):
            raise InvalidInput("brand.pins", "a place is below 0", "count places from 0")
        for name, _ in (mark for pair in self.apart for mark in pair):
            if name not in ATTRIBUTES:
                fix = f"use one of {', '.join(ATTRIBUTES)}"
                raise InvalidInput("brand.apart", f"{name!r} is no attribute", fix)

    def __bool__(self) -> bool:
        return bool(self.pins or self.notices or self.standard_share or self.apart)


def keep_house(
    rules: BrandRules, order: Sequence[Item], standard: Sequence[Item], length: int
) -> list[Item]:
    """The first `length` places by the rules, out of `order` (best first, all may be shown).

    `standard` is the same items in everyone's order. Notices and pins go first, and where two of
    them may not meet the earlier stays; what is missing then is missing from `order` too.
    """
    table = _Table(rules, length)
    present = {item.id: item for item in order}
    for place, item_id in [*zip(range(length - 1, -1, -1), rules.notices, strict=False)]:
        table.put(place, present.get(item_id))
    for place, item_id in sorted(rules.pins.items()):
        table.put(place, present.get(item_id))
    first = standard[:length]
    owed = ceil(rules.standard_share * length) - table.among(first)
    for item in first:
        owed -= owed > 0 and table.reserve(item)
    table.fill(order)
    return table.items()


class _Table:
    """Places being filled; refuses an item twice, and items that may not meet."""

    def __init__(self, rules: BrandRules, length: int) -> None:
        self._rules, self._length = rules, length
        self._placed: dict[int, Item] = {}
        self._reserved: list[Item] = []

    def put(self, place: int, item: Item | None) -> None:
        free = place < self._length and place not in self._placed
        if item is not None and free and self._welcome(item):
            self._placed[place] = item

    def reserve(self, item: Item) -> bool:
        room = self._length - len(self._placed) - len(self._reserved)
        welcome = room > 0 and self._welcome(item)
        if welcome:
            self._reserved.append(item)
        return welcome

    def among(self, items: Sequence[Item]) -> int:
        ids = {item.id for item in items}
        return sum(item.id in ids for item in self._placed.values())

    def fill(self, order: Sequence[Item]) -> None:
        """Give free places in `order`; what is reserved takes part, and comes in for certain."""
        free = [place for place in range(self._length) if place not in self._placed]
        reserved = {item.id for item in self._reserved}
        others = len(free) - len(reserved)
        chosen: list[Item] = []
        for item in order:
            if len(chosen) == len(free):
                break
            if item.id in reserved:
                chosen.append(item)
            elif others and self._welcome(item, chosen):
                chosen.append(item)
                others -= 1
        self._placed.update(zip(free, chosen, strict=False))

    def items(self) -> list[Item]:
        return [self._placed[place] for place in sorted(self._placed)]

    def _welcome(self, item: Item, chosen: Sequence[Item] = ()) -> bool:
        there = [*self._placed.values(), *self._reserved, *chosen]
        return all(item.id != one.id and not self._parted(item, one) for one in there)

    def _parted(self, one: Item, other: Item) -> bool:
        return any(
            (_has(one, a) and _has(other, b)) or (_has(one, b) and _has(other, a))
            for a, b in self._rules.apart
        )


def _has(item: Item, mark: Mark) -> bool:
    name, value = mark
    return value in item.tags if name == "tag" else getattr(item, name) == value

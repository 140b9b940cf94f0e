"""The house's own rules for every list: what stands where, what must be there, what never meets.

They come last and are the same for everyone. Repetition limits and hides still hold above them. An
item is shown as the catalog has it: price and safety text are never made for a person.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tactful.device.catalog import Item
from tactful.device.list_policy import PlacementRules
from tactful.device.ranking.values import Source


@dataclass(frozen=True)
class ReservedPlaces:
    """At least `count` places of a list go to these item numbers, best first."""

    source: Source
    count: int
    numbers: Sequence[int]


@dataclass(frozen=True)
class PlacedList:
    """A list by the rules: item numbers by place, and where each of them came from.

    `fixed` are those that stand where they stand, or must be there: they are asked for first.
    """

    numbers: tuple[int, ...]
    sources: Mapping[int, Source]
    fixed: Mapping[int, int]  # item number to its place

    def arranged(self, shown: Collection[int]) -> list[int]:
        """What is shown of it, and what replaces the rest, pins at their places if there are any.

        `shown` are the item numbers that may be shown, what the list does not hold in their order.
        """
        there = set(shown)
        listed = [n for n in self.numbers if n in there and n not in self.fixed]
        others = iter([*listed, *(n for n in shown if n not in self.sources)])
        pinned = {place: n for n, place in self.fixed.items() if n in there}
        order = [
            pinned.pop(p) if p in pinned else next(others, None)
            for p in range(len(shown))
        ]
        return [
            n for n in [*order, *(pinned[p] for p in sorted(pinned))] if n is not None
        ]


def keep_house(
    rules: PlacementRules,
    items: Sequence[Item],
    order: Sequence[int],
    owed: Sequence[ReservedPlaces],
    *,
    must: Mapping[str, int],
    length: int,
) -> PlacedList:
    """The first `length` places by the rules, out of `order` (item numbers, best first).

    Pins and notices go first, if they may be shown (`must`, item id to number), then what is owed;
    where two may not meet the earlier stays. What is owed and would not have been in the list comes
    last in it.
    """
    table = _Table(rules, items, length)
    for place, item_id in sorted(rules.pins.items()):
        table.put(place, must.get(item_id), Source.PINNED)
    for item_id in rules.notices:
        table.put(table.last_free(), must.get(item_id), Source.NOTICE)
    for one in owed:
        table.reserve(one, set(order[:length]))
    return table.filled(order)


class _Table:
    """Places being filled; refuses an item twice, and items that may not meet."""

    def __init__(
        self, rules: PlacementRules, items: Sequence[Item], length: int
    ) -> None:
        self._rules, self._items, self._length = rules, items, length
        self.placed: dict[int, int] = {}
        self._sources: dict[int, Source] = {}  # of what is placed or reserved
        self._reserved: list[int] = []

    def put(self, place: int, number: int | None, source: Source) -> None:
        if number is None or not 0 <= place < self._length or place in self.placed:
            return
        if self._welcome(number):
            self.placed[place], self._sources[number] = number, source

    def last_free(self) -> int:
        """The last place that nothing stands at; -1 if there is none."""
        free = (p for p in range(self._length - 1, -1, -1) if p not in self.placed)
        return next(free, -1)

    def reserve(self, owed: ReservedPlaces, natural: Collection[int]) -> None:
        """Promise places to what is owed, as long as there are any.

        What is in the list anyway (`natural`) does not come from there; but what is due again
        would not be offered at all if it were not.
        """
        left = owed.count - sum(number in self._sources for number in owed.numbers)
        for number in owed.numbers:
            room = self._length - len(self.placed) - len(self._reserved)
            if left <= 0 or room <= 0:
                return
            if self._welcome(number):
                self._reserved.append(number)
                anyway = number in natural and owed.source is not Source.REPEAT_DUE
                known = Source.PERSONAL if anyway else owed.source
                self._sources[number] = known
                left -= 1

    def filled(self, order: Sequence[int]) -> PlacedList:
        """Free places go in `order`; what is reserved takes part, and comes in for certain."""
        free = [place for place in range(self._length) if place not in self.placed]
        others, chosen = len(free) - len(self._reserved), list[int]()
        for number in order:
            if number in self._sources and number in self._reserved:
                chosen.append(number)
            elif others and self._welcome(number):
                chosen.append(number)
                self._sources[number] = Source.PERSONAL
                others -= 1
            elif not others:
                break
        chosen += [number for number in self._reserved if number not in chosen]
        fixed = {number: place for place, number in self.placed.items()}
        self.placed.update(zip(free, chosen, strict=False))
        numbers = tuple(self.placed[place] for place in sorted(self.placed))
        return PlacedList(numbers, self._sources, fixed)

    def _welcome(self, number: int) -> bool:
        if number in self._sources:
            return False
        if not self._rules.apart:
            return True
        item = self._items[number]
        return not any(
            self._rules.parts(item, self._items[one]) for one in self._sources
        )

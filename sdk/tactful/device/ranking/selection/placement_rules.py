"""Placement rules, applied to every list: pins, notices, promised places, exclusions.

They are applied last and are the same for everyone. Frequency caps and hides take
precedence over them. Items are shown as the catalog has them: price and safety text are
never personal.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tactful.device.catalog import Item
from tactful.device.list_policy import PlacementRules
from tactful.device.ranking.values import Source


@dataclass(frozen=True)
class ReservedPlaces:
    """At least `count` places of a list for these item numbers, best first."""

    source: Source
    count: int
    numbers: Sequence[int]


@dataclass(frozen=True)
class PlacedList:
    """A list that obeys the placement rules: item numbers by place, with their sources.

    `fixed` maps pinned and required items to their places; caps decide on them first.
    """

    numbers: tuple[int, ...]
    sources: Mapping[int, Source]
    fixed: Mapping[int, int]

    def arranged(self, shown: Collection[int]) -> list[int]:
        """Return the items `shown` in their final order.

        Items of the list keep their order and come before replacements, which keep the
        order of `shown`. Pinned items stand at their places as far as the list reaches.
        """
        shown_set = set(shown)
        listed = [n for n in self.numbers if n in shown_set and n not in self.fixed]
        replacements = [n for n in shown if n not in self.sources]
        others = iter([*listed, *replacements])
        pinned = {place: n for n, place in self.fixed.items() if n in shown_set}
        order: list[int | None] = []
        for place in range(len(shown)):
            if place in pinned:
                order.append(pinned.pop(place))
            else:
                order.append(next(others, None))
        order += [pinned[place] for place in sorted(pinned)]
        return [number for number in order if number is not None]


def place_items(
    rules: PlacementRules,
    items: Sequence[Item],
    order: Sequence[int],
    promised: Sequence[ReservedPlaces],
    *,
    required: Mapping[str, int],
    length: int,
) -> PlacedList:
    """Return the list of `length` places by `rules`, from `order` (best first).

    Pins and notices are placed first, if they are eligible (`required`, item id to
    number), then promised places. Of two items that the rules keep apart, the earlier
    one stays. Promised items that were not in the list anyway come last in it.
    """
    table = _Table(rules, items, length)
    for place, item_id in sorted(rules.pins.items()):
        table.put(place, required.get(item_id), Source.PINNED)
    for item_id in rules.notices:
        table.put(table.last_free(), required.get(item_id), Source.NOTICE)
    natural = set(order[:length])
    for reserved in promised:
        table.reserve(reserved, natural)
    return table.filled(order)


class _Table:
    """The places of one list while it is filled.

    It refuses an item that it has already, and items that the rules keep apart.
    """

    def __init__(
        self, rules: PlacementRules, items: Sequence[Item], length: int
    ) -> None:
        self._rules, self._items, self._length = rules, items, length
        self.placed: dict[int, int] = {}  # item number by place
        self._sources: dict[int, Source] = {}  # of items that are placed or reserved
        self._reserved: list[int] = []

    def put(self, place: int, number: int | None, source: Source) -> None:
        """Put an item at `place` if the place is free and the item is allowed."""
        if number is None or not 0 <= place < self._length or place in self.placed:
            return
        if self._is_allowed(number):
            self.placed[place] = number
            self._sources[number] = source

    def last_free(self) -> int:
        """Return the last free place; -1 if there is none."""
        for place in range(self._length - 1, -1, -1):
            if place not in self.placed:
                return place
        return -1

    def reserve(self, reserved: ReservedPlaces, natural: Collection[int]) -> None:
        """Reserve up to `reserved.count` places, as long as there is room.

        Items that the list holds anyway (`natural`) keep the source PERSONAL. The
        exception is an item that is due again: without its place it would not be
        offered at all.
        """
        missing = reserved.count
        missing -= sum(number in self._sources for number in reserved.numbers)
        for number in reserved.numbers:
            room = self._length - len(self.placed) - len(self._reserved)
            if missing <= 0 or room <= 0:
                return
            if self._is_allowed(number):
                self._reserved.append(number)
                is_due = reserved.source is Source.REPEAT_DUE
                is_personal = number in natural and not is_due
                source = Source.PERSONAL if is_personal else reserved.source
                self._sources[number] = source
                missing -= 1

    def filled(self, order: Sequence[int]) -> PlacedList:
        """Return the list: free places filled in `order`, reserved items included."""
        free_places = [p for p in range(self._length) if p not in self.placed]
        chosen = self._choose(order, len(free_places) - len(self._reserved))
        fixed = {number: place for place, number in self.placed.items()}
        self.placed.update(zip(free_places, chosen, strict=False))
        numbers = tuple(self.placed[place] for place in sorted(self.placed))
        return PlacedList(numbers, self._sources, fixed)

    def _choose(self, order: Sequence[int], room: int) -> list[int]:
        """Return reserved items and up to `room` others in `order`.

        Reserved items that come too late in `order` are appended at the end.
        """
        chosen = list[int]()
        for number in order:
            if number in self._sources and number in self._reserved:
                chosen.append(number)
            elif room and self._is_allowed(number):
                chosen.append(number)
                self._sources[number] = Source.PERSONAL
                room -= 1
            elif not room:
                break
        return chosen + [number for number in self._reserved if number not in chosen]

    def _is_allowed(self, number: int) -> bool:
        """Return True if the item is new and no rule keeps it apart from others."""
        if number in self._sources:
            return False
        if not self._rules.apart:
            return True
        item = self._items[number]
        listed_items = (self._items[other] for other in self._sources)
        return not any(self._rules.parts(item, other) for other in listed_items)

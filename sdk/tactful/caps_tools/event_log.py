"""A log of offers and reactions, one JSON object a line, read strictly."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from tactful.device.catalog import Item, ItemClass
from tactful.device.clock import zone_named
from tactful.errors import InvalidInput

KINDS = ("offer", "click", "dismiss", "hide", "report", "convert")
ITEM_CLASSES: Mapping[str, ItemClass] = {name: name for name in get_args(ItemClass)}
ITEM_FIELDS = (
    "id", "title", "category", "brand", "campaign", "family", "creative", "channel", "tags",
    "item_class", "replenishable",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedEvent:
    """One thing that the log tells: an `offer` (the app wants to show `item`) or a reaction."""

    at: datetime
    kind: str
    item: Item
    surface: str = "home"
    zone: str = "UTC"


def read_events(path: str | Path) -> list[LoggedEvent]:
    """The happenings of a file with one JSON object per line, in order of time.

    Raises InvalidInput naming line and field.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as absent:
        raise InvalidInput(
            "--events", f"{path} cannot be read", "name a text file"
        ) from absent
    found = [
        _Line(number, text).happening()
        for number, text in enumerate(lines, 1)
        if text.strip()
    ]
    return sorted(found, key=lambda happening: happening.at)


class _Line:
    """One line of a log, read strictly."""

    def __init__(self, number: int, text: str) -> None:
        self._where = f"events: line {number}"
        try:
            self._fields = json.loads(text)
        except ValueError as wrong:
            raise InvalidInput(
                self._where, "it is no JSON", "write one object a line"
            ) from wrong
        if not isinstance(self._fields, dict):
            raise InvalidInput(
                self._where, "it is no object", 'write {"at": ..., "kind": ...}'
            )

    def happening(self) -> LoggedEvent:
        self._known(self._fields, ("at", "kind", "item", "surface", "zone"))
        zone = self._text(self._fields, "zone", "UTC")
        if zone_named(zone) is None:
            raise self._wrong(
                "zone", f"{zone!r} is no time zone", "use one like 'Europe/Berlin'"
            )
        kind = self._text(self._fields, "kind", "offer")
        if kind not in KINDS:
            raise self._wrong(
                "kind", f"{kind!r} is not known", f"use one of {', '.join(KINDS)}"
            )
        surface = self._text(self._fields, "surface", "home")
        return LoggedEvent(
            at=self._at(), kind=kind, item=self._item(), surface=surface, zone=zone
        )

    def _at(self) -> datetime:
        try:
            at = datetime.fromisoformat(str(self._fields.get("at")))
        except ValueError as wrong:
            fix = "write a date and time like 2026-03-02T09:00:00Z"
            raise self._wrong(
                "at", f"{self._fields.get('at')!r} is no time", fix
            ) from wrong
        at = at if at.tzinfo else at.replace(tzinfo=UTC)
        if not 1970 <= at.year <= 2100:
            raise self._wrong("at", f"{at.year} is out of range", "use 1970 to 2100")
        return at

    def _item(self) -> Item:
        item = self._fields.get("item")
        if isinstance(item, str):
            item = {"id": item}
        if not isinstance(item, dict):
            raise self._wrong(
                "item", f"{item!r} is no item", "write its id, or an object"
            )
        self._known(item, ITEM_FIELDS)
        return Item(
            id=self._text(item, "id", ""),
            title=self._text(item, "title", ""),
            category=self._text(item, "category", ""),
            brand=self._text(item, "brand", ""),
            campaign=self._text(item, "campaign", ""),
            family=self._text(item, "family", ""),
            creative=self._text(item, "creative", ""),
            channel=self._text(item, "channel", ""),
            tags=self._tags(item),
            item_class=self._item_class(item),
            replenishable=item.get("replenishable") is True,
        )

    def _tags(self, item: Mapping[str, object]) -> tuple[str, ...]:
        tags = item.get("tags", [])
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise self._wrong(
                "item.tags", f"{tags!r} is no list of texts", "write [...]"
            )
        return tuple(tags)

    def _item_class(self, item: Mapping[str, object]) -> ItemClass:
        name = self._text(item, "item_class", "normal")
        if name not in ITEM_CLASSES:
            fix = f"use one of {', '.join(ITEM_CLASSES)}"
            raise self._wrong("item.item_class", f"{name!r} is not known", fix)
        return ITEM_CLASSES[name]

    def _known(self, fields: Mapping[str, object], known: Sequence[str]) -> None:
        for name in fields:
            if name not in known:
                raise self._wrong(
                    name, "the field is not known", f"use {', '.join(known)}"
                )

    def _text(self, fields: Mapping[str, object], name: str, absent: str) -> str:
        value = fields.get(name, absent)
        if not isinstance(value, str):
            raise self._wrong(name, f"{value!r} is no text", "write a text")
        return value

    def _wrong(self, name: str, problem: str, fix: str) -> InvalidInput:
        return InvalidInput(f"{self._where}: {name}", problem, fix)

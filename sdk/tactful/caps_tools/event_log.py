"""Parser of event logs: offers and reactions, one JSON object a line."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import get_args

from tactful.device.catalog import Item, ItemClass
from tactful.device.clock import zone_named
from tactful.device.events import Kind
from tactful.errors import InvalidInput

REACTIONS: Mapping[str, Kind] = {
    "click": "click",
    "dismiss": "dismiss",
    "hide": "hide",
    "report": "report",
    "convert": "convert",
}
KINDS = ("offer", *REACTIONS)
ITEM_CLASSES: Mapping[str, ItemClass] = {name: name for name in get_args(ItemClass)}
ITEM_FIELDS = (
    "id", "title", "category", "brand", "campaign", "family", "creative", "channel", "tags",
    "item_class", "replenishable",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True, slots=True)
class LoggedEvent:
    """One event of a log: an `offer` (the app wants to show `item`) or a reaction."""

    at: datetime
    kind: str
    item: Item
    surface: str = "home"
    zone: str = "UTC"


def read_events(path: str | Path) -> list[LoggedEvent]:
    """Return the events of a file with one JSON object per line, in order of time.

    Raises InvalidInput naming line and field.
    """
    try:
        lines = Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as read_error:
        raise InvalidInput(
            "--events", f"{path} cannot be read", "name a text file"
        ) from read_error
    events = [
        _Line(number, text).event()
        for number, text in enumerate(lines, 1)
        if text.strip()
    ]
    return sorted(events, key=lambda event: event.at)


class _Line:
    """One line of a log; unknown fields are refused."""

    def __init__(self, number: int, text: str) -> None:
        self._location = f"events: line {number}"
        try:
            self._fields = json.loads(text)
        except ValueError as json_error:
            raise InvalidInput(
                self._location, "it is not valid JSON", "write one object a line"
            ) from json_error
        if not isinstance(self._fields, dict):
            raise InvalidInput(
                self._location, "it is not an object", 'write {"at": ..., "kind": ...}'
            )

    def event(self) -> LoggedEvent:
        """Return the event of this line."""
        self._require_known(self._fields, ("at", "kind", "item", "surface", "zone"))
        zone = self._text_field(self._fields, "zone", "UTC")
        if zone_named(zone) is None:
            raise self._error(
                "zone", f"{zone!r} is not a time zone", "use one like 'Europe/Berlin'"
            )
        kind = self._text_field(self._fields, "kind", "offer")
        if kind not in KINDS:
            raise self._error(
                "kind", f"{kind!r} is not known", f"use one of {', '.join(KINDS)}"
            )
        surface = self._text_field(self._fields, "surface", "home")
        return LoggedEvent(
            at=self._at(), kind=kind, item=self._item(), surface=surface, zone=zone
        )

    def _at(self) -> datetime:
        try:
            at = datetime.fromisoformat(str(self._fields.get("at")))
        except ValueError as time_error:
            fix = "write a date and time like 2026-03-02T09:00:00Z"
            raise self._error(
                "at", f"{self._fields.get('at')!r} is not a time", fix
            ) from time_error
        if at.tzinfo is None:
            at = at.replace(tzinfo=UTC)
        if not 1970 <= at.year <= 2100:
            raise self._error("at", f"{at.year} is out of range", "use 1970 to 2100")
        return at

    def _item(self) -> Item:
        item = self._fields.get("item")
        if isinstance(item, str):
            item = {"id": item}
        if not isinstance(item, dict):
            raise self._error(
                "item", f"{item!r} is not an item", "write its id, or an object"
            )
        self._require_known(item, ITEM_FIELDS)
        return Item(
            id=self._text_field(item, "id", ""),
            title=self._text_field(item, "title", ""),
            category=self._text_field(item, "category", ""),
            brand=self._text_field(item, "brand", ""),
            campaign=self._text_field(item, "campaign", ""),
            family=self._text_field(item, "family", ""),
            creative=self._text_field(item, "creative", ""),
            channel=self._text_field(item, "channel", ""),
            tags=self._tags(item),
            item_class=self._item_class(item),
            replenishable=item.get("replenishable") is True,
        )

    def _tags(self, item: Mapping[str, object]) -> tuple[str, ...]:
        tags = item.get("tags", [])
        if not isinstance(tags, list) or not all(isinstance(tag, str) for tag in tags):
            raise self._error(
                "item.tags", f"{tags!r} is not a list of texts", "write [...]"
            )
        return tuple(tags)

    def _item_class(self, item: Mapping[str, object]) -> ItemClass:
        name = self._text_field(item, "item_class", "normal")
        if name not in ITEM_CLASSES:
            fix = f"use one of {', '.join(ITEM_CLASSES)}"
            raise self._error("item.item_class", f"{name!r} is not known", fix)
        return ITEM_CLASSES[name]

    def _require_known(
        self, fields: Mapping[str, object], accepted: Sequence[str]
    ) -> None:
        for name in fields:
            if name not in accepted:
                raise self._error(
                    name, "the field is not known", f"use {', '.join(accepted)}"
                )

    def _text_field(self, fields: Mapping[str, object], name: str, default: str) -> str:
        value = fields.get(name, default)
        if not isinstance(value, str):
            raise self._error(name, f"{value!r} is not a text", "write a text")
        return value

    def _error(self, name: str, problem: str, fix: str) -> InvalidInput:
        return InvalidInput(f"{self._location}: {name}", problem, fix)

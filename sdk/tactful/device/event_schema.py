"""The event schema: each kind of event with its purposes, sensitivity and retention.

It controls recording, retention, export and the generated disclosures. An app may pass
its own, checked by pydantic; the built-in one is in `signals.json`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import ClassVar, Literal, get_args

from tactful.device.consent import PURPOSES
from tactful.device.events import KINDS, StoredEvent
from tactful.errors import InvalidInput

DAY_MS = 86_400_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
BUILT_IN = Path(__file__).with_name("signals.json")
Measure = Literal["count", "seconds", "number"]
Sensitivity = Literal["low", "medium", "high"]


@dataclass(frozen=True, kw_only=True)
class EventKind:
    """One kind of event: why it is recorded, how sensitive it is, how long it is kept.

    After `expires` (ISO date) profiles ignore it until someone renews the declaration;
    frequency caps still count it. None means no end, as for the built-in kinds.
    """

    name: str
    description: str
    type: Measure
    sensitivity: Sensitivity
    purposes: tuple[str, ...]
    retention_days: int
    expires: str | None
    owner: str
    example: str = ""
    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "strict": True,
    }

    def __post_init__(self) -> None:
        """Raise InvalidInput for a wrong field."""
        _require(
            self.name in KINDS, self.name, "name", f"use one of {', '.join(KINDS)}"
        )
        _require(
            self.type in get_args(Measure),
            self.name,
            "type",
            "use count, seconds, number",
        )
        has_purposes = bool(self.purposes) and set(self.purposes) <= set(PURPOSES)
        _require(
            has_purposes,
            self.name,
            "purposes",
            f"use one or more of {', '.join(PURPOSES)}",
        )
        _require(self.retention_days >= 1, self.name, "retention_days", "use 1 or more")
        _require(
            bool(self.description and self.owner),
            self.name,
            "description, owner",
            "say both",
        )
        has_end = self.expires is None or _is_date(self.expires)
        _require(has_end, self.name, "expires", "use a date like 2028-12-31, or null")

    @property
    def last_day(self) -> date | None:
        """The last day on which profiles use it; None if it does not end."""
        return None if self.expires is None else date.fromisoformat(self.expires)


class EventSchema:
    """All declared event kinds by name.

    Raises InvalidInput for a name declared twice.
    """

    def __init__(self, kinds: Iterable[EventKind]) -> None:
        self._kinds: dict[str, EventKind] = {}
        for kind in kinds:
            _require(kind.name not in self._kinds, kind.name, "name", "declare it once")
            self._kinds[kind.name] = kind

    @classmethod
    def parse(cls, document: bytes | str) -> EventSchema:
        """Return the schema of a JSON list.

        Raise InvalidInput with kind, field and fix.
        """
        from pydantic import TypeAdapter, ValidationError

        try:
            return cls(TypeAdapter(list[EventKind]).validate_json(document))
        except ValidationError as wrong:
            first = wrong.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "document"
            raise InvalidInput(
                f"signals.{where}", first["msg"], "correct it"
            ) from wrong

    def __iter__(self) -> Iterator[EventKind]:
        return iter(self._kinds.values())

    def find(self, name: str) -> EventKind | None:
        """Return the declaration of `name`, None if there is none."""
        return self._kinds.get(name)

    def require(self, name: str, purpose: str) -> EventKind:
        """Return the declaration of `name`.

        Raise InvalidInput unless it is declared for `purpose`.
        """
        kind = self._kinds.get(name)
        if kind is None:
            raise InvalidInput(
                "event.kind", f"{name!r} is not declared", "declare it in signals"
            )
        if purpose not in kind.purposes:
            raise InvalidInput(
                "event.kind",
                f"{name!r} is not declared for {purpose}",
                "declare the purpose",
            )
        return kind

    def ends(self, name: str) -> bool:
        """Return True if the declaration of `name` has a last day."""
        kind = self._kinds.get(name)
        return kind is not None and kind.last_day is not None

    def expired(self, name: str, now_ms: int) -> bool:
        """Return True if the declaration of `name` had ended at `now_ms`."""
        kind = self._kinds.get(name)
        if kind is None or kind.last_day is None:
            return False
        today = (EPOCH + timedelta(milliseconds=max(now_ms, 0))).date()
        return today > kind.last_day

    def outlived(self, event: StoredEvent, now_ms: int) -> bool:
        """Return True if the retention of an event is over, or it is not declared."""
        kind = self._kinds.get(event.kind)
        if kind is None:
            return True
        return now_ms - event.at_ms > kind.retention_days * DAY_MS


@cache
def built_in() -> EventSchema:
    """Return the event schema that this SDK declares."""
    rows = json.loads(BUILT_IN.read_text())
    return EventSchema(
        EventKind(**{**row, "purposes": tuple(row["purposes"])}) for row in rows
    )


def _is_date(text: str) -> bool:
    try:
        return date.fromisoformat(text).isoformat() == text
    except ValueError:
        return False


def _require(holds: bool, name: str, field: str, fix: str) -> None:
    if not holds:
        raise InvalidInput(
            f"signals.{name}.{field}", "it is missing, repeated or wrong", fix
        )

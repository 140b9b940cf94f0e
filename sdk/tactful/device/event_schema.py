"""What may be recorded at all: each kind of event is declared, with its purposes and its end.

The declarations drive recording, retention, export and the generated disclosures. An app may hand
in its own, checked by pydantic; the built-in ones are in `signals.json`.
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

    After `expires` (ISO date) nothing more is learnt from it, until someone reviews it; repetition
    limits go on counting it. None does not end, as the built-in ones do not.
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
        _require(
            self.name in KINDS, self.name, "name", f"use one of {', '.join(KINDS)}"
        )
        _require(
            self.type in get_args(Measure),
            self.name,
            "type",
            "use count, seconds, number",
        )
        known = bool(self.purposes) and set(self.purposes) <= set(PURPOSES)
        _require(
            known, self.name, "purposes", f"use one or more of {', '.join(PURPOSES)}"
        )
        _require(self.retention_days >= 1, self.name, "retention_days", "use 1 or more")
        _require(
            bool(self.description and self.owner),
            self.name,
            "description, owner",
            "say both",
        )
        dated = self.expires is None or _is_date(self.expires)
        _require(dated, self.name, "expires", "use a date like 2028-12-31, or null")

    @property
    def last_day(self) -> date | None:
        """The last day on which anything is learnt from it; None if it does not end."""
        return None if self.expires is None else date.fromisoformat(self.expires)


class EventSchema:
    """All declared signals by name; raises InvalidInput for a name declared twice."""

    def __init__(self, signals: Iterable[EventKind]) -> None:
        self._signals: dict[str, EventKind] = {}
        for signal in signals:
            _require(
                signal.name not in self._signals, signal.name, "name", "declare it once"
            )
            self._signals[signal.name] = signal

    @classmethod
    def parse(cls, document: bytes | str) -> EventSchema:
        """The registry of a JSON list; raises InvalidInput naming signal, field and fix."""
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
        return iter(self._signals.values())

    def find(self, name: str) -> EventKind | None:
        """The declaration of `name`, None if there is none."""
        return self._signals.get(name)

    def require(self, name: str, purpose: str) -> EventKind:
        """The declaration of `name`; raises InvalidInput unless it is declared for `purpose`."""
        signal = self._signals.get(name)
        if signal is None:
            raise InvalidInput(
                "event.kind", f"{name!r} is not declared", "declare it in signals"
            )
        if purpose not in signal.purposes:
            raise InvalidInput(
                "event.kind",
                f"{name!r} is not declared for {purpose}",
                "declare the purpose",
            )
        return signal

    def expired(self, name: str, now_ms: int) -> bool:
        """Whether the declaration of `name` had ended at `now_ms`."""
        signal = self._signals.get(name)
        if signal is None or signal.last_day is None:
            return False
        return (EPOCH + timedelta(milliseconds=max(now_ms, 0))).date() > signal.last_day

    def outlived(self, event: StoredEvent, now_ms: int) -> bool:
        """Whether an event has been kept for as long as it may be; undeclared ones have."""
        signal = self._signals.get(event.kind)
        return signal is None or now_ms - event.at_ms > signal.retention_days * DAY_MS


@cache
def built_in() -> EventSchema:
    """The signals that this SDK declares."""
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

"""Events: as an app reports them, and as the vault stores them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from tactful.device import checks
from tactful.errors import InvalidInput, VaultDamaged

Kind = Literal[
    "impression",
    "view",
    "click",
    "like",
    "dislike",
    "dismiss",
    "hide",
    "save",
    "purchase",
    "rating",
    "dwell",
    "search",
    "interest",
    "report",
    "convert",
]
Evidence = Literal["rendered", "viewable", "attended"]
Scope = Literal["item", "family", "campaign", "category", "brand", "surface"]

KINDS: tuple[str, ...] = get_args(Kind)
EVIDENCE: tuple[str, ...] = get_args(Evidence)
SCOPES: tuple[str, ...] = get_args(Scope)
PURPOSES = (
    "essential",
    "local_profile",
    "local_personalization",
    "experiments",
    "diagnostics",
)
# Codes that vaults store instead of the words. Append only: a code is never changed and
# never used again, else the meaning of stored events changes
# (tests/sdk/device/vault/test_stored_codes.py).
KIND_CODES: Mapping[str, int] = {
    "impression": 0,
    "view": 1,
    "click": 2,
    "like": 3,
    "dislike": 4,
    "dismiss": 5,
    "hide": 6,
    "save": 7,
    "purchase": 8,
    "rating": 9,
    "dwell": 10,
    "search": 11,
    "interest": 12,
    "report": 13,
    "convert": 14,
}
EVIDENCE_CODES: Mapping[str, int] = {"rendered": 0, "viewable": 1, "attended": 2}
PURPOSE_CODES: Mapping[str, int] = {
    "essential": 0,
    "local_profile": 1,
    "local_personalization": 2,
    "experiments": 3,
    "diagnostics": 4,
}
# Events that only the profile reads; caps and standard lists do not need them.
TASTES = frozenset(
    {
        "view",
        "like",
        "dislike",
        "save",
        "purchase",
        "rating",
        "dwell",
        "search",
        "interest",
    }
)


def new_event_id() -> str:
    """Return a random id; an event that is reported twice counts once."""
    return secrets.token_hex(16)


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """One event, as the app saw it.

    `reservation_id` links the event to the pick that was shown; an impression needs
    one. `evidence` is how certain it is that an impression was seen. `value` is a
    rating (0 to 5), a dwell time in seconds, or an amount. `scope` extends a `hide`
    from the item to all items of its brand, category, ... `confirmed` says that the
    person confirmed to hide a whole category. Raises InvalidInput for an unknown kind
    or a wrong value.
    """

    kind: Kind
    item_id: str | None = None
    reservation_id: str | None = None
    evidence: Evidence | None = None
    value: float | None = None
    scope: Scope | None = None
    surface: str | None = None
    confirmed: bool = False
    event_id: str = field(default_factory=new_event_id)

    def __post_init__(self) -> None:
        """Raise InvalidInput for a wrong field."""
        checks.one_of("event.kind", self.kind, KINDS)
        if self.evidence is not None:
            checks.one_of("event.evidence", self.evidence, EVIDENCE)
        if self.scope is not None:
            checks.one_of("event.scope", self.scope, SCOPES)
        for name in ("item_id", "reservation_id", "surface"):
            if getattr(self, name) is not None:
                checks.text(f"event.{name}", getattr(self, name))
        checks.text("event.event_id", self.event_id)
        checks.flag("event.confirmed", self.confirmed)
        _require_value(self.kind, self.value)
        _require_target(self)


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredEvent:
    """One event as the vault stores it, with its time and purpose.

    `at_ms` is canonical time (unix milliseconds on the full timeline). `segment` is the
    boot, `mono_ms` the time since that boot was first seen. `day` and `verified_day`
    are the local date on the two timelines (days since 1970). `zone` is the index of
    the time zone among those that this vault has seen. `cap_subject` is the number of
    the subject of frequency caps, for a reaction without a reservation.
    """

    kind: str
    at_ms: int
    purpose: str
    item_id: str | None = None
    reservation_id: str | None = None
    evidence: str | None = None
    value: float | None = None
    scope: str | None = None
    surface: str | None = None
    segment: int = 0
    mono_ms: int = 0
    day: int = 0
    verified_day: int = 0
    zone: int = 0
    late: bool = False
    subject: str = ""
    cap_subject: int | None = None

    def to_fields(self) -> list[object]:
        """Return the fields of an `event` record, without trailing empty ones."""
        purpose = PURPOSE_CODES.get(self.purpose, self.purpose)
        evidence = None if self.evidence is None else EVIDENCE_CODES[self.evidence]
        drift = self.verified_day - self.day
        fields: list[object] = [
            KIND_CODES[self.kind],
            self.at_ms,
            self.segment,
            self.mono_ms,
            self.day,
            self.zone,
            purpose,
            self.item_id,
            self.reservation_id,
            evidence,
            1 if self.late else None,
            drift or None,
            self.value,
            self.scope,
            self.surface,
            self.subject or None,
            self.cap_subject,
        ]
        while fields[-1] is None:
            fields.pop()
        return fields

    @classmethod
    def from_fields(cls, fields: object) -> StoredEvent:
        """Return the event of an `event` record; raise VaultDamaged if it has none."""
        if not isinstance(fields, list) or not 7 <= len(fields) <= 17:
            raise VaultDamaged("vault: an event record holds no event")
        kind, at_ms, segment, mono_ms, day, zone, purpose, *rest = fields
        optional = rest + [None] * (10 - len(rest))
        item_id, reservation, evidence, late, drift, *optional = optional
        value, scope, surface, subject, cap_subject = optional
        return cls(
            kind=_word(KIND_CODES, kind),
            at_ms=at_ms,
            segment=segment,
            mono_ms=mono_ms,
            day=day,
            verified_day=day + (drift or 0),
            zone=zone,
            purpose=_purpose(purpose),
            item_id=item_id,
            reservation_id=reservation,
            evidence=None if evidence is None else _word(EVIDENCE_CODES, evidence),
            late=bool(late),
            value=value,
            scope=scope,
            surface=surface,
            subject=subject or "",
            cap_subject=cap_subject,
        )


def _purpose(stored: int | str) -> str:
    """Return the purpose of a stored code; a purpose without code is stored as text."""
    return _word(PURPOSE_CODES, stored) if isinstance(stored, int) else stored


def _word(codes: Mapping[str, int], code: object) -> str:
    """Return the word of a stored code; raise VaultDamaged if it is unknown."""
    for word, number in codes.items():
        if number == code:
            return word
    raise VaultDamaged(
        f"vault: an event record holds the unknown code {code}; update tactful"
    )


def _require_value(kind: str, value: float | None) -> None:
    if kind == "rating":
        checks.number("event.value", value, 0, 5, "use a rating from 0 to 5")
    elif value is not None:
        least = 0.0 if kind == "dwell" else -checks.FINITE
        checks.number("event.value", value, least, checks.FINITE, "use a finite number")


def _require_target(event: Event) -> None:
    if event.kind == "impression" and event.reservation_id is None:
        raise InvalidInput(
            "event.reservation_id",
            "an impression needs one",
            "observe pick.impression()",
        )
    if (
        event.item_id is None
        and event.reservation_id is None
        and event.kind != "search"
    ):
        raise InvalidInput(
            "event.item_id", "it is missing", "name the item or the reservation"
        )

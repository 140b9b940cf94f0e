"""Erasing a part of the vault: items, categories, surfaces, or a period.

An impression is recorded with the number of its cap subject, and each subject once. So
an item is erased by erasing its events and blanking its subject. The impression stays,
of an unknown item.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tactful.device import checks
from tactful.device.caps.rules.subject import CapSubject
from tactful.device.events import StoredEvent
from tactful.device.vault import Record, Vault, VaultTransaction
from tactful.device.vault.record_schemas import Content
from tactful.errors import InvalidInput

BLANK = CapSubject("")
DAY_MS = 86_400_000
SURFACE_FIELD = 7  # index of the surface in a decision record


@dataclass(frozen=True, kw_only=True)
class ErasureScope:
    """The part to erase: everything that any of the fields names.

    Times have a time zone; `until` is exclusive. Hidden items stay hidden unless
    `hides` is True.
    """

    items: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()
    surfaces: frozenset[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None
    hides: bool = False

    def __post_init__(self) -> None:
        """Raise InvalidInput for a wrong field."""
        for name in ("items", "categories", "surfaces"):
            values = checks.names(f"scope.{name}", getattr(self, name))
            object.__setattr__(self, name, values)
        checks.flag("scope.hides", self.hides)
        times = [time for time in (self.since, self.until) if time is not None]
        for time in times:
            fix = "use a datetime with a time zone"
            checks.instance("scope.since, scope.until", time, datetime, fix)
        if not (self.items or self.categories or self.surfaces or times):
            raise InvalidInput(
                "scope", "it is empty", "name what to erase, or use forget() for all"
            )
        if any(time.tzinfo is None for time in times):
            raise InvalidInput(
                "scope.since, scope.until",
                "a time has no time zone",
                "use a datetime with a time zone",
            )
        if len(times) == 2 and times[0] >= times[1]:
            raise InvalidInput(
                "scope.until", "it is not after since", "exchange the two times"
            )

    def names(self, cap_subject: CapSubject) -> bool:
        """Return True for one of the items, or an item in one of the categories."""
        if cap_subject.item in self.items:
            return True
        return not self.categories.isdisjoint(cap_subject.categories)

    def covers(self, at_ms: int) -> bool:
        """Return True if a time (unix ms) lies in the period."""
        if self.since is None and self.until is None:
            return False
        if self.since is not None and at_ms < 1000 * self.since.timestamp():
            return False
        return self.until is None or at_ms < 1000 * self.until.timestamp()


@dataclass
class _Index:
    """The cap subjects in the order of their numbers, and the surface by decision."""

    cap_subjects: list[CapSubject] = field(default_factory=list)
    surfaces: dict[str, str] = field(default_factory=dict)


def erase(vault: Vault, scope: ErasureScope) -> int:
    """Erase what `scope` names; return how many records were erased or blanked.

    Charges, reports and consent answers stay, and so does what is part of a sum.
    """
    with vault.transaction(durable=True) as transaction:
        records = list(transaction.read())
        index = _index(records)
        positions = set(_event_positions(records, scope, index))
        positions.update(_decision_positions(records, positions, scope))
        for record in records:
            is_named_hide = record.kind == "mute" and _is_hide(record, scope)
            # Traces name many items, and open shares contain all likes.
            if is_named_hide or record.kind in ("list_trace", "open_shares"):
                positions.add(record.position)
        hidden = _hidden_items(records, positions)
        blanked_count = _blank(transaction, records, scope, hidden)
        transaction.erase(positions)
        if positions or blanked_count:
            # Every process projects its state again.
            transaction.append("removal", {})
    if positions or blanked_count:
        vault.scrub()
    return len(positions) + blanked_count


def _index(records: Iterable[Record]) -> _Index:
    index = _Index()
    for record in records:
        if record.kind == "cap_subject":
            cap_subject = CapSubject.from_fields(record.fields)
            index.cap_subjects.append(cap_subject)
        elif record.kind == "decision":
            surface = record.fields[SURFACE_FIELD]
            index.surfaces[str(record.position)] = str(surface)
    return index


def _event_positions(
    records: Iterable[Record], scope: ErasureScope, index: _Index
) -> list[int]:
    cap_subjects = {subject.item: subject for subject in index.cap_subjects}
    return [
        record.position
        for record in records
        if record.kind == "event"
        and _covers_event(
            scope, StoredEvent.from_fields(record.fields), cap_subjects, index.surfaces
        )
    ]


def _covers_event(
    scope: ErasureScope,
    event: StoredEvent,
    cap_subjects: Mapping[str, CapSubject],
    surfaces: Mapping[str, str],
) -> bool:
    if event.kind == "hide" and not scope.hides:
        return False
    item_id = event.item_id or ""
    cap_subject = cap_subjects.get(item_id, CapSubject(item_id))
    surface = surfaces.get(_decision_position(event), event.surface)
    is_named = scope.names(cap_subject) or surface in scope.surfaces
    return is_named or scope.covers(event.at_ms)


def _decision_position(event: StoredEvent) -> str:
    """Return the vault position of the decision that an event belongs to."""
    return (event.reservation_id or "").partition(".")[0]


def _decision_positions(
    records: Sequence[Record], erased: Collection[int], scope: ErasureScope
) -> list[int]:
    """Return the decisions with an impression in the period; they are erased whole."""
    if scope.since is None and scope.until is None:
        return []
    erased_events = [
        StoredEvent.from_fields(record.fields)
        for record in records
        if record.position in erased
    ]
    decisions = {
        _decision_position(event)
        for event in erased_events
        if event.kind == "impression" and scope.covers(event.at_ms)
    }
    return [
        record.position
        for record in records
        if record.kind == "decision" and str(record.position) in decisions
    ]


def _is_hide(record: Record, scope: ErasureScope) -> bool:
    if not scope.hides:
        return False
    _, mute_scope, value, *_ = map(str, record.fields)
    values = {"item": scope.items, "category": scope.categories}
    return value in values.get(mute_scope, ())


def _hidden_items(
    records: Iterable[Record], erased: Collection[int]
) -> set[str | None]:
    """Return the items whose hides stay: their subjects are needed to hide them."""
    events = [
        StoredEvent.from_fields(record.fields)
        for record in records
        if record.kind == "event" and record.position not in erased
    ]
    return {event.item_id for event in events if event.kind == "hide"}


def _blank(
    transaction: VaultTransaction,
    records: Iterable[Record],
    scope: ErasureScope,
    hidden: Collection[str | None],
) -> int:
    """Blank subjects, surfaces and totals; return the number of changed records."""
    count = 0
    for record in records:
        content = _blanked_content(record, scope, hidden)
        if content is not None:
            transaction.rewrite(record.position, record.kind, content)
            count += 1
    return count


def _blanked_content(
    record: Record, scope: ErasureScope, hidden: Collection[str | None]
) -> Content | None:
    """Return the new content of a record, None if it does not change."""
    if record.kind == "cap_subject":
        cap_subject = CapSubject.from_fields(record.fields)
        is_named = cap_subject.item not in hidden and scope.names(cap_subject)
        return list(BLANK) if is_named else None
    if record.kind == "decision":
        fields = list(record.fields)
        if fields[SURFACE_FIELD] not in scope.surfaces:
            return None
        fields[SURFACE_FIELD] = ""
        return fields
    if record.kind == "daily_totals":
        rows = [_list(row) for row in _list(record.fields[0])]
        kept_rows = [row for row in rows if not _covers_total(scope, row)]
        return [kept_rows] if len(kept_rows) < len(rows) else None
    return None


def _covers_total(scope: ErasureScope, row: Sequence[object]) -> bool:
    """Return True if a daily total is of a surface or a day of the scope."""
    _, surface, *_, day, _, _, _, _ = row
    if surface in scope.surfaces:
        return True
    return isinstance(day, int) and scope.covers(day * DAY_MS)


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []

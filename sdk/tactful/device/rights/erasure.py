"""Erasing a part: an item, a category, a surface or a time, in every record that speaks of it.

A show is recorded by the number of a thing, and the thing once: so an item is erased by erasing
what was done with it and blanking the thing. The show remains, of nobody knows what.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from tactful.device import checks
from tactful.device.caps.rules.subject import CapSubject
from tactful.device.events import StoredEvent
from tactful.device.vault import Record, Vault, VaultTransaction
from tactful.errors import InvalidInput

BLANK = CapSubject("")
DAY_MS = 86_400_000
SURFACE_AT = 7  # the place of the surface in a decision's record


@dataclass(frozen=True, kw_only=True)
class ErasureScope:
    """What to erase: all that any of the fields names. Times are aware; `until` is exclusive.

    What the person hid stays hidden, unless `hides`: else it would come back.
    """

    items: frozenset[str] = frozenset()
    categories: frozenset[str] = frozenset()
    surfaces: frozenset[str] = frozenset()
    since: datetime | None = None
    until: datetime | None = None
    hides: bool = False

    def __post_init__(self) -> None:
        """Raise InvalidInput by field: a letter of a name must not pass for the name."""
        for name in ("items", "categories", "surfaces"):
            told = checks.names(f"part.{name}", getattr(self, name))
            object.__setattr__(self, name, told)
        checks.flag("part.hides", self.hides)
        times = [one for one in (self.since, self.until) if one is not None]
        for one in times:
            checks.instance("part.since, part.until", one, datetime, "use aware times")
        if not (self.items or self.categories or self.surfaces or times):
            raise InvalidInput(
                "part", "it names nothing", "name a part, or use forget() for all"
            )
        if any(one.tzinfo is None for one in times):
            raise InvalidInput(
                "part.since, part.until", "one has no zone", "use aware times"
            )
        if len(times) == 2 and times[0] >= times[1]:
            raise InvalidInput("part.until", "it is not after since", "turn them round")

    def names(self, thing: CapSubject) -> bool:
        """Whether the thing is one of the items or in one of the categories."""
        return thing.item in self.items or not self.categories.isdisjoint(
            thing.categories
        )

    def holds(self, at_ms: int) -> bool:
        """Whether a time, in unix ms, lies between `since` and `until`."""
        if self.since is None and self.until is None:
            return False
        after = self.since is None or at_ms >= 1000 * self.since.timestamp()
        return after and (self.until is None or at_ms < 1000 * self.until.timestamp())


@dataclass
class _Found:
    """What a first reading finds: things by number, and where decisions were made."""

    things: list[CapSubject] = field(default_factory=list)
    surfaces: dict[str, str] = field(
        default_factory=dict
    )  # by position of the decision


def erase(vault: Vault, part: ErasureScope) -> int:
    """Destroy what `part` names; returns how many records were erased or blanked.

    Charges, reports and answers stay, and so does what was already part of a sum.
    """
    with vault.transaction(durable=True) as writing:
        records = list(writing.read())
        found = _found(records)
        gone = [one.position for one in _events(records, part, found)]
        gone += _shows(records, set(gone), part)
        gone += [
            one.position
            for one in records
            if one.kind == "mute" and _is_hide(one, part)
        ]
        gone += [
            one.position
            for one in records
            if one.kind == "trace" and _tells(one, part, found)
        ]
        gone += [
            one.position for one in records if one.kind == "trace"
        ]  # they name everything
        gone += [
            one.position for one in records if one.kind == "shares"
        ]  # they tell of all likes
        blanked = _blanked(writing, records, part, _hidden(records, set(gone)))
        writing.erase(gone)
        if gone or blanked:
            writing.append("undone", {})  # so that every process counts anew
    if gone or blanked:
        vault.scrub()
    return len(gone) + blanked


def _found(records: Iterable[Record]) -> _Found:
    found = _Found()
    for one in records:
        if one.kind == "thing":
            found.things.append(CapSubject.from_fields(_list(one.body["f"])))
        elif one.kind == "decision":
            found.surfaces[str(one.position)] = str(_list(one.body["f"])[SURFACE_AT])
    return found


def _events(
    records: Iterable[Record], part: ErasureScope, found: _Found
) -> list[Record]:
    known = {thing.item: thing for thing in found.things}
    return [
        record
        for record in records
        if record.kind == "event"
        and _concerns(part, StoredEvent.from_body(record.body), known, found.surfaces)
    ]


def _concerns(
    part: ErasureScope,
    event: StoredEvent,
    things: dict[str, CapSubject],
    surfaces: dict[str, str],
) -> bool:
    if event.kind == "hide" and not part.hides:
        return False
    thing = things.get(event.item_id or "", CapSubject(event.item_id or ""))
    shown_on = surfaces.get(
        (event.reservation_id or "").partition(".")[0], event.surface
    )
    return part.names(thing) or shown_on in part.surfaces or part.holds(event.at_ms)


def _shows(records: Sequence[Record], gone: set[int], part: ErasureScope) -> list[int]:
    """The decisions whose shows fell into the time of `part`; they leave whole."""
    if part.since is None and part.until is None:
        return []
    decided = {
        (event.reservation_id or "").partition(".")[0]
        for event in (
            StoredEvent.from_body(r.body) for r in records if r.position in gone
        )
        if event.kind == "impression" and part.holds(event.at_ms)
    }
    return [
        r.position
        for r in records
        if r.kind == "decision" and str(r.position) in decided
    ]


def _tells(trace: Record, part: ErasureScope, found: _Found) -> bool:
    """Whether a trace of a list names anything of `part`; it leaves whole."""
    named = {thing.item for thing in found.things if part.names(thing)} | part.items
    ids = {
        str(i)
        for name in ("shown", "denied", "exclude")
        for i in _list(trace.body[name])
    }
    at_ms = int(str(trace.body["at_ms"]))
    return (
        bool(named & ids) or trace.body["surface"] in part.surfaces or part.holds(at_ms)
    )


def _is_hide(record: Record, part: ErasureScope) -> bool:
    _, scope, value, *_ = map(str, _list(record.body["f"]))
    return part.hides and value in {
        "item": part.items,
        "category": part.categories,
    }.get(scope, ())


def _hidden(records: Iterable[Record], gone: set[int]) -> set[str | None]:
    """Ids of the items whose hides are kept: what they are must be known to go on hiding them."""
    kept = (one for one in records if one.kind == "event" and one.position not in gone)
    events = (StoredEvent.from_body(one.body) for one in kept)
    return {event.item_id for event in events if event.kind == "hide"}


def _blanked(
    writing: VaultTransaction,
    records: Iterable[Record],
    part: ErasureScope,
    hidden: set[str | None],
) -> int:
    count = 0
    for one in records:
        fields = _list(one.body["f"]) if one.kind in ("thing", "decision") else []
        thing = CapSubject.from_fields(fields) if one.kind == "thing" else BLANK
        if thing.item not in hidden and part.names(thing):
            writing.rewrite(one.position, "thing", {"f": list(BLANK)})
            count += 1
        elif one.kind == "decision" and fields[SURFACE_AT] in part.surfaces:
            fields[SURFACE_AT] = ""
            writing.rewrite(one.position, "decision", {**one.body, "f": fields})
            count += 1
        elif one.kind == "total":
            rows = [_list(row) for row in _list(one.body["f"])]
            kept = [row for row in rows if not _sums(part, row)]
            if len(kept) < len(rows):
                writing.rewrite(one.position, "total", {"f": kept})
                count += 1
    return count


def _sums(part: ErasureScope, row: list[object]) -> bool:
    """Whether a total is of a surface or a day that `part` names."""
    _, surface, *_, day, _, _, _, _ = row
    return surface in part.surfaces or (
        isinstance(day, int) and part.holds(day * DAY_MS)
    )


def _list(value: object) -> list[object]:
    return list(value) if isinstance(value, list) else []

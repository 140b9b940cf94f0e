"""From what the app tells of a show or a reaction to the record that the vault keeps of it."""

from __future__ import annotations

from dataclasses import replace

from tactful.device.caps.counting.apply_records import apply
from tactful.device.caps.counting.reservations import Hold, Stamp
from tactful.device.caps.rules.model import LEVELS
from tactful.device.caps.session import WriteTransaction
from tactful.device.caps.timeline.civil_time import date_of
from tactful.device.caps.timeline.segments import FULL, VERIFIED, Moment
from tactful.device.events import TASTES, StoredEvent
from tactful.device.vault import Record
from tactful.errors import InvalidInput


def clamped(writing: WriteTransaction, hold: Hold, at: Moment | None) -> Stamp:
    """`at`, but not before the reservation and not after now."""
    now = writing.now.stamp
    if at is None:
        return now
    place = min(max(_place(at), hold.stamp[:2]), now[:2])
    return _dated(writing, place)


def at_most_now(writing: WriteTransaction, at: Moment | None) -> Stamp:
    """`at`, but not after now; None is now."""
    now = writing.now.stamp
    return now if at is None else _dated(writing, min(_place(at), now[:2]))


def _place(at: Moment) -> tuple[int, int]:
    if not isinstance(at, Moment):
        raise InvalidInput(
            "at", f"{at!r} is no moment of this device", "use engine.moment()"
        )
    return at.segment, at.offset


def _dated(writing: WriteTransaction, place: tuple[int, int]) -> Stamp:
    zone = writing.now.stamp.zone
    base = writing.now.timeline.segments[place[0]].base
    days = [date_of(base[p] + place[1], zone or "UTC") for p in (FULL, VERIFIED)]
    return Stamp(place[0], place[1], days[0], days[1], zone)


def stored(
    writing: WriteTransaction, stamp: Stamp, kind: str, purpose: str, subject: str
) -> StoredEvent:
    """An event of this kind at `stamp`, of nothing in particular yet."""
    base = writing.now.timeline.segments[stamp.segment].base[FULL]
    return StoredEvent(
        kind=kind,
        at_ms=base + stamp.offset,
        purpose=purpose,
        segment=stamp.segment,
        mono_ms=stamp.offset,
        day=stamp.day,
        verified_day=stamp.verified_day,
        zone=writing.zone_number(stamp.zone),
        subject=subject,
    )


def carried(writing: WriteTransaction, hold: Hold) -> str:
    """Reserve anew what was reserved elsewhere, and tell again what was seen; its name here."""
    now = writing.now.stamp
    things, owner = writing.thing_numbers([hold.thing]), writing.owner_number()
    fields = [
        *writing.when(now),
        owner,
        hold.ttl_ms,
        hold.surface,
        hold.subject,
        things,
        [],
    ]
    name = f"{writing.put('decision', fields)}.0"
    if hold.evidence:
        event = stored(writing, now, "impression", "essential", hold.subject)
        level = LEVELS[hold.evidence - 1]
        told = replace(
            event, item_id=hold.thing.item, reservation_id=name, evidence=level
        )
        record(writing, told)
    return name


def record(
    writing: WriteTransaction,
    event: StoredEvent,
    *,
    name: str | None = None,
    number: int | None = None,
) -> None:
    """Append the event, once for each `name`, and count it; `number` is of the thing it is of."""
    body = event.body() if number is None else {**event.body(), "x": number}
    if name is not None and writing.tx.find(name) is not None:
        return
    taste = event.kind in TASTES  # caps neither count nor read it
    position = writing.tx.append("event", body, name=name, taste=taste)
    if not taste:
        apply(writing.state, Record(position, "event", body))

"""Event records of impressions and reactions."""

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


def clamped(transaction: WriteTransaction, hold: Hold, at: Moment | None) -> Stamp:
    """Return the stamp of `at`, limited to the time from the reservation to now."""
    now = transaction.now.stamp
    if at is None:
        return now
    place = min(max(_place(at), hold.stamp[:2]), now[:2])
    return _stamp(transaction, place)


def at_most_now(transaction: WriteTransaction, at: Moment | None) -> Stamp:
    """Return the stamp of `at`, no later than now; None is now."""
    now = transaction.now.stamp
    if at is None:
        return now
    return _stamp(transaction, min(_place(at), now[:2]))


def _place(at: Moment) -> tuple[int, int]:
    if not isinstance(at, Moment):
        raise InvalidInput(
            "at", f"{at!r} is not a moment of this device", "use engine.moment()"
        )
    return at.segment, at.offset


def _stamp(transaction: WriteTransaction, place: tuple[int, int]) -> Stamp:
    segment, offset = place
    zone = transaction.now.stamp.zone
    base = transaction.now.timeline.segments[segment].base
    day, verified_day = (
        date_of(base[timeline] + offset, zone or "UTC") for timeline in (FULL, VERIFIED)
    )
    return Stamp(segment, offset, day, verified_day, zone)


def event_at(
    transaction: WriteTransaction, stamp: Stamp, kind: str, purpose: str, subject: str
) -> StoredEvent:
    """Return an event of `kind` at `stamp`, without an item yet."""
    base = transaction.now.timeline.segments[stamp.segment].base[FULL]
    return StoredEvent(
        kind=kind,
        at_ms=base + stamp.offset,
        purpose=purpose,
        segment=stamp.segment,
        mono_ms=stamp.offset,
        day=stamp.day,
        verified_day=stamp.verified_day,
        zone=transaction.zone_number(stamp.zone),
        subject=subject,
    )


def copy_hold(transaction: WriteTransaction, hold: Hold) -> str:
    """Copy a reservation of another vault, with its impression if it has one.

    Return its reservation id in this vault.
    """
    now = transaction.now.stamp
    numbers = transaction.cap_subject_numbers([hold.cap_subject])
    owner_number = transaction.owner_number()
    fields = [
        *transaction.stamp_fields(now),
        owner_number,
        hold.ttl_ms,
        hold.surface,
        hold.subject,
        numbers,
        [],
    ]
    position = transaction.append_and_apply("decision", fields)
    reservation_id = f"{position}.0"
    if hold.evidence:
        event = event_at(transaction, now, "impression", "essential", hold.subject)
        impression = replace(
            event,
            item_id=hold.cap_subject.item,
            reservation_id=reservation_id,
            evidence=LEVELS[hold.evidence - 1],
        )
        record(transaction, impression)
    return reservation_id


def record(
    transaction: WriteTransaction,
    event: StoredEvent,
    *,
    event_id: str | None = None,
) -> None:
    """Append and apply an event, once for each `event_id`."""
    fields = event.to_fields()
    if event_id is not None and transaction.tx.find(event_id) is not None:
        return
    is_taste = event.kind in TASTES  # caps neither count nor read these
    position = transaction.tx.append("event", fields, name=event_id, taste=is_taste)
    if not is_taste:
        apply(transaction.state, Record(position, "event", fields))

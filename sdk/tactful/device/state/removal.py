"""Removing events: undo one, forget all, or purge those whose retention has ended.

Every removal appends a record that makes all processes project their state again.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

from tactful.device.event_schema import EventSchema
from tactful.device.events import StoredEvent
from tactful.device.state.device_state import DeviceState
from tactful.device.state.projection import project
from tactful.device.vault import Record, Vault
from tactful.errors import InvalidInput

TRACE_MS = 30 * 86_400_000  # retention of list traces
# Record kinds that `forget` leaves in place: answers, charges, what was sent, and time.
KEPT_KINDS: Collection[str] = (
    "consent",
    "charge",
    "disclosure",
    "report",
    "report_accepted",
    "report_dropped",
    "setting",
    "forgotten",
    "report_sent",
    "quarantine",
    "ledger_key",
    "config_epoch",
    # Canonical time continues, and waiting times with it.
    "segment",
    "time_anchor",
)


def undo(vault: Vault, event_id: str) -> StoredEvent:
    """Erase the event `event_id` and return it.

    Raise InvalidInput if it is not known, or if it is an impression: the person saw it.
    """
    with vault.transaction(durable=True) as transaction:
        position = transaction.find(event_id)
        record = None
        if position is not None:
            record = next(transaction.read(position - 1, ["event"]), None)
        if position is None or record is None:
            raise InvalidInput(
                "event_id",
                f"{event_id!r} is not known",
                "use the id of a recorded event",
            )
        event = StoredEvent.from_fields(record.fields)
        if event.kind == "impression":
            raise InvalidInput(
                "event_id", "an impression cannot be undone", "hide the item instead"
            )
        transaction.erase([position])
        transaction.append("removal", {})
    vault.scrub()
    return event


def forget(vault: Vault, hidden: Iterable[Sequence[object]] = ()) -> int:
    """Erase events, profile, cap counters and model; return the number of records.

    Consent, charges and reports stay, and so does the newest model version: nothing is
    refunded, and no older model is adopted. `hidden` are fields of `mute` records for
    what the person keeps hidden.
    """
    state = project(vault, DeviceState())
    positions = [
        record.position for record in vault.read() if record.kind not in KEPT_KINDS
    ]
    with vault.transaction(durable=True) as transaction:
        transaction.erase(positions)
        body = {"newest": state.newest_version, "checkpoint": state.checkpoint}
        transaction.append("forgotten", body)
        for fields in hidden:
            transaction.append("mute", list(fields))
    vault.scrub()
    return len(positions)


def purge_expired(vault: Vault, event_schema: EventSchema, now_ms: int) -> int:
    """Erase records whose retention has ended; return the number of records.

    Events are kept as their schema says, list traces for 30 days, and the open shares
    of a report until its task has ended.
    """
    records = vault.read(0, ["event", "list_trace", "open_shares"])
    positions = [
        record.position
        for record in records
        if _is_expired(record, event_schema, now_ms)
    ]
    if positions:
        with vault.transaction(durable=True) as transaction:
            transaction.erase(positions)
            transaction.append("removal", {})
        vault.scrub()
    return len(positions)


def drop_traces(vault: Vault) -> None:
    """Erase the traces of all lists."""
    positions = [record.position for record in vault.read(0, ["list_trace"])]
    if positions:
        vault.erase(positions)


def _is_expired(record: Record, event_schema: EventSchema, now_ms: int) -> bool:
    if record.kind == "open_shares":
        return now_ms >= 1000 * int(str(record.body["expires"]))
    if record.kind == "list_trace":
        return now_ms - int(str(record.body["at_ms"])) > TRACE_MS
    return event_schema.outlived(StoredEvent.from_fields(record.fields), now_ms)

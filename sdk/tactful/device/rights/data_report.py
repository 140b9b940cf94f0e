"""The data report: what was recorded, inferred, shown, assigned, installed and sent.

It is computed from the vault alone. So it is as complete as the vault, and covers the
same retention periods.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from tactful.device.event_schema import EventSchema
from tactful.device.events import StoredEvent
from tactful.device.rights.named_records import named_record
from tactful.device.state.device_state import DeviceState
from tactful.device.state.profile import Profile
from tactful.device.vault import Record
from tactful.json_values import JsonResult

MAX_ENTRIES = 1000  # of each kind, the newest ones

Body = Mapping[str, object]


@dataclass(frozen=True)
class DataReportEntry(JsonResult):
    """One entry: its `kind`, its time and its fields.

    `at` is in unix seconds, None if no time was recorded.
    """

    kind: str
    at: int | None
    what: Mapping[str, object] = field(default_factory=dict)


def data_report(
    records: Iterable[Record],
    state: DeviceState,
    event_schema: EventSchema,
    *,
    delta: float,
    most: int | None = MAX_ENTRIES,
) -> list[DataReportEntry]:
    """Return all entries, oldest first, at most the newest `most` of each kind.

    `most=None` means no limit. For each report, the entry has what this device had
    spent before and after it, as epsilon at `delta`.
    """
    newest: dict[str, deque[DataReportEntry]] = {}
    for record in records:
        entry = _entry(record, event_schema)
        if entry is not None:
            newest.setdefault(entry.kind, deque(maxlen=most)).append(entry)
    entries = [entry for queue in newest.values() for entry in queue]
    entries.extend(_inferred_entries(state.profile))
    entries.extend(_sent_entries(state, delta))
    return sorted(
        entries, key=lambda entry: (entry.at is None, entry.at or 0, entry.kind)
    )


def exported(
    records: Iterable[Record],
    state: DeviceState,
    event_schema: EventSchema,
    *,
    vault: str,
    delta: float,
) -> dict[str, object]:
    """Return everything as plain values: the data report and the vault's records.

    `vault` is the id of the vault. Every field has a name
    (`docs/spec/vault-format.md`). Secrets are not included.
    """
    all_records = list(records)
    entries = data_report(all_records, state, event_schema, delta=delta, most=None)
    return {
        "schema": 3,
        "vault": vault,
        "data_report": [entry.to_json() for entry in entries],
        "records": [named_record(record) for record in all_records],
    }


def _entry(record: Record, event_schema: EventSchema) -> DataReportEntry | None:
    if record.kind == "event":
        return _event_entry(StoredEvent.from_fields(record.fields), event_schema)
    reader = _READERS.get(record.kind)
    return None if reader is None else reader(record.named())


def _event_entry(event: StoredEvent, event_schema: EventSchema) -> DataReportEntry:
    fields: dict[str, object] = {"signal": event.kind, "purpose": event.purpose}
    for name in ("item_id", "value", "scope", "surface", "evidence"):
        value = getattr(event, name)
        if value is not None:
            fields[name] = value
    declaration = event_schema.find(event.kind)
    if declaration is not None:
        fields["sensitivity"] = declaration.sensitivity
        fields["kept_days"] = declaration.retention_days
    kind = "shown" if event.kind == "impression" else "recorded"
    return DataReportEntry(kind, event.at_ms // 1000, fields)


def _trace_entry(body: Body) -> DataReportEntry:
    fields = {name: body[name] for name in ("decision_id", "surface", "shown")}
    fields["not_shown"] = body["denied"]
    return DataReportEntry("listed", int(str(body["at_ms"])) // 1000, fields)


def _consent_entry(body: Body) -> DataReportEntry:
    fields = {name: body[name] for name in ("purpose", "state", "policy_version")}
    return DataReportEntry("answered", int(str(body["at"])), fields)


def _assignment_entry(body: Body) -> DataReportEntry:
    fields = {name: body[name] for name in ("experiment", "arm")}
    return DataReportEntry("assigned", None, fields)


def _model_entry(body: Body) -> DataReportEntry:
    fields = {name: body[name] for name in ("version", "release")}
    return DataReportEntry("installed", None, fields)


def _loss_entry(body: Body) -> DataReportEntry:
    return DataReportEntry("lost", None, {"counted_as": body["mode"]})


def _setting_entry(body: Body) -> DataReportEntry:
    return DataReportEntry("set", None, dict(body))


def _inferred_entries(profile: Profile) -> Iterable[DataReportEntry]:
    for item_id, belief in profile.beliefs.items():
        newest_ms = max((at_ms for _, at_ms in belief.dates), default=None)
        fields = {
            "item_id": item_id,
            "events": belief.events,
            "from": [[kind, at_ms // 1000] for kind, at_ms in belief.dates],
        }
        at = None if newest_ms is None else newest_ms // 1000
        yield DataReportEntry("inferred", at, fields)


def _sent_entries(state: DeviceState, delta: float) -> Iterable[DataReportEntry]:
    """Yield each report with its purpose, bytes, meaning, recipient and cost."""
    epsilons = _epsilons_by_task(state, delta)
    for disclosure in state.disclosures.values():
        before, after = epsilons.get(disclosure.task_id, (None, None))
        fields = {
            **disclosure.body(),
            "accepted": disclosure.accepted,
            "dropped": disclosure.dropped,
            "epsilon_before": before,
            "epsilon_after": after,
        }
        del fields["at"]
        yield DataReportEntry("sent", disclosure.at, fields)


def _epsilons_by_task(
    state: DeviceState, delta: float
) -> dict[str, tuple[float, float]]:
    """Return the total epsilon before and after the charge of each task."""
    from tactful.privacy.lifetime import spent_epsilons

    epsilons: dict[str, tuple[float, float]] = {}
    before = 0.0
    charges = state.ledger.charges
    for charge, after in zip(charges, spent_epsilons(charges, delta), strict=True):
        epsilons[charge.task_id] = (before, after)
        before = after
    return epsilons


_READERS: Mapping[str, Callable[[Body], DataReportEntry]] = {
    "list_trace": _trace_entry,
    "consent": _consent_entry,
    "assignment": _assignment_entry,
    "model": _model_entry,
    "loss": _loss_entry,
    "setting": _setting_entry,
}

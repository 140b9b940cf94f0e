"""The person's book: what was recorded, inferred, shown, assigned, installed and sent.

It is read off the vault, which keeps nothing beside it; so it is as complete as the vault, and is
bounded by the same retention.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from tactful.device.event_schema import EventSchema
from tactful.device.events import StoredEvent
from tactful.device.state.device_state import DeviceState
from tactful.device.state.profile import Profile
from tactful.device.vault import Record

SECRETS = {  # kind of record, and the fields that are
    "ledger_key": {"key"},
    "unit": {"secret"},
    "shares": {"leader", "helper"},
}
WITHHELD = "stays in the vault"
MOST = 1000  # entries of each kind, the newest ones

Body = Mapping[str, object]
Told = tuple[str, dict[str, object]]  # the kind of an entry, and what it says


@dataclass(frozen=True)
class DataReportEntry:
    """One line of the book: `kind` of thing, when (unix seconds, None if nobody noted it), what."""

    kind: str
    at: int | None
    what: Mapping[str, object] = field(default_factory=dict)


def data_ledger(
    records: Iterable[Record],
    memory: DeviceState,
    signals: EventSchema,
    *,
    delta: float,
    most: int | None = MOST,
) -> list[DataReportEntry]:
    """Everything the vault tells, oldest first; of each kind at most the newest `most`, or all.

    Epsilon before and after each report is what this device had spent in all, at `delta`.
    """
    kept: dict[str, deque[DataReportEntry]] = {}
    for record in records:
        entry = _entry(record, signals)
        if entry is not None:
            kept.setdefault(entry.kind, deque(maxlen=most)).append(entry)
    book = [entry for entries in kept.values() for entry in entries]
    book += [*_inferred(memory.profile), *_sent(memory, delta)]
    return sorted(book, key=lambda entry: (entry.at is None, entry.at or 0, entry.kind))


def exported(
    records: Iterable[Record],
    memory: DeviceState,
    signals: EventSchema,
    *,
    vault: str,
    delta: float,
) -> dict[str, object]:
    """Everything as plain values: `book` to be read, by names, and `records` as they lie.

    A record holds its fields by position. Secrets of the vault stay in it.
    """
    found = list(records)
    book = data_ledger(found, memory, signals, delta=delta, most=None)
    return {
        "schema": 2,
        "vault": vault,
        "book": [{"kind": one.kind, "at": one.at, **_plain(one.what)} for one in book],
        "records": [
            {"position": r.position, "kind": r.kind, **_open(r)} for r in found
        ],
    }


def _plain(what: Mapping[str, object]) -> dict[str, object]:
    """The fields of an entry; one whose name the entry has too is told as `what_...`."""
    return {
        f"what_{name}" if name in ("kind", "at") else name: v
        for name, v in what.items()
    }


def _open(record: Record) -> dict[str, object]:
    secrets = SECRETS.get(record.kind, set())
    return {name: WITHHELD if name in secrets else v for name, v in record.body.items()}


def _entry(record: Record, signals: EventSchema) -> DataReportEntry | None:
    if record.kind == "event":
        return _happened(StoredEvent.from_body(record.body), signals)
    reader = _READERS.get(record.kind)
    return None if reader is None else reader(record.body)


def _happened(event: StoredEvent, signals: EventSchema) -> DataReportEntry:
    declared = signals.find(event.kind)
    what: dict[str, object] = {"signal": event.kind, "purpose": event.purpose}
    for name in ("item_id", "value", "scope", "surface", "evidence"):
        if getattr(event, name) is not None:
            what[name] = getattr(event, name)
    if declared is not None:
        what |= {
            "sensitivity": declared.sensitivity,
            "kept_days": declared.retention_days,
        }
    return DataReportEntry(
        "shown" if event.kind == "impression" else "recorded", event.at_ms // 1000, what
    )


def _trace(body: Body) -> DataReportEntry:
    what = {name: body[name] for name in ("decision_id", "surface", "shown")}
    return DataReportEntry(
        "listed", _seconds(body["at_ms"]), {**what, "not_shown": body["denied"]}
    )


def _answered(body: Body) -> DataReportEntry:
    what = {name: body[name] for name in ("purpose", "state", "policy_version")}
    return DataReportEntry("answered", _whole(body["at"]), what)


def _assigned(body: Body) -> DataReportEntry:
    return DataReportEntry(
        "assigned", None, {name: body[name] for name in ("experiment", "arm")}
    )


def _installed(body: Body) -> DataReportEntry:
    return DataReportEntry(
        "installed", None, {"version": body["version"], "release": body["release"]}
    )


def _lost(body: Body) -> DataReportEntry:
    return DataReportEntry("lost", None, {"counted_as": _fields(body)[2]})


def _set(body: Body) -> DataReportEntry:
    return DataReportEntry("set", None, dict(body))


def _inferred(profile: Profile) -> Iterable[DataReportEntry]:
    for item_id, belief in profile.beliefs.items():
        newest = max((at for _, at in belief.dates), default=None)
        what = {
            "item_id": item_id,
            "events": belief.events,
            "from": [[kind, at // 1000] for kind, at in belief.dates],
        }
        yield DataReportEntry(
            "inferred", None if newest is None else newest // 1000, what
        )


def _sent(memory: DeviceState, delta: float) -> Iterable[DataReportEntry]:
    """Every report: purpose, bytes, meaning, recipient, what it cost and left spent."""
    spent = _spent(memory, delta)
    for one in memory.disclosures.values():
        before, after = spent.get(one.task_id, (None, None))
        what = {
            **{name: value for name, value in one.body().items() if name != "at"},
            "accepted": one.accepted,
            "dropped": one.dropped,
            "epsilon_before": before,
            "epsilon_after": after,
        }
        yield DataReportEntry("sent", one.at, what)


def _spent(memory: DeviceState, delta: float) -> dict[str, tuple[float, float]]:
    """Epsilon in all before and after each charge, by task."""
    from tactful.privacy.lifetime import spent_epsilons

    found, before = dict[str, tuple[float, float]](), 0.0
    charges = memory.ledger.charges
    for charge, after in zip(charges, spent_epsilons(charges, delta), strict=True):
        found[charge.task_id], before = (before, after), after
    return found


_READERS: Mapping[str, Callable[[Body], DataReportEntry]] = {
    "trace": _trace,
    "consent": _answered,
    "assignment": _assigned,
    "model": _installed,
    "loss": _lost,
    "setting": _set,
}


def _fields(body: Body) -> list[object]:
    fields = body["f"]
    return fields if isinstance(fields, list) else []


def _whole(value: object) -> int:
    return int(str(value))


def _seconds(ms: object) -> int:
    return _whole(ms) // 1000

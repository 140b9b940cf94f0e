"""One consistent picture of the vault: profile, consent, ledger, model; rebuilt by reading it."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fractions import Fraction
from itertools import takewhile

from tactful.device.consent import Consent, ConsentAnswers, ConsentRecord
from tactful.device.event_schema import EventSchema
from tactful.device.events import StoredEvent
from tactful.device.state.profile import Key, Profile
from tactful.device.vault import Record, Vault, VaultBusy, VaultTransaction
from tactful.errors import InvalidInput, StorageFull
from tactful.privacy.budget import Charge, Entry, Later, Ledger, Step

Row = tuple[int, str, Mapping[str, object]]  # a record
SETTLEMENTS, PROFILE = (
    "settlements",
    "profile",
)  # caches of the vault: position, then JSON
KEEP_EVERY = 2000  # records
TRACE_MS = 30 * 86_400_000
NO_BUDGET = Ledger(Fraction(0))


@dataclass(frozen=True, kw_only=True)
class Disclosure:
    """One report as it left, or will leave: what it was for, its id, size and hash.

    `at` is in unix seconds; `report` is the vault's position of the exact bytes, `consent` the
    id of the grant it was made under. A report that was `dropped` was made, and erased unsent
    because the person withdrew.
    """

    task_id: str
    report_id: str
    purpose: str
    at: int
    recipient: str
    size: int
    sha256: str
    meaning: str
    report: int
    consent: str
    accepted: bool = False
    dropped: bool = False

    @classmethod
    def from_body(cls, body: Mapping[str, object]) -> Disclosure:
        """The disclosure that a vault record describes."""
        return cls(
            task_id=str(body["task_id"]),
            report_id=str(body["report_id"]),
            purpose=str(body["purpose"]),
            at=_whole(body["at"]),
            recipient=str(body["recipient"]),
            size=_whole(body["size"]),
            sha256=str(body["sha256"]),
            meaning=str(body["meaning"]),
            report=_whole(body["report"]),
            consent=str(body["consent"]),
        )

    def body(self) -> dict[str, str | int]:
        """The record that `from_body` reads back; acceptance is a record of its own."""
        later = ("accepted", "dropped")
        return {name: value for name, value in vars(self).items() if name not in later}


@dataclass(frozen=True, kw_only=True)
class Adoption:
    """The model in use: its signed release document, and the vault's position of its file."""

    version: int
    release: str
    file: int


@dataclass(frozen=True)
class DeviceState:
    """What the vault says up to `position`; the profile only up to `learnt`, if it was not needed.

    `consent` is what may be done now; `newest` is the highest model version ever adopted;
    `limits` is the person's own rules document as JSON, empty for none; `noticed`: they were told
    that repetition limits are kept. `restored_ms` is when, in ledger time, the vault was put back;
    None if it never was. `checkpoint` is the newest signed head of the pair's log that a model was
    adopted under, as JSON. `refreshed` is when a model was last asked for, unix seconds.
    `config_epochs` holds, by aggregators' signing keys (base64), the highest epoch of an HPKE
    config that was accepted, and the SHA-256 of that config in hex.
    """

    position: int = 0
    learnt: int = 0
    profile: Profile = field(default_factory=Profile)
    answers: ConsentAnswers = field(default_factory=ConsentAnswers)
    consent: Consent = field(default_factory=Consent)
    ledger: Ledger = NO_BUDGET
    disclosures: Mapping[str, Disclosure] = field(default_factory=dict)
    adoption: Adoption | None = None
    newest: int = 0
    balance: float = 1.0
    paused: bool = False
    limits: str = ""
    refreshed: int = 0
    noticed: bool = False
    used_up: Mapping[str, bool] = field(default_factory=dict)
    interests: Mapping[Key, float] = field(default_factory=dict)
    restored_ms: int | None = None
    checkpoint: str = ""
    config_epochs: Mapping[str, tuple[int, str]] = field(default_factory=dict)

    @property
    def told(self) -> bool:
        """Whether the person has been told, and so answered, anything at all."""
        return self.noticed or bool(self.answers.records)

    def after(self, records: Iterable[Record]) -> DeviceState:
        """The picture once `records` are read; reading in pieces gives the same."""
        memory, happened = self, []
        for record in records:
            if record.kind == "event" and record.position > self.learnt:
                happened.append(StoredEvent.from_body(record.body))
            elif record.kind in _READERS and record.position > self.position:
                memory = _READERS[record.kind](memory, record.body)
        return (
            replace(memory, profile=memory.profile.after(happened))
            if happened
            else memory
        )


def recall(
    vault: Vault, memory: DeviceState, *, until: int | None = None
) -> DeviceState:
    """`memory` brought up to the vault's newest record, or to the position `until`."""
    with vault.snapshot() as view:
        if until is None:
            memory = _kept_profile(view, _kept(view, memory))
        end = view.position if until is None else until
        found = view.read(min(memory.position, memory.learnt), REMEMBERED)
        records = list(takewhile(lambda record: record.position <= end, found))
    if memory.learnt and any(
        r.kind == "undone" and r.position > memory.learnt for r in records
    ):
        return recall(vault, replace(memory, profile=Profile(), learnt=0), until=until)
    recalled = replace(memory.after(records), position=end, learnt=end)
    if until is None and end - memory.learnt >= KEEP_EVERY:
        _keep(vault, PROFILE, end, recalled.profile.packed())
    return recalled


def recall_settings(vault: Vault, memory: DeviceState) -> DeviceState:
    """`memory` with all but the profile brought up; no record of taste is touched."""
    with vault.snapshot() as view:
        memory = _kept(view, memory)
        end, records = (
            view.position,
            list(view.read(memory.position, SETTLED, tastes=False)),
        )
        many = end - memory.position >= KEEP_EVERY
        rows = _rows(view, memory.position, records) if many else None
    if rows is not None:
        _keep(vault, SETTLEMENTS, end, json.dumps(rows, separators=(",", ":")).encode())
    return replace(memory.after(records), position=end)


def _rows(
    view: VaultTransaction, position: int, records: Iterable[Record]
) -> list[Row] | None:
    """What the cache held at `position`, and `records`; None if it was of another position."""
    if position != _position(view.cell(SETTLEMENTS)):
        return None
    return [
        *_records(view),
        *((record.position, record.kind, record.body) for record in records),
    ]


def _kept(view: VaultTransaction, memory: DeviceState) -> DeviceState:
    """A memory that begins, with what a cache of the vault still knows of all but the profile."""
    position = 0 if memory.position else _position(view.cell(SETTLEMENTS))
    if not position:
        return memory
    known = (Record(at, kind, body) for at, kind, body in _records(view))
    return replace(memory.after(known), position=position)


def _kept_profile(view: VaultTransaction, memory: DeviceState) -> DeviceState:
    content = None if memory.learnt else view.cell(PROFILE)
    if content is None:
        return memory
    return replace(
        memory, profile=Profile.unpacked(content[8:]), learnt=_position(content)
    )


def _records(view: VaultTransaction) -> list[Row]:
    content = view.cell(SETTLEMENTS)
    return (
        []
        if content is None
        else [(at, kind, body) for at, kind, body in json.loads(content[8:])]
    )


def _position(content: bytes | None) -> int:
    return 0 if content is None else int.from_bytes(content[:8], "big")


def _keep(vault: Vault, cell: str, position: int, content: bytes) -> None:
    """Leave a cache, so that the next start is quick, unless the vault cannot be written now."""
    with suppress(VaultBusy, StorageFull), vault.transaction(seconds=0) as writing:
        if (
            writing.position == position
        ):  # else something may have been erased meanwhile
            writing.put(cell, position.to_bytes(8, "big") + content)


def undo(vault: Vault, event_id: str) -> StoredEvent:
    """Destroy what was told as `event_id`; everyone who counted it counts anew.

    Raises InvalidInput if it is not known, or if it is a show: that it was seen stays true.
    """
    with vault.transaction(durable=True) as writing:
        position = writing.find(event_id) or 0
        record = next(writing.read(position - 1, ["event"]), None) if position else None
        if record is None:
            raise InvalidInput(
                "event_id", f"{event_id!r} is not known", "use the id of an event"
            )
        event = StoredEvent.from_body(record.body)
        if event.kind == "impression":
            raise InvalidInput(
                "event_id", "a show cannot be undone", "hide the item instead"
            )
        writing.erase([position])
        writing.append("undone", {})
    vault.scrub()
    return event


def events(vault: Vault) -> Iterator[StoredEvent]:
    """Everything that happened, oldest first."""
    return (StoredEvent.from_body(record.body) for record in vault.read(0, ["event"]))


def forget(vault: Vault, hidden: Iterable[Sequence[object]] = ()) -> int:
    """Destroy events, profile, caps and model; how many records that were.

    What was agreed, charged and sent stays, and the newest model's version, so that nothing is
    refunded and nothing rolled back. `hidden` are rows of what the person goes on to hide.
    """
    memory = recall(vault, DeviceState())
    gone = [record.position for record in vault.read() if record.kind not in KEPT]
    with vault.transaction(durable=True) as writing:
        writing.erase(gone)
        kept = {"newest": memory.newest, "checkpoint": memory.checkpoint}
        writing.append("forgotten", kept)
        for row in hidden:
            writing.append("mute", {"f": list(row)})
    vault.scrub()
    return len(gone)


def outlive(vault: Vault, signals: EventSchema, now_ms: int) -> int:
    """Destroy every event that was kept for as long as its signal may be; how many those were.

    Traces of lists are kept for 30 days, open shares of a report until its task is over.
    """
    records = vault.read(0, ["event", "trace", "shares"])
    gone = [r.position for r in records if _outlived(r, signals, now_ms)]
    if gone:
        with vault.transaction(durable=True) as writing:
            writing.erase(gone)
            writing.append("undone", {})  # so that every process counts anew
        vault.scrub()
    return len(gone)


def _outlived(record: Record, signals: EventSchema, now_ms: int) -> bool:
    if record.kind == "shares":
        return now_ms >= 1000 * _whole(record.body["expires"])
    if record.kind == "trace":
        return now_ms - _whole(record.body["at_ms"]) > TRACE_MS
    return signals.outlived(StoredEvent.from_body(record.body), now_ms)


Body = Mapping[str, object]


def _consent(memory: DeviceState, body: Body) -> DeviceState:
    answers = memory.answers.recorded(ConsentRecord.from_body(body))
    return replace(memory, answers=answers, consent=answers.consent)


def _charge(memory: DeviceState, body: Body) -> DeviceState:
    return _entered(memory, Charge.from_body(body))


def _entered(memory: DeviceState, entry: Entry) -> DeviceState:
    return replace(memory, ledger=memory.ledger.recorded(entry))


def _sent(memory: DeviceState, body: Body) -> DeviceState:
    return _entered(memory, Step.from_body({**body, "state": "sent"}))


def _disclosure(memory: DeviceState, body: Body) -> DeviceState:
    made = Disclosure.from_body(body)
    return _settled(made, memory)


def _receipt(memory: DeviceState, body: Body) -> DeviceState:
    memory = _ended(memory, body, "acknowledged")
    return _settled(
        replace(memory.disclosures[str(body["task_id"])], accepted=True), memory
    )


def _dropped(memory: DeviceState, body: Body) -> DeviceState:
    memory = _ended(memory, body, "abandoned")
    return _settled(
        replace(memory.disclosures[str(body["task_id"])], dropped=True), memory
    )


def _ended(memory: DeviceState, body: Body, state: Later) -> DeviceState:
    """The end of a charged report is an entry of the ledger; cover was never charged."""
    disclosure = memory.disclosures[str(body["task_id"])]
    if disclosure.purpose == "cover_traffic":
        return memory
    report_id, time = disclosure.report_id, _whole(body["at"])
    step = Step(state=state, task_id=disclosure.task_id, time=time, report_id=report_id)
    return _entered(memory, step)


def _settled(disclosure: Disclosure, memory: DeviceState) -> DeviceState:
    return replace(
        memory, disclosures={**memory.disclosures, disclosure.task_id: disclosure}
    )


def _model(memory: DeviceState, body: Body) -> DeviceState:
    version = _whole(body["version"])
    adoption = Adoption(
        version=version, release=str(body["release"]), file=_whole(body["file"])
    )
    return replace(
        memory,
        adoption=adoption,
        newest=max(memory.newest, version),
        checkpoint=str(body.get("checkpoint", memory.checkpoint)),
    )


def _setting(memory: DeviceState, body: Body) -> DeviceState:
    return replace(
        memory,
        balance=float(str(body.get("balance", memory.balance))),
        paused=bool(body.get("paused", memory.paused)),
        limits=str(body.get("limits", memory.limits)),
        refreshed=_whole(body.get("refreshed", memory.refreshed)),
        noticed=bool(body.get("noticed", memory.noticed)),
        used_up=_used_up(memory.used_up, body.get("used_up")),
        interests=_interests(memory.interests, body.get("interest")),
    )


def _interests(known: Mapping[Key, float], told: object) -> Mapping[Key, float]:
    """With one more word on an interest: [scope, value, factor]."""
    if not isinstance(told, list):
        return known
    scope, value, factor = told
    return {**known, (str(scope), str(value)): float(factor)}


def _used_up(known: Mapping[str, bool], told: object) -> Mapping[str, bool]:
    return (
        known if not isinstance(told, list) else {**known, str(told[0]): bool(told[1])}
    )


def _forgotten(memory: DeviceState, body: Body) -> DeviceState:
    return replace(
        memory,
        profile=Profile(),
        adoption=None,
        newest=_whole(body["newest"]),
        checkpoint=str(body.get("checkpoint", "")),
    )


def _config_epoch(memory: DeviceState, body: Body) -> DeviceState:
    """Keep the highest epoch, in whatever order two processes wrote."""
    key, newest = str(body["key"]), (_whole(body["epoch"]), str(body["sha256"]))
    accepted = memory.config_epochs.get(key)
    if accepted is not None and accepted[0] >= newest[0]:
        return memory
    return replace(memory, config_epochs={**memory.config_epochs, key: newest})


def _restored(memory: DeviceState, body: Body) -> DeviceState:
    return replace(memory, restored_ms=_whole(body["waited_ms"]))


def _whole(value: object) -> int:
    return int(str(value))


_READERS: Mapping[str, Callable[[DeviceState, Body], DeviceState]] = {
    "consent": _consent,
    "charge": _charge,
    "disclosure": _disclosure,
    "receipt": _receipt,
    "dropped": _dropped,
    "model": _model,
    "setting": _setting,
    "forgotten": _forgotten,
    "restored": _restored,
    "sent": _sent,
    "config_epoch": _config_epoch,
}
SETTLED: Collection[str] = tuple(_READERS)
REMEMBERED: Collection[str] = ("event", "undone", *SETTLED)
KEPT: Collection[str] = (
    *(
        "consent",
        "charge",
        "disclosure",
        "report",
        "receipt",
        "dropped",
        "setting",
        "forgotten",
    ),
    *("sent", "restored", "ledger_key", "config_epoch"),
    *("segment", "anchor"),  # time goes on, and waiting times with it
)

"""The state of one device, projected from the records of its vault."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction

from tactful.device.consent import Consent, ConsentAnswers, ConsentRecord
from tactful.device.events import StoredEvent
from tactful.device.state.profile import Key, Profile
from tactful.device.vault import Record
from tactful.json_values import JsonResult
from tactful.privacy.budget import Charge, Entry, Ledger, Step, StepState

NO_BUDGET = Ledger(Fraction(0))
Body = Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Disclosure(JsonResult):
    """One report that was made, with its purpose, id, size and hash.

    `at` is in unix seconds. `report` is the vault position of the exact bytes, and
    `consent` the id of the grant it was made under. A `dropped` report was erased
    before it was accepted, because the person withdrew their consent.
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
    def from_body(cls, body: Body) -> Disclosure:
        """Return the disclosure that a vault record describes."""
        return cls(
            task_id=str(body["task_id"]),
            report_id=str(body["report_id"]),
            purpose=str(body["purpose"]),
            at=_integer(body["at"]),
            recipient=str(body["recipient"]),
            size=_integer(body["size"]),
            sha256=str(body["sha256"]),
            meaning=str(body["meaning"]),
            report=_integer(body["report"]),
            consent=str(body["consent"]),
        )

    def body(self) -> dict[str, str | int]:
        """Return the record body that `from_body` reads.

        Acceptance and dropping are records of their own.
        """
        later_fields = ("accepted", "dropped")
        return {
            name: value
            for name, value in vars(self).items()
            if name not in later_fields
        }


@dataclass(frozen=True, kw_only=True)
class Adoption:
    """The adopted model: its signed release and the vault position of its file."""

    version: int
    release: str
    file: int


@dataclass(frozen=True)
class DeviceState:
    """State projected from the vault up to `position`.

    The profile is projected up to `profile_position`, which is lower if the profile was
    not needed.

    - `consent`: what is allowed now.
    - `newest_version`: the highest model version ever adopted.
    - `limits`: the person's own rules document as JSON; empty for none.
    - `noticed`: True if the person was told that impressions are counted.
    - `restored_ms`: the ledger time at which the vault was restored; None for never.
    - `checkpoint`: the newest signed log checkpoint of an adopted model, as JSON.
    - `refreshed`: when a model was last requested, in unix seconds.
    - `config_epochs`: for each aggregator's signing key (base64), the highest accepted
      epoch of its HPKE config and the SHA-256 (hex) of that config.
    """

    position: int = 0
    profile_position: int = 0
    profile: Profile = field(default_factory=Profile)
    answers: ConsentAnswers = field(default_factory=ConsentAnswers)
    consent: Consent = field(default_factory=Consent)
    ledger: Ledger = NO_BUDGET
    disclosures: Mapping[str, Disclosure] = field(default_factory=dict)
    adoption: Adoption | None = None
    newest_version: int = 0
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
    def was_informed(self) -> bool:
        """True if the person saw a notice or answered for any purpose."""
        return self.noticed or bool(self.answers.records)

    def after(self, records: Iterable[Record]) -> DeviceState:
        """Return the state after `records`; reading them in parts gives the same."""
        state = self
        events = []
        for record in records:
            if record.kind == "event" and record.position > self.profile_position:
                events.append(StoredEvent.from_fields(record.fields))
            elif record.kind in _READERS and record.position > self.position:
                state = _READERS[record.kind](state, record.body)
        if not events:
            return state
        return replace(state, profile=state.profile.after(events))


def _consent(state: DeviceState, body: Body) -> DeviceState:
    answers = state.answers.recorded(ConsentRecord.from_body(body))
    return replace(state, answers=answers, consent=answers.consent)


def _charge(state: DeviceState, body: Body) -> DeviceState:
    return _with_ledger_entry(state, Charge.from_body(body))


def _report_sent(state: DeviceState, body: Body) -> DeviceState:
    return _with_ledger_entry(state, Step.from_body({**body, "state": "sent"}))


def _disclosure(state: DeviceState, body: Body) -> DeviceState:
    return _with_disclosure(state, Disclosure.from_body(body))


def _report_accepted(state: DeviceState, body: Body) -> DeviceState:
    state = _end_report(state, body, "acknowledged")
    disclosure = state.disclosures[str(body["task_id"])]
    return _with_disclosure(state, replace(disclosure, accepted=True))


def _report_dropped(state: DeviceState, body: Body) -> DeviceState:
    state = _end_report(state, body, "abandoned")
    disclosure = state.disclosures[str(body["task_id"])]
    return _with_disclosure(state, replace(disclosure, dropped=True))


def _end_report(state: DeviceState, body: Body, outcome: StepState) -> DeviceState:
    """Return the state with the ledger entry for the end of a charged report."""
    disclosure = state.disclosures[str(body["task_id"])]
    if disclosure.purpose == "cover_traffic":
        # Cover traffic is not charged, so the ledger has no entry to end.
        return state
    step = Step(
        state=outcome,
        task_id=disclosure.task_id,
        time=_integer(body["at"]),
        report_id=disclosure.report_id,
    )
    return _with_ledger_entry(state, step)


def _model(state: DeviceState, body: Body) -> DeviceState:
    version = _integer(body["version"])
    adoption = Adoption(
        version=version, release=str(body["release"]), file=_integer(body["file"])
    )
    return replace(
        state,
        adoption=adoption,
        newest_version=max(state.newest_version, version),
        checkpoint=str(body["checkpoint"]),
    )


def _setting(state: DeviceState, body: Body) -> DeviceState:
    return replace(
        state,
        balance=float(str(body.get("balance", state.balance))),
        paused=bool(body.get("paused", state.paused)),
        limits=str(body.get("limits", state.limits)),
        refreshed=_integer(body.get("refreshed", state.refreshed)),
        noticed=bool(body.get("noticed", state.noticed)),
        used_up=_with_used_up(state.used_up, body.get("used_up")),
        interests=_with_interest(state.interests, body.get("interest")),
    )


def _with_interest(
    interests: Mapping[Key, float], setting: object
) -> Mapping[Key, float]:
    """Return the interests with one more setting: [scope, value, factor]."""
    if not isinstance(setting, list):
        return interests
    scope, value, factor = setting
    return {**interests, (str(scope), str(value)): float(factor)}


def _with_used_up(used_up: Mapping[str, bool], setting: object) -> Mapping[str, bool]:
    """Return the used-up items with one more setting: [item id, used up]."""
    if not isinstance(setting, list):
        return used_up
    item_id, is_used_up = setting
    return {**used_up, str(item_id): bool(is_used_up)}


def _forgotten(state: DeviceState, body: Body) -> DeviceState:
    # The newest version and checkpoint stay, so that no older model can return.
    return replace(
        state,
        profile=Profile(),
        adoption=None,
        newest_version=_integer(body["newest"]),
        checkpoint=str(body["checkpoint"]),
    )


def _config_epoch(state: DeviceState, body: Body) -> DeviceState:
    """Return the state with the highest epoch, in whatever order processes wrote."""
    signing_key = str(body["key"])
    config = _integer(body["epoch"]), str(body["sha256"])
    accepted = state.config_epochs.get(signing_key)
    if accepted is not None and accepted[0] >= config[0]:
        return state
    return replace(state, config_epochs={**state.config_epochs, signing_key: config})


def _quarantine(state: DeviceState, body: Body) -> DeviceState:
    return replace(state, restored_ms=_integer(body["waited_ms"]))


def _with_ledger_entry(state: DeviceState, entry: Entry) -> DeviceState:
    return replace(state, ledger=state.ledger.recorded(entry))


def _with_disclosure(state: DeviceState, disclosure: Disclosure) -> DeviceState:
    disclosures = {**state.disclosures, disclosure.task_id: disclosure}
    return replace(state, disclosures=disclosures)


def _integer(value: object) -> int:
    return int(str(value))


_READERS: Mapping[str, Callable[[DeviceState, Body], DeviceState]] = {
    "consent": _consent,
    "charge": _charge,
    "disclosure": _disclosure,
    "report_accepted": _report_accepted,
    "report_dropped": _report_dropped,
    "model": _model,
    "setting": _setting,
    "forgotten": _forgotten,
    "quarantine": _quarantine,
    "report_sent": _report_sent,
    "config_epoch": _config_epoch,
}
# Record kinds that the state without the profile is projected from.
SETTING_KINDS: Collection[str] = tuple(_READERS)
# Record kinds that the whole state is projected from.
STATE_KINDS: Collection[str] = ("event", "removal", *SETTING_KINDS)

"""Every answer the person gave, as a chain of records (in the shape of ISO/IEC TS 27560)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Literal, get_args

from tactful.device import checks as given
from tactful.device.consent.purposes import PURPOSES, Consent
from tactful.errors import InvalidInput

Given = Literal["granted", "denied", "withdrawn"]
State = Literal["unset", "granted", "denied", "withdrawn", "expired", "superseded"]
GENESIS = "0" * 64
ASK_AGAIN_SECONDS = 90 * 86_400
MOST_SECONDS = 2**40
_GIVEN: dict[str, Given] = {one: one for one in get_args(Given)}
_FIX = "use the receipt as it was exported"


@dataclass(frozen=True, kw_only=True)
class ConsentNotice:
    """What the person was shown when they answered, and what that answer is worth.

    `text` is hashed, not kept. `valid_seconds` ends a grant by itself. `gpc_stated` says that the
    person was told of their Global Privacy Control and granted all the same.
    """

    text: str = ""
    locale: str = "en"
    method: str = "app"
    app_version: str = ""
    gpc_stated: bool = False
    valid_seconds: int | None = None

    def __post_init__(self) -> None:
        """Raise InvalidInput by field."""
        for name in ("text", "locale", "method", "app_version"):
            given.text(f"shown.{name}", getattr(self, name), most=inf, empty=True)
        given.flag("shown.gpc_stated", self.gpc_stated)
        if self.valid_seconds is not None:
            fix = "use whole seconds above 0, or None for no end"
            given.whole("shown.valid_seconds", self.valid_seconds, 1, MOST_SECONDS, fix)


@dataclass(frozen=True, kw_only=True)
class ConsentRecord:
    """One answer for one purpose; `at` and `valid_until` are in unix seconds, `previous` a hash."""

    purpose: str
    state: Given
    at: int
    policy_version: str
    locale: str
    shown_text_sha256: str
    method: str
    app_version: str
    gpc_acknowledged: bool
    signals_in_force: tuple[str, ...]
    valid_until: int | None
    previous: str

    @classmethod
    def from_body(cls, body: Mapping[str, object]) -> ConsentRecord:
        """The record that `body` describes; raises InvalidInput naming a field that is wrong."""
        try:
            until = body["valid_until"]
            record = cls(
                purpose=str(body["purpose"]),
                state=_GIVEN[str(body["state"])],
                at=int(str(body["at"])),
                policy_version=str(body["policy_version"]),
                locale=str(body["locale"]),
                shown_text_sha256=str(body["shown_text_sha256"]),
                method=str(body["method"]),
                app_version=str(body["app_version"]),
                gpc_acknowledged=bool(body["gpc_acknowledged"]),
                signals_in_force=tuple(str(body["signals_in_force"]).split()),
                valid_until=None if until is None else int(str(until)),
                previous=str(body["previous"]),
            )
        except (KeyError, ValueError) as wrong:
            raise InvalidInput(
                "consent", f"{wrong} is missing or wrong", _FIX
            ) from wrong
        record._require_same(body)
        return record

    def body(self) -> dict[str, object]:
        """Plain values that `from_body` reads back."""
        return {**vars(self), "signals_in_force": " ".join(self.signals_in_force)}

    def _require_same(self, body: Mapping[str, object]) -> None:
        """Refuse a body with a field of another type, an unknown purpose or one field too many."""
        mine = self.body()
        for name in sorted({*mine, *body}):
            if name not in mine or body.get(name) != mine[name]:
                raise InvalidInput(
                    f"consent.{name}", f"{body.get(name)!r} is wrong", _FIX
                )
        if self.purpose not in PURPOSES:
            raise InvalidInput(
                "consent.purpose", f"{self.purpose!r} is not a purpose", _FIX
            )

    @property
    def record_id(self) -> str:
        """The hash that the next record holds; it names this one."""
        written = json.dumps(self.body(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(written.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """When the person answered (unix seconds), to what, and who else had spoken by then."""

    shown: ConsentNotice
    at: int
    policy_version: str
    in_force: tuple[str, ...] = ()

    def record(self, purpose: str, given: Given, previous: str) -> ConsentRecord:
        """The record of one answer."""
        shown = self.shown
        ends = shown.valid_seconds if given == "granted" else None
        return ConsentRecord(
            purpose=purpose,
            state=given,
            at=self.at,
            policy_version=self.policy_version,
            locale=shown.locale,
            shown_text_sha256=hashlib.sha256(shown.text.encode()).hexdigest(),
            method=shown.method,
            app_version=shown.app_version,
            gpc_acknowledged=shown.gpc_stated,
            signals_in_force=self.in_force,
            valid_until=None if ends is None else self.at + ends,
            previous=previous,
        )


@dataclass(frozen=True)
class ConsentAnswers:
    """All answers in order."""

    records: tuple[ConsentRecord, ...] = ()
    newest: Mapping[str, ConsentRecord] = field(default_factory=dict)

    @property
    def head(self) -> str:
        """The hash of the last record; kept apart from the chain it shows a tail that was cut."""
        return self.records[-1].record_id if self.records else GENESIS

    @property
    def consent(self) -> Consent:
        """The purposes whose newest answer is a grant."""
        granted = (name for name, one in self.newest.items() if one.state == "granted")
        return Consent(frozenset(granted))

    def recorded(self, record: ConsentRecord) -> ConsentAnswers:
        """With one more answer; raises InvalidInput if it does not follow the last one."""
        if record.previous != self.head:
            raise InvalidInput(
                f"consent.records.{len(self.records)}",
                "it does not follow the one before",
                "records were changed, cut or reordered; use the receipt as exported",
            )
        return ConsentAnswers(
            (*self.records, record), {**self.newest, record.purpose: record}
        )

    def state(self, purpose: str, *, now: int, policy_version: str) -> State:
        """Where the person stands on `purpose` at `now` (unix seconds)."""
        last = self.newest.get(purpose)
        if last is None:
            return "unset"
        if last.state == "granted" and last.policy_version != policy_version:
            return "superseded"
        if (
            last.state == "granted"
            and last.valid_until is not None
            and now >= last.valid_until
        ):
            return "expired"
        return last.state

    def changes(
        self, consent: Consent, occasion: Occasion, *, asked: bool
    ) -> list[ConsentRecord]:
        """The records that make `consent` the person's answer; none where nothing changes.

        If the person was `asked` just now, whatever is not granted is denied; else what they
        refused or withdrew is not granted again, and what was not answered stays so.
        """
        answers, made = self, []
        for purpose in PURPOSES:
            given = answers._given(purpose, consent, occasion, asked)
            if given is not None:
                made.append(occasion.record(purpose, given, answers.head))
                answers = answers.recorded(made[-1])
        return made

    def may_ask(self, purpose: str, *, now: int, policy_version: str) -> bool:
        """Whether the app may show its question: not within 90 days, not after a no.

        After a no it may only ask when the policy has changed; the person may always grant.
        """
        last = self.newest.get(purpose)
        if last is None:
            return True
        changed = last.policy_version != policy_version
        open_again = changed or self.state(
            purpose, now=now, policy_version=policy_version
        ) in (
            "expired",
            "superseded",
        )
        return open_again and now - last.at >= ASK_AGAIN_SECONDS

    def receipt(self) -> dict[str, object]:
        """All records with the length and head of the chain, as plain values."""
        records = [{"record_id": one.record_id, **one.body()} for one in self.records]
        return {
            "schema": 1,
            "length": len(records),
            "head": self.head,
            "records": records,
        }

    def _given(
        self, purpose: str, consent: Consent, occasion: Occasion, asked: bool
    ) -> Given | None:
        state = self.state(
            purpose, now=occasion.at, policy_version=occasion.policy_version
        )
        refused = state in ("denied", "withdrawn")
        if purpose == "essential":
            return _essential(consent, refused=refused, asked=asked)
        if purpose in consent.granted:
            return "granted" if state != "granted" and (asked or not refused) else None
        if state == "granted":
            return "withdrawn"
        denied = asked or purpose in consent.refused
        return "denied" if denied and not refused else None


def _essential(consent: Consent, *, refused: bool, asked: bool) -> Given | None:
    """Return the answer for `essential`: on until it is refused, then off until it is granted."""
    if "essential" in consent.refused:
        return None if refused else "denied"
    return "granted" if refused and asked and "essential" in consent.granted else None


def read_receipt(document: Mapping[str, object]) -> ConsentAnswers:
    """The answers of a receipt; raises InvalidInput naming what does not verify."""
    records = document.get("records")
    if document.get("schema") != 1 or not isinstance(records, list):
        raise InvalidInput(
            "receipt.schema", "it is no receipt of this version", "export it again"
        )
    answers = ConsentAnswers()
    for one in records:
        body = dict(one)
        claimed = body.pop("record_id", None)
        answers = answers.recorded(ConsentRecord.from_body(body))
        if answers.head != claimed:
            raise InvalidInput(
                "consent.record_id", "it is not the hash of its record", "as above"
            )
    if (document.get("length"), document.get("head")) != (len(records), answers.head):
        raise InvalidInput(
            "receipt.head", "records are missing at the end", "export it again"
        )
    return answers

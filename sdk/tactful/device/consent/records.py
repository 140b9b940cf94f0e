"""The person's answers as a hash chain of records (in the form of ISO/IEC TS 27560)."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from math import inf
from typing import Literal, get_args

from tactful.device import checks
from tactful.device.consent.purposes import PURPOSES, Consent
from tactful.errors import InvalidInput

Answer = Literal["granted", "denied", "withdrawn"]
State = Literal["unset", "granted", "denied", "withdrawn", "expired", "superseded"]
GENESIS = "0" * 64
ASK_AGAIN_SECONDS = 90 * 86_400
MOST_SECONDS = 2**40
_ANSWERS: dict[str, Answer] = {answer: answer for answer in get_args(Answer)}
_FIX = "use the receipt as it was exported"


@dataclass(frozen=True, kw_only=True)
class ConsentNotice:
    """The notice that the person was shown when they answered.

    `text` is stored as a hash only. `valid_seconds` limits a grant in time.
    `gpc_stated` is True if the person was told that Global Privacy Control is on and
    granted all the same.
    """

    text: str = ""
    locale: str = "en"
    method: str = "app"
    app_version: str = ""
    gpc_stated: bool = False
    valid_seconds: int | None = None

    def __post_init__(self) -> None:
        """Raise InvalidInput for a wrong field."""
        for name in ("text", "locale", "method", "app_version"):
            checks.text(f"shown.{name}", getattr(self, name), most=inf, empty=True)
        checks.flag("shown.gpc_stated", self.gpc_stated)
        if self.valid_seconds is not None:
            fix = "use whole seconds above 0, or None for no end"
            checks.whole(
                "shown.valid_seconds", self.valid_seconds, 1, MOST_SECONDS, fix
            )


@dataclass(frozen=True, kw_only=True)
class ConsentRecord:
    """One answer for one purpose.

    `at` and `valid_until` are in unix seconds; `previous` is the hash of the record
    before.
    """

    purpose: str
    state: Answer
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
        """Return the record that `body` describes.

        Raise InvalidInput for a wrong field.
        """
        try:
            until = body["valid_until"]
            record = cls(
                purpose=str(body["purpose"]),
                state=_ANSWERS[str(body["state"])],
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
        """Return the record as plain values, which `from_body` reads."""
        return {**vars(self), "signals_in_force": " ".join(self.signals_in_force)}

    def _require_same(self, body: Mapping[str, object]) -> None:
        """Raise InvalidInput unless `body` has the same fields, types and values."""
        expected = self.body()
        for name in sorted({*expected, *body}):
            if name not in expected or body.get(name) != expected[name]:
                raise InvalidInput(
                    f"consent.{name}", f"{body.get(name)!r} is wrong", _FIX
                )
        if self.purpose not in PURPOSES:
            raise InvalidInput(
                "consent.purpose", f"{self.purpose!r} is not a purpose", _FIX
            )

    @property
    def record_id(self) -> str:
        """The hash of the record, which the next record holds."""
        written = json.dumps(self.body(), sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(written.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Occasion:
    """The circumstances of an answer.

    It has the notice that was shown, the time in unix seconds, the policy version, and
    the names of the restrictions in force.
    """

    shown: ConsentNotice
    at: int
    policy_version: str
    in_force: tuple[str, ...] = ()

    def record(self, purpose: str, answer: Answer, previous: str) -> ConsentRecord:
        """Return the record of one answer."""
        notice = self.shown
        valid_until = None
        if answer == "granted" and notice.valid_seconds is not None:
            valid_until = self.at + notice.valid_seconds
        return ConsentRecord(
            purpose=purpose,
            state=answer,
            at=self.at,
            policy_version=self.policy_version,
            locale=notice.locale,
            shown_text_sha256=hashlib.sha256(notice.text.encode()).hexdigest(),
            method=notice.method,
            app_version=notice.app_version,
            gpc_acknowledged=notice.gpc_stated,
            signals_in_force=self.in_force,
            valid_until=valid_until,
            previous=previous,
        )


@dataclass(frozen=True)
class ConsentAnswers:
    """All answers in order; `newest` has the last record of each purpose."""

    records: tuple[ConsentRecord, ...] = ()
    newest: Mapping[str, ConsentRecord] = field(default_factory=dict)

    @property
    def head(self) -> str:
        """The hash of the last record.

        Stored separately, it reveals a truncated chain.
        """
        return self.records[-1].record_id if self.records else GENESIS

    @property
    def consent(self) -> Consent:
        """The purposes whose newest answer is a grant."""
        granted = [
            purpose
            for purpose, record in self.newest.items()
            if record.state == "granted"
        ]
        return Consent(frozenset(granted))

    def recorded(self, record: ConsentRecord) -> ConsentAnswers:
        """Return the answers with one more record.

        Raise InvalidInput if it does not follow the last one.
        """
        if record.previous != self.head:
            raise InvalidInput(
                f"consent.records.{len(self.records)}",
                "it does not follow the one before",
                "records were changed, cut or reordered; use the receipt as exported",
            )
        newest = {**self.newest, record.purpose: record}
        return ConsentAnswers((*self.records, record), newest)

    def state(self, purpose: str, *, now: int, policy_version: str) -> State:
        """Return the state of the answer for `purpose` at `now` (unix seconds)."""
        last = self.newest.get(purpose)
        if last is None:
            return "unset"
        if last.state != "granted":
            return last.state
        if last.policy_version != policy_version:
            return "superseded"
        if last.valid_until is not None and now >= last.valid_until:
            return "expired"
        return "granted"

    def states(self, *, now: int, policy_version: str) -> dict[str, State]:
        """Return the state of every purpose at `now` (unix seconds)."""
        return {
            purpose: self.state(purpose, now=now, policy_version=policy_version)
            for purpose in PURPOSES
        }

    def changes(
        self,
        consent: Consent,
        occasion: Occasion,
        purposes: Collection[str] = PURPOSES,
        *,
        asked: bool,
    ) -> list[ConsentRecord]:
        """Return the records that make `consent` the person's answer for `purposes`.

        If the person was `asked` just now, whatever is not granted is denied.
        Otherwise, refused or withdrawn purposes are not granted again, and purposes
        without an answer remain so.
        """
        answers = self
        records: list[ConsentRecord] = []
        for purpose in PURPOSES:
            if purpose not in purposes:
                continue
            answer = answers._new_answer(purpose, consent, occasion, asked)
            if answer is not None:
                record = occasion.record(purpose, answer, answers.head)
                answers = answers.recorded(record)
                records.append(record)
        return records

    def may_ask(self, purpose: str, *, now: int, policy_version: str) -> bool:
        """Return True if the app may show its question for `purpose`.

        It may not within 90 days of the last answer. After a refusal it may only if the
        policy has changed. The person may always grant.
        """
        last = self.newest.get(purpose)
        if last is None:
            return True
        state = self.state(purpose, now=now, policy_version=policy_version)
        is_new_policy = last.policy_version != policy_version
        is_open = is_new_policy or state in ("expired", "superseded")
        return is_open and now - last.at >= ASK_AGAIN_SECONDS

    def receipt(self) -> dict[str, object]:
        """Return all records with the length and head of the chain, as plain values."""
        records = [
            {"record_id": record.record_id, **record.body()} for record in self.records
        ]
        return {
            "schema": 1,
            "length": len(records),
            "head": self.head,
            "records": records,
        }

    def _new_answer(
        self, purpose: str, consent: Consent, occasion: Occasion, asked: bool
    ) -> Answer | None:
        """Return the new answer for `purpose`, None if `consent` changes nothing."""
        state = self.state(
            purpose, now=occasion.at, policy_version=occasion.policy_version
        )
        is_refused = state in ("denied", "withdrawn")
        if purpose == "essential":
            return _essential_answer(consent, is_refused=is_refused, asked=asked)
        if purpose in consent.granted:
            may_grant = state != "granted" and (asked or not is_refused)
            return "granted" if may_grant else None
        if state == "granted":
            return "withdrawn"
        is_denial = asked or purpose in consent.refused
        return "denied" if is_denial and not is_refused else None


def _essential_answer(
    consent: Consent, *, is_refused: bool, asked: bool
) -> Answer | None:
    """Return the answer for `essential`: on until refused, then off until granted."""
    if "essential" in consent.refused:
        return None if is_refused else "denied"
    may_grant = is_refused and asked and "essential" in consent.granted
    return "granted" if may_grant else None


def read_receipt(document: Mapping[str, object]) -> ConsentAnswers:
    """Return the answers of a receipt; raise InvalidInput if it does not verify."""
    records = document.get("records")
    if document.get("schema") != 1 or not isinstance(records, list):
        raise InvalidInput(
            "receipt.schema", "it is not a receipt of this version", "export it again"
        )
    answers = ConsentAnswers()
    for entry in records:
        body = dict(entry)
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

"""Evidence of one audit, parsed on first use, and the types of checks."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from functools import cached_property
from itertools import pairwise

from tactful.audit.finding import EvidenceClass
from tactful.errors import InvalidInput, ProtocolError, TactfulError
from tactful.privacy.budget import Charge, Entry, Step, parse
from tactful.privacy.mechanism import GaussianRelease, Placement, read_fraction
from tactful.protocol.documents.evidence import Evidence, OperatorClaim, PublishedKeys
from tactful.protocol.documents.model_release import ModelRelease, SignedRelease
from tactful.protocol.documents.task import SignedTask, Task
from tactful.protocol.log import transcript

LEDGER_SCHEMA = 2


class EvidenceMissing(TactfulError):
    """The evidence lacks a part that a check needs: the check is NOT-RUN."""

    def __init__(
        self,
        part: str,
        fix: str = "ask the operator for it",
        problem: str = "not in the evidence",
    ) -> None:
        """Set the message to `part`, `problem` and `fix`."""
        super().__init__(f"{part}: {problem}; {fix}")


@dataclass(frozen=True)
class CheckOutcome:
    """Outcome of a check; `holds` is None if the evidence is not sufficient."""

    holds: bool | None
    measured: str
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One check of an audit.

    A `slow` check runs in full audits only. An `optional` one may stay open, because it
    needs software or evidence of others.
    """

    id: str
    claim: str
    evidence_class: EvidenceClass
    run: Callable[[AuditCase], CheckOutcome]
    slow: bool = False
    optional: bool = False
    hazards: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class LedgerExport:
    """Ledger export of one device: its entries in order, and the signed head."""

    document: Mapping[str, object]
    entries: tuple[Entry, ...]
    signed_by: str

    @property
    def ledger_id(self) -> str:
        """The id of the ledger."""
        return str(self.document.get("ledger"))

    @property
    def charges(self) -> tuple[Charge, ...]:
        """The charges among the entries."""
        return tuple(entry for entry in self.entries if isinstance(entry, Charge))

    @property
    def steps(self) -> tuple[Step, ...]:
        """The later states of charged reports."""
        return tuple(entry for entry in self.entries if isinstance(entry, Step))

    @property
    def lines(self) -> list[str]:
        """The entries in the form in which they are hashed."""
        return [str(line) for line in _list_field(self.document, "entries")]

    @property
    def disclosures(self) -> list[Mapping[str, object]]:
        """The reports that left the device, as it recorded them."""
        disclosures = _list_field(self.document, "disclosures")
        return [entry for entry in disclosures if isinstance(entry, dict)]


@dataclass(frozen=True)
class AuditCase:
    """Evidence as the checks read it.

    A property raises EvidenceMissing if its part is missing, and another TactfulError
    if it is wrong.
    """

    evidence: Evidence

    @cached_property
    def claim(self) -> OperatorClaim:
        """The claim that is audited."""
        if self.evidence.documents.claim is None:
            raise EvidenceMissing("claim")
        return self.evidence.documents.claim

    @cached_property
    def placement(self) -> Placement:
        """The claimed placement of the noise; the aggregators if there is no claim."""
        claim = self.evidence.documents.claim
        return Placement.AGGREGATOR if claim is None else Placement(claim.placement)

    @cached_property
    def keys(self) -> PublishedKeys:
        """The operators' public keys."""
        if self.evidence.documents.keys is None:
            raise EvidenceMissing("public keys")
        return self.evidence.documents.keys

    @cached_property
    def signed_tasks(self) -> tuple[SignedTask, ...]:
        """All tasks; their signatures are not verified here."""
        return tuple(
            SignedTask.decode(text.encode()) for text in self.evidence.documents.tasks
        )

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks of the claimed model, in the order of their rounds."""
        tasks = (signed.task for signed in self.signed_tasks)
        claimed = [task for task in tasks if task.model == self.claim.model]
        if not claimed:
            raise EvidenceMissing(f"tasks of {self.claim.model!r}")
        return tuple(sorted(claimed, key=lambda task: (task.opens, task.round)))

    @cached_property
    def trainings(self) -> tuple[tuple[Task, ...], ...]:
        """The claimed tasks by training; each training begins with a round 0."""
        starts = [index for index, task in enumerate(self.tasks) if task.round == 0]
        edges = [0, *(start for start in starts if start), len(self.tasks)]
        return tuple(self.tasks[start:end] for start, end in pairwise(edges))

    @cached_property
    def events(self) -> tuple[GaussianRelease, ...]:
        """The noisy releases of the claimed tasks."""
        return tuple(task.release for task in self.tasks)

    @cached_property
    def events_rho(self) -> Fraction:
        """The exact rho of the claimed tasks, computed from their releases."""
        return sum((event.rho for event in self.events), Fraction(0))

    @property
    def rho(self) -> Fraction:
        """The claimed rho, exact."""
        return read_fraction("claim.rho", self.claim.rho)

    @cached_property
    def signed_releases(self) -> tuple[SignedRelease, ...]:
        """All model releases; their signatures are not verified here."""
        texts = self.evidence.documents.releases
        if not texts:
            raise EvidenceMissing("releases")
        return tuple(SignedRelease.decode(text.encode()) for text in texts)

    @cached_property
    def releases(self) -> tuple[ModelRelease, ...]:
        """The model releases without their signatures."""
        return tuple(signed.release for signed in self.signed_releases)

    @property
    def claimed_releases(self) -> tuple[ModelRelease, ...]:
        """The releases of the claimed model; empty if the evidence has no releases."""
        if not self.evidence.documents.releases:
            return ()
        model = self.claim.model
        return tuple(release for release in self.releases if release.model == model)

    @cached_property
    def log(self) -> tuple[transcript.LogEntry, ...]:
        """The entries of the publication log."""
        if not self.evidence.documents.log:
            raise EvidenceMissing("log")
        return tuple(transcript.parse(line) for line in self.evidence.documents.log)

    @cached_property
    def records(self) -> tuple[transcript.BatchRecord, ...]:
        """The published records of collected batches."""
        texts = self.evidence.documents.records
        if not texts:
            raise EvidenceMissing("batch records")
        return tuple(transcript.BatchRecord.parse(text) for text in texts)

    @cached_property
    def ledgers(self) -> tuple[LedgerExport, ...]:
        """The ledger exports of devices."""
        texts = self.evidence.documents.ledgers
        if not texts:
            raise EvidenceMissing("ledgers", "export one from a device")
        return tuple(_ledger_export(text) for text in texts)

    @property
    def available_ledgers(self) -> tuple[LedgerExport, ...]:
        """The ledger exports; empty if the evidence has none."""
        return self.ledgers if self.evidence.documents.ledgers else ()


def _ledger_export(text: str) -> LedgerExport:
    try:
        outer = json.loads(text)
        if set(outer) != {"document", "public_key", "signature"}:
            raise ValueError("another field")
        document = json.loads(outer["document"])
        lines = [str(line) for line in document["entries"]]
        signed_by = str(outer["public_key"])
    except (ValueError, KeyError, TypeError, RecursionError) as wrong:
        raise InvalidInput(
            "ledger", "it is not a ledger export", "export it from the device again"
        ) from wrong
    schema = document.get("schema")
    if schema != LEDGER_SCHEMA:
        raise InvalidInput(
            "ledger.schema",
            f"{schema!r} is not {LEDGER_SCHEMA}",
            "export it from the device again",
        )
    return LedgerExport(
        document={
            **document,
            "text": outer["document"],
            "signature": outer.get("signature", ""),
        },
        entries=tuple(parse(line) for line in lines),
        signed_by=signed_by,
    )


def _list_field(document: Mapping[str, object], name: str) -> list[object]:
    value = document.get(name)
    if not isinstance(value, list):
        raise InvalidInput(
            f"ledger.{name}", "it is not a list", "export it from the device again"
        )
    return value


def require(holds: bool, problem: str) -> None:
    """Raise ProtocolError with `problem`, which refutes the claim, unless `holds`."""
    if not holds:
        raise ProtocolError(problem)

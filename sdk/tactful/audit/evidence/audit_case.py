"""One audit's material, parsed when first asked for, and what one check makes of it."""

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


class NotShown(TactfulError):
    """The evidence does not hold what a check needs: it is NOT-RUN, never passed."""


@dataclass(frozen=True)
class CheckOutcome:
    """What a check found; `holds` None means that it cannot tell."""

    holds: bool | None
    measured: str
    figures: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Check:
    """One question of an audit; `slow` ones run in full audits only.

    An `optional` one, which needs what is not ours, may stay open.
    """

    id: str
    claim: str
    ground: EvidenceClass
    run: Callable[[AuditCase], CheckOutcome]
    slow: bool = False
    optional: bool = False
    hazards: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class ShownLedger:
    """One device's export: its entries in order, with the head that was signed."""

    document: Mapping[str, object]
    entries: tuple[Entry, ...]
    signed_by: str

    @property
    def charges(self) -> tuple[Charge, ...]:
        """The charges among the entries."""
        return tuple(entry for entry in self.entries if isinstance(entry, Charge))

    @property
    def steps(self) -> tuple[Step, ...]:
        """What became of reports."""
        return tuple(entry for entry in self.entries if isinstance(entry, Step))

    @property
    def lines(self) -> list[str]:
        """The entries as they are hashed."""
        return [str(line) for line in _listed(self.document, "entries")]

    @property
    def disclosures(self) -> list[Mapping[str, object]]:
        """What left the device, as it recorded it."""
        return [
            one
            for one in _listed(self.document, "disclosures")
            if isinstance(one, dict)
        ]


@dataclass(frozen=True)
class AuditCase:
    """The evidence as the checks read it; a property raises what is wrong with its part."""

    evidence: Evidence

    @cached_property
    def claim(self) -> OperatorClaim:
        """The claim that is audited."""
        if self.evidence.documents.claim is None:
            raise NotShown("no claim was shown")
        return self.evidence.documents.claim

    @cached_property
    def placement(self) -> Placement:
        """Who adds the noise, as it is claimed; each half if nothing is."""
        claim = self.evidence.documents.claim
        return Placement.AGGREGATOR if claim is None else Placement(claim.placement)

    @cached_property
    def keys(self) -> PublishedKeys:
        """The operators' public keys."""
        if self.evidence.documents.keys is None:
            raise NotShown("no keys were shown")
        return self.evidence.documents.keys

    @cached_property
    def signed_tasks(self) -> tuple[SignedTask, ...]:
        """Every task that was shown, not verified."""
        return tuple(
            SignedTask.decode(t.encode()) for t in self.evidence.documents.tasks
        )

    @cached_property
    def tasks(self) -> tuple[Task, ...]:
        """The tasks of the model that the claim is about, in the order of their rounds."""
        mine = [
            one.task for one in self.signed_tasks if one.task.model == self.claim.model
        ]
        if not mine:
            raise NotShown(f"no task of {self.claim.model!r} was shown")
        return tuple(sorted(mine, key=lambda task: (task.opens, task.round)))

    @cached_property
    def trainings(self) -> tuple[tuple[Task, ...], ...]:
        """The claimed tasks by training; each begins with a round 0."""
        starts = [place for place, task in enumerate(self.tasks) if task.round == 0]
        edges = [0, *(place for place in starts if place), len(self.tasks)]
        return tuple(self.tasks[start:end] for start, end in pairwise(edges))

    @cached_property
    def events(self) -> tuple[GaussianRelease, ...]:
        """What the claimed tasks release."""
        return tuple(task.release for task in self.tasks)

    @property
    def rho(self) -> Fraction:
        """The claimed rho, exact."""
        return read_fraction("claim.rho", self.claim.rho)

    @cached_property
    def signed_releases(self) -> tuple[SignedRelease, ...]:
        """Every release that was shown, not verified."""
        shown = self.evidence.documents.releases
        if not shown:
            raise NotShown("no release was shown")
        return tuple(SignedRelease.decode(text.encode()) for text in shown)

    @cached_property
    def releases(self) -> tuple[ModelRelease, ...]:
        """The releases without their signatures."""
        return tuple(one.release for one in self.signed_releases)

    @cached_property
    def log(self) -> tuple[transcript.LogEntry, ...]:
        """The log's entries."""
        if not self.evidence.documents.log:
            raise NotShown("no log was shown")
        return tuple(transcript.parse(line) for line in self.evidence.documents.log)

    @cached_property
    def records(self) -> tuple[transcript.BatchRecord, ...]:
        """What each batch became."""
        if not self.evidence.documents.records:
            raise NotShown("no batch was shown")
        return tuple(
            transcript.BatchRecord.parse(one) for one in self.evidence.documents.records
        )

    @cached_property
    def ledgers(self) -> tuple[ShownLedger, ...]:
        """The devices' exports."""
        shown = self.evidence.documents.ledgers
        if not shown:
            raise NotShown("no ledger was shown")
        return tuple(_ledger(text) for text in shown)


def _ledger(text: str) -> ShownLedger:
    try:
        outer = json.loads(text)
        if set(outer) != {"document", "public_key", "signature"}:
            raise ValueError("another field")
        document = json.loads(outer["document"])
        lines = [str(line) for line in document["entries"]]
        signed_by = str(outer["public_key"])
    except (ValueError, KeyError, TypeError, RecursionError) as wrong:
        raise InvalidInput(
            "ledger", "it is no export", "ask the device again"
        ) from wrong
    if document.get("schema") != 2:
        raise InvalidInput(
            "ledger.schema", f"{document.get('schema')!r} is not 2", "export again"
        )
    return ShownLedger(
        document={
            **document,
            "text": outer["document"],
            "signature": outer.get("signature", ""),
        },
        entries=tuple(parse(line) for line in lines),
        signed_by=signed_by,
    )


def _listed(document: Mapping[str, object], name: str) -> list[object]:
    found = document.get(name)
    if not isinstance(found, list):
        raise InvalidInput(f"ledger.{name}", "it is no list", "ask the device again")
    return found


def require(holds: bool, problem: str) -> None:
    """Refute a claim: raises ProtocolError with what was found instead."""
    if not holds:
        raise ProtocolError(problem)

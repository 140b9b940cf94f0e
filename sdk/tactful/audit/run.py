"""One audit from evidence to findings; a check that cannot run says so, and none is skipped."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tactful.audit.checks import (
    accounting,
    device_ledgers,
    empirical_attacks,
    mechanism,
    parameters,
    publication_log,
    refusals,
    wire_format,
)
from tactful.audit.evidence.audit_case import AuditCase, Check, CheckOutcome, NotShown
from tactful.audit.finding import EvidenceClass, Finding, Status, exit_status
from tactful.errors import TactfulError
from tactful.protocol.documents.evidence import Evidence

CHECKS: tuple[Check, ...] = (
    *parameters.CHECKS,
    *accounting.CHECKS,
    *mechanism.CHECKS,
    *empirical_attacks.CHECKS,
    *wire_format.CHECKS,
    *device_ledgers.CHECKS,
    *publication_log.CHECKS,
    *refusals.CHECKS,
)


@dataclass(frozen=True)
class Audit:
    """What was audited, how deeply, and what came out."""

    case: AuditCase
    full: bool
    findings: tuple[Finding, ...]

    @property
    def status(self) -> int:
        """0 all required checks passed, 1 something is refuted, 2 something stays open."""
        required = {
            check.id
            for check in asked(self.full)
            if check.ground is not EvidenceClass.ASSUMED and not check.optional
        }
        return exit_status(self.findings, required)

    def finding(self, name: str) -> Finding | None:
        """The finding of one check."""
        return next((one for one in self.findings if one.id == name), None)


def audit(evidence: Evidence, *, full: bool) -> Audit:
    """Run every check that a quick or a full audit asks for."""
    case = AuditCase(evidence)
    return Audit(case, full, tuple(_findings(case, asked(full))))


def asked(full: bool) -> list[Check]:
    """The checks of an audit; the slow ones only if it is full."""
    return [check for check in CHECKS if full or not check.slow]


def _findings(case: AuditCase, checks: Sequence[Check]) -> Iterator[Finding]:
    for check in checks:
        began = time.monotonic()
        status, outcome = judge(check, case)
        yield Finding(
            id=check.id,
            status=status,
            ground=check.ground,
            claim=check.claim,
            measured=printable(outcome.measured),
            seconds=time.monotonic() - began,
            hazards=check.hazards,
            figures=outcome.figures,
        )


def printable(text: str) -> str:
    """What evidence says, unable to end a line, hide a word or steer a terminal."""
    return "".join(one if one.isprintable() else f"\\x{ord(one):02x}" for one in text)


def judge(check: Check, case: AuditCase) -> tuple[Status, CheckOutcome]:
    """How one check ends; what contradicts itself or cannot be read is refuted, never passed."""
    try:
        outcome = check.run(case)
    except NotShown as absent:
        return Status.NOT_RUN, CheckOutcome(None, str(absent))
    except (TactfulError, ValueError, ArithmeticError, LookupError) as wrong:
        return Status.REFUTED, CheckOutcome(False, str(wrong) or type(wrong).__name__)
    if outcome.holds is None:
        return Status.INCONCLUSIVE, outcome
    return (Status.PASSED if outcome.holds else Status.REFUTED), outcome

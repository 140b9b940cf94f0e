"""One audit, from evidence to findings; a check that cannot run is reported as such."""

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
from tactful.audit.evidence.audit_case import (
    AuditCase,
    Check,
    CheckOutcome,
    EvidenceMissing,
)
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
    """Result of an audit; `full` is True if the slow checks ran as well."""

    case: AuditCase
    full: bool
    findings: tuple[Finding, ...]

    @property
    def status(self) -> int:
        """The exit status: 0 all required checks passed, 1 refuted, 2 open.

        A check that rests on an assumption, or is optional, is not required.
        """
        required = {
            check.id
            for check in selected_checks(self.full)
            if check.evidence_class is not EvidenceClass.ASSUMED and not check.optional
        }
        return exit_status(self.findings, required)

    def finding(self, check_id: str) -> Finding | None:
        """Return the finding of one check, or None if the check was not selected."""
        matching = (finding for finding in self.findings if finding.id == check_id)
        return next(matching, None)


def audit(evidence: Evidence, *, full: bool) -> Audit:
    """Run every check of a quick or a full audit."""
    case = AuditCase(evidence)
    return Audit(case, full, tuple(_findings(case, selected_checks(full))))


def selected_checks(full: bool) -> list[Check]:
    """Return the checks of an audit; slow checks only if it is full."""
    return [check for check in CHECKS if full or not check.slow]


def _findings(case: AuditCase, checks: Sequence[Check]) -> Iterator[Finding]:
    for check in checks:
        start = time.monotonic()
        status, outcome = run_check(check, case)
        yield Finding(
            id=check.id,
            status=status,
            evidence_class=check.evidence_class,
            claim=check.claim,
            measured=printable(outcome.measured),
            seconds=time.monotonic() - start,
            hazards=check.hazards,
            figures=outcome.figures,
        )


def printable(text: str) -> str:
    """Return `text` with every unprintable character escaped.

    Text from evidence could otherwise forge a line of the report, hide words or control
    a terminal.
    """
    return "".join(
        character if character.isprintable() else f"\\x{ord(character):02x}"
        for character in text
    )


def run_check(check: Check, case: AuditCase) -> tuple[Status, CheckOutcome]:
    """Return status and outcome of one check.

    Missing evidence gives NOT_RUN. Evidence that contradicts itself or cannot be read
    gives REFUTED, never PASSED.
    """
    try:
        outcome = check.run(case)
    except EvidenceMissing as missing:
        return Status.NOT_RUN, CheckOutcome(None, str(missing))
    except (TactfulError, ValueError, ArithmeticError, LookupError) as wrong:
        return Status.REFUTED, CheckOutcome(False, str(wrong) or type(wrong).__name__)
    if outcome.holds is None:
        return Status.INCONCLUSIVE, outcome
    return (Status.PASSED if outcome.holds else Status.REFUTED), outcome

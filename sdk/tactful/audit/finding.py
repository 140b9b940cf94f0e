"""Findings of single checks, and the exit status of an audit."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tactful.errors import InvalidInput


class EvidenceClass(StrEnum):
    """Strength of the evidence behind a passed check (docs/spec/privacy.md 4)."""

    PROVED = "PROVED"
    CROSS_CHECKED = "CROSS-CHECKED"
    NOT_REFUTED = "NOT-REFUTED"
    ASSUMED = "ASSUMED"


class Status(StrEnum):
    """Outcome of a check; only `PASSED` supports the claim."""

    PASSED = "PASS"
    REFUTED = "REFUTED"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_RUN = "NOT-RUN"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Result of one check of an audit.

    `claim` is the statement that was checked, `measured` the result in words, `figures`
    the results as numbers. `hazards` are numbers of NIST SP 800-226.
    """

    id: str
    status: Status
    evidence_class: EvidenceClass
    claim: str
    measured: str
    seconds: float = 0.0
    hazards: tuple[int, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """The evidence class of a passed check, and the status of any other."""
        return self.evidence_class if self.status is Status.PASSED else self.status


def exit_status(findings: Sequence[Finding], required: Collection[str]) -> int:
    """Return the exit status of an audit.

    0: every required check passed. 1: a claim is refuted. 2: a required check is open.
    """
    _require_unique_ids(findings)
    if any(finding.status is Status.REFUTED for finding in findings):
        return 1
    passed = {finding.id for finding in findings if finding.status is Status.PASSED}
    return 0 if passed.issuperset(required) else 2


def _require_unique_ids(findings: Sequence[Finding]) -> None:
    """Raise InvalidInput for a repeated id: a pass could hide an open check."""
    ids = [finding.id for finding in findings]
    if len(set(ids)) < len(ids):
        raise InvalidInput(
            "findings", "a check appears twice", "report each check once"
        )

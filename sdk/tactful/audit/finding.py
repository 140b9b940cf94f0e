"""What one check of an audit says, and what all of them together say to a shell."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from tactful.errors import InvalidInput


class EvidenceClass(StrEnum):
    """How strong the ground under a passed check is (privacy.md 4)."""

    PROVED = "PROVED"
    CROSS_CHECKED = "CROSS-CHECKED"
    NOT_REFUTED = "NOT-REFUTED"
    ASSUMED = "ASSUMED"


class Status(StrEnum):
    """How a check ended; only `PASSED` speaks for the claim."""

    PASSED = "PASS"
    REFUTED = "REFUTED"
    INCONCLUSIVE = "INCONCLUSIVE"
    NOT_RUN = "NOT-RUN"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line of an audit: how a check ended, on what ground, for which claim, by what measure."""

    id: str
    status: Status
    ground: EvidenceClass
    claim: str
    measured: str
    seconds: float = 0.0
    hazards: tuple[int, ...] = ()
    figures: Mapping[str, float] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """The one word a reader sees: the ground when the check passed, otherwise how it ended."""
        return self.ground if self.status is Status.PASSED else self.status


def exit_status(findings: Sequence[Finding], required: Collection[str]) -> int:
    """0: each required check passed; 1: a claim is refuted; 2: a required check is open."""
    _refuse_repeats(findings)
    if any(finding.status is Status.REFUTED for finding in findings):
        return 1
    passed = {finding.id for finding in findings if finding.status is Status.PASSED}
    return 0 if passed.issuperset(required) else 2


def _refuse_repeats(findings: Sequence[Finding]) -> None:
    ids = [finding.id for finding in findings]
    if len(set(ids)) < len(ids):
        raise InvalidInput("findings", "hold one check twice", "report each check once")

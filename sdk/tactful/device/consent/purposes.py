"""Purposes, and the consent to some of them; without an answer there is no consent."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from tactful.device import checks
from tactful.errors import ConsentMissing, InvalidInput

PURPOSES: dict[str, str] = {
    "essential": "keep to the repetition limits and quiet hours; no profile, no sharing",
    "local_profile": "remember on this device what the person likes",
    "local_personalization": "use that profile to choose what to show",
    "experiments": "take part in comparisons of two versions, counted on this device",
    "share_dp_updates": "send differentially private contributions to the shared model",
    "share_dp_metrics": "send differentially private counts about how well it works",
    "cover_traffic": "send empty encrypted reports, so that sharing is harder to see",
    "diagnostics": "keep the full trace of each decision on this device",
}
NEEDS: dict[str, str] = {
    "local_personalization": "local_profile",
    "share_dp_updates": "local_profile",
}


@dataclass(frozen=True)
class Consent:
    """The purposes that were granted and those that were refused.

    All other purposes were not answered and are not allowed. `reasons` maps a purpose
    to why it is not allowed, if that is more than a missing answer.
    """

    granted: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    reasons: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        """Raise InvalidInput for an unknown purpose."""
        for name in ("granted", "refused"):
            object.__setattr__(self, name, checks.names("consent", getattr(self, name)))
        _require_known(self.granted | self.refused)

    @classmethod
    def to(cls, *purposes: str) -> Consent:
        """Return the consent to exactly these `purposes`."""
        return cls(checks.names("consent", purposes))

    def grant(self, *purposes: str) -> Consent:
        """Return the same consent with `purposes` granted."""
        return replace(
            self,
            granted=self.granted | set(purposes),
            refused=self.refused - set(purposes),
        )

    def withdraw(self, *purposes: str) -> Consent:
        """Return the same consent with `purposes` refused."""
        return replace(
            self,
            granted=self.granted - set(purposes),
            refused=self.refused | set(purposes),
        )

    def allows(self, purpose: str) -> bool:
        """Return True if `purpose`, and the purpose that it needs, is granted.

        `essential` is allowed unless it was refused. If it was refused, nothing is
        recorded, and no purpose is allowed.
        """
        _require_known([purpose])
        if "essential" in self.refused:
            return False
        if purpose == "essential":
            return True
        if purpose not in self.granted:
            return False
        needed = NEEDS.get(purpose)
        return needed is None or self.allows(needed)

    def require(self, purpose: str) -> None:
        """Raise ConsentMissing, with the reason, unless `purpose` is allowed."""
        if self.allows(purpose):
            return
        reason = "UNSET"
        if purpose in self.granted:
            reason = f"NEEDS {NEEDS.get(purpose)}"
        raise ConsentMissing(purpose, self.reasons.get(purpose, reason))


def _require_known(purposes: Iterable[str]) -> None:
    """Raise InvalidInput for an unknown purpose."""
    for purpose in purposes:
        if purpose not in PURPOSES:
            raise InvalidInput(
                "consent",
                f"{purpose!r} is not a purpose",
                f"use one of {', '.join(PURPOSES)}",
            )

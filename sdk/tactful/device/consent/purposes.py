"""Purposes, and an agreement to some of them; silence is no."""

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
    """The purposes granted and those refused; all others were not answered, which is no.

    `reasons` tells why a purpose is not allowed, where more than silence is the reason.
    """

    granted: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    reasons: Mapping[str, str] = field(default_factory=dict, compare=False)

    def __post_init__(self) -> None:
        for name in ("granted", "refused"):
            object.__setattr__(self, name, checks.names("consent", getattr(self, name)))
        _known(self.granted | self.refused)

    @classmethod
    def to(cls, *purposes: str) -> Consent:
        """Agreement to exactly these `purposes`."""
        return cls(checks.names("consent", purposes))

    def grant(self, *purposes: str) -> Consent:
        """The same agreement with `purposes` added."""
        return replace(
            self,
            granted=self.granted | set(purposes),
            refused=self.refused - set(purposes),
        )

    def withdraw(self, *purposes: str) -> Consent:
        """The same agreement without `purposes`, which are refused."""
        return replace(
            self,
            granted=self.granted - set(purposes),
            refused=self.refused | set(purposes),
        )

    def allows(self, purpose: str) -> bool:
        """Whether `purpose`, with all it needs, was granted; `essential` unless it was refused."""
        _known([purpose])
        if "essential" in self.refused:
            return False  # nothing is to be recorded, so there is nothing to use
        needed = NEEDS.get(purpose)
        return purpose == "essential" or (
            purpose in self.granted and (needed is None or self.allows(needed))
        )

    def require(self, purpose: str) -> None:
        """Raise ConsentMissing, with the reason, unless `purpose` is allowed."""
        if not self.allows(purpose):
            lacking = (
                "UNSET"
                if purpose not in self.granted
                else f"NEEDS {NEEDS.get(purpose)}"
            )
            raise ConsentMissing(purpose, self.reasons.get(purpose, lacking))


def _known(purposes: Iterable[str]) -> None:
    for purpose in purposes:
        if purpose not in PURPOSES:
            raise InvalidInput(
                "consent",
                f"{purpose!r} is not a purpose",
                f"use one of {', '.join(PURPOSES)}",
            )

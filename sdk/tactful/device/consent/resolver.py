"""May this purpose be used now? The most restrictive voice wins; only the person can say yes."""

from __future__ import annotations

from dataclasses import dataclass

from tactful.device import checks
from tactful.device.consent.purposes import NEEDS, PURPOSES, Consent
from tactful.device.consent.records import ConsentAnswers
from tactful.device.consent.strings import denied_by_gpp, denied_by_tcf

SHARING = frozenset({"share_dp_updates", "share_dp_metrics", "cover_traffic"})
NOT_FOR_MINORS = "local_profile"
REASONS = {"denied": "USER", "withdrawn": "USER", "unset": "UNSET"}


@dataclass(frozen=True)
class Restrictions:
    """Who else may say no: the system, the browser, a consent string, the person's age.

    `os` is a restriction by operating system or device policy, `gpc` the Global Privacy Control,
    `gpp` and `tcf` the strings of IAB's frameworks as the host received them, `minor` the age
    gate. None of them can say yes. Raises InvalidInput for a string that cannot be read.
    """

    os: bool = False
    gpc: bool = False
    gpp: str | None = None
    tcf: str | None = None
    minor: bool = False

    def __post_init__(self) -> None:
        for name in ("os", "gpc", "minor"):
            checks.flag(f"restrictions.{name}", getattr(self, name))
        for name in ("gpp", "tcf"):
            told = getattr(self, name)
            fits = told is None or (isinstance(told, str) and told != "")
            checks.require(
                fits, f"restrictions.{name}", f"{told!r} is no string", "use None"
            )
        self.objection("essential", gpc_acknowledged=True)  # reads both strings

    @property
    def by_gpp(self) -> frozenset[str]:
        """The purposes that the GPP string denies."""
        return frozenset() if self.gpp is None else denied_by_gpp(self.gpp)

    @property
    def by_tcf(self) -> frozenset[str]:
        """The purposes that the TCF string denies."""
        return frozenset() if self.tcf is None else denied_by_tcf(self.tcf)

    @property
    def in_force(self) -> tuple[str, ...]:
        """The names of those that speak."""
        return tuple(name for name, value in vars(self).items() if value)

    def objection(self, purpose: str, *, gpc_acknowledged: bool) -> str | None:
        """Who denies `purpose`; a grant given after GPC was stated answers GPC alone."""
        if self.os and purpose != "essential":
            return "OS"
        if self.minor and purpose == NOT_FOR_MINORS:
            return "AGE"
        if self.gpc and purpose in SHARING and not gpc_acknowledged:
            return "GPC"
        if purpose in self.by_gpp:
            return "GPP"
        return "TCF" if purpose in self.by_tcf else None


NOBODY = Restrictions()


@dataclass(frozen=True)
class ConsentDecision:
    """Whether a purpose is allowed, and if not, why: a state, who denies it, or what it needs."""

    allowed: bool
    reason: str = ""


def resolve(
    purpose: str,
    answers: ConsentAnswers,
    restrictions: Restrictions = NOBODY,
    *,
    now: int,
    policy_version: str,
) -> ConsentDecision:
    """The verdict on `purpose` at `now` (unix seconds): granted, not denied, its need allowed."""
    essential = answers.newest.get("essential")
    if essential is not None and essential.state != "granted":
        return ConsentDecision(
            False, "USER" if purpose == "essential" else "NEEDS essential"
        )
    if purpose == "essential":
        return ConsentDecision(True)
    state = answers.state(purpose, now=now, policy_version=policy_version)
    if state != "granted":
        return ConsentDecision(False, REASONS.get(state, state.upper()))
    acknowledged = answers.newest[purpose].gpc_acknowledged
    denier = restrictions.objection(purpose, gpc_acknowledged=acknowledged)
    if denier is not None:
        return ConsentDecision(False, denier)
    needed = NEEDS.get(purpose)
    if needed is None:
        return ConsentDecision(True)
    below = resolve(
        needed, answers, restrictions, now=now, policy_version=policy_version
    )
    return below if below.allowed else ConsentDecision(False, f"NEEDS {needed}")


def effective(
    answers: ConsentAnswers,
    restrictions: Restrictions,
    *,
    now: int,
    policy_version: str,
) -> Consent:
    """What may be done now, as the rest of the device asks for it, with a reason for each no."""
    verdicts = {
        name: resolve(
            name, answers, restrictions, now=now, policy_version=policy_version
        )
        for name in PURPOSES
    }
    granted = frozenset(name for name, one in verdicts.items() if one.allowed)
    reasons = {name: one.reason for name, one in verdicts.items() if not one.allowed}
    refused = frozenset({"essential"} - granted)
    return Consent(granted, refused, reasons=reasons)

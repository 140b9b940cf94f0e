"""The decision whether a purpose is allowed now.

A purpose is allowed if the person granted it, no restriction denies it, and the purpose
that it needs is allowed. Restrictions can only deny.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tactful.device import checks
from tactful.device.consent.purposes import NEEDS, PURPOSES, Consent
from tactful.device.consent.records import ConsentAnswers, State
from tactful.device.consent.strings import denied_by_gpp, denied_by_tcf

SHARING = frozenset({"share_dp_updates", "share_dp_metrics", "cover_traffic"})
NOT_FOR_MINORS = "local_profile"
REASONS = {"denied": "USER", "withdrawn": "USER", "unset": "UNSET"}


@dataclass(frozen=True)
class Restrictions:
    """The restrictions besides the person's own answer.

    `os` is a restriction by operating system or device policy, `gpc` the Global Privacy
    Control, `gpp` and `tcf` the IAB consent strings as the host received them, `minor`
    the age gate. Raises InvalidInput for a string that cannot be read.
    """

    os: bool = False
    gpc: bool = False
    gpp: str | None = None
    tcf: str | None = None
    minor: bool = False

    def __post_init__(self) -> None:
        """Raise InvalidInput for a wrong field."""
        for name in ("os", "gpc", "minor"):
            checks.flag(f"restrictions.{name}", getattr(self, name))
        for name in ("gpp", "tcf"):
            value = getattr(self, name)
            fits = value is None or (isinstance(value, str) and value != "")
            checks.require(
                fits, f"restrictions.{name}", f"{value!r} is not a string", "use None"
            )
        # Parses both strings, so that an unreadable one raises here.
        self.objection("essential", gpc_acknowledged=True)

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
        """The names of the restrictions that are set."""
        return tuple(name for name, value in vars(self).items() if value)

    def objection(self, purpose: str, *, gpc_acknowledged: bool) -> str | None:
        """Return the code of the restriction that denies `purpose`, or None.

        `gpc_acknowledged` means that the person granted in spite of GPC; it overrides
        GPC alone.
        """
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
    """The decision for one purpose.

    If it is not allowed, `reason` is a state, a restriction, or the needed purpose.
    """

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
    """Return the decision for `purpose` at `now` (unix seconds)."""
    states = answers.states(now=now, policy_version=policy_version)
    return _decide(purpose, answers, states, restrictions)


def effective(
    answers: ConsentAnswers,
    restrictions: Restrictions,
    *,
    now: int,
    policy_version: str,
) -> Consent:
    """Return the consent in force at `now`, with a reason for each denied purpose."""
    states = answers.states(now=now, policy_version=policy_version)
    granted = set()
    reasons = {}
    for purpose in PURPOSES:
        decision = _decide(purpose, answers, states, restrictions)
        if decision.allowed:
            granted.add(purpose)
        else:
            reasons[purpose] = decision.reason
    refused = frozenset({"essential"} - granted)
    return Consent(frozenset(granted), refused, reasons=reasons)


def _decide(
    purpose: str,
    answers: ConsentAnswers,
    states: Mapping[str, State],
    restrictions: Restrictions,
) -> ConsentDecision:
    """Return the decision for `purpose` from the `states` of all answers."""
    essential = answers.newest.get("essential")
    if essential is not None and essential.state != "granted":
        reason = "USER" if purpose == "essential" else "NEEDS essential"
        return ConsentDecision(False, reason)
    if purpose == "essential":
        return ConsentDecision(True)
    state = states[purpose]
    if state != "granted":
        return ConsentDecision(False, REASONS.get(state, state.upper()))
    acknowledged = answers.newest[purpose].gpc_acknowledged
    denier = restrictions.objection(purpose, gpc_acknowledged=acknowledged)
    if denier is not None:
        return ConsentDecision(False, denier)
    needed = NEEDS.get(purpose)
    if needed is None:
        return ConsentDecision(True)
    needed_decision = _decide(needed, answers, states, restrictions)
    if needed_decision.allowed:
        return needed_decision
    return ConsentDecision(False, f"NEEDS {needed}")

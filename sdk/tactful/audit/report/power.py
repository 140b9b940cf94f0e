"""What this very audit would have caught: the chance that each known fault is seen by a check.

Computed for the sample sizes of the evidence (design/privacy.md 4.3); a dash means: cannot see it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tactful.audit.checks.empirical_attacks import ALPHA as ATTACK_ALPHA
from tactful.audit.evidence.audit_case import AuditCase
from tactful.audit.finding import Status
from tactful.audit.statistics.distributions import quantile, upper_tail
from tactful.audit.statistics.epsilon_bounds import gaussian
from tactful.audit.statistics.noise_tests import ALPHA
from tactful.privacy.accountant import epsilon_for, mu_from_rho
from tactful.privacy.mechanism import read_fraction

TRIALS = 40
CUT_DEFICIT = 0.0911  # of the variance, when a Gaussian is cut at 2.5 sigma


@dataclass(frozen=True)
class Fault:
    """A fault and what it does: to the noise's variance, or to a canary's reach."""

    name: str
    variance: float = 1.0
    reach: float = 1.0


FAULTS = (
    Fault("noise halved (sigma)", variance=0.25),
    Fault("30 % of the variance missing", variance=0.7),
    Fault("noise at 95 %", variance=0.95**2),
    Fault("tails cut at 2.5 sigma", variance=1 - CUT_DEFICIT),
    Fault("clipping skipped (5 C)", reach=5.0),
    Fault("correct code (false alarms)"),
)
CERTAIN = {
    "clipping skipped (5 C)": "C1",
    "NaN passes the clip": "C1",
    "rounding inflates": "C1",
    "float noise": "C4",
    "seed reused": "C2",
    "noise drawn again on a repeat": "H3",
    "a charge refunded": "F3",
    "an unlogged release": "G1",
    "two log heads": "G3",
}


@dataclass(frozen=True)
class Power:
    """P(seen) of one fault, by check; None where the check did not run or cannot see it."""

    fault: str
    checks: dict[str, float | None]


def table(case: AuditCase, statuses: dict[str, Status], seed: int = 0) -> list[Power]:
    """The power of this audit; `seed` only moves simulated figures within their error."""
    generator = np.random.default_rng(seed)
    rows = [
        Power(
            fault.name,
            {"C2": _by_noise(case, fault), "D1": _by_canaries(case, fault, generator)},
        )
        for fault in FAULTS
    ]
    ran = {Status.PASSED, Status.REFUTED}
    for name, check in CERTAIN.items():
        seen = 1.0 if statuses.get(check) in ran else None
        known = next((row for row in rows if row.fault == name), None)
        if known is None:
            rows.append(Power(name, {check: seen}))
        else:
            known.checks[check] = seen
    return rows


def _by_noise(case: AuditCase, fault: Fault) -> float | None:
    """The one-sided test of the variance, with as many residuals as were shown."""
    residuals = case.evidence.residuals
    if residuals is None:
        return None
    z = -quantile(ALPHA)
    gap = (1 - fault.variance) * math.sqrt(residuals.values.size / 2)
    return upper_tail((z - gap) / fault.variance)


def _by_canaries(
    case: AuditCase, fault: Fault, generator: np.random.Generator
) -> float | None:
    """The Gaussian bound on simulated scores of as many canaries as were shown."""
    shown = case.evidence.documents.canaries
    if not shown:
        return None
    one = shown[0]
    count, rho = len(one.scores), read_fraction("canaries.rho", one.rho)
    mu, claimed = mu_from_rho(rho), epsilon_for(mu_from_rho(rho), one.delta)
    seen = 0
    for _ in range(TRIALS):
        coins = generator.random(count) < 0.5
        noise = math.sqrt(fault.variance) / (mu * fault.reach)
        scores = coins + noise * generator.standard_normal(count)
        bound = gaussian(scores[coins], scores[~coins], ATTACK_ALPHA)
        seen += bound > 0 and epsilon_for(bound, one.delta) > claimed
    return seen / TRIALS


def least_deficit(residuals: int, power: float = 0.95) -> float:
    """The smallest deficit of sigma that C2 finds with this many residuals and power."""
    reach = -quantile(ALPHA) + quantile(power)
    return 1 - math.sqrt(max(1 - reach * math.sqrt(2 / residuals), 0.0))

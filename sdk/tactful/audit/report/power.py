"""Power of an audit: the probability that its checks detect known faults.

It is computed for the sample sizes of the evidence (docs/spec/privacy.md 4.3).
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
# The part of the variance that is lost if a Gaussian is truncated at 2.5 sigma.
CUT_DEFICIT = 0.0911


@dataclass(frozen=True)
class Fault:
    """A fault, as a factor of the noise variance and of the norm of a canary."""

    name: str
    variance: float = 1.0
    canary_norm: float = 1.0


FAULTS = (
    Fault("noise halved (sigma)", variance=0.25),
    Fault("30 % of the variance missing", variance=0.7),
    Fault("noise at 95 %", variance=0.95**2),
    Fault("tails cut at 2.5 sigma", variance=1 - CUT_DEFICIT),
    Fault("clipping skipped (5 C)", canary_norm=5.0),
    Fault("correct code (false alarms)"),
)
# Faults that a check detects with certainty if it runs.
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
    """Probability that each check detects a fault.

    None if the check did not run, or cannot detect the fault.
    """

    fault: str
    checks: dict[str, float | None]


def table(case: AuditCase, statuses: dict[str, Status], seed: int = 0) -> list[Power]:
    """Return the power of this audit against each fault.

    `statuses` are those of the checks by id. `seed` changes simulated figures within
    their error only.
    """
    generator = np.random.default_rng(seed)
    rows: dict[str, Power] = {}
    for fault in FAULTS:
        checks = {
            "C2": _noise_power(case, fault),
            "D1": _canary_power(case, fault, generator),
        }
        rows[fault.name] = Power(fault.name, checks)
    conclusive = {Status.PASSED, Status.REFUTED}
    for name, check_id in CERTAIN.items():
        probability = 1.0 if statuses.get(check_id) in conclusive else None
        row = rows.setdefault(name, Power(name, {}))
        row.checks[check_id] = probability
    return list(rows.values())


def _noise_power(case: AuditCase, fault: Fault) -> float | None:
    """Return the power of the one-sided variance test on the residuals.

    The sample variance of n draws is nearly normal, with a relative deviation of
    sqrt(2/n) times the true variance.
    """
    residuals = case.evidence.residuals
    if residuals is None:
        return None
    critical_z = -quantile(ALPHA)
    gap = (1 - fault.variance) * math.sqrt(residuals.values.size / 2)
    return upper_tail((critical_z - gap) / fault.variance)


def _canary_power(
    case: AuditCase, fault: Fault, generator: np.random.Generator
) -> float | None:
    """Return the power of the Gaussian bound on canaries, by simulated scores."""
    runs = case.evidence.documents.canaries
    if not runs:
        return None
    run = runs[0]
    count, mu = len(run.scores), mu_from_rho(read_fraction("canaries.rho", run.rho))
    claimed = epsilon_for(mu, run.delta)
    sigma = math.sqrt(fault.variance) / (mu * fault.canary_norm)
    detections = 0
    for _ in range(TRIALS):
        coins = generator.random(count) < 0.5
        scores = coins + sigma * generator.standard_normal(count)
        bound = gaussian(scores[coins], scores[~coins], ATTACK_ALPHA)
        detections += bound > 0 and epsilon_for(bound, run.delta) > claimed
    return detections / TRIALS


def least_deficit(residuals: int, power: float = 0.95) -> float:
    """Return the smallest relative deficit of sigma that C2 detects with `power`.

    `residuals` is the number of residuals.
    """
    z = -quantile(ALPHA) + quantile(power)
    return 1 - math.sqrt(max(1 - z * math.sqrt(2 / residuals), 0.0))

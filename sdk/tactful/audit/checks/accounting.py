"""Checks B: the numbers, recomputed by methods that share no code.

The methods are closed forms, privacy loss distributions on a grid, upper bounds from
Renyi divergences, and other libraries.
"""

from __future__ import annotations

import math
from contextlib import suppress
from fractions import Fraction

from tactful.audit.evidence.audit_case import (
    AuditCase,
    Check,
    CheckOutcome,
    EvidenceMissing,
    require,
)
from tactful.audit.finding import EvidenceClass
from tactful.privacy import accountant, pairs, rdp
from tactful.privacy.discrete_gaussian import NoiseTable
from tactful.privacy.mechanism import GaussianRelease, format_fraction

# (noise multiplier, steps, delta, epsilon) by dp-accounting 0.6.0: get_epsilon_gaussian
GAUSSIANS = (
    (0.5, 1, 1e-05, 9.997256146434315),
    (1.0, 1, 1e-05, 4.377178095681137),
    (100, 10000, 1e-08, 5.776098382890259),
)
# (epsilon, delta, sigma) by get_sigma_gaussian of dp-accounting 0.6.0
CALIBRATIONS = ((0.1, 1e-05, 30.74956613197769), (16, 1e-08, 0.4130862802704026))
# (rho, delta, epsilon) by make_zCDP_to_approxDP of OpenDP 0.16.0
CONVERSIONS = ((0.001, 1e-05, 0.15733539316121553), (5.0, 1e-10, 25.536334138513002))
# (sigma, sensitivity, steps, delta, epsilon) by dp-accounting's discrete Gaussian PLD
DISCRETE = (
    (0.5, 1, 1, 1e-05, 9.961411388026173),
    (10.0, 2, 100, 1e-08, 12.749486176597632),
)
# Largest relative difference of closed forms, and absolute difference of grids.
CLOSE, GRID = 1e-9, 5e-3
# Two grids may differ by this part of epsilon, or by GRID.
AGREED = 0.02


def compare_with_reference_values(case: AuditCase) -> CheckOutcome:
    """B1: closed forms and grid agree with values of other implementations."""
    for multiplier, steps, delta, expected in GAUSSIANS:
        epsilon = accountant.epsilon_for(math.sqrt(steps) / multiplier, delta)
        _require_close("epsilon of a Gaussian", epsilon, expected)
    for target, delta, expected in CALIBRATIONS:
        sigma = 1 / accountant.mu_for(target, delta)
        _require_close("sigma of a Gaussian", sigma, expected)
    for rho, delta, expected in CONVERSIONS:
        epsilon = accountant.epsilon_from_rho(rho, delta)
        _require_close("epsilon from rho", epsilon, expected)
    for sigma, shift, steps, delta, expected in DISCRETE:
        table = NoiseTable.of("discrete_gaussian", Fraction(sigma) ** 2)
        epsilon = pairs.additive_noise(table, shift).epsilon(delta, steps)
        require(
            abs(epsilon - expected) < GRID,
            f"epsilon of a discrete Gaussian: {epsilon} is not {expected}",
        )
    count = len(GAUSSIANS) + len(CALIBRATIONS) + len(CONVERSIONS) + len(DISCRETE)
    return CheckOutcome(True, f"{count} reference values agree")


def _require_close(quantity: str, value: float, expected: float) -> None:
    require(abs(value / expected - 1) < CLOSE, f"{quantity}: {value} is not {expected}")


def check_order_of_epsilons(case: AuditCase) -> CheckOutcome:
    """B2: exact <= grid <= conversion from rho <= Renyi bound; the claim is no less.

    The claim must be at least the smallest epsilon that is proved for its noise family.
    """
    delta, rho = case.claim.delta, case.events_rho
    mu = accountant.mu_from_rho(rho)
    exact = accountant.epsilon_for(mu, delta)
    grid = pairs.gaussian(mu).epsilon(delta)
    converted = accountant.epsilon_from_rho(rho, delta)
    ceiling = rdp.epsilon(rdp.gaussian(rho), delta)
    require(
        exact <= grid * (1 + CLOSE) <= ceiling,
        f"epsilon: {exact} (exact), {grid} (grid), {ceiling} (Renyi) are out of order",
    )
    # The Renyi bound is the same conversion at integer orders only. So it cannot be
    # smaller, but for rounding.
    require(
        grid <= converted * (1 + CLOSE) <= ceiling * (1 + 1e-6),
        f"epsilon: {grid} (grid), {converted} (from rho), {ceiling} (Renyi) are out of "
        "order",
    )
    is_rounded = all(event.family == "rounded_gaussian" for event in case.events)
    least = exact if is_rounded else converted
    require(
        case.claim.epsilon >= least * (1 - CLOSE),
        f"claim.epsilon: {case.claim.epsilon:.6f} is claimed, but no less than "
        f"{least:.6f} is proved",
    )
    figures = {"exact": exact, "pld": grid, "rho_conversion": converted, "rdp": ceiling}
    return CheckOutcome(
        True, f"{exact:.4f} <= {grid:.4f} <= {converted:.4f} <= {ceiling:.4f}", figures
    )


def recompute_rho(case: AuditCase) -> CheckOutcome:
    """B3: rho of claim, releases and charges is the exact sum over their events."""
    rho = case.events_rho
    require(
        case.rho == rho,
        f"claim.rho: {case.claim.rho[:40]} is claimed, but the tasks cost "
        f"{format_fraction(rho)[:40]}",
    )
    _check_release_costs(case)
    count = 0
    for ledger in case.available_ledgers:
        for charge in ledger.charges:
            if not charge.event:
                continue
            cost = GaussianRelease.from_event(charge.event).rho
            require(
                charge.rho == cost,
                f"ledger {ledger.ledger_id[:8]}: a charge of rho "
                f"{format_fraction(charge.rho)[:40]} is not the cost of its event",
            )
            count += 1
    return CheckOutcome(
        True, f"rho {format_fraction(rho)[:32]} and {count} charges are exact"
    )


def _check_release_costs(case: AuditCase) -> None:
    """Require that each release states the rho and epsilon that its tasks cost."""
    events = {task.id.hex(): task.release for task in case.tasks}
    for release in case.claimed_releases:
        if not events.keys() >= set(release.tasks):
            continue
        release_events = [events[task_id] for task_id in release.tasks]
        rho = sum((event.rho for event in release_events), Fraction(0))
        require(
            release.rho == format_fraction(rho),
            f"release.rho: {release.rho[:40]} is stated, but its tasks cost "
            f"{format_fraction(rho)[:40]}",
        )
        least = accountant.claim(release_events, release.delta).headline
        require(
            release.epsilon >= least * (1 - CLOSE),
            f"release.epsilon: {release.epsilon:.6f} is stated, but its tasks cost "
            f"{least:.6f}",
        )


def compare_with_other_libraries(case: AuditCase) -> CheckOutcome:
    """B4: dp-accounting and OpenDP, if installed, agree on the events of this claim."""
    delta, rho = case.claim.delta, case.events_rho
    mu = accountant.mu_from_rho(rho)
    grid = pairs.gaussian(mu).epsilon(delta)
    epsilons: dict[str, float] = {}
    with suppress(ImportError):
        epsilons["dp-accounting"] = _dp_accounting_epsilon(1 / mu, delta)
    with suppress(ImportError):
        epsilons["opendp"] = _opendp_epsilon(float(rho), delta)
    if not epsilons:
        raise EvidenceMissing(
            "dp-accounting and opendp",
            "install one of them with `pip install tactful[crosscheck]`",
            problem="not installed",
        )
    if "dp-accounting" in epsilons:
        epsilon = epsilons["dp-accounting"]
        require(
            abs(epsilon - grid) <= max(AGREED * grid, GRID),
            f"epsilon: {epsilon} by dp-accounting, {grid} here",
        )
    if "opendp" in epsilons:
        epsilon = epsilons["opendp"]
        converted = accountant.epsilon_from_rho(rho, delta)
        require(
            abs(epsilon / converted - 1) < 1e-6,
            f"epsilon from rho: {epsilon} by OpenDP, {converted} here",
        )
    others = ", ".join(f"{name} {value:.4f}" for name, value in epsilons.items())
    return CheckOutcome(True, f"{others}; tactful {grid:.4f}", epsilons)


def _dp_accounting_epsilon(sigma: float, delta: float) -> float:
    from dp_accounting.pld import privacy_loss_distribution

    loss = privacy_loss_distribution.from_gaussian_mechanism(
        sigma, value_discretization_interval=1e-4
    )
    return float(loss.get_epsilon_for_delta(delta))


def _opendp_epsilon(rho: float, delta: float) -> float:
    import opendp.prelude as dp

    dp.enable_features("contrib")
    domain = dp.vector_domain(dp.atom_domain(T=int))
    scale = math.sqrt(1 / (2 * rho))
    measurement = dp.m.make_gaussian(domain, dp.l2_distance(T=float), scale)
    return float(dp.c.make_zCDP_to_approxDP(measurement).map(1.0).epsilon(delta))


CHECKS = (
    Check(
        id="B1",
        claim="the accountant agrees with other implementations",
        evidence_class=EvidenceClass.CROSS_CHECKED,
        run=compare_with_reference_values,
        hazards=(9,),
    ),
    Check(
        id="B2",
        claim="epsilon is consistent with every method of accounting",
        evidence_class=EvidenceClass.CROSS_CHECKED,
        run=check_order_of_epsilons,
        hazards=(1,),
    ),
    Check(
        id="B3",
        claim="rho is exactly the cost of the events",
        evidence_class=EvidenceClass.PROVED,
        run=recompute_rho,
        hazards=(2,),
    ),
    Check(
        id="B4",
        claim="other libraries agree on this claim",
        evidence_class=EvidenceClass.CROSS_CHECKED,
        run=compare_with_other_libraries,
        slow=True,
        optional=True,
        hazards=(9,),
    ),
)

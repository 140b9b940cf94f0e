"""B: the numbers, by ways that share no code: closed forms, grids, ceilings, other libraries."""

from __future__ import annotations

import math
from contextlib import suppress
from fractions import Fraction

from tactful.audit.evidence.audit_case import (
    AuditCase,
    Check,
    CheckOutcome,
    NotShown,
    require,
)
from tactful.audit.finding import EvidenceClass
from tactful.privacy import accountant, pairs, rdp
from tactful.privacy.discrete_gaussian import NoiseTable
from tactful.privacy.mechanism import GaussianRelease, format_fraction

# (noise multiplier, steps, delta, epsilon) by get_epsilon_gaussian of dp-accounting 0.6.0
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
CLOSE, GRID = 1e-9, 5e-3
AGREED = 0.02  # two grids may differ by so much of epsilon, or by GRID


def references(case: AuditCase) -> CheckOutcome:
    """B1: closed forms and grid meet what other implementations print."""
    for multiplier, steps, delta, epsilon in GAUSSIANS:
        found = accountant.epsilon_for(math.sqrt(steps) / multiplier, delta)
        require(abs(found / epsilon - 1) < CLOSE, f"Gaussian: {found} for {epsilon}")
    for epsilon, delta, sigma in CALIBRATIONS:
        found = 1 / accountant.mu_for(epsilon, delta)
        require(abs(found / sigma - 1) < CLOSE, f"calibration: {found} for {sigma}")
    for rho, delta, epsilon in CONVERSIONS:
        found = accountant.epsilon_from_rho(rho, delta)
        require(
            abs(found / epsilon - 1) < CLOSE, f"rho conversion: {found} for {epsilon}"
        )
    for sigma, shift, steps, delta, epsilon in DISCRETE:
        table = NoiseTable.of("discrete_gaussian", Fraction(sigma) ** 2)
        found = pairs.additive_noise(table, shift).epsilon(delta, steps)
        require(
            abs(found - epsilon) < GRID, f"discrete Gaussian: {found} for {epsilon}"
        )
    count = len(GAUSSIANS) + len(CALIBRATIONS) + len(CONVERSIONS) + len(DISCRETE)
    return CheckOutcome(True, f"{count} reference values met")


def ordering(case: AuditCase) -> CheckOutcome:
    """B2: exact <= grid <= the conversion from rho, the Renyi ceiling; the claim is no smaller."""
    delta, rho = (
        case.claim.delta,
        sum((event.rho for event in case.events), Fraction(0)),
    )
    exact = accountant.epsilon_for(accountant.mu_from_rho(rho), delta)
    grid = pairs.gaussian(accountant.mu_from_rho(rho)).epsilon(delta)
    converted = accountant.epsilon_from_rho(rho, delta)
    ceiling = rdp.epsilon(rdp.gaussian(rho), delta)
    require(
        exact <= grid * (1 + CLOSE) <= ceiling,
        f"{exact}, {grid}, {ceiling} out of order",
    )
    require(
        grid <= converted * (1 + CLOSE) <= ceiling * (1 + 1e-6),
        "conversions out of order",
    )
    proved = all(event.family == "rounded_gaussian" for event in case.events)
    least = exact if proved else converted
    require(
        case.claim.epsilon >= least * (1 - CLOSE),
        f"epsilon {case.claim.epsilon:.6f} is claimed, {least:.6f} is the least that is proved",
    )
    figures = {"exact": exact, "pld": grid, "rho_conversion": converted, "rdp": ceiling}
    return CheckOutcome(
        True, f"{exact:.4f} <= {grid:.4f} <= {converted:.4f} <= {ceiling:.4f}", figures
    )


def stored_rho(case: AuditCase) -> CheckOutcome:
    """B3: rho recomputed from every event as fractions is what was stored, to the last digit."""
    rho = sum((event.rho for event in case.events), Fraction(0))
    require(
        case.rho == rho,
        f"{case.claim.rho[:40]} is claimed, {format_fraction(rho)[:40]} follows",
    )
    costs = {task.id.hex(): task.release for task in case.tasks}
    for release in case.releases if case.evidence.documents.releases else ():
        if release.model == case.claim.model and costs.keys() >= set(release.tasks):
            paid = [costs[task] for task in release.tasks]
            due = sum((event.rho for event in paid), Fraction(0))
            require(
                release.rho == format_fraction(due),
                "a release states another rho than its tasks cost",
            )
            least = accountant.claim(paid, release.delta).headline
            require(
                release.epsilon >= least * (1 - CLOSE),
                f"a release states epsilon {release.epsilon:.6f}, its tasks cost {least:.6f}",
            )
    count = 0
    for ledger in case.ledgers if case.evidence.documents.ledgers else ():
        for charge in ledger.charges:
            if charge.event:
                due = GaussianRelease.from_event(charge.event).rho
                require(
                    charge.rho == due,
                    "a ledger charged another rho than its event costs",
                )
                count += 1
    return CheckOutcome(
        True, f"rho {format_fraction(rho)[:32]}, and {count} charges, exact"
    )


def second_opinion(case: AuditCase) -> CheckOutcome:
    """B4: dp-accounting and OpenDP, where they are installed, on the events of this claim."""
    delta, rho = (
        case.claim.delta,
        sum((event.rho for event in case.events), Fraction(0)),
    )
    ours = pairs.gaussian(accountant.mu_from_rho(rho)).epsilon(delta)
    found: dict[str, float] = {}
    with suppress(ImportError):
        from dp_accounting.pld import privacy_loss_distribution as theirs

        scale = 1 / accountant.mu_from_rho(rho)
        loss = theirs.from_gaussian_mechanism(scale, value_discretization_interval=1e-4)
        found["dp-accounting"] = float(loss.get_epsilon_for_delta(delta))
    with suppress(ImportError):
        found["opendp"] = _opendp(float(rho), delta)
    if not found:
        raise NotShown(
            "neither dp-accounting nor opendp is installed (extra: crosscheck)"
        )
    if "dp-accounting" in found:
        gap = abs(found["dp-accounting"] - ours)
        require(
            gap <= max(AGREED * ours, GRID),
            f"dp-accounting reads {found['dp-accounting']}",
        )
    if "opendp" in found:
        converted = accountant.epsilon_from_rho(rho, delta)
        require(
            abs(found["opendp"] / converted - 1) < 1e-6,
            f"OpenDP reads {found['opendp']}",
        )
    told = ", ".join(f"{name} {value:.4f}" for name, value in found.items())
    return CheckOutcome(True, f"{told}; ours {ours:.4f}", found)


def _opendp(rho: float, delta: float) -> float:
    import opendp.prelude as dp

    dp.enable_features("contrib")
    domain = dp.vector_domain(dp.atom_domain(T=int))
    scale = math.sqrt(1 / (2 * rho))
    noisy = dp.m.make_gaussian(domain, dp.l2_distance(T=float), scale)
    return float(dp.c.make_zCDP_to_approxDP(noisy).map(1.0).epsilon(delta))


CHECKS = (
    Check(
        id="B1",
        claim="the accountant meets other implementations",
        ground=EvidenceClass.CROSS_CHECKED,
        run=references,
        hazards=(9,),
    ),
    Check(
        id="B2",
        claim="epsilon lies where every way of counting puts it",
        ground=EvidenceClass.CROSS_CHECKED,
        run=ordering,
        hazards=(1,),
    ),
    Check(
        id="B3",
        claim="rho is what the events cost, exactly",
        ground=EvidenceClass.PROVED,
        run=stored_rho,
        hazards=(2,),
    ),
    Check(
        id="B4",
        claim="other libraries agree on this claim",
        ground=EvidenceClass.CROSS_CHECKED,
        run=second_opinion,
        slow=True,
        optional=True,
        hazards=(9,),
    ),
)

"""C: the mechanism itself: what a vector can do to the sum, and what the noise really is."""

from __future__ import annotations

import math
import time
from decimal import Context, Decimal, localcontext
from fractions import Fraction

import numpy as np

from tactful.audit.checks.parameters import float_samples
from tactful.audit.evidence.audit_case import (
    AuditCase,
    Check,
    CheckOutcome,
    NotShown,
    require,
)
from tactful.audit.finding import EvidenceClass
from tactful.audit.statistics.distributions import (
    Floats,
    chi2_upper,
    correlation,
    ranks,
)
from tactful.audit.statistics.noise_tests import CHANCES, tests
from tactful.privacy import pairs
from tactful.privacy.accountant import epsilon_from_rho
from tactful.privacy.discrete_gaussian import NoiseTable, draw
from tactful.privacy.shares import NoiseShares
from tactful.protocol.documents.evidence import Residuals
from tactful.protocol.documents.task import Task

NEIGHBOURS = {
    "empty", "huge", "one hot", "dense", "subnormal", "negative zero", "overflow", "aimed",
    "nan", "infinite",
}  # fmt: skip
REFUSED = {"nan", "infinite"}
LEAST_RESIDUALS = 100_000
SAMPLER_ALPHA, TIMING_LIMIT, TIMED, RUNS = 1e-4, 0.05, 10_000, 3
FINEST = Decimal(2) ** -127  # a threshold is rounded down to 128 bits


def record_and_replay(case: AuditCase) -> CheckOutcome:
    """C1: hostile vectors move the sum no further than declared, by one path (Cebere et al. 2026).

    Noise is off and coins are frozen, so distances are exact and nothing is left to chance.
    """
    replay = case.evidence.documents.replay
    if replay is None:
        raise NotShown("no record of the device's path was shown")
    task, seen = (
        Task.parse(replay.task.encode()),
        {one.name: one for one in replay.neighbours},
    )
    missing = NEIGHBOURS - set(seen)
    if missing:
        return CheckOutcome(None, f"{', '.join(sorted(missing))} were not tried")
    bound, worst = task.release.norm_bound, 0
    paths = set()
    for one in replay.neighbours:
        if one.name in REFUSED:
            require(one.refused, f"{one.name}: it was taken, though no sum can hold it")
            continue
        require(
            not one.refused, f"{one.name}: it was refused, which tells something of it"
        )
        require(
            one.squares <= bound and one.distance2 <= bound,
            f"{one.name}: squares {one.squares} and distance^2 {one.distance2}, Delta2 is {bound}",
        )
        worst = max(worst, one.distance2)
        paths.add(one.calls)
    require(
        len(paths) == 1, "neighbours take different paths through the device's code"
    )
    return CheckOutcome(
        True,
        f"{len(seen)} neighbours, at most {worst} of {bound}",
        {
            one.name: math.sqrt(one.distance2 / bound)
            for one in replay.neighbours
            if one.calls
        },
    )


def noise_of_the_pair(case: AuditCase) -> CheckOutcome:
    """C2: the noise of whoever adds it, by ten tests at 5e-5 each: size, shape, independence."""
    residuals = case.evidence.residuals
    if residuals is None:
        raise NotShown("no residuals were shown")
    if residuals.values.dtype != np.int64:
        return CheckOutcome(
            False, "residuals are floats: they would be seen in the sum's low bits"
        )
    table = NoiseTable.of(*_law(residuals))
    if residuals.values.ndim != 3 or min(residuals.values.shape) < 2:
        return CheckOutcome(
            None, f"shape {residuals.values.shape}: not (batches, adders, coordinates)"
        )
    found = tests(residuals.values.astype(np.float64), table)
    broken = {name: p for name, p in found.items() if p < CHANCES[name]}
    told = ", ".join(f"{name} (p {p:.1e})" for name, p in broken.items())
    require(not broken, f"the noise is not what was declared: {told}")
    if residuals.values.size < LEAST_RESIDUALS:
        return CheckOutcome(
            None, f"only {residuals.values.size} residuals; {LEAST_RESIDUALS} are asked"
        )
    least = min(found.values())
    return CheckOutcome(
        True, f"{residuals.values.size:,} residuals, least p {least:.2g}", found
    )


def _law(residuals: Residuals) -> tuple[str, Fraction]:
    numerator, _, denominator = residuals.sigma2.partition("/")
    return residuals.family, Fraction(int(numerator), int(denominator or 1))


def sampler(case: AuditCase) -> CheckOutcome:
    """C3: this installation's thresholds, recomputed another way, and draws counted by them."""
    checked = 0
    for family, sigma2 in (
        ("discrete_gaussian", Fraction(25, 4)),
        ("discrete_gaussian", Fraction(900)),
    ):
        checked += _same_thresholds(family, sigma2)
    for family, sigma2 in (
        ("discrete_gaussian", Fraction(9)),
        ("rounded_gaussian", Fraction(400)),
    ):
        p = _counted(NoiseTable.of(family, sigma2), 200_000)
        require(
            p >= SAMPLER_ALPHA / 2,
            f"{family} at {sigma2}: draws do not follow it (p {p:.1e})",
        )
    return CheckOutcome(
        True, f"{checked} thresholds equal to 128 bits, 400,000 draws follow their law"
    )


def _same_thresholds(family: str, sigma2: Fraction) -> int:
    """Compare with weights e^(-k^2/2s^2) taken one by one, not by recurrence."""
    table = NoiseTable.of(family, sigma2)
    with localcontext(Context(prec=60)):
        scale = Decimal(sigma2.denominator) / Decimal(2 * sigma2.numerator)
        weights = [(-scale * k * k).exp() for k in range(-table.lowest + 1)]
        total, below = 2 * sum(weights[1:]) + weights[0], Decimal(0)
        for k in range(table.lowest, -table.lowest):
            below += weights[abs(k)]
            exact = below / total
            found = Decimal(table.threshold(k)) / Decimal(1 << 128)
            require(abs(found - exact) < FINEST, f"threshold {k} of sigma^2 {sigma2}")
    return len(weights)


def _counted(table: NoiseTable, count: int) -> float:
    """The p-value of a chi-square of draws over every value that is common enough."""
    drawn = np.bincount(
        draw(table, count) - table.lowest, minlength=-2 * table.lowest + 1
    )
    expected = table.masses() * count
    common = expected >= 10
    rest, seen = expected[~common].sum(), drawn[~common].sum()
    value = float(
        (np.square(drawn[common] - expected[common]) / expected[common]).sum()
    )
    value += float((seen - rest) ** 2 / rest) if rest > 0 else 0.0
    return chi2_upper(value, int(common.sum()))


def lattice(case: AuditCase) -> CheckOutcome:
    """C4: every released number is a whole number of levels, and no code path draws a float."""
    floats = float_samples()
    require(
        not floats, f"{floats[0] if floats else ''}: a float sample on the release path"
    )
    for record in case.records:
        total = case.evidence.sums.get(record.sum)
        if total is None:
            raise NotShown("a batch's sum was not shown")
        require(
            total.dtype == np.int64,
            "a released sum holds floats: its low bits tell neighbours",
        )
    return CheckOutcome(
        True, f"{len(case.records)} sums of whole numbers; no float is ever drawn"
    )


def timing(case: AuditCase) -> CheckOutcome:
    """C5: how long a draw takes does not follow what it is, in one of three runs at least.

    Code that waits for its noise shows in every run. Whether the ends of the table are in the cache
    is not asked here: releases draw whole vectors, and the machine's other work decides it.
    """
    follows = 1.0
    for _ in range(RUNS):
        follows = min(follows, _followed(), key=abs)
        if abs(follows) < TIMING_LIMIT:
            break
    require(
        abs(follows) < TIMING_LIMIT, f"time follows |noise|: Spearman {follows:+.3f}"
    )
    return CheckOutcome(
        True, f"Spearman {follows:+.4f} over {TIMED:,} draws", {"spearman": follows}
    )


def _followed() -> float:
    """Spearman's correlation of time and size over single draws."""
    table = NoiseTable.of("rounded_gaussian", Fraction(100**2))
    took, drawn = np.empty(TIMED), np.empty(TIMED)
    for place in range(TIMED):
        table.high.sum()  # all of it is in the cache, not just what was drawn lately
        began = time.perf_counter_ns()
        value = draw(table, 1)
        took[place] = time.perf_counter_ns() - began
        drawn[place] = abs(int(value[0]))
    return correlation(ranks(took), ranks(drawn))


def shares_of_devices(case: AuditCase) -> CheckOutcome:
    """C6: what summed shares are worth: an exact convolution stays below what is accounted."""
    told = []
    for honest in (10, 40):
        masses = NoiseTable.of("discrete_gaussian", Fraction(1)).masses()
        law: Floats = np.ones(1)
        for _ in range(honest):
            law = np.convolve(law, masses)
        exact = pairs.shifted(law, 1).epsilon(case.claim.delta)
        shares = NoiseShares(
            norm_bound=1, sigma2=Fraction(1), dimension=1, honest=honest
        )
        ceiling = epsilon_from_rho(shares.require_valid().rho, case.claim.delta)
        require(
            exact <= ceiling,
            f"{honest} shares give {exact:.4f}, {ceiling:.4f} is accounted",
        )
        told.append(f"{honest} honest: {exact:.3f} <= {ceiling:.3f}")
    return CheckOutcome(True, "; ".join(told))


CHECKS = (
    Check(
        id="C1",
        claim="no vector moves the sum further than declared, by any path",
        ground=EvidenceClass.NOT_REFUTED,
        run=record_and_replay,
    ),
    Check(
        id="C2",
        claim="noise has the declared size and shape, and is fresh with each who adds it",
        ground=EvidenceClass.NOT_REFUTED,
        run=noise_of_the_pair,
        hazards=(9,),
    ),
    Check(
        id="C3",
        claim="the sampler has the law that is accounted",
        ground=EvidenceClass.CROSS_CHECKED,
        run=sampler,
        hazards=(9,),
    ),
    Check(
        id="C4",
        claim="what is released are whole numbers, never floats",
        ground=EvidenceClass.PROVED,
        run=lattice,
        hazards=(9, 21),
    ),
    Check(
        id="C5",
        claim="time tells nothing of the noise",
        ground=EvidenceClass.NOT_REFUTED,
        run=timing,
        hazards=(21,),
    ),
    Check(
        id="C6",
        claim="noise in shares is worth what is accounted",
        ground=EvidenceClass.CROSS_CHECKED,
        run=shares_of_devices,
        slow=True,
        hazards=(20,),
    ),
)

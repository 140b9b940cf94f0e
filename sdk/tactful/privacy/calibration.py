"""Calibration of noise to a claim, and the claim that holds if noise is missing."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

from tactful.errors import InvalidInput
from tactful.privacy.accountant import (
    SIGMA2_DENOMINATOR,
    epsilon_for,
    mu_for,
    mu_from_rho,
    rho_for,
    sigma2_for,
)
from tactful.privacy.mechanism import RHO_GRID, Family, GaussianRelease, Placement
from tactful.privacy.shares import LEAST_SIGMA2

# Parts of the noise variance for which docs/spec/privacy.md 1.4 states an epsilon.
MISSING = (
    Fraction(0),
    Fraction(1, 10),
    Fraction(3, 10),
    Fraction(1, 2),
    Fraction(9, 10),
)
# Steps of the search for noise in shares, in squared levels. All steps together are at
# least 16 squared levels, where tau is below 10^-60.
STEP, STEPS = Fraction(1, 16), 256


def largest_rho(epsilon: float, delta: float, family: Family) -> float:
    """Return the largest rho of a training that claims (`epsilon`, `delta`).

    Rounded down. Rounded Gaussian noise has the curve of the Gaussian mechanism. For
    the discrete Gaussian in more than one dimension, only the conversion from rho is
    proved.
    """
    if family == "rounded_gaussian":
        return mu_for(epsilon, delta) ** 2 / 2
    return rho_for(epsilon, delta)


def noise_for(
    placement: Placement,
    *,
    norm_bound: int,
    dimension: int,
    epsilon: float,
    delta: float,
    share: float,
    honest: int,
) -> tuple[Family, Fraction]:
    """Return family and variance of the least noise for one round of a training.

    The round costs `share` of the rho that (`epsilon`, `delta`) allows. The variance,
    in squared levels, is that of each party that adds noise. `honest` is the number of
    honest devices that the claim relies on, for noise in shares. Raise InvalidInput if
    no noise suffices.
    """
    if placement == Placement.AGGREGATOR:
        return "rounded_gaussian", sigma2_for(norm_bound, mu_for(epsilon, delta), share)
    rho = Fraction(largest_rho(epsilon, delta, "discrete_gaussian")) * Fraction(share)
    counted_devices = honest if placement == Placement.DEVICES else 1
    # rho = norm_bound / (2 * total variance), solved for the variance of one device.
    ideal_sigma2 = _rounded_up(Fraction(norm_bound) / (2 * rho * counted_devices))
    if placement == Placement.LOCAL:
        return "discrete_gaussian", ideal_sigma2
    # The sum of shares costs a little more than that of one Gaussian. The search adds
    # noise until the cost, which is rounded up to RHO_GRID, fits as well.
    ideal = GaussianRelease(
        norm_bound=norm_bound,
        sigma2=max(ideal_sigma2, LEAST_SIGMA2),
        family="discrete_gaussian",
        dimension=dimension,
        placement=placement,
        n_min=honest,
    )
    allowed_rho = Fraction(math.floor(rho * RHO_GRID), RHO_GRID)
    for sigma2 in _increasing(ideal.sigma2):
        if replace(ideal, sigma2=sigma2).rho <= allowed_rho:
            return "discrete_gaussian", sigma2
    raise InvalidInput(
        "epsilon",
        f"{epsilon} is too small for noise in shares",
        "use a larger epsilon, or another placement of the noise",
    )


def epsilon_with_missing_noise(rho: Fraction, delta: float, missing: Fraction) -> float:
    """Return the Gaussian epsilon if the part `missing` of the variance is missing."""
    if not 0 <= missing < 1:
        raise InvalidInput(
            "missing", f"{missing} is not in [0, 1)", "use a part of the variance"
        )
    return epsilon_for(mu_from_rho(rho / (1 - missing)), delta)


def _increasing(sigma2: Fraction) -> Iterator[Fraction]:
    """Yield variances from `sigma2` up.

    They grow by the larger of a sixteenth of a squared level and 1/4096 of `sigma2`.
    """
    step = max(STEP, sigma2 / 4096)
    return (_rounded_up(sigma2 + number * step) for number in range(STEPS))


def _rounded_up(sigma2: Fraction) -> Fraction:
    return Fraction(math.ceil(sigma2 * SIGMA2_DENOMINATOR), SIGMA2_DENOMINATOR)

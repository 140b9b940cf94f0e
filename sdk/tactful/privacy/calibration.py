"""How much noise a claim needs, and what is left of the claim when noise is missing."""

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

MISSING = (
    Fraction(0),
    Fraction(1, 10),
    Fraction(3, 10),
    Fraction(1, 2),
    Fraction(9, 10),
)
STEP, STEPS = (
    Fraction(1, 16),
    256,
)  # squared levels; after 16 of them tau is below 10^-60


def rho_within(epsilon: float, delta: float, family: Family) -> float:
    """The most rho that a training may cost which claims (`epsilon`, `delta`), rounded down.

    Rounded Gaussian noise has the Gaussian's own curve; of the discrete Gaussian only the
    conversion from rho is proved in more than one dimension.
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
    """The least noise of whoever adds it, with which one round costs `share` of a training's rho.

    `honest` is how many honest devices the claim rests on, for noise in shares. The variance is in
    squared levels. Raises InvalidInput.
    """
    if placement == Placement.AGGREGATOR:
        return "rounded_gaussian", sigma2_for(norm_bound, mu_for(epsilon, delta), share)
    allowed = Fraction(rho_within(epsilon, delta, "discrete_gaussian")) * Fraction(
        share
    )
    adders = honest if placement == Placement.DEVICES else 1
    exact = _up(Fraction(norm_bound) / (2 * allowed * adders))
    if placement == Placement.LOCAL:
        return "discrete_gaussian", exact
    priced = GaussianRelease(
        norm_bound=norm_bound,
        sigma2=max(exact, LEAST_SIGMA2),
        family="discrete_gaussian",
        dimension=dimension,
        placement=placement,
        n_min=honest,
    )
    allowed = Fraction(math.floor(allowed * RHO_GRID), RHO_GRID)
    for sigma2 in _growing(priced.sigma2):
        if replace(priced, sigma2=sigma2).rho <= allowed:
            return "discrete_gaussian", sigma2
    raise InvalidInput(
        "epsilon", f"{epsilon} costs less than is resolved", "claim a larger one"
    )


def epsilon_missing(rho: Fraction, delta: float, missing: Fraction) -> float:
    """The Gaussian epsilon when this part of the noise's variance is not there."""
    if not 0 <= missing < 1:
        raise InvalidInput(
            "missing", f"{missing} is not in [0, 1)", "some noise must be left"
        )
    return epsilon_for(mu_from_rho(rho / (1 - missing)), delta)


def _growing(sigma2: Fraction) -> Iterator[Fraction]:
    """From `sigma2` up, by a sixteenth of a squared level or a 4,096th of it."""
    return (_up(sigma2 + step * max(STEP, sigma2 / 4096)) for step in range(STEPS))


def _up(sigma2: Fraction) -> Fraction:
    return Fraction(math.ceil(sigma2 * SIGMA2_DENOMINATOR), SIGMA2_DENOMINATOR)

"""From noise to claims: rho adds exactly, mu composes, epsilon is computed for display.

Sources: Balle, Wang 2018 (Theorem 8) and Dong, Roth, Su 2022 (Corollary 1) for mu;
Canonne, Kamath, Steinke 2020 (Proposition 7) for the conversion from rho.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from tactful.errors import InvalidInput
from tactful.privacy.mechanism import (
    Adjacency,
    Family,
    GaussianRelease,
    Placement,
    PrivacyUnit,
)

SIGMA2_DENOMINATOR = (
    1 << 16
)  # fine enough to waste < 1e-4 of the budget from sigma 0.5 up
LEAST_MU, MOST_MU = 1e-9, 1e6
MEANINGFUL = 40.0  # epsilon; the sampled noise costs delta < 1e-11 up to here


@dataclass(frozen=True, kw_only=True)
class PrivacyClaim:
    """What a training promises; `epsilon` is the Gaussian number and `class_` how sure it is.

    `rho` is the exact sum of all releases. `epsilon_rho` is proved for both families.
    """

    rho: Fraction
    mu: float
    epsilon: float
    epsilon_rho: float
    epsilon_replace_one: float
    delta: float
    family: Family
    adjacency: Adjacency
    unit: PrivacyUnit
    class_: Literal["PROVED", "CROSS-CHECKED"]

    @property
    def headline(self) -> float:
        """The smallest epsilon that is proved."""
        return self.epsilon if self.class_ == "PROVED" else self.epsilon_rho


def claim(releases: Sequence[GaussianRelease], delta: float) -> PrivacyClaim:
    """The claim of all `releases` together, chosen adaptively or not.

    Raises InvalidInput if there are none, or if they differ in adjacency or unit.
    """
    _checked_delta(delta)
    adjacency, unit = _shared_terms(releases)
    rho = sum((release.rho for release in releases), Fraction(0))
    proved = all(release.family == "rounded_gaussian" for release in releases)
    swapped = rho * (4 if adjacency == Adjacency.ZERO_OUT else 1)
    return PrivacyClaim(
        rho=rho,
        mu=mu_from_rho(rho),
        epsilon=_epsilon_of(releases, rho, delta),
        epsilon_rho=epsilon_from_rho(rho, delta),
        epsilon_replace_one=_epsilon_of(releases, swapped, delta),
        delta=delta,
        family="rounded_gaussian" if proved else "discrete_gaussian",
        adjacency=adjacency,
        unit=unit,
        class_="PROVED" if proved else "CROSS-CHECKED",
    )


def mu_from_rho(rho: Fraction) -> float:
    """The Gaussian parameter of releases that cost `rho` together: sqrt(2 rho)."""
    return math.sqrt(2 * rho)


def sigma2_for(norm_bound2: int, mu: float, share: float) -> Fraction:
    """The variance, in squared levels, at which one release uses `share` of mu^2.

    Rounded up, so that the claim holds; the denominator is a power of two.
    """
    if not (0 < share <= 1):
        raise InvalidInput(
            "share", f"{share!r} is not in (0, 1]", "use a share of the budget"
        )
    _checked("mu", mu)
    exact = norm_bound2 / (Fraction(mu) ** 2 * Fraction(share))
    return Fraction(math.ceil(exact * SIGMA2_DENOMINATOR), SIGMA2_DENOMINATOR)


def delta_for(mu: float, epsilon: float) -> float:
    """The delta at which a mechanism of Gaussian parameter `mu` has this `epsilon` >= 0."""
    _checked("mu", mu)
    if not (math.isfinite(epsilon) and epsilon >= 0):
        raise InvalidInput(
            "epsilon", f"{epsilon!r} is not >= 0", "use a finite number >= 0"
        )
    return math.exp(_log_delta(mu, epsilon))


def epsilon_for(mu: float, delta: float) -> float:
    """The smallest epsilon >= 0 that `mu` reaches at `delta`, rounded up."""
    _checked("mu", mu)
    _checked_delta(delta)
    target = math.log(delta)
    if _log_delta(mu, 0.0) <= target:
        return 0.0
    ceiling = mu * mu / 2 + mu * math.sqrt(-2 * target) + 1
    return _bisect(lambda epsilon: _log_delta(mu, epsilon) > target, 0.0, ceiling)[1]


def mu_for(epsilon: float, delta: float) -> float:
    """The largest mu that keeps (epsilon, delta), rounded down."""
    _checked("epsilon", epsilon)
    _checked_delta(delta)
    target = math.log(delta)
    return _bisect(lambda mu: _log_delta(mu, epsilon) <= target, LEAST_MU, MOST_MU)[0]


def rho_for(epsilon: float, delta: float) -> float:
    """The largest rho from which (epsilon, delta) follows by the conversion, rounded down."""
    _checked("epsilon", epsilon)
    _checked_delta(delta)
    least, most = LEAST_MU**2 / 2, MOST_MU**2 / 2
    return _bisect(lambda rho: epsilon_from_rho(rho, delta) <= epsilon, least, most)[0]


def epsilon_from_rho(rho: Fraction | float, delta: float) -> float:
    """The epsilon that rho-zCDP implies at `delta`, by the best order alpha."""
    _checked("rho", float(rho))
    _checked_delta(delta)
    cost, target = float(rho), -math.log(delta)
    alpha = _bisect(  # the only zero of the derivative in alpha
        lambda order: cost * (order - 1) ** 2 < target - math.log(order),
        1.0,
        1 + math.sqrt(target / cost),
    )[1]
    epsilon = (
        alpha * cost + math.log1p(-1 / alpha) + (target - math.log(alpha)) / (alpha - 1)
    )
    return max(epsilon, 0.0)


def _epsilon_of(
    releases: Sequence[GaussianRelease], rho: Fraction, delta: float
) -> float:
    """The Gaussian epsilon, with the distance of the sampled noise taken off delta first.

    Beyond MEANINGFUL no claim protects anybody, and the distance is left out.
    """
    mu = mu_from_rho(rho)
    epsilon = epsilon_for(mu, delta)
    if epsilon > MEANINGFUL:
        return epsilon
    slack = (1 + math.exp(epsilon)) * sum(_draw_distance(one) for one in releases)
    if slack >= delta:
        raise InvalidInput(
            "delta", f"{delta!r} is below what sampling resolves", "raise delta"
        )
    return epsilon_for(mu, delta - slack)


def _draw_distance(release: GaussianRelease) -> float:
    """How far all draws of a release are from the true law (design/privacy.md 1.3)."""
    entries = 28 * math.sqrt(release.sigma2) + 7
    adders = release.n_min if release.placement == Placement.DEVICES else 1
    return adders * release.dimension * (entries * 2.0**-128 + 2.0**-140)


def _log_delta(mu: float, epsilon: float) -> float:
    """log of Phi(mu/2 - eps/mu) - e^eps Phi(-mu/2 - eps/mu), which cannot underflow.

    Both terms share the density at the first point, so their difference is that of two
    Mills ratios.
    """
    near, far = epsilon / mu - mu / 2, epsilon / mu + mu / 2
    log_near, log_far = _log_mills(near), _log_mills(far)
    difference = -math.expm1(log_far - log_near)
    if difference <= 0:
        return -math.inf
    return log_near + math.log(difference) - near * near / 2 - math.log(2 * math.pi) / 2


def _log_mills(point: float) -> float:
    """log of (1 - Phi(x)) / phi(x)."""
    if point < 8:
        tail = math.erfc(point / math.sqrt(2)) / 2
        return math.log(tail) + point * point / 2 + math.log(2 * math.pi) / 2
    denominator = point
    for term in range(
        60, 0, -1
    ):  # Laplace's continued fraction; 60 terms suffice from 8 on
        denominator = point + term / denominator
    return -math.log(denominator)


def _bisect(
    holds: Callable[[float], bool], low: float, high: float
) -> tuple[float, float]:
    """The neighbouring floats between which `holds` turns from true (at `low`) to false."""
    while low < (middle := low + (high - low) / 2) < high:
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low, high


def _shared_terms(releases: Sequence[GaussianRelease]) -> tuple[Adjacency, PrivacyUnit]:
    terms = {(release.adjacency, release.unit) for release in releases}
    if len(terms) != 1:
        raise InvalidInput(
            "releases",
            f"{len(terms)} kinds of neighbours in one claim",
            "claim each kind alone",
        )
    return terms.pop()


def _checked(field: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InvalidInput(
            field, f"{value!r} is not above 0", "use a finite number above 0"
        )


def _checked_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise InvalidInput(
            "delta", f"{delta!r} is not in (0, 1)", "use 1e-6, or 1/(10 devices)"
        )

"""Privacy accountant: from Gaussian releases to rho, mu and epsilon.

rho (zCDP) of several releases adds exactly, as fractions. mu (Gaussian DP) follows from
it as sqrt(2 rho). epsilon is computed from mu or rho, rounded up, and never added.

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

# Rounding sigma^2 up to this denominator wastes less than 1e-4 of the budget, for sigma
# of 0.5 and above.
SIGMA2_DENOMINATOR = 1 << 16
LEAST_MU, MOST_MU = 1e-9, 1e6
# The largest epsilon that is still meaningful. Up to here the distance of the sampled
# noise from its law costs a delta below 1e-11.
MEANINGFUL = 40.0


@dataclass(frozen=True, kw_only=True)
class PrivacyClaim:
    """Privacy guarantee of a training.

    `rho` is the exact sum of all releases, `mu` the Gaussian parameter that follows
    from it. `epsilon` is read from the curve of the Gaussian mechanism at `delta`, and
    `class_` says how well that is established. `epsilon_rho` follows from rho alone and
    is proved for both families. `epsilon_replace_one` is for adjacency replace-one.
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
    """Return the joint claim of all `releases`, chosen adaptively or not.

    Raise InvalidInput if `releases` is empty, or if they differ in adjacency or unit.
    """
    _require_delta(delta)
    adjacency, unit = _shared_terms(releases)
    rho = sum((release.rho for release in releases), Fraction(0))
    is_rounded = all(release.family == "rounded_gaussian" for release in releases)
    # Replacing a contribution moves the sum by up to twice as far as zeroing it out.
    # rho is quadratic in that distance.
    rho_replace_one = rho * (4 if adjacency == Adjacency.ZERO_OUT else 1)
    return PrivacyClaim(
        rho=rho,
        mu=mu_from_rho(rho),
        epsilon=_epsilon_of(releases, rho, delta),
        epsilon_rho=epsilon_from_rho(rho, delta),
        epsilon_replace_one=_epsilon_of(releases, rho_replace_one, delta),
        delta=delta,
        family="rounded_gaussian" if is_rounded else "discrete_gaussian",
        adjacency=adjacency,
        unit=unit,
        class_="PROVED" if is_rounded else "CROSS-CHECKED",
    )


def mu_from_rho(rho: Fraction) -> float:
    """Return the Gaussian parameter mu of releases that cost `rho`: sqrt(2 rho)."""
    return math.sqrt(2 * rho)


def sigma2_for(norm_bound2: int, mu: float, share: float) -> Fraction:
    """Return the variance at which one release uses `share` of mu^2.

    `norm_bound2` is the squared sensitivity; it and the result are in squared levels.
    The variance is rounded up, so that the claim holds; the denominator is a power of
    two.
    """
    if not (0 < share <= 1):
        raise InvalidInput(
            "share", f"{share!r} is not in (0, 1]", "use a share of the budget"
        )
    _require_positive("mu", mu)
    exact = norm_bound2 / (Fraction(mu) ** 2 * Fraction(share))
    return Fraction(math.ceil(exact * SIGMA2_DENOMINATOR), SIGMA2_DENOMINATOR)


def delta_for(mu: float, epsilon: float) -> float:
    """Return the delta of Gaussian parameter `mu` at `epsilon` >= 0."""
    _require_positive("mu", mu)
    if not (math.isfinite(epsilon) and epsilon >= 0):
        raise InvalidInput(
            "epsilon", f"{epsilon!r} is not >= 0", "use a finite number >= 0"
        )
    return math.exp(_log_delta(mu, epsilon))


def epsilon_for(mu: float, delta: float) -> float:
    """Return the smallest epsilon >= 0 that `mu` reaches at `delta`, rounded up."""
    _require_positive("mu", mu)
    _require_delta(delta)
    log_delta = math.log(delta)
    if _log_delta(mu, 0.0) <= log_delta:
        return 0.0
    # The standard tail bound of the Gaussian's privacy loss, plus one for safety.
    ceiling = mu * mu / 2 + mu * math.sqrt(-2 * log_delta) + 1

    def exceeds(epsilon: float) -> bool:
        return _log_delta(mu, epsilon) > log_delta

    _, epsilon = _bisect(exceeds, 0.0, ceiling)
    return epsilon


def mu_for(epsilon: float, delta: float) -> float:
    """Return the largest mu that satisfies (`epsilon`, `delta`), rounded down."""
    _require_positive("epsilon", epsilon)
    _require_delta(delta)
    log_delta = math.log(delta)
    mu, _ = _bisect(lambda mu: _log_delta(mu, epsilon) <= log_delta, LEAST_MU, MOST_MU)
    return mu


def rho_for(epsilon: float, delta: float) -> float:
    """Return the largest rho that converts to (`epsilon`, `delta`), rounded down."""
    _require_positive("epsilon", epsilon)
    _require_delta(delta)
    least, most = LEAST_MU**2 / 2, MOST_MU**2 / 2
    rho, _ = _bisect(lambda rho: epsilon_from_rho(rho, delta) <= epsilon, least, most)
    return rho


def epsilon_from_rho(rho: Fraction | float, delta: float) -> float:
    """Return the epsilon that rho-zCDP implies at `delta`, by the best order alpha."""
    cost = float(rho)
    _require_positive("rho", cost)
    _require_delta(delta)
    log_inverse_delta = -math.log(delta)

    # The derivative of the bound in alpha has one zero: where this turns false.
    def is_below_best(order: float) -> bool:
        return cost * (order - 1) ** 2 < log_inverse_delta - math.log(order)

    _, alpha = _bisect(is_below_best, 1.0, 1 + math.sqrt(log_inverse_delta / cost))
    epsilon = (
        alpha * cost
        + math.log1p(-1 / alpha)
        + (log_inverse_delta - math.log(alpha)) / (alpha - 1)
    )
    return max(epsilon, 0.0)


def _epsilon_of(
    releases: Sequence[GaussianRelease], rho: Fraction, delta: float
) -> float:
    """Return the Gaussian epsilon, less the sampler's inaccuracy in delta.

    A sampled law within total variation tau of the true one satisfies
    (epsilon, delta + (1 + e^epsilon) tau) if the true one satisfies (epsilon, delta).
    Above MEANINGFUL no claim protects anybody, and tau is left out.
    """
    mu = mu_from_rho(rho)
    epsilon = epsilon_for(mu, delta)
    if epsilon > MEANINGFUL:
        return epsilon
    distance = sum(_sampling_distance(release) for release in releases)
    slack = (1 + math.exp(epsilon)) * distance
    if slack >= delta:
        raise InvalidInput(
            "delta", f"{delta!r} is below what sampling resolves", "raise delta"
        )
    return epsilon_for(mu, delta - slack)


def _sampling_distance(release: GaussianRelease) -> float:
    """Return how far all draws of a release are from their true law.

    The distance is in total variation: one unit of 2^-128 for each table entry, and
    2^-140 for the cut tails (docs/spec/privacy.md 1.3).
    """
    entries = 28 * math.sqrt(release.sigma2) + 7
    noise_sources = release.n_min if release.placement == Placement.DEVICES else 1
    return noise_sources * release.dimension * (entries * 2.0**-128 + 2.0**-140)


def _log_delta(mu: float, epsilon: float) -> float:
    """Return log of Phi(mu/2 - eps/mu) - e^eps Phi(-mu/2 - eps/mu).

    Both terms share the density at the first point, so their difference is that of two
    Mills ratios times this density. In this form nothing underflows.
    """
    near = epsilon / mu - mu / 2
    far = epsilon / mu + mu / 2
    log_near, log_far = _log_mills(near), _log_mills(far)
    difference = -math.expm1(log_far - log_near)
    if difference <= 0:
        return -math.inf
    return log_near + math.log(difference) - near * near / 2 - math.log(2 * math.pi) / 2


def _log_mills(point: float) -> float:
    """Return the log of the Mills ratio (1 - Phi(x)) / phi(x)."""
    if point < 8:
        tail = math.erfc(point / math.sqrt(2)) / 2
        return math.log(tail) + point * point / 2 + math.log(2 * math.pi) / 2
    # Laplace's continued fraction, from the inside out; 60 terms suffice from 8 on.
    denominator = point
    for term in range(60, 0, -1):
        denominator = point + term / denominator
    return -math.log(denominator)


def _bisect(
    holds: Callable[[float], bool], low: float, high: float
) -> tuple[float, float]:
    """Return the neighbouring floats between which `holds` turns from true to false.

    `holds` must be true at `low`.
    """
    while low < (middle := low + (high - low) / 2) < high:
        if holds(middle):
            low = middle
        else:
            high = middle
    return low, high


def _shared_terms(releases: Sequence[GaussianRelease]) -> tuple[Adjacency, PrivacyUnit]:
    terms = {(release.adjacency, release.unit) for release in releases}
    if len(terms) != 1:
        raise InvalidInput(
            "releases",
            f"{len(terms)} pairs of adjacency and unit in one claim",
            "make one claim for each pair",
        )
    return terms.pop()


def _require_positive(field: str, value: float) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InvalidInput(
            field, f"{value!r} is not above 0", "use a finite number above 0"
        )


def _require_delta(delta: float) -> None:
    if not 0 < delta < 1:
        raise InvalidInput(
            "delta", f"{delta!r} is not in (0, 1)", "use 1e-6, or 1/(10 devices)"
        )

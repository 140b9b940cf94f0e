"""Dominating pairs of mechanisms, as privacy loss distributions of one step.

Sources: Balle, Wang 2018 for Gaussians; Zhu, Dong, Wang 2022 (Theorem 11) for sampled
ones.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful.privacy.discrete_gaussian import NoiseTable
from tactful.privacy.pld import INTERVAL, PrivacyLoss

Floats = NDArray[np.float64]


def gaussian(mu: float, interval: float = INTERVAL) -> PrivacyLoss:
    """Return the loss of N(0, 1) against N(`mu`, 1)."""
    _require_positive("mu", mu)

    def curve(epsilons: Floats) -> Floats:
        return gaussian_delta(mu, epsilons)

    return PrivacyLoss.of_curves(curve, curve, interval)


def sampled_gaussian(
    mu: float, rate: float, interval: float = INTERVAL
) -> tuple[PrivacyLoss, PrivacyLoss]:
    """Return the losses (removed, added) of a Poisson-sampled Gaussian.

    Each device takes part with probability `rate`. Compose both directions separately
    and use the larger epsilon.
    """
    _require_positive("mu", mu)
    _require_rate(rate)

    def removed(epsilons: Floats) -> Floats:
        return rate * gaussian_delta(mu, np.log1p(np.expm1(epsilons) / rate))

    def added(epsilons: Floats) -> Floats:
        # The loss of this direction is at most -log(1 - rate); beyond, delta is 0.
        factor = 1 - np.exp(epsilons) * (1 - rate)
        positive = factor > 0
        scaled = epsilons[positive] + math.log(rate) - np.log(factor[positive])
        deltas = np.zeros_like(epsilons)
        deltas[positive] = factor[positive] * gaussian_delta(mu, scaled)
        return deltas

    return (
        PrivacyLoss.of_curves(removed, added, interval),
        PrivacyLoss.of_curves(added, removed, interval),
    )


def fixed_size_gaussian(
    mu: float, rate: float, interval: float = INTERVAL
) -> PrivacyLoss:
    """Return the loss of a Gaussian on a batch of fixed size, with one device replaced.

    `mu` is that of the replacement, 2C/s. The pair is (1-q) N(0, s^2) + q N(2C, s^2)
    against N(0, s^2), made symmetric. The pair of Poisson sampling does not apply here:
    its epsilon is smaller (Lebeda et al. 2024).
    """
    _require_positive("mu", mu)
    _require_rate(rate)

    def curve(epsilons: Floats) -> Floats:
        return rate * gaussian_delta(mu, np.log1p(np.expm1(epsilons) / rate))

    return PrivacyLoss.of_curves(curve, curve, interval)


def additive_noise(
    table: NoiseTable, shift: int, interval: float = INTERVAL
) -> PrivacyLoss:
    """Return the loss of a noise table, with a sensitivity of `shift` levels.

    The noise is added to one integer.
    """
    return shifted(table.masses(), shift, interval)


def shifted(masses: Floats, shift: int, interval: float = INTERVAL) -> PrivacyLoss:
    """Return the loss of a law on consecutive integers against itself plus `shift`."""
    if shift < 1:
        raise InvalidInput(
            "shift", f"{shift!r} is below 1", "use the sensitivity in levels"
        )
    first = np.concatenate([masses, np.zeros(shift)])
    second = np.concatenate([np.zeros(shift), masses])
    return finite(first, second, interval)


def finite(first: Floats, second: Floats, interval: float = INTERVAL) -> PrivacyLoss:
    """Return the loss of two laws on the same finite set."""
    forward, backward = _HockeyStick(first, second), _HockeyStick(second, first)
    return PrivacyLoss.of_curves(forward, backward, interval)


class _HockeyStick:
    """Hockey-stick divergence of two finite laws P and Q, as a function of epsilon.

    delta(epsilon) is the sum of P - e^epsilon Q over the outcomes with a loss
    log(P/Q) above epsilon. Sorted by loss, these are sums over the end of an array.
    """

    def __init__(self, first: Floats, second: Floats) -> None:
        support = first > 0
        first, second = first[support], second[support]
        with np.errstate(divide="ignore"):
            losses = np.log(first) - np.log(second)
        order = np.argsort(losses)
        self._losses = losses[order]
        self._first_tails = np.append(np.cumsum(first[order][::-1])[::-1], 0.0)
        self._second_tails = np.append(np.cumsum(second[order][::-1])[::-1], 0.0)

    def __call__(self, epsilons: Floats) -> Floats:
        """Return the delta at each of `epsilons`."""
        positions = np.searchsorted(self._losses, epsilons, side="right")
        second_tails = self._second_tails[positions]
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = np.where(second_tails > 0, np.exp(epsilons) * second_tails, 0.0)
        deltas: Floats = np.clip(self._first_tails[positions] - scaled, 0.0, 1.0)
        return deltas


def gaussian_delta(mu: float, epsilons: Floats) -> Floats:
    """Return Phi(mu/2 - eps/mu) - e^eps Phi(-mu/2 - eps/mu), for any real epsilon.

    Both terms share the density at the first point. Where both are small, the result is
    this density times a difference of Mills ratios, so that nothing cancels.
    """
    near, far = epsilons / mu - mu / 2, epsilons / mu + mu / 2
    density = np.exp(-np.square(near) / 2) / math.sqrt(2 * math.pi)
    # At -5 and below, the first term is within 3e-7 of 1, and nothing cancels.
    in_tail = near > -5
    deltas = np.empty_like(epsilons)
    mills_difference = _mills(near[in_tail]) - _mills(far[in_tail])
    deltas[in_tail] = density[in_tail] * mills_difference
    outside = ~in_tail
    growth = np.exp(np.minimum(epsilons[outside], 700))
    deltas[outside] = _upper_tail(near[outside]) - growth * _upper_tail(far[outside])
    clipped: Floats = np.clip(deltas, 0.0, 1.0)
    return clipped


def _upper_tail(points: Floats) -> Floats:
    scaled = (points / math.sqrt(2)).tolist()
    return np.fromiter((math.erfc(point) for point in scaled), float) / 2


def _mills(points: Floats) -> Floats:
    """Return the Mills ratio (1 - Phi(x)) / phi(x).

    By erfc below 8, by Laplace's continued fraction from 8 on.
    """
    ratios = np.empty_like(points)
    near = points < 8
    ratios[near] = _upper_tail(points[near]) * np.exp(np.square(points[near]) / 2)
    ratios[near] *= math.sqrt(2 * math.pi)
    far = points[~near]
    denominator = far.copy()
    for term in range(60, 0, -1):
        denominator = far + term / denominator
    ratios[~near] = 1 / denominator
    return ratios


def _require_positive(field: str, value: float | Fraction) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InvalidInput(
            field, f"{value!r} is not above 0", "use a finite number above 0"
        )


def _require_rate(rate: float) -> None:
    if not 0 < rate < 1:
        raise InvalidInput(
            "rate", f"{rate!r} is not in (0, 1)", "use the chance to take part"
        )

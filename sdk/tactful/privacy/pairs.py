"""The worst pair of neighbours of each mechanism, as the privacy loss of one step.

Sources: Balle, Wang 2018 for Gaussians; Zhu, Dong, Wang 2022 (Theorem 11) for sampled ones.
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
    """N(0, 1) against N(mu, 1)."""
    _positive("mu", mu)

    def curve(epsilons: Floats) -> Floats:
        return gaussian_delta(mu, epsilons)

    return PrivacyLoss.of_curves(curve, curve, interval)


def sampled_gaussian(
    mu: float, rate: float, interval: float = INTERVAL
) -> tuple[PrivacyLoss, PrivacyLoss]:
    """A Gaussian on a batch that each device joined by its own coin: (removed, added).

    Both directions must be composed on their own; the larger epsilon counts.
    """
    _positive("mu", mu)
    _rate(rate)

    def removed(epsilons: Floats) -> Floats:
        return rate * gaussian_delta(mu, np.log1p(np.expm1(epsilons) / rate))

    def added(epsilons: Floats) -> Floats:
        left = 1 - np.exp(epsilons) * (1 - rate)
        inside = left > 0
        scaled = epsilons[inside] + math.log(rate) - np.log(left[inside])
        deltas = np.zeros_like(epsilons)
        deltas[inside] = left[inside] * gaussian_delta(mu, scaled)
        return deltas

    return (
        PrivacyLoss.of_curves(removed, added, interval),
        PrivacyLoss.of_curves(added, removed, interval),
    )


def fixed_size_gaussian(
    mu: float, rate: float, interval: float = INTERVAL
) -> PrivacyLoss:
    """A Gaussian on a batch of fixed size, one device replaced; `mu` is of the replacement, 2C/s.

    The realised pair (1-q) N(0, s^2) + q N(2C, s^2) against N(0, s^2), made symmetric: not the
    pair of Poisson sampling, whose epsilon is smaller (Lebeda et al. 2024).
    """
    _positive("mu", mu)
    _rate(rate)

    def curve(epsilons: Floats) -> Floats:
        return rate * gaussian_delta(mu, np.log1p(np.expm1(epsilons) / rate))

    return PrivacyLoss.of_curves(curve, curve, interval)


def noise(table: NoiseTable, shift: int, interval: float = INTERVAL) -> PrivacyLoss:
    """The table's law against itself moved by `shift` levels: one dimension."""
    masses = table.masses()
    return moved(masses, shift, interval)


def moved(masses: Floats, shift: int, interval: float = INTERVAL) -> PrivacyLoss:
    """A law on neighbouring whole numbers against itself moved by `shift` of them."""
    if shift < 1:
        raise InvalidInput(
            "shift", f"{shift!r} is below 1", "use the sensitivity in levels"
        )
    here = np.concatenate([masses, np.zeros(shift)])
    there = np.concatenate([np.zeros(shift), masses])
    return finite(here, there, interval)


def randomized_response(
    epsilon: float, answers: int, interval: float = INTERVAL
) -> PrivacyLoss:
    """The true one of `answers`, e^epsilon times as likely as each other one; replaced."""
    _positive("epsilon", epsilon)
    if answers < 2:
        raise InvalidInput(
            "answers", f"{answers!r} is below 2", "offer two answers or more"
        )
    low = 1 / (math.exp(epsilon) + answers - 1)
    high = math.exp(epsilon) * low
    rest = (answers - 2) * low
    return finite(np.array([high, low, rest]), np.array([low, high, rest]), interval)


def finite(here: Floats, there: Floats, interval: float = INTERVAL) -> PrivacyLoss:
    """Two laws on the same finite set, whose hockey stick is a sum."""
    return PrivacyLoss.of_curves(_Stick(here, there), _Stick(there, here), interval)


class _Stick:
    """delta(epsilon) of two finite laws: the sum of what is above e^epsilon times the other."""

    def __init__(self, here: Floats, there: Floats) -> None:
        kept = here > 0
        here, there = here[kept], there[kept]
        with np.errstate(divide="ignore"):
            losses = np.log(here) - np.log(there)
        order = np.argsort(losses)
        self._losses = losses[order]
        self._here = np.append(np.cumsum(here[order][::-1])[::-1], 0.0)
        self._there = np.append(np.cumsum(there[order][::-1])[::-1], 0.0)

    def __call__(self, epsilons: Floats) -> Floats:
        place = np.searchsorted(self._losses, epsilons, side="right")
        with np.errstate(over="ignore", invalid="ignore"):
            beyond = np.where(
                self._there[place] > 0, np.exp(epsilons) * self._there[place], 0.0
            )
        deltas: Floats = np.clip(self._here[place] - beyond, 0.0, 1.0)
        return deltas


def gaussian_delta(mu: float, epsilons: Floats) -> Floats:
    """Phi(mu/2 - eps/mu) - e^eps Phi(-mu/2 - eps/mu), for any real epsilon.

    Written with scaled tails where both terms are small, so that nothing cancels.
    """
    near, far = epsilons / mu - mu / 2, epsilons / mu + mu / 2
    density = np.exp(-np.square(near) / 2) / math.sqrt(2 * math.pi)
    tails = near > -5  # below, the first term is 1 but for 3e-7, and nothing cancels
    deltas = np.empty_like(epsilons)
    deltas[tails] = density[tails] * (_mills(near[tails]) - _mills(far[tails]))
    low = ~tails
    deltas[low] = _upper(near[low]) - np.exp(np.minimum(epsilons[low], 700)) * _upper(
        far[low]
    )
    clipped: Floats = np.clip(deltas, 0.0, 1.0)
    return clipped


def _upper(points: Floats) -> Floats:
    return (
        np.fromiter((math.erfc(p) for p in (points / math.sqrt(2)).tolist()), float) / 2
    )


def _mills(points: Floats) -> Floats:
    """(1 - Phi(x)) / phi(x): erfc below 8, Laplace's continued fraction from there on."""
    ratios = np.empty_like(points)
    near = points < 8
    ratios[near] = _upper(points[near]) * np.exp(np.square(points[near]) / 2)
    ratios[near] *= math.sqrt(2 * math.pi)
    far = points[~near]
    denominator = far.copy()
    for term in range(60, 0, -1):
        denominator = far + term / denominator
    ratios[~near] = 1 / denominator
    return ratios


def _positive(field: str, value: float | Fraction) -> None:
    if not (math.isfinite(value) and value > 0):
        raise InvalidInput(
            field, f"{value!r} is not above 0", "use a finite number above 0"
        )


def _rate(rate: float) -> None:
    if not 0 < rate < 1:
        raise InvalidInput(
            "rate", f"{rate!r} is not in (0, 1)", "use the chance to take part"
        )

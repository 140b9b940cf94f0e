"""Renyi divergences of Gaussian steps at integer orders: upper bounds on epsilon."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from tactful.errors import InvalidInput

ORDERS: tuple[int, ...] = (*range(2, 129), 160, 192, 256, 384, 512, 1024)


def gaussian(rho: Fraction) -> list[float]:
    """Return the divergence of a Gaussian that costs `rho`, at each of ORDERS.

    Source: Mironov 2017.
    """
    return [float(order * rho) for order in ORDERS]


def sampled_gaussian(mu: float, rate: float) -> list[float]:
    """Return the divergence of a Poisson-sampled Gaussian, at each of ORDERS.

    Each device takes part with probability `rate`. Source: Mironov et al. 2019.
    """
    if not (mu > 0 and 0 < rate < 1):
        raise InvalidInput(
            "rate", f"{rate!r} or mu {mu!r} is out of range", "use a rate in (0, 1)"
        )
    return [_sampled(mu, rate, order) for order in ORDERS]


def epsilon(divergences: Sequence[float], delta: float) -> float:
    """Return the epsilon at `delta` of `divergences` at ORDERS.

    Source: Canonne, Kamath, Steinke 2020 (Proposition 12).
    """
    epsilons: list[float] = [
        divergence
        + math.log1p(-1 / order)
        - (math.log(delta) + math.log(order)) / (order - 1)
        for order, divergence in zip(ORDERS, divergences, strict=True)
    ]
    return max(min(epsilons), 0.0)


def _sampled(mu: float, rate: float, order: int) -> float:
    """Return the divergence at one order, by the binomial expansion."""
    log_terms = [
        math.lgamma(order + 1)
        - math.lgamma(k + 1)
        - math.lgamma(order - k + 1)
        + (order - k) * math.log1p(-rate)
        + k * math.log(rate)
        + k * (k - 1) * mu * mu / 2
        for k in range(order + 1)
    ]
    largest = max(log_terms)
    # Dividing by the largest term first keeps the sum from overflowing.
    scaled_sum = math.fsum(math.exp(term - largest) for term in log_terms)
    divergence: float = (largest + math.log(scaled_sum)) / (order - 1)
    return divergence

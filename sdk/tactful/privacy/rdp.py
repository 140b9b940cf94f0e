"""Renyi divergence of Gaussian steps at whole orders: a ceiling that nothing may exceed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction

from tactful.errors import InvalidInput

ORDERS: tuple[int, ...] = (*range(2, 129), 160, 192, 256, 384, 512, 1024)


def gaussian(rho: Fraction) -> list[float]:
    """The divergence of a Gaussian that costs `rho`, at each of ORDERS (Mironov 2017)."""
    return [float(order * rho) for order in ORDERS]


def sampled_gaussian(mu: float, rate: float) -> list[float]:
    """That of a Gaussian on a batch joined by each device's own coin (Mironov et al. 2019)."""
    if not (mu > 0 and 0 < rate < 1):
        raise InvalidInput(
            "rate", f"{rate!r} or mu {mu!r} is out of range", "use a rate in (0, 1)"
        )
    return [_sampled(mu, rate, order) for order in ORDERS]


def epsilon(divergences: Sequence[float], delta: float) -> float:
    """The epsilon at `delta` (Canonne, Kamath, Steinke 2020, Proposition 12)."""
    costs: list[float] = [
        divergence
        + math.log1p(-1 / order)
        - (math.log(delta) + math.log(order)) / (order - 1)
        for order, divergence in zip(ORDERS, divergences, strict=True)
    ]
    return max(min(costs), 0.0)


def _sampled(mu: float, rate: float, order: int) -> float:
    terms = [
        math.lgamma(order + 1)
        - math.lgamma(k + 1)
        - math.lgamma(order - k + 1)
        + (order - k) * math.log1p(-rate)
        + k * math.log(rate)
        + k * (k - 1) * mu * mu / 2
        for k in range(order + 1)
    ]
    largest = max(terms)
    scaled = math.fsum(math.exp(term - largest) for term in terms)
    divergence: float = (largest + math.log(scaled)) / (order - 1)
    return divergence

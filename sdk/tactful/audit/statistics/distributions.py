"""Tails and quantiles that tests need, from the standard library and numpy alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NORMAL = NormalDist()


def upper_tail(z: float) -> float:
    """P(N(0, 1) > z), without loss far out."""
    return math.erfc(z / math.sqrt(2)) / 2


def quantile(probability: float) -> float:
    """The z below which a standard normal lies with this probability; +-inf at 1 and 0."""
    if not 0 < probability < 1:
        return math.inf if probability >= 1 else -math.inf
    return NORMAL.inv_cdf(probability)


def binomial_pmf(trials: int, chance: float) -> Floats:
    """P(Bin(trials, chance) = k) for k = 0..trials."""
    if chance <= 0 or chance >= 1:
        certain = np.zeros(trials + 1)
        certain[-1 if chance >= 1 else 0] = 1.0
        return certain
    k = np.arange(trials + 1)
    logs = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, trials + 1)))])
    mass: Floats = np.exp(
        logs[trials]
        - logs
        - logs[::-1]
        + k * math.log(chance)
        + (trials - k) * math.log1p(-chance)
    )
    return mass


def binomial_upper(trials: int, chance: float) -> Floats:
    """P(Bin(trials, chance) >= k) for k = 0..trials."""
    tails: Floats = np.cumsum(binomial_pmf(trials, chance)[::-1])[::-1]
    return np.minimum(tails, 1.0)


def clopper_pearson(hits: int, trials: int, alpha: float) -> tuple[float, float]:
    """The one-sided bounds (below, above) of a chance, each at `alpha`."""

    def above(chance: float) -> bool:
        return float(binomial_upper(trials, chance)[hits]) < alpha

    def below(chance: float) -> bool:
        return float(binomial_pmf(trials, chance)[: hits + 1].sum()) >= alpha

    low = 0.0 if hits == 0 else bisect(above, 0.0, 1.0)
    high = 1.0 if hits == trials else bisect(below, 0.0, 1.0)
    return low, high


def chi2_upper(value: float, freedom: int) -> float:
    """P(chi2 > value): Wilson and Hilferty's cube root, good to a few percent from 5 on."""
    scale = 2 / (9 * freedom)
    return upper_tail(((value / freedom) ** (1 / 3) - 1 + scale) / math.sqrt(scale))


def chi2_lower(value: float, freedom: int) -> float:
    """P(chi2 < value), by the same rule."""
    scale = 2 / (9 * freedom)
    return upper_tail((1 - scale - (value / freedom) ** (1 / 3)) / math.sqrt(scale))


def kolmogorov_upper(distance: float, count: int) -> float:
    """P(the largest gap to a continuous law exceeds `distance`): a bound for discrete ones."""
    root = math.sqrt(count) + 0.12 + 0.11 / math.sqrt(count)
    terms = [
        (-1) ** (k - 1) * math.exp(-2 * (k * root * distance) ** 2)
        for k in range(1, 20)
    ]
    return min(max(2 * math.fsum(terms), 0.0), 1.0)


def ranks(values: Floats) -> Floats:
    """The rank of each value, ties sharing their mean."""
    order = np.argsort(values, kind="stable")
    _, start, counts = np.unique(values[order], return_index=True, return_counts=True)
    placed = np.empty(len(values))
    placed[order] = np.repeat(start + (counts - 1) / 2, counts)
    return placed


def correlation(first: Floats, second: Floats) -> float:
    """Pearson's; 0 if either does not move."""
    a, b = first - first.mean(), second - second.mean()
    size = math.sqrt(float(a @ a) * float(b @ b))
    return float(a @ b) / size if size else 0.0


def bisect(
    holds: Callable[[float], bool], low: float, high: float, steps: int = 60
) -> float:
    """Where `holds` turns from true (at `low`) to false, to the side where it still holds."""
    for _ in range(steps):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low

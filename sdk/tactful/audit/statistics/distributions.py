"""Tails and quantiles for the tests, by the standard library and numpy alone."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
NORMAL = NormalDist()


def upper_tail(z: float) -> float:
    """Return P(N(0, 1) > z), accurate far out."""
    return math.erfc(z / math.sqrt(2)) / 2


def quantile(probability: float) -> float:
    """Return the quantile of a standard normal; +-infinity at 1 and 0."""
    if not 0 < probability < 1:
        return math.inf if probability >= 1 else -math.inf
    return NORMAL.inv_cdf(probability)


def binomial_pmf(trials: int, chance: float) -> Floats:
    """Return P(Bin(trials, chance) = k) for k = 0..trials."""
    if chance <= 0 or chance >= 1:
        certain = np.zeros(trials + 1)
        certain[-1 if chance >= 1 else 0] = 1.0
        return certain
    k = np.arange(trials + 1)
    log_factorials = np.cumsum(np.log(np.arange(1, trials + 1)))
    log_factorials = np.concatenate([[0.0], log_factorials])
    pmf: Floats = np.exp(
        log_factorials[trials]
        - log_factorials
        - log_factorials[::-1]
        + k * math.log(chance)
        + (trials - k) * math.log1p(-chance)
    )
    return pmf


def binomial_upper(trials: int, chance: float) -> Floats:
    """Return P(Bin(trials, chance) >= k) for k = 0..trials."""
    tails: Floats = np.cumsum(binomial_pmf(trials, chance)[::-1])[::-1]
    return np.minimum(tails, 1.0)


def clopper_pearson(hits: int, trials: int, alpha: float) -> tuple[float, float]:
    """Return one-sided lower and upper bounds of a chance, each at level `alpha`."""

    def is_too_small(chance: float) -> bool:
        return float(binomial_upper(trials, chance)[hits]) < alpha

    def is_plausible(chance: float) -> bool:
        return float(binomial_pmf(trials, chance)[: hits + 1].sum()) >= alpha

    low = 0.0 if hits == 0 else bisect(is_too_small, 0.0, 1.0)
    high = 1.0 if hits == trials else bisect(is_plausible, 0.0, 1.0)
    return low, high


def chi2_upper(value: float, freedom: int) -> float:
    """Return P(chi2 > value) at `freedom` degrees of freedom.

    By the cube root of Wilson and Hilferty: within a few percent from 5 degrees on.
    """
    scale = 2 / (9 * freedom)
    return upper_tail(((value / freedom) ** (1 / 3) - 1 + scale) / math.sqrt(scale))


def kolmogorov_upper(distance: float, count: int) -> float:
    """Return P(the largest gap to a continuous law exceeds `distance`).

    For a discrete law it is an upper bound.
    """
    root = math.sqrt(count) + 0.12 + 0.11 / math.sqrt(count)
    terms = [
        (-1) ** (k - 1) * math.exp(-2 * (k * root * distance) ** 2)
        for k in range(1, 20)
    ]
    return min(max(2 * math.fsum(terms), 0.0), 1.0)


def ranks(values: Floats) -> Floats:
    """Return the rank of each value; equal values share the mean of their ranks."""
    order = np.argsort(values, kind="stable")
    _, start, counts = np.unique(values[order], return_index=True, return_counts=True)
    value_ranks = np.empty(len(values))
    value_ranks[order] = np.repeat(start + (counts - 1) / 2, counts)
    return value_ranks


def correlation(first: Floats, second: Floats) -> float:
    """Return Pearson's correlation; 0 if either array is constant."""
    first_centred, second_centred = first - first.mean(), second - second.mean()
    first_square = float(first_centred @ first_centred)
    second_square = float(second_centred @ second_centred)
    size = math.sqrt(first_square * second_square)
    return float(first_centred @ second_centred) / size if size else 0.0


def bisect(
    holds: Callable[[float], bool], low: float, high: float, steps: int = 60
) -> float:
    """Return the point where `holds` turns from true (at `low`) to false.

    The result is rounded to the side where it still holds.
    """
    for _ in range(steps):
        middle = (low + high) / 2
        if holds(middle):
            low = middle
        else:
            high = middle
    return low

"""Ten tests of noise whose law is known exactly; each may alarm falsely 5 times in 100,000."""

from __future__ import annotations

import math

import numpy as np

from tactful.audit.statistics.distributions import (
    Floats,
    binomial_upper,
    correlation,
    kolmogorov_upper,
    upper_tail,
)
from tactful.privacy.discrete_gaussian import NoiseTable

ALPHA = 5e-5
TAIL_SIGMAS = (2.5, 3.5)
NAMES = (
    "variance",
    "mean",
    "shape",
    "tails at 2.5 sigma",
    "tails at 3.5 sigma",
    "batch after batch",
    "half against half",
    "neighbouring coordinates",
    "distant coordinates",
    "signs",
)
CHANCES = dict.fromkeys(NAMES, ALPHA)


def tests(values: Floats, table: NoiseTable) -> dict[str, float]:
    """The p-value of each test; `values` has the shape (batches, halves, coordinates).

    Only too little noise counts against the size: more of it protects better.
    """
    flat, variance = values.ravel(), float(table.variance)
    sigma = math.sqrt(variance)
    fourth = _fourth_moment(table)
    spread = math.sqrt((fourth - variance**2) / flat.size)
    deficit = (variance - float(np.square(flat).mean())) / spread
    pairs = [(values[b], values[c]) for b in range(len(values)) for c in range(b)]
    halves = [
        (values[:, h], values[:, k]) for h in range(values.shape[1]) for k in range(h)
    ]
    shift = max(1, values.shape[2] // 2)
    return {
        "variance": upper_tail(deficit),
        "mean": 2
        * upper_tail(abs(float(flat.mean())) / (sigma / math.sqrt(flat.size))),
        "shape": _shape(flat, table),
        "tails at 2.5 sigma": _tails(flat, table, TAIL_SIGMAS[0] * sigma),
        "tails at 3.5 sigma": _tails(flat, table, TAIL_SIGMAS[1] * sigma),
        "batch after batch": _related(pairs),
        "half against half": _related(halves),
        "neighbouring coordinates": _related([(values[:, :, 1:], values[:, :, :-1])]),
        "distant coordinates": _related(
            [(values[:, :, shift:], values[:, :, :-shift])]
        ),
        "signs": _signs(flat),
    }


def _fourth_moment(table: NoiseTable) -> float:
    places = np.arange(table.lowest, -table.lowest + 1, dtype=np.float64)
    return float((np.power(places, 4) * table.masses()).sum())


def _shape(flat: Floats, table: NoiseTable) -> float:
    """Kolmogorov and Smirnov's gap to the exact law, taken at whole numbers."""
    below = np.cumsum(table.masses())
    places = np.clip(flat.astype(np.int64) - table.lowest, 0, len(below) - 1)
    seen = np.cumsum(np.bincount(places, minlength=len(below))) / flat.size
    return kolmogorov_upper(float(np.abs(seen - below).max()), flat.size)


def _tails(flat: Floats, table: NoiseTable, limit: float) -> float:
    """P(so few draws beyond the limit): noise that was cut has too few."""
    places = np.abs(np.arange(table.lowest, -table.lowest + 1))
    chance = float(table.masses()[places > limit].sum())
    seen, expected = int((np.abs(flat) > limit).sum()), chance * flat.size
    if expected > 200:
        return upper_tail((expected - seen) / math.sqrt(expected * (1 - chance)))
    most = int(expected + 20 * math.sqrt(expected) + 40)
    thinned = binomial_upper(10 * most, min(expected / (10 * most), 1.0))
    return float(1 - thinned[min(seen + 1, len(thinned) - 1)])


def _related(pairs: list[tuple[Floats, Floats]]) -> float:
    """The least p-value of a correlation, for as many pairs as there are."""
    if not pairs:
        return 1.0
    found = [
        2 * upper_tail(abs(correlation(one.ravel(), two.ravel())) * math.sqrt(one.size))
        for one, two in pairs
    ]
    return min(1.0, min(found) * len(found))


def _signs(flat: Floats) -> float:
    """As many above as below zero."""
    above, below = int((flat > 0).sum()), int((flat < 0).sum())
    return 2 * upper_tail(abs(above - below) / math.sqrt(max(above + below, 1)))

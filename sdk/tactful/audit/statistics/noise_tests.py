"""Ten tests of noise with a known law, each with a false-alarm rate of 5e-5."""

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
# The names are keys of report.json.
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
LEVELS = dict.fromkeys(NAMES, ALPHA)
# Above this expected count, a normal approximation of the count is accurate enough.
NORMAL_COUNT = 200


def p_values(values: Floats, table: NoiseTable) -> dict[str, float]:
    """Return the p-value of each test.

    `values` has the shape (batches, parties that add noise, coordinates). The test of
    the variance is one-sided, since more noise than declared only protects better.
    """
    flat, variance = values.ravel(), float(table.variance)
    sigma = math.sqrt(variance)
    spread = math.sqrt((_fourth_moment(table) - variance**2) / flat.size)
    deficit = (variance - float(np.square(flat).mean())) / spread
    mean_z = abs(float(flat.mean())) / (sigma / math.sqrt(flat.size))
    batch_pairs = [
        (values[later], values[earlier])
        for later in range(len(values))
        for earlier in range(later)
    ]
    party_pairs = [
        (values[:, later], values[:, earlier])
        for later in range(values.shape[1])
        for earlier in range(later)
    ]
    shift = max(1, values.shape[2] // 2)
    neighbours = (values[:, :, 1:], values[:, :, :-1])
    distant = (values[:, :, shift:], values[:, :, :-shift])
    return {
        "variance": upper_tail(deficit),
        "mean": 2 * upper_tail(mean_z),
        "shape": _shape_p(flat, table),
        "tails at 2.5 sigma": _tails_p(flat, table, TAIL_SIGMAS[0] * sigma),
        "tails at 3.5 sigma": _tails_p(flat, table, TAIL_SIGMAS[1] * sigma),
        "batch after batch": _correlation_p(batch_pairs),
        "half against half": _correlation_p(party_pairs),
        "neighbouring coordinates": _correlation_p([neighbours]),
        "distant coordinates": _correlation_p([distant]),
        "signs": _signs_p(flat),
    }


def _fourth_moment(table: NoiseTable) -> float:
    numbers = np.arange(table.lowest, -table.lowest + 1, dtype=np.float64)
    return float((np.power(numbers, 4) * table.masses()).sum())


def _shape_p(flat: Floats, table: NoiseTable) -> float:
    """Return the p-value of the Kolmogorov-Smirnov gap to the exact law.

    Both distribution functions are compared at integers.
    """
    cdf = np.cumsum(table.masses())
    positions = np.clip(flat.astype(np.int64) - table.lowest, 0, len(cdf) - 1)
    empirical_cdf = np.cumsum(np.bincount(positions, minlength=len(cdf))) / flat.size
    return kolmogorov_upper(float(np.abs(empirical_cdf - cdf).max()), flat.size)


def _tails_p(flat: Floats, table: NoiseTable, limit: float) -> float:
    """Return P(at most this many draws beyond `limit`); truncated noise has too few."""
    numbers = np.abs(np.arange(table.lowest, -table.lowest + 1))
    chance = float(table.masses()[numbers > limit].sum())
    count = int((np.abs(flat) > limit).sum())
    expected = chance * flat.size
    if expected > NORMAL_COUNT:
        return upper_tail((expected - count) / math.sqrt(expected * (1 - chance)))
    # A binomial with the same mean and fewer trials stands in for that of all draws,
    # whose array would be long. Both are close to one Poisson law.
    most = int(expected + 20 * math.sqrt(expected) + 40)
    trials = 10 * most
    upper_tails = binomial_upper(trials, min(expected / trials, 1.0))
    return float(1 - upper_tails[min(count + 1, trials)])


def _correlation_p(pairs: list[tuple[Floats, Floats]]) -> float:
    """Return the smallest p-value of a correlation, times the number of `pairs`.

    This is the Bonferroni correction. Without pairs the result is 1.
    """
    if not pairs:
        return 1.0
    pair_p_values = []
    for first, second in pairs:
        z = abs(correlation(first.ravel(), second.ravel())) * math.sqrt(first.size)
        pair_p_values.append(2 * upper_tail(z))
    return min(1.0, min(pair_p_values) * len(pair_p_values))


def _signs_p(flat: Floats) -> float:
    """Return the p-value of the test that both signs are equally frequent."""
    above, below = int((flat > 0).sum()), int((flat < 0).sum())
    return 2 * upper_tail(abs(above - below) / math.sqrt(max(above + below, 1)))

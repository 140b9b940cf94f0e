"""Statistics of experiments: the vector of one person, and estimates from noisy sums.

A person adds (1, y, y^2, x, x^2, xy) for each metric to the block of their arm. Here y
is the metric and x the same metric before the experiment, both clipped and scaled to
[0, 1]. Estimates follow Deng, Xu, Kohavi, Walker 2013 (CUPED), p-values at any time
follow Johari, Koomen, Pekelis, Walsh 2022 (mixture sequential test). All intervals
include the noise of both aggregators.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput

Floats = NDArray[np.float64]
TERMS = 5  # of each metric: y, y^2, x, x^2, xy
CONFIDENCE = 1.959964  # two-sided 95 %
SUSPICIOUS = 0.001  # p-value below which the counts do not fit the shares
LEAST_VARIANCE = 1e-4  # of x; with less, x explains nothing
MAX_EXPONENT = 700.0  # exp of more overflows


def width(metrics: int) -> int:
    """Return the number of entries of one arm's block."""
    return 1 + TERMS * metrics


def person_vector(arm: int, arms: int, values: Floats, before: Floats) -> Floats:
    """Return the vector of one person, shape (arms * width,), of norm at most 1.

    `values` and `before` have one entry per metric, scaled to [0, 1].
    """
    is_scaled = (values >= 0) & (values <= 1) & (before >= 0) & (before <= 1)
    if not is_scaled.all():
        raise InvalidInput(
            "values", "a value is outside its bounds", "clip and scale it to 0 to 1"
        )
    terms = (values, values**2, before, before**2, values * before)
    block = np.empty(width(len(values)))
    block[0] = 1.0
    block[1:] = np.stack(terms, axis=1).reshape(-1)
    vector = np.zeros((arms, len(block)))
    vector[arm] = block / math.sqrt(len(block))
    return vector.reshape(-1)


@dataclass(frozen=True)
class Sums:
    """Noisy sums of one period, with a row per arm in units of one person's block.

    `people` is exact; `tau` is the standard deviation of the noise on each entry.
    """

    arms: Floats
    people: int
    tau: float

    @classmethod
    def of(cls, vector: Floats, people: int, tau: float, arms: int) -> Sums:
        """Return the sums in a decoded sum of `person_vector`s with noise `tau`."""
        scale = math.sqrt(len(vector) // arms)
        return cls(vector.reshape(arms, -1) * scale, people, tau * scale)

    def __add__(self, other: Sums) -> Sums:
        """Return the sums of two periods; nobody is in both."""
        return Sums(
            self.arms + other.arms,
            self.people + other.people,
            math.hypot(self.tau, other.tau),
        )


@dataclass(frozen=True)
class Difference:
    """One metric of an arm compared with the control, on the scale of [0, 1].

    `effect` is the standard deviation of effects that the sequential test expects.
    """

    mean: float
    control: float
    variance: float
    effect: float

    @property
    def value(self) -> float:
        """The mean of the arm minus that of the control."""
        return self.mean - self.control

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval for one planned look."""
        margin = CONFIDENCE * math.sqrt(self.variance)
        return self.value - margin, self.value + margin

    @property
    def p_always(self) -> float:
        """The p-value that stays valid however often it is read."""
        mixing = self.effect**2
        total = self.variance + mixing
        exponent = mixing * self.value**2 / (2 * self.variance * total)
        likelihood_ratio = math.sqrt(total / self.variance) * math.exp(
            -min(exponent, MAX_EXPONENT)
        )
        return min(1.0, likelihood_ratio)


def difference(sums: Sums, arm: int, metric: int, effect: float) -> Difference:
    """Return the difference between `arm` and the control (arm 0) in one metric.

    Raise InvalidInput if the noise leaves too few people.
    """
    counts = sums.arms[[0, arm], 0]
    if counts.min() < 4 * sums.tau + 2:
        smallest = max(counts.min(), 0)
        problem = f"an arm has about {smallest:.0f}"
        raise InvalidInput("people", problem, "wait for more reports")
    first_term = 1 + TERMS * metric
    moments = sums.arms[[0, arm], first_term : first_term + TERMS]
    theta = _slope(moments.sum(axis=0), counts.sum())
    pooled = moments[:, 2].sum() / counts.sum()
    control_mean, control_variance = _adjusted(
        moments[0], counts[0], theta, pooled, sums.tau
    )
    mean, variance = _adjusted(moments[1], counts[1], theta, pooled, sums.tau)
    return Difference(mean, control_mean, control_variance + variance, effect)


def ratio_p(sums: Sums, shares: Floats) -> float:
    """Return the p-value of the counts of people under `shares`, noise included.

    Below 0.001 the other results cannot be trusted (sample ratio mismatch).
    """
    expected = sums.people * shares
    deviation = np.sqrt(sums.people * shares * (1 - shares) + sums.tau**2)
    farthest = float(np.abs((sums.arms[:, 0] - expected) / deviation).max())
    return min(1.0, len(shares) * math.erfc(farthest / math.sqrt(2)))


def _slope(moments: Floats, count: float) -> float:
    """Return cov(x, y) / var(x) in [-1, 1]; 0 if x hardly varies."""
    y, _, x, xx, xy = moments / count
    variance = xx - x * x
    if variance <= LEAST_VARIANCE:
        return 0.0
    return float(np.clip((xy - x * y) / variance, -1, 1))


def _adjusted(
    moments: Floats, count: float, theta: float, pooled: float, tau: float
) -> tuple[float, float]:
    """Return the mean of y - theta (x - pooled), and its variance.

    The variance is by the delta method and includes the noise.
    """
    y, yy, x, xx, xy = moments / count
    mean = y - theta * (x - pooled)
    spread = (yy - y * y) - 2 * theta * (xy - x * y) + theta**2 * (xx - x * x)
    noise = tau**2 * (1 + theta**2 + mean**2) / count
    return float(mean), float((max(spread, 0.0) + noise) / count)

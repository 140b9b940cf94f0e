"""Comparing versions from sums alone: what one person adds, and what the noisy sums say.

A person adds, in the block of their own arm, (1, y, y^2, x, x^2, xy) for each metric: y is the
metric, x the same before the experiment, both clipped and scaled to [0, 1]. Estimates follow
Deng, Xu, Kohavi, Walker 2013 (CUPED); the reading at any time follows Johari, Koomen, Pekelis,
Walsh 2022 (mixture sequential test). All intervals count the noise of both halves.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput

Floats = NDArray[np.float64]
TERMS = 5  # per metric: y, y^2, x, x^2, xy
CONFIDENCE = 1.959964  # two-sided 95 %
SUSPICIOUS = 0.001  # below it the counts do not fit the shares


def width(metrics: int) -> int:
    """The entries of one arm's block."""
    return 1 + TERMS * metrics


def person_vector(arm: int, arms: int, values: Floats, before: Floats) -> Floats:
    """What one person adds: shape (arms * width,), length at most 1.

    `values` and `before` have one entry per metric, scaled to [0, 1].
    """
    if not ((values >= 0) & (values <= 1) & (before >= 0) & (before <= 1)).all():
        raise InvalidInput(
            "values", "one is outside its bounds", "clip and scale it to 0 to 1"
        )
    block = np.empty(width(len(values)))
    terms = (values, values**2, before, before**2, values * before)
    block[0], block[1:] = 1.0, np.stack(terms, axis=1).reshape(-1)
    vector = np.zeros((arms, len(block)))
    vector[arm] = block / math.sqrt(len(block))
    return vector.reshape(-1)


@dataclass(frozen=True)
class Sums:
    """The noisy sums of one period: `people` is exact, `tau` the noise of each entry.

    `arms` has a row per arm, in units of one person's block.
    """

    arms: Floats
    people: int
    tau: float

    @classmethod
    def of(cls, vector: Floats, people: int, tau: float, arms: int) -> Sums:
        """From a decoded sum of `person_vector`s whose entries carry noise of deviation `tau`."""
        scale = math.sqrt(len(vector) // arms)
        return cls(vector.reshape(arms, -1) * scale, people, tau * scale)

    def __add__(self, other: Sums) -> Sums:
        """Two periods together: nobody is in both."""
        return Sums(
            self.arms + other.arms,
            self.people + other.people,
            math.hypot(self.tau, other.tau),
        )


@dataclass(frozen=True)
class Difference:
    """One metric of a version against the control, on the scale of [0, 1]."""

    mean: float
    control: float
    variance: float
    effect: float

    @property
    def value(self) -> float:
        """How much the version's mean is above the control's."""
        return self.mean - self.control

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, for one look that was planned."""
        half = CONFIDENCE * math.sqrt(self.variance)
        return self.value - half, self.value + half

    @property
    def p_always(self) -> float:
        """A p-value that may be read as often as one likes."""
        mixing, total = self.effect**2, self.variance + self.effect**2
        exponent = mixing * self.value**2 / (2 * self.variance * total)
        return min(
            1.0, math.sqrt(total / self.variance) * math.exp(-min(exponent, 700.0))
        )


def difference(sums: Sums, arm: int, metric: int, effect: float) -> Difference:
    """Arm `arm` against arm 0; raises InvalidInput where noise leaves too few people to tell."""
    counts = sums.arms[[0, arm], 0]
    if counts.min() < 4 * sums.tau + 2:
        raise InvalidInput(
            "people",
            f"an arm has about {max(counts.min(), 0):.0f}",
            "wait for more reports",
        )
    moments = sums.arms[[0, arm], 1 + TERMS * metric : 1 + TERMS * (metric + 1)]
    theta = _slope(moments.sum(axis=0), counts.sum())
    pooled = moments[:, 2].sum() / counts.sum()
    means, variances = zip(
        *(
            _adjusted(one, count, theta, pooled, sums.tau)
            for one, count in zip(moments, counts, strict=True)
        ),
        strict=True,
    )
    return Difference(means[1], means[0], sum(variances), effect)


def ratio_p(sums: Sums, shares: Floats) -> float:
    """How likely counts as far from `shares` are, noise included; below 0.001 distrust the rest."""
    expected = sums.people * shares
    spread = np.sqrt(sums.people * shares * (1 - shares) + sums.tau**2)
    farthest = float(np.abs((sums.arms[:, 0] - expected) / spread).max())
    return min(1.0, len(shares) * math.erfc(farthest / math.sqrt(2)))


def _slope(moments: Floats, count: float) -> float:
    """How much of y the time before explains: cov(x, y) / var(x), 0 where x hardly varies."""
    y, _, x, xx, xy = moments / count
    spread = xx - x * x
    return float(np.clip((xy - x * y) / spread, -1, 1)) if spread > 1e-4 else 0.0


def _adjusted(
    moments: Floats, count: float, theta: float, pooled: float, tau: float
) -> tuple[float, float]:
    """(mean of y - theta (x - pooled), its variance), by the delta method, noise included."""
    y, yy, x, xx, xy = moments / count
    mean = y - theta * (x - pooled)
    spread = (yy - y * y) - 2 * theta * (xy - x * y) + theta**2 * (xx - x * x)
    noise = tau**2 * (1 + theta**2 + mean**2) / count
    return float(mean), float((max(spread, 0.0) + noise) / count)

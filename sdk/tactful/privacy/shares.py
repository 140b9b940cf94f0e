"""Noise that devices add in shares, and what their sum is worth.

Sums of discrete Gaussians are not discrete Gaussians; tau prices the difference (Kairouz, Liu,
Steinke 2021, Theorem 1; design/privacy.md 1.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from tactful.errors import InvalidInput

MOST_TERMS = 1 << 16  # of tau that are summed one by one; those after are smaller
LEAST_SIGMA2 = Fraction(
    1
)  # of one device's share, in squared levels: below it tau explodes


@dataclass(frozen=True, kw_only=True)
class NoiseShares:
    """`honest` devices that each add N_Z(0, `sigma2`), in squared levels."""

    norm_bound: int
    sigma2: Fraction
    dimension: int
    honest: int

    def __post_init__(self) -> None:
        for name in ("norm_bound", "dimension", "honest"):
            if getattr(self, name) < 1:
                raise InvalidInput(
                    name, f"{getattr(self, name)} is below 1", "correct the task"
                )
        if self.sigma2 <= 0:
            raise InvalidInput("sigma2", f"{self.sigma2} is not above 0", "add noise")

    @property
    def tau(self) -> float:
        """How far the sum is from a discrete Gaussian: 10 sum_k e^(-2 pi^2 s^2 k/(k+1))."""
        base = -2 * math.pi**2 * float(self.sigma2)
        last = min(self.honest, MOST_TERMS)
        terms = math.fsum(math.exp(base * k / (k + 1)) for k in range(1, last))
        return 10 * (terms + (self.honest - last) * math.exp(base * last / (last + 1)))

    @property
    def rho(self) -> float:
        """The zCDP of the sum, in any dimension; a ceiling."""
        ideal = float(self.norm_bound / (self.honest * self.sigma2))
        first = math.sqrt(ideal + self.tau * self.dimension / 2)
        second = math.sqrt(ideal) + self.tau * math.sqrt(self.dimension)
        return min(first, second) ** 2 / 2

    def checked(self) -> NoiseShares:
        """These shares, if a claim may rest on them; else InvalidInput."""
        if self.sigma2 < LEAST_SIGMA2:
            raise InvalidInput(
                "sigma2",
                f"a share of {float(self.sigma2):.3g} squared levels",
                "use 1 or more",
            )
        return self

"""Noise that honest devices add in shares, and the zCDP of its sum.

A sum of discrete Gaussians is not a discrete Gaussian. tau bounds the difference
(Kairouz, Liu, Steinke 2021, Theorem 1; docs/spec/privacy.md 1.4).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

from tactful.errors import InvalidInput

# The terms of tau that are summed one by one. Terms decrease, so the first term left
# out is a bound for each later one.
MOST_TERMS = 1 << 16
# Of the noise of one device, in squared levels. Below it, tau grows rapidly.
LEAST_SIGMA2 = Fraction(1)


@dataclass(frozen=True, kw_only=True)
class NoiseShares:
    """`honest` devices that each add discrete Gaussian noise N_Z(0, `sigma2`).

    `norm_bound` is the squared sensitivity; it and `sigma2` are in squared levels.
    """

    norm_bound: int
    sigma2: Fraction
    dimension: int
    honest: int

    def __post_init__(self) -> None:
        """Raise InvalidInput for a count below 1 or a variance of 0 or less."""
        for name in ("norm_bound", "dimension", "honest"):
            value = getattr(self, name)
            if value < 1:
                raise InvalidInput(name, f"{value} is below 1", "correct the task")
        if self.sigma2 <= 0:
            raise InvalidInput("sigma2", f"{self.sigma2} is not above 0", "add noise")

    @property
    def tau(self) -> float:
        """The distance of the sum from a discrete Gaussian, per coordinate.

        It is 10 sum_k e^(-2 pi^2 s^2 k/(k+1)) over k from 1 to `honest` - 1.
        """
        base = -2 * math.pi**2 * float(self.sigma2)
        last = min(self.honest, MOST_TERMS)
        exact_terms = math.fsum(math.exp(base * k / (k + 1)) for k in range(1, last))
        later_terms = (self.honest - last) * math.exp(base * last / (last + 1))
        return 10 * (exact_terms + later_terms)

    @property
    def rho(self) -> float:
        """The zCDP cost of the sum, in any dimension; an upper bound."""
        ideal = float(self.norm_bound / (self.honest * self.sigma2))
        # Theorem 1 gives two bounds on sqrt(2 rho); the smaller one holds as well.
        first = math.sqrt(ideal + self.tau * self.dimension / 2)
        second = math.sqrt(ideal) + self.tau * math.sqrt(self.dimension)
        return min(first, second) ** 2 / 2

    def require_valid(self) -> NoiseShares:
        """Return these shares; raise InvalidInput if no claim may rest on them."""
        if self.sigma2 < LEAST_SIGMA2:
            raise InvalidInput(
                "sigma2",
                f"{float(self.sigma2):.3g} squared levels of noise per device is too "
                "little for a claim",
                "use 1 or more",
            )
        return self

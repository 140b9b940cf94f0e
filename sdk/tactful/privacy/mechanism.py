"""What one noisy release is, in whole numbers: everything the accountant needs and nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Literal

from tactful.errors import InvalidInput

Family = Literal["rounded_gaussian", "discrete_gaussian"]
FAMILIES: tuple[Family, ...] = ("rounded_gaussian", "discrete_gaussian")


class Adjacency(StrEnum):
    """Which two worlds must look alike (design/privacy.md 1.5).

    Adding or removing a device is not offered: the count of reports is always public.
    """

    ZERO_OUT = "zero_out"  # one device's contribution becomes the zero vector
    REPLACE_ONE = "replace_one"  # one device's contribution becomes any other


class PrivacyUnit(StrEnum):
    """Whose contributions are protected together."""

    DEVICE = "device"  # all events of one device, at most one report per batch


@dataclass(frozen=True, kw_only=True)
class GaussianRelease:
    """One sum of bounded integer vectors plus integer Gaussian noise.

    `norm_bound` is Delta2, the most that the squares of one contribution can sum to, and
    `sigma2` the noise variance the claim counts, both in squared levels; `dimension` counts
    the coordinates. Raises InvalidInput for a value that no proof covers.
    """

    norm_bound: int
    sigma2: Fraction
    family: Family
    dimension: int
    adjacency: Adjacency = Adjacency.ZERO_OUT
    unit: PrivacyUnit = PrivacyUnit.DEVICE

    def __post_init__(self) -> None:
        _positive("norm_bound", self.norm_bound)
        _positive("dimension", self.dimension)
        _positive("sigma2", self.sigma2)
        if self.family not in FAMILIES:
            raise InvalidInput("family", f"{self.family!r} is unknown", f"use one of {FAMILIES}")
        _member("adjacency", self.adjacency, Adjacency)
        _member("unit", self.unit, PrivacyUnit)

    @property
    def sensitivity2(self) -> int:
        """The squared L2 distance between the sums of two adjacent worlds, in squared levels."""
        return self.norm_bound * (4 if self.adjacency == Adjacency.REPLACE_ONE else 1)

    @property
    def rho(self) -> Fraction:
        """The zCDP cost, exact: sensitivity^2 / (2 sigma^2)."""
        return Fraction(self.sensitivity2) / (2 * self.sigma2)


def _positive(field: str, value: Fraction | int) -> None:
    if not isinstance(value, int | Fraction) or isinstance(value, bool) or value <= 0:
        raise InvalidInput(field, f"{value!r} is not an exact number above 0", "correct the task")


def _member(field: str, value: str, kind: type[StrEnum]) -> None:
    if not isinstance(value, kind):
        raise InvalidInput(field, f"{value!r} is unknown", f"use one of {[str(m) for m in kind]}")

"""What one noisy release is, in whole numbers: everything the accountant needs and nothing else."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction
from typing import Literal, TypeVar

from tactful.errors import InvalidInput
from tactful.privacy.shares import NoiseShares

Family = Literal["rounded_gaussian", "discrete_gaussian"]
FAMILIES: tuple[Family, ...] = ("rounded_gaussian", "discrete_gaussian")
RHO_GRID = (
    1 << 24
)  # a ceiling is rounded up to it, so that every machine stores the same fraction


class Adjacency(StrEnum):
    """Which two worlds must look alike (design/privacy.md 1.5).

    Adding or removing a device is not offered: the count of reports is always public.
    """

    ZERO_OUT = "zero_out"  # one device's contribution becomes the zero vector
    REPLACE_ONE = "replace_one"  # one device's contribution becomes any other


class Placement(StrEnum):
    """Who adds the noise (design/privacy.md 1.4)."""

    AGGREGATOR = "aggregator"  # each half the whole of it; one of them is counted
    DEVICES = "devices"  # each device a share; it takes enough honest ones
    LOCAL = "local"  # each device the whole of it

    @property
    def on_device(self) -> bool:
        """Whether a report carries noise before it is shared out."""
        return self != Placement.AGGREGATOR

    def label(self, honest: int = 0) -> str:
        """What the person, the operator and the auditor are told, the same everywhere."""
        match self:
            case Placement.LOCAL:
                return "local: each device adds all the noise for itself; one party may see reports"
            case Placement.DEVICES:
                return f"noise in shares by devices, of which at least {honest:,} must be honest"
            case _:
                return "noise by each aggregator, of which one must be honest"


class Sampling(StrEnum):
    """How a batch was chosen (design/privacy.md 2.1); only the first is ever charged."""

    ALL = "all"  # whoever reported; q = 1, no amplification
    DEVICE_COIN = "device_coin"  # each device by its own secret coin: Poisson
    FIXED_SIZE = "fixed_size"  # exactly so many, drawn without replacement
    SHUFFLED = "shuffled"  # everybody, in an order nobody knows


class PrivacyUnit(StrEnum):
    """Whose contributions are protected together."""

    DEVICE = "device"  # all events of one device, at most one report per batch


@dataclass(frozen=True, kw_only=True)
class GaussianRelease:
    """One sum of bounded integer vectors plus integer Gaussian noise.

    `norm_bound` is Delta2, the most that the squares of one contribution can sum to, and
    `sigma2` the noise variance of whoever adds it, one half or one device, both in squared levels;
    `dimension` counts the coordinates, `gamma2` is the square of a level's width, `n_min` the
    smallest batch, or how many honest devices the claim rests on if they add noise in shares.
    Raises InvalidInput for a value that no proof covers.
    """

    norm_bound: int
    sigma2: Fraction
    family: Family
    dimension: int
    adjacency: Adjacency = Adjacency.ZERO_OUT
    unit: PrivacyUnit = PrivacyUnit.DEVICE
    gamma2: Fraction = Fraction(1)
    placement: Placement = Placement.AGGREGATOR
    n_min: int = 1
    sampling: Sampling = Sampling.ALL

    def __post_init__(self) -> None:
        _positive("norm_bound", self.norm_bound)
        _positive("dimension", self.dimension)
        _positive("sigma2", self.sigma2)
        _positive("gamma2", self.gamma2)
        _positive("n_min", self.n_min)
        if self.family not in FAMILIES:
            raise InvalidInput(
                "family", f"{self.family!r} is unknown", f"use one of {FAMILIES}"
            )
        _member("adjacency", self.adjacency, Adjacency)
        _member("unit", self.unit, PrivacyUnit)
        _member("placement", self.placement, Placement)
        if self.sampling != Sampling.ALL:
            raise InvalidInput(
                "sampling",
                f"{self.sampling} has no exact rho",
                "count everybody who reports",
            )
        if self.placement == Placement.DEVICES:
            if self.family != "discrete_gaussian":
                raise InvalidInput(
                    "family", f"no sum of {self.family} is priced", FAMILIES[1]
                )
            _ = self._shares.checked()

    @property
    def sensitivity2(self) -> int:
        """The squared L2 distance between the sums of two adjacent worlds, in squared levels."""
        return self.norm_bound * (4 if self.adjacency == Adjacency.REPLACE_ONE else 1)

    @property
    def rho(self) -> Fraction:
        """The zCDP cost, exact: sensitivity^2 / (2 sigma^2); of noise in shares a ceiling."""
        if self.placement == Placement.DEVICES:
            return Fraction(math.ceil(self._shares.rho * RHO_GRID), RHO_GRID)
        return Fraction(self.sensitivity2) / (2 * self.sigma2)

    @property
    def _shares(self) -> NoiseShares:
        return NoiseShares(
            norm_bound=self.sensitivity2,
            sigma2=self.sigma2,
            dimension=self.dimension,
            honest=self.n_min,
        )

    def event(self) -> dict[str, str | int]:
        """The release as plain values: what a ledger stores, and all a cost is computed from."""
        return {
            "norm_bound": self.norm_bound,
            "sigma2": written(self.sigma2),
            "gamma2": written(self.gamma2),
            "dimension": self.dimension,
            "family": self.family,
            "placement": str(self.placement),
            "n_min": self.n_min,
            "sampling": str(self.sampling),
            "adjacency": str(self.adjacency),
            "unit": str(self.unit),
        }

    @classmethod
    def from_event(cls, event: Mapping[str, object]) -> GaussianRelease:
        """The release of stored values; raises InvalidInput naming the first that is wrong."""
        if set(event) != set(cls.__dataclass_fields__):
            raise InvalidInput(
                "event", f"its fields are {sorted(event)}", "store a whole event"
            )
        return cls(
            norm_bound=_whole("norm_bound", event["norm_bound"]),
            sigma2=read_fraction("sigma2", event["sigma2"]),
            gamma2=read_fraction("gamma2", event["gamma2"]),
            dimension=_whole("dimension", event["dimension"]),
            family=read_family(event["family"]),
            placement=_one_of("placement", event["placement"], Placement),
            n_min=_whole("n_min", event["n_min"]),
            sampling=_one_of("sampling", event["sampling"], Sampling),
            adjacency=_one_of("adjacency", event["adjacency"], Adjacency),
            unit=_one_of("unit", event["unit"], PrivacyUnit),
        )


@dataclass(frozen=True, kw_only=True)
class LaplaceRelease:
    """One count or histogram with discrete Laplace noise: pure epsilon, up to the sampler.

    `sensitivity1` is the most, in levels, that one device can move all entries together, and
    `scale` the noise's; `dimension` counts the entries.
    """

    sensitivity1: int
    scale: Fraction
    dimension: int
    adjacency: Adjacency = Adjacency.ZERO_OUT
    unit: PrivacyUnit = PrivacyUnit.DEVICE

    def __post_init__(self) -> None:
        _positive("sensitivity1", self.sensitivity1)
        _positive("scale", self.scale)
        _positive("dimension", self.dimension)
        _member("adjacency", self.adjacency, Adjacency)
        _member("unit", self.unit, PrivacyUnit)

    @property
    def epsilon(self) -> Fraction:
        """The pure epsilon, exact; replacing one moves twice as much as zeroing it out."""
        twice = 2 if self.adjacency == Adjacency.REPLACE_ONE else 1
        return Fraction(twice * self.sensitivity1) / self.scale

    @property
    def rho(self) -> Fraction:
        """What it costs in zCDP: epsilon^2 / 2 (Bun, Steinke 2016, Proposition 1.4)."""
        return self.epsilon**2 / 2


def digest(event: Mapping[str, object]) -> str:
    """The SHA-256 of a stored event in its one form, in hex."""
    return hashlib.sha256(json.dumps(event, sort_keys=True).encode()).hexdigest()


def written(exact: Fraction) -> str:
    """A fraction as it is stored: "numerator/denominator"."""
    return f"{exact.numerator}/{exact.denominator}"


def read_fraction(field: str, value: object) -> Fraction:
    """A stored fraction; raises InvalidInput for a float, a sign or a zero below the line."""
    text = str(value)
    if not re.fullmatch(r"[0-9]{1,400}/[1-9][0-9]{0,400}", text):
        raise InvalidInput(
            field, f"{text[:40]!r} is no fraction", 'write "numerator/denominator"'
        )
    return Fraction(text)


def _whole(field: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidInput(field, f"{value!r} is no whole number", "correct the event")
    return value


def read_family(value: object) -> Family:
    """The family called `value`; raises InvalidInput if there is none."""
    for family in FAMILIES:
        if value == family:
            return family
    raise InvalidInput("family", f"{value!r} is unknown", f"use one of {FAMILIES}")


Kind = TypeVar("Kind", bound=StrEnum)


def _one_of(field: str, value: object, kind: type[Kind]) -> Kind:
    for member in kind:
        if value == str(member):
            return member
    raise InvalidInput(
        field, f"{value!r} is unknown", f"use one of {[str(m) for m in kind]}"
    )


def _positive(field: str, value: Fraction | int) -> None:
    if not isinstance(value, int | Fraction) or isinstance(value, bool) or value <= 0:
        raise InvalidInput(
            field, f"{value!r} is not an exact number above 0", "correct the task"
        )


def _member(field: str, value: str, kind: type[StrEnum]) -> None:
    if not isinstance(value, kind):
        raise InvalidInput(
            field, f"{value!r} is unknown", f"use one of {[str(m) for m in kind]}"
        )

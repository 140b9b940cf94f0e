"""One noisy release, described by exact numbers: all that the accountant needs."""

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
# Upper bounds on rho that are computed as floats are rounded up to this denominator, so
# that every machine stores the same fraction.
RHO_GRID = 1 << 24


class Adjacency(StrEnum):
    """Definition of neighbouring inputs (docs/spec/privacy.md 1.5).

    Adding or removing a device is not offered, because the number of reports is public.
    """

    ZERO_OUT = "zero_out"  # one device's contribution becomes the zero vector
    REPLACE_ONE = "replace_one"  # one device's contribution becomes any other


class Placement(StrEnum):
    """Parties that add the noise (docs/spec/privacy.md 1.4)."""

    # Each aggregator adds all the noise; the claim counts that of one.
    AGGREGATOR = "aggregator"
    # Each device adds a share; the claim counts those of enough honest devices.
    DEVICES = "devices"
    # Each device adds all the noise to its own report.
    LOCAL = "local"

    @property
    def on_device(self) -> bool:
        """True if a report has noise before it is split into shares."""
        return self != Placement.AGGREGATOR

    def label(self, honest: int = 0) -> str:
        """Return the placement in words, as the person, operator and auditor read it.

        `honest` is the number of devices that must be honest, for noise in shares.
        """
        match self:
            case Placement.LOCAL:
                return (
                    "local: each device adds all the noise for itself; one party may "
                    "see reports"
                )
            case Placement.DEVICES:
                return (
                    f"noise in shares by devices, of which at least {honest:,} must be "
                    "honest"
                )
            case _:
                return "noise by each aggregator, of which one must be honest"


class Sampling(StrEnum):
    """Sampling scheme of a batch (docs/spec/privacy.md 2.1).

    A ledger charges `ALL` only; the others are for the study of claims.
    """

    ALL = "all"  # every device that reported; rate 1, no amplification
    DEVICE_COIN = "device_coin"  # Poisson sampling by a secret coin of each device
    FIXED_SIZE = "fixed_size"  # a fixed number, drawn without replacement
    SHUFFLED = "shuffled"  # all devices, in a secret order


class PrivacyUnit(StrEnum):
    """Unit of privacy: the contributions that are protected together."""

    DEVICE = "device"  # all events of one device, at most one report per batch


@dataclass(frozen=True, kw_only=True)
class GaussianRelease:
    """One sum of bounded integer vectors plus integer Gaussian noise.

    - `norm_bound`: Delta2, the largest sum of squares of one contribution, in squared
      levels (a level is one step of the quantization grid).
    - `sigma2`: the variance of the noise of one party that adds it (one aggregator or
      one device), in squared levels.
    - `dimension`: the number of coordinates.
    - `gamma2`: the squared width of a level.
    - `n_min`: the smallest batch; for noise in shares, the number of honest devices
      that the claim relies on.
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
        """Raise InvalidInput for a value that no proof covers."""
        for name in ("norm_bound", "dimension", "sigma2", "gamma2", "n_min"):
            _require_positive(name, getattr(self, name))
        _ = read_family(self.family)
        _require_member("adjacency", self.adjacency, Adjacency)
        _require_member("unit", self.unit, PrivacyUnit)
        _require_member("placement", self.placement, Placement)
        if self.sampling != Sampling.ALL:
            raise InvalidInput(
                "sampling",
                f"{self.sampling} has no exact rho",
                f"use {Sampling.ALL}, which counts every device that reports",
            )
        if self.placement == Placement.DEVICES:
            if self.family != "discrete_gaussian":
                raise InvalidInput(
                    "family",
                    f"the cost of a sum of {self.family} noise is not known",
                    f"use {FAMILIES[1]}",
                )
            _ = self._shares.require_valid()

    @property
    def sensitivity2(self) -> int:
        """The squared L2 sensitivity of the sum, in squared levels.

        Replacing a contribution moves the sum by up to two norms, zeroing it by one.
        """
        return self.norm_bound * (4 if self.adjacency == Adjacency.REPLACE_ONE else 1)

    @property
    def rho(self) -> Fraction:
        """The zCDP cost: sensitivity^2 / (2 sigma^2), exact.

        For noise in shares it is an upper bound, rounded up to RHO_GRID.
        """
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
        """Return the release as plain values: the form that a ledger stores."""
        return {
            "norm_bound": self.norm_bound,
            "sigma2": format_fraction(self.sigma2),
            "gamma2": format_fraction(self.gamma2),
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
        """Return the release of stored values.

        Raise InvalidInput, naming the first field that is wrong.
        """
        expected = set(cls.__dataclass_fields__)
        if set(event) != expected:
            raise InvalidInput(
                "event",
                f"its fields are {sorted(event)}",
                f"store exactly the fields {sorted(expected)}",
            )
        return cls(
            norm_bound=_read_int("norm_bound", event["norm_bound"]),
            sigma2=read_fraction("sigma2", event["sigma2"]),
            gamma2=read_fraction("gamma2", event["gamma2"]),
            dimension=_read_int("dimension", event["dimension"]),
            family=read_family(event["family"]),
            placement=_read_member("placement", event["placement"], Placement),
            n_min=_read_int("n_min", event["n_min"]),
            sampling=_read_member("sampling", event["sampling"], Sampling),
            adjacency=_read_member("adjacency", event["adjacency"], Adjacency),
            unit=_read_member("unit", event["unit"], PrivacyUnit),
        )


def digest(event: Mapping[str, object]) -> str:
    """Return the SHA-256 of a stored event in canonical JSON, in hex."""
    return hashlib.sha256(json.dumps(event, sort_keys=True).encode()).hexdigest()


def format_fraction(exact: Fraction) -> str:
    """Return a fraction as it is stored: "numerator/denominator"."""
    return f"{exact.numerator}/{exact.denominator}"


def read_fraction(field: str, value: object) -> Fraction:
    """Return a stored fraction.

    Raise InvalidInput for a float, a sign or a denominator of zero.
    """
    text = str(value)
    if not re.fullmatch(r"[0-9]{1,400}/[1-9][0-9]{0,400}", text):
        raise InvalidInput(
            field, f"{text[:40]!r} is not a fraction", 'write "numerator/denominator"'
        )
    return Fraction(text)


def read_family(value: object) -> Family:
    """Return the noise family called `value`; raise InvalidInput if it is unknown."""
    for family in FAMILIES:
        if value == family:
            return family
    raise InvalidInput("family", f"{value!r} is unknown", f"use one of {FAMILIES}")


def _read_int(field: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise InvalidInput(
            field, f"{value!r} is not an integer", "use the event as it was stored"
        )
    return value


Member = TypeVar("Member", bound=StrEnum)


def _read_member(field: str, value: object, enum: type[Member]) -> Member:
    for member in enum:
        if value == str(member):
            return member
    raise _unknown_member(field, value, enum)


def _require_member(field: str, value: str, enum: type[StrEnum]) -> None:
    if not isinstance(value, enum):
        raise _unknown_member(field, value, enum)


def _unknown_member(field: str, value: object, enum: type[StrEnum]) -> InvalidInput:
    members = [str(member) for member in enum]
    return InvalidInput(field, f"{value!r} is unknown", f"use one of {members}")


def _require_positive(field: str, value: Fraction | int) -> None:
    is_exact = isinstance(value, int | Fraction) and not isinstance(value, bool)
    if not is_exact or value <= 0:
        raise InvalidInput(
            field, f"{value!r} is not an exact number above 0", "correct the task"
        )

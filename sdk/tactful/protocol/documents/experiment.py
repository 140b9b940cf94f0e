"""Experiments: arms, slots of a layer, and metrics with their bounds."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from functools import cached_property
from typing import ClassVar, Literal

from tactful.errors import InvalidInput
from tactful.protocol.signed_json import canonical

SLOTS = 10_000  # of each layer; an experiment has some of them
FLOAT_FIELDS = ("low", "high", "effect", "may_fall", "balance", "diversity")
STRICT: dict[str, object] = {"extra": "forbid", "strict": True}
Counted = Literal[
    "impression", "click", "like", "purchase", "dismiss", "hide", "repeat"
]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One version; `share` is a decimal number or a fraction ("0.5", "1/3")."""

    name: str
    share: str
    balance: float | None = None
    diversity: float | None = None
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    def __post_init__(self) -> None:
        """Raise InvalidInput for a wrong field."""
        for field in ("balance", "diversity"):
            value = getattr(self, field)
            if value is not None and not 0 <= value <= 1:
                raise InvalidInput(
                    f"arm.{field}", f"{value} is out of range", "use 0 to 1, or null"
                )
        if not 0 < self.part <= 1:
            raise InvalidInput(
                "arm.share", f"{self.share!r} is out of range", 'use "1/2" or "0.5"'
            )

    @cached_property
    def part(self) -> Fraction:
        """The share as an exact fraction."""
        try:
            return Fraction(self.share)
        except (ValueError, ZeroDivisionError) as error:
            raise InvalidInput(
                "arm.share", f"{self.share!r} is not a number", 'use "1/2" or "0.5"'
            ) from error


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number that each device counts and clips to [low, high].

    `effect` is the smallest difference of means that matters. With `may_fall` the
    metric is a guardrail: a version must not lower its mean by more than that.
    """

    name: str
    counts: Counted
    low: float
    high: float
    effect: float
    may_fall: float | None = None
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    def __post_init__(self) -> None:
        """Raise InvalidInput for a wrong field."""
        if not self.low < self.high:
            raise InvalidInput(
                "metric.high",
                f"{self.high} is not above {self.low}",
                "use low < high",
            )
        if not 0 < self.effect <= self.high - self.low:
            raise InvalidInput(
                "metric.effect",
                f"{self.effect} is out of range",
                "use a number above 0, up to high - low",
            )


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One experiment, the same document for everyone; the first arm is the control.

    `first` and `slots` are its range of the 10,000 slots of `layer`, so that two
    experiments of one layer never share a person. `days` is how long a person is
    measured, from the first exposure.
    """

    id: str
    layer: str
    first: int
    slots: int
    opens: int
    closes: int
    days: int
    arms: tuple[Arm, ...]
    metrics: tuple[Metric, ...]
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    def __post_init__(self) -> None:
        """Raise InvalidInput for a wrong field."""
        _require(
            re.fullmatch(r"[a-z0-9-]{1,48}", self.id) is not None,
            "id",
            "use a-z, 0-9 and -",
        )
        _require(0 < len(self.layer) <= 64, "layer", "use 1 to 64 characters")
        has_slots = self.first >= 0 and self.slots > 0
        is_inside = has_slots and self.first + self.slots <= SLOTS
        _require(is_inside, "slots", f"stay within 0 to {SLOTS}")
        _require(self.opens < self.closes, "closes", "close after it opens")
        _require(1 <= self.days <= 90, "days", "use 1 to 90")
        _require(len(self.arms) >= 2, "arms", "name a control and at least one version")
        _require(
            sum(arm.part for arm in self.arms) == 1, "arms", "make the shares sum to 1"
        )
        _require(
            _distinct(arm.name for arm in self.arms), "arms", "give each its own name"
        )
        _require(1 <= len(self.metrics) <= 8, "metrics", "declare 1 to 8")
        _require(
            _distinct(metric.name for metric in self.metrics),
            "metrics",
            "give each its own name",
        )

    @classmethod
    def parse(cls, document: bytes | str) -> Experiment:
        """Return the experiment of a JSON document; raise InvalidInput for a wrong field."""
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(cls).validate_json(document)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "document"
            raise InvalidInput(
                f"experiment.{field}", first["msg"], "correct it"
            ) from error

    @cached_property
    def document(self) -> bytes:
        """The experiment in its canonical form, in which 1 and 1.0 are the same."""
        return canonical(_normalised(asdict(self)))

    @property
    def sha256(self) -> str:
        """The SHA-256 of the document, in hex."""
        return hashlib.sha256(self.document).hexdigest()


def require_apart(experiments: Sequence[Experiment]) -> None:
    """Raise InvalidInput if two experiments of one layer take the same slot."""
    for number, experiment in enumerate(experiments):
        for other in experiments[:number]:
            if experiment.layer != other.layer:
                continue
            starts_before_end = experiment.first < other.first + other.slots
            ends_after_start = other.first < experiment.first + experiment.slots
            if starts_before_end and ends_after_start:
                raise InvalidInput(
                    "experiments",
                    f"{other.id} and {experiment.id} share slots of "
                    f"{experiment.layer!r}",
                    "move one to other slots",
                )


def _normalised(fields: dict[str, object]) -> dict[str, object]:
    """Return the fields with all numbers as floats."""
    normalised: dict[str, object] = {}
    for name, value in fields.items():
        if name in FLOAT_FIELDS and value is not None:
            normalised[name] = float(str(value))
        elif isinstance(value, tuple):
            normalised[name] = [_normalised(member) for member in value]
        else:
            normalised[name] = value
    return normalised


def _require(holds: bool, field: str, fix: str) -> None:
    if not holds:
        raise InvalidInput(
            f"experiment.{field}",
            "it is out of range, or contradicts another field",
            fix,
        )


def _distinct(names: Iterable[str]) -> bool:
    all_names = list(names)
    return len(set(all_names)) == len(all_names) and all(all_names)

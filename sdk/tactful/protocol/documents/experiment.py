"""One experiment as everyone knows it: arms, slots of a layer, metrics with their bounds."""

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

SLOTS = 10_000  # of each layer; an experiment takes some of them
STRICT: dict[str, object] = {"extra": "forbid", "strict": True}
Counted = Literal[
    "impression", "click", "like", "purchase", "dismiss", "hide", "repeat"
]


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One version; `share` is a decimal or fraction ("0.5", "1/3"), `standard` means balance 0."""

    name: str
    share: str
    balance: float | None = None
    diversity: float | None = None
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    def __post_init__(self) -> None:
        for field in ("balance", "diversity"):
            value = getattr(self, field)
            if value is not None and not 0 <= value <= 1:
                raise InvalidInput(
                    f"arm.{field}", f"{value} is out of range", "use 0 to 1 or none"
                )
        if not 0 < self.part <= 1:
            raise InvalidInput(
                "arm.share", f"{self.share!r} is out of range", 'use "1/2" or "0.5"'
            )

    @cached_property
    def part(self) -> Fraction:
        """The share as an exact number."""
        try:
            return Fraction(self.share)
        except (ValueError, ZeroDivisionError) as wrong:
            raise InvalidInput(
                "arm.share", f"{self.share!r} is no number", 'use "1/2" or "0.5"'
            ) from wrong


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A number that each device counts and clips to [low, high] before anything is made of it.

    `effect` is the smallest difference of means worth finding. With `may_fall` the metric is a
    guardrail: a version must not lower its mean by more than that.
    """

    name: str
    counts: Counted
    low: float
    high: float
    effect: float
    may_fall: float | None = None
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    def __post_init__(self) -> None:
        if not self.low < self.high:
            raise InvalidInput(
                "metric.high",
                f"{self.high} is not above {self.low}",
                "declare low < high",
            )
        if not 0 < self.effect <= self.high - self.low:
            raise InvalidInput(
                "metric.effect", f"{self.effect} is out of range", "use the bounds"
            )


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """One comparison, the same document for everyone; the first arm is the control.

    `first` and `slots` are its place among the 10,000 slots of `layer`: two experiments of one
    layer never share a person. `days` is how long a person is measured, from the first exposure.
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
        _require(
            re.fullmatch(r"[a-z0-9-]{1,48}", self.id) is not None,
            "id",
            "use a-z, 0-9 and -",
        )
        _require(0 < len(self.layer) <= 64, "layer", "use 1 to 64 characters")
        inside = self.first >= 0 and self.slots > 0 and self.first + self.slots <= SLOTS
        _require(inside, "slots", f"stay within 0 to {SLOTS}")
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
            _distinct(one.name for one in self.metrics),
            "metrics",
            "give each its own name",
        )

    @classmethod
    def parse(cls, document: bytes | str) -> Experiment:
        """The experiment of a JSON document; raises InvalidInput naming the field and the fix."""
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(cls).validate_json(document)
        except ValidationError as wrong:
            first = wrong.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "document"
            raise InvalidInput(
                f"experiment.{where}", first["msg"], "correct it"
            ) from wrong

    @cached_property
    def document(self) -> bytes:
        """The experiment in its one canonical form: 1 and 1.0 are written alike."""
        return canonical(_written(asdict(self)))

    @property
    def sha256(self) -> str:
        """The hash of the document, hex."""
        return hashlib.sha256(self.document).hexdigest()


def require_apart(experiments: Sequence[Experiment]) -> None:
    """Raise InvalidInput if two experiments of one layer take the same slot."""
    for number, one in enumerate(experiments):
        for other in experiments[:number]:
            overlap = (
                one.first < other.first + other.slots
                and other.first < one.first + one.slots
            )
            if one.layer == other.layer and overlap:
                raise InvalidInput(
                    "experiments",
                    f"{other.id} and {one.id} share slots of {one.layer!r}",
                    "move one",
                )


def _written(fields: dict[str, object]) -> dict[str, object]:
    numbers = ("low", "high", "effect", "may_fall", "balance", "diversity")
    return {
        name: float(str(value))
        if name in numbers and value is not None
        else [_written(one) for one in value]
        if isinstance(value, tuple)
        else value
        for name, value in fields.items()
    }


def _require(holds: bool, field: str, fix: str) -> None:
    if not holds:
        raise InvalidInput(f"experiment.{field}", "it is out of range or at odds", fix)


def _distinct(names: Iterable[str]) -> bool:
    listed = list(names)
    return len(set(listed)) == len(listed) and all(listed)

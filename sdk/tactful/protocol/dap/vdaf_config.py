"""The type of measurement of a task: its name, its parameters, and their bytes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar, Literal

from tactful.errors import InvalidInput
from tactful.protocol.dap.codec import u8, u32, u64
from tactful.vdaf import instances
from tactful.vdaf.pine import PINE64, pine64
from tactful.vdaf.pine_circuit import Layout
from tactful.vdaf.vdaf import Vdaf
from tactful.vdaf.version import Version

Kind = Literal["count", "sum", "sum_vec", "histogram", "sum_vec_field64", "pine64"]
MOST_LENGTH, MOST_CHUNK = 1 << 22, (1 << 32) - 1
MOST = {
    "length": MOST_LENGTH,
    "most": 1 << 40,
    "chunk": MOST_CHUNK,
    "norm_chunk": MOST_CHUNK,
    "proofs": 255,
}


@dataclass(frozen=True, kw_only=True)
class VdafConfig:
    """A kind and the parameters that it has; those that it has not are 0.

    `most` is the largest value of an entry, for `pine64` the bound on the vector's norm; `chunk` is
    how many multiplications a gadget sums, `norm_chunk` how many squares.
    """

    kind: Kind
    length: int = 0
    most: int = 0
    chunk: int = 0
    norm_chunk: int = 0
    proofs: int = 0

    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "strict": True,
    }

    def __post_init__(self) -> None:
        has = NEEDS[self.kind]
        for name in ("length", "most", "chunk", "norm_chunk", "proofs"):
            value = getattr(self, name)
            if (value != 0) != (name in has) or not 0 <= value <= MOST[name]:
                raise InvalidInput(
                    f"vdaf.{name}", f"{value} for {self.kind}", "correct the task"
                )
        if "proofs" in has and self.proofs < instances.LEAST_PROOFS:
            raise InvalidInput(
                "vdaf.proofs", f"{self.proofs} is below 3", "use 3: soundness"
            )

    def type_id(self, version: Version) -> int:
        """The algorithm's number in a version of the draft."""
        if self.kind == "sum_vec_field64":
            return instances.MULTIPROOF
        return PINE64 if self.kind == "pine64" else version.id_of(self.kind)

    def encode(self) -> bytes:
        """The parameters as a TaskConfiguration holds them."""
        match self.kind:
            case "count":
                return b""
            case "sum":
                return u64(self.most)
            case "histogram":
                return u32(self.length) + u32(self.chunk)
            case "pine64":
                shape = (
                    u32(self.length)
                    + u64(self.most)
                    + u32(self.chunk)
                    + u32(self.norm_chunk)
                )
                return shape + u8(self.proofs)
            case _:
                shape = u32(self.length) + u64(self.most) + u32(self.chunk)
                return shape + (u8(self.proofs) if self.proofs else b"")

    def vdaf(self, version: Version) -> Vdaf:
        """What shards and verifies; raises InvalidInput if the parameters do not fit together."""
        return _vdaf(self, version)


def sum_vec_field64_for(length: int, most: int, proofs: int) -> VdafConfig:
    """Vectors of whole numbers in [0, most], with the shortest proof."""
    chunk = instances.best_chunk(length * most.bit_length())
    return VdafConfig(
        kind="sum_vec_field64", length=length, most=most, chunk=chunk, proofs=proofs
    )


def pine64_for(length: int, squares: int, proofs: int) -> VdafConfig:
    """Vectors of whole numbers whose squares sum to at most `squares`, with the shortest proofs."""
    layout = Layout(length, math.isqrt(squares - 1) + 1)
    return VdafConfig(
        kind="pine64",
        length=length,
        most=layout.norm_bound,
        chunk=instances.best_chunk(layout.bits),
        norm_chunk=instances.best_chunk(length, sides=1),
        proofs=proofs,
    )


NEEDS: dict[Kind, set[str]] = {
    "count": set(),
    "sum": {"most"},
    "sum_vec": {"length", "most", "chunk"},
    "histogram": {"length", "chunk"},
    "sum_vec_field64": {"length", "most", "chunk", "proofs"},
    "pine64": {"length", "most", "chunk", "norm_chunk", "proofs"},
}


@lru_cache(maxsize=64)
def _vdaf(config: VdafConfig, version: Version) -> Vdaf:
    length, most, chunk = config.length, config.most, config.chunk
    match config.kind:
        case "count":
            return instances.count(version)
        case "sum":
            return instances.sum_(version, most)
        case "sum_vec":
            return instances.sum_vec(version, length, most, chunk)
        case "histogram":
            return instances.histogram(version, length, chunk)
        case "sum_vec_field64":
            return instances.sum_vec_multiproof(
                version, length, most, chunk, config.proofs
            )
        case "pine64":
            layout = Layout(length, most)
            return pine64(layout, chunk, config.norm_chunk, proofs=config.proofs)

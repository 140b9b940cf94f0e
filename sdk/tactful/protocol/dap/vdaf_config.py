"""The VDAF of a task: its kind, its parameters, and their encoding."""

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
MAX_LENGTH, MAX_CHUNK = 1 << 22, (1 << 32) - 1
MAXIMA = {
    "length": MAX_LENGTH,
    "most": 1 << 40,
    "chunk": MAX_CHUNK,
    "norm_chunk": MAX_CHUNK,
    "proofs": 255,
}


@dataclass(frozen=True, kw_only=True)
class VdafConfig:
    """A kind of VDAF and its parameters; parameters of other kinds are 0.

    - `length`: of the vector or histogram.
    - `most`: the largest value of an entry; for `pine64`, the bound on the norm.
    - `chunk`: how many multiplications a gadget sums; `norm_chunk`: how many squares.
    - `proofs`: the number of proofs.
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
        """Raise InvalidInput for a wrong parameter."""
        needed = PARAMETERS[self.kind]
        for name in ("length", "most", "chunk", "norm_chunk", "proofs"):
            value = getattr(self, name)
            if (value != 0) != (name in needed) or not 0 <= value <= MAXIMA[name]:
                raise InvalidInput(
                    f"vdaf.{name}",
                    f"{value} is wrong for {self.kind}",
                    "correct the task",
                )
        if "proofs" in needed and self.proofs < instances.LEAST_PROOFS:
            raise InvalidInput(
                "vdaf.proofs", f"{self.proofs} is below 3", "use 3, for soundness"
            )

    def type_id(self, version: Version) -> int:
        """Return the number of the algorithm in a version of the draft."""
        if self.kind == "sum_vec_field64":
            return instances.MULTIPROOF
        return PINE64 if self.kind == "pine64" else version.id_of(self.kind)

    def encode(self) -> bytes:
        """Return the parameters as in a TaskConfiguration."""
        match self.kind:
            case "count":
                return b""
            case "sum":
                return u64(self.most)
            case "histogram":
                return u32(self.length) + u32(self.chunk)
            case "pine64":
                shape = u32(self.length) + u64(self.most)
                chunks = u32(self.chunk) + u32(self.norm_chunk)
                return shape + chunks + u8(self.proofs)
            case _:
                shape = u32(self.length) + u64(self.most) + u32(self.chunk)
                return shape + (u8(self.proofs) if self.proofs else b"")

    def vdaf(self, version: Version) -> Vdaf:
        """Return the VDAF; raise InvalidInput if the parameters do not fit together."""
        return _vdaf(self, version)


def sum_vec_field64_for(length: int, most: int, proofs: int) -> VdafConfig:
    """Return the config of vectors of integers in [0, most], with the shortest proof."""
    chunk = instances.best_chunk(length * most.bit_length())
    return VdafConfig(
        kind="sum_vec_field64", length=length, most=most, chunk=chunk, proofs=proofs
    )


def pine64_for(length: int, squares: int, proofs: int) -> VdafConfig:
    """Return the config of integer vectors with a bounded squared norm.

    The sum of squares is at most `squares`. The chunks give the shortest proofs.
    """
    layout = Layout(length, math.isqrt(squares - 1) + 1)
    return VdafConfig(
        kind="pine64",
        length=length,
        most=layout.norm_bound,
        chunk=instances.best_chunk(layout.bits),
        norm_chunk=instances.best_chunk(length, sides=1),
        proofs=proofs,
    )


PARAMETERS: dict[Kind, set[str]] = {
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

"""Prio3 instances by name, with the parameters of a task."""

from __future__ import annotations

import math

from tactful.errors import InvalidInput
from tactful.vdaf.circuit import Count, Histogram, Sum, SumVec
from tactful.vdaf.field64 import FIELD64
from tactful.vdaf.field128 import FIELD128
from tactful.vdaf.prio3 import Prio3
from tactful.vdaf.version import VDAF_08, Version
from tactful.vdaf.xof import HmacSha256Aes128

MULTIPROOF = 0xFFFF1003  # private code point, agreed between Janus and Daphne
LEAST_PROOFS = 3  # over Field64 with joint randomness


def count(version: Version, *, shares: int = 2) -> Prio3:
    """Return Prio3Count, for measurements 0 or 1."""
    return Prio3(
        version,
        version.id_of("count"),
        Count(FIELD64),
        version.turboshake,
        shares=shares,
    )


def sum_(version: Version, most: int, *, shares: int = 2) -> Prio3:
    """Return Prio3Sum for integers in [0, most]; VDAF-08 has only 2^bits - 1."""
    joint = version.number == VDAF_08.number
    _require_full(version, most)
    circuit = Sum(FIELD128 if joint else FIELD64, most, joint=joint)
    return Prio3(
        version, version.id_of("sum"), circuit, version.turboshake, shares=shares
    )


def sum_vec(
    version: Version, length: int, most: int, chunk: int, *, shares: int = 2
) -> Prio3:
    """Return Prio3SumVec for vectors of integers in [0, most], over Field128."""
    _require_full(version, most)
    circuit = SumVec(FIELD128, length, most, chunk, per_call=version.per_call)
    return Prio3(
        version, version.id_of("sum_vec"), circuit, version.turboshake, shares=shares
    )


def histogram(version: Version, length: int, chunk: int, *, shares: int = 2) -> Prio3:
    """Return Prio3Histogram, for one bucket of many."""
    circuit = Histogram(FIELD128, length, chunk, per_call=version.per_call)
    return Prio3(
        version, version.id_of("histogram"), circuit, version.turboshake, shares=shares
    )


def sum_vec_multiproof(
    version: Version,
    length: int,
    most: int,
    chunk: int,
    proofs: int = LEAST_PROOFS,
    *,
    shares: int = 2,
) -> Prio3:
    """Return Prio3SumVecField64MultiproofHmacSha256Aes128, for long vectors."""
    _require_full(version, most)
    circuit = SumVec(FIELD64, length, most, chunk, per_call=version.per_call)
    return Prio3(version, MULTIPROOF, circuit, HmacSha256Aes128(), proofs, shares)


def best_chunk(elements: int, sides: int = 2) -> int:
    """Return the chunk with the shortest proof of `elements` inputs.

    A proof has `sides` seeds for each place of a chunk, and 2P values, where P is a
    power of 2 above the number of calls.
    """
    orders = [1 << power for power in range(1, elements.bit_length() + 2)]
    chunks = [math.ceil(elements / (order - 1)) for order in orders]

    def proof_length(option: tuple[int, int]) -> int:
        chunk, order = option
        return sides * chunk + 2 * order

    chunk, _ = min(zip(chunks, orders, strict=True), key=proof_length)
    return chunk


def _require_full(version: Version, most: int) -> None:
    if version.number == VDAF_08.number and most & (most + 1):
        raise InvalidInput(
            "max_measurement", f"{most} + 1 is not a power of two", "use VDAF-18"
        )

"""What every type can do, and what it makes of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tactful.errors import DecodeError, ProofRejected
from tactful.vdaf.field import Elements, Field

NONCE_BYTES = 16
Measurement = int | Sequence[int] | Sequence[float] | NDArray[np.generic]


@dataclass(frozen=True)
class VerifyState:
    """What an aggregator keeps of a report until the proof is decided."""

    output: Elements
    joint_seed: bytes
    bound: (
        bool  # whether the client stated this aggregator's part of the randomness truly
    )


@dataclass(frozen=True)
class Received:
    """A report as one aggregator holds it."""

    nonce: bytes
    public_share: bytes
    input_share: bytes


Prepared = tuple[VerifyState, bytes] | ProofRejected | DecodeError
"""A report's state and verifier share, or why there is none."""


class Vdaf(Protocol):
    """A type of measurement with its parameters: one round, no aggregation parameter."""

    @property
    def field(self) -> Field:
        """The field of its shares."""

    @property
    def output_length(self) -> int:
        """Elements of what is summed."""

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Bytes of the public share, of the first input share, and of each other one."""

    @property
    def verify_key_bytes(self) -> int:
        """The length of what both aggregators know and no client."""

    @property
    def random_bytes(self) -> int:
        """How many random bytes `shard` needs."""

    def shard(
        self,
        measurement: Measurement,
        nonce: bytes,
        random: bytes,
        context: bytes = b"",
    ) -> tuple[bytes, list[bytes]]:
        """(public share, one input share for each aggregator); raises InvalidInput."""

    def verify_init(
        self,
        verify_key: bytes,
        agg: int,
        reports: Sequence[Received],
        context: bytes = b"",
    ) -> list[Prepared]:
        """For each report its state and encoded verifier share, or what is wrong with it alone."""

    def verifier_message(self, shares: Sequence[bytes], context: bytes = b"") -> bytes:
        """What all verifier shares say; raises ProofRejected or DecodeError."""

    def verify_next(self, state: VerifyState, message: bytes) -> Elements:
        """The output share; raises ProofRejected."""

    def decode(self, total: Elements) -> int | list[int]:
        """A sum as whole numbers."""

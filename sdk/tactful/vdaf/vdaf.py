"""The interface of VDAFs, and their values for a report."""

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
    """The state of an aggregator for one report, until the proof is decided.

    `bound` is True if the client stated this aggregator's part of the joint randomness
    correctly.
    """

    output: Elements
    joint_seed: bytes
    bound: bool


@dataclass(frozen=True)
class Received:
    """A report as one aggregator receives it."""

    nonce: bytes
    public_share: bytes
    input_share: bytes


Prepared = tuple[VerifyState, bytes] | ProofRejected | DecodeError
"""The state and verifier share of a report, or its error."""


class Vdaf(Protocol):
    """A VDAF with its parameters, of one round and without aggregation parameter."""

    @property
    def field(self) -> Field:
        """The field of the shares."""

    @property
    def output_length(self) -> int:
        """The number of elements of an output share."""

    @property
    def sizes(self) -> tuple[int, int, int]:
        """The bytes of the public share, the leader's input share, and each helper's."""

    @property
    def verify_key_bytes(self) -> int:
        """The bytes of the verification key, which only the aggregators know."""

    @property
    def random_bytes(self) -> int:
        """The number of random bytes that `shard` needs."""

    def shard(
        self,
        measurement: Measurement,
        nonce: bytes,
        random: bytes,
        context: bytes = b"",
    ) -> tuple[bytes, list[bytes]]:
        """Return the public share and an input share for each aggregator.

        Raise InvalidInput for a measurement that is not valid.
        """

    def verify_init(
        self,
        verify_key: bytes,
        agg: int,
        reports: Sequence[Received],
        context: bytes = b"",
    ) -> list[Prepared]:
        """Return for each report its state and verifier share, or its error."""

    def verifier_message(self, shares: Sequence[bytes], context: bytes = b"") -> bytes:
        """Return the verifier message; raise ProofRejected or DecodeError."""

    def verify_next(self, state: VerifyState, message: bytes) -> Elements:
        """Return the output share; raise ProofRejected."""

    def decode(self, total: Elements) -> int | list[int]:
        """Return a sum as integers."""

"""What an operator promises of noise, and what keeps it: for trainings and experiments alike."""

from __future__ import annotations

import secrets
from fractions import Fraction
from typing import Literal, Protocol

from tactful.errors import InvalidInput
from tactful.privacy.calibration import noise_for
from tactful.privacy.mechanism import Family, Placement
from tactful.protocol.vector_encoding import Encoding

LEVELS, BOX = (
    14,
    3,
)  # 4 bits a coordinate; zero is a level (design: secure aggregation, 6)


class NoisePolicy(Protocol):
    """What an operator promises of noise, whatever it is for."""

    @property
    def epsilon(self) -> float:
        """At `delta`."""

    @property
    def delta(self) -> float:
        """One, everywhere."""

    @property
    def placement(self) -> Literal["aggregator", "devices", "local"]:
        """Who adds it."""

    @property
    def honest(self) -> int:
        """How many honest devices the promise rests on, if they add it in shares."""


def round_noise(
    promise: NoisePolicy, length: int, share: float
) -> tuple[Family, Fraction]:
    """The least noise with which a round of `length` entries costs `share` of what is promised."""
    encoding = Encoding(length, LEVELS, BOX, b"")
    return noise_for(
        Placement(promise.placement),
        norm_bound=encoding.norm_bound,
        dimension=encoding.padded,
        epsilon=promise.epsilon,
        delta=promise.delta,
        share=share,
        honest=promise.honest,
    )


def fresh_nonce() -> str:
    """What makes a task another than all before it, however alike."""
    return secrets.token_hex(16)


def check_honest(placement: str, honest: int, min_batch_size: int) -> None:
    """Raise InvalidInput unless the number of honest devices goes with the placement."""
    least, most = (1, min_batch_size) if placement == "devices" else (0, 0)
    if not least <= honest <= most:
        raise InvalidInput(
            "honest",
            f"{honest} with placement {placement!r}",
            "say how many of the smallest batch are honest, if devices add noise in shares; else 0",
        )

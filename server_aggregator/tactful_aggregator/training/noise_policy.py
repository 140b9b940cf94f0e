"""The noise that an operator requests, for trainings and experiments alike."""

from __future__ import annotations

import secrets
from fractions import Fraction
from typing import Literal, Protocol

from tactful.errors import InvalidInput
from tactful.privacy.calibration import noise_for
from tactful.privacy.mechanism import Family, Placement
from tactful.protocol.vector_encoding import Encoding

# 14 levels and a box of 3 levels fit in 4 bits per coordinate, and zero is a level
# (docs/spec/aggregation.md 6).
LEVELS, BOX = 14, 3


class NoisePolicy(Protocol):
    """The privacy parameters and the placement of noise that an operator requests."""

    @property
    def epsilon(self) -> float:
        """The epsilon of the claim, at `delta`."""

    @property
    def delta(self) -> float:
        """The delta of the claim; the same for every task."""

    @property
    def placement(self) -> Literal["aggregator", "devices", "local"]:
        """The party that adds the noise."""

    @property
    def honest(self) -> int:
        """The number of honest devices that the claim assumes if devices add the noise."""


def round_noise(
    policy: NoisePolicy, length: int, share: float
) -> tuple[Family, Fraction]:
    """Return (family, variance) of the least noise that keeps a round within its budget.

    The round sums vectors of `length` entries and may spend `share` of the policy's rho. The
    variance is in squared levels.
    """
    encoding = Encoding(length, LEVELS, BOX, b"")
    return noise_for(
        Placement(policy.placement),
        norm_bound=encoding.norm_bound,
        dimension=encoding.padded,
        epsilon=policy.epsilon,
        delta=policy.delta,
        share=share,
        honest=policy.honest,
    )


def fresh_nonce() -> str:
    """Return a random nonce, so that two tasks with equal parameters get different ids."""
    return secrets.token_hex(16)


def check_honest(placement: str, honest: int, min_batch_size: int) -> None:
    """Raise InvalidInput unless the number of honest devices fits the placement."""
    if placement == "devices":
        lowest, highest = 1, min_batch_size
    else:
        lowest, highest = 0, 0
    if not lowest <= honest <= highest:
        raise InvalidInput(
            "honest",
            f"{honest} does not fit placement {placement!r}",
            "with placement 'devices' give a number from 1 to min_batch_size, else 0",
        )

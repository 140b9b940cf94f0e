"""Additive secret sharing: two shares, each uniformly random alone, whose sum is the measurement.

The leader's share is a vector, the helper's a seed that expands to one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tactful.vdaf import xof
from tactful.vdaf.field import Elements
from tactful.vdaf.field64 import FIELD64

DST = b"tactful-1 helper share"


def shard(measurement: NDArray[np.integer], seed: bytes, binder: bytes) -> tuple[Elements, bytes]:
    """(leader share, helper share) of a vector of whole numbers.

    `seed` is 32 fresh random bytes; `binder` ties the helper's share to its task and report.
    """
    mask = expand(seed, binder, len(measurement))
    return FIELD64.subtract(FIELD64.from_integers(measurement), mask), seed


def expand(seed: bytes, binder: bytes, length: int) -> Elements:
    """The helper's share, written out."""
    return xof.expand(xof.HmacSha256Aes128(), FIELD64, seed, DST, binder, length)


def unshard(leader: Elements, helper: Elements) -> NDArray[np.int64]:
    """The signed sum that the two aggregate shares stand for."""
    return FIELD64.to_integers(FIELD64.add(leader, helper))

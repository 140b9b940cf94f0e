"""Field64: whole numbers mod p = 2^64 - 2^32 + 1, vectorised; little-endian on the wire."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tactful.errors import DecodeError

Elements = NDArray[np.uint64]

MODULUS = 2**64 - 2**32 + 1
_P = np.uint64(MODULUS)
_WRAP = np.uint64(2**32 - 1)  # 2^64 mod p: what a carry out of 64 bits is worth


def add(one: Elements, other: Elements) -> Elements:
    """The sum, element by element."""
    total = one + other
    total += np.where(total < one, _WRAP, np.uint64(0))
    return np.where(total >= _P, total - _P, total)


def subtract(one: Elements, other: Elements) -> Elements:
    """The difference, element by element."""
    return np.where(one >= other, one - other, one + (_P - other))


def from_integers(values: NDArray[np.integer]) -> Elements:
    """Signed whole numbers above -p/2 and below p/2 as elements."""
    wide = values.astype(np.int64)
    return np.where(wide < 0, _P - np.abs(wide).astype(np.uint64), wide.astype(np.uint64))


def to_integers(elements: Elements) -> NDArray[np.int64]:
    """Each element's centred representative: above (p - 1) / 2 it stands for a negative number."""
    negative = elements > np.uint64((MODULUS - 1) // 2)
    return np.where(negative, -(_P - elements).astype(np.int64), elements.astype(np.int64))


def encode(elements: Elements) -> bytes:
    """The elements as bytes, eight each."""
    return elements.astype("<u8").tobytes()


def decode(encoded: bytes, length: int) -> Elements:
    """The `length` elements of `encoded`; raises DecodeError for another size or a value >= p."""
    if len(encoded) != 8 * length:
        raise DecodeError(f"share: {len(encoded)} bytes for {length} elements")
    elements = np.frombuffer(encoded, dtype="<u8").astype(np.uint64)
    if (elements >= _P).any():
        raise DecodeError("share: an element is not below the modulus")
    return elements

"""Extendable output functions: a seed becomes a stream of bytes or field elements (section 6.2)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tactful.errors import InvalidInput
from tactful.vdaf.field import Elements, Field


class Xof(Protocol):
    """A seed of `seed_bytes` in, any number of bytes out."""

    @property
    def seed_bytes(self) -> int:
        """The length of its seeds."""

    def stream(self, seed: bytes, dst: bytes, binder: bytes, count: int) -> bytes:
        """The first `count` bytes for `seed`, kept apart from other uses by `dst` and `binder`."""


@dataclass(frozen=True)
class HmacSha256Aes128:
    """XofHmacSha256Aes128: HMAC keys AES in counter mode (libprio-rs, src/vdaf/xof.rs)."""

    seed_bytes: int = 32

    def stream(self, seed: bytes, dst: bytes, binder: bytes, count: int) -> bytes:
        """The first `count` bytes."""
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        keyed = hmac.digest(seed, bytes([len(dst)]) + dst + binder, "sha256")
        cipher = Cipher(
            algorithms.AES128(keyed[:16]), modes.CTR(keyed[16:])
        ).encryptor()
        return cipher.update(bytes(count))


@dataclass(frozen=True)
class TurboShake128:
    """XofTurboShake128, of the extra `tactful[vdaf]`; VDAF-08 wrote its lengths differently."""

    seed_bytes: int
    length_bytes: int  # of the length before dst
    writes_seed_length: bool

    def stream(self, seed: bytes, dst: bytes, binder: bytes, count: int) -> bytes:
        """The first `count` bytes; raises InvalidInput where the extra is not installed."""
        try:
            from Crypto.Hash import TurboSHAKE128
        except ImportError as absent:
            raise InvalidInput(
                "vdaf", "it needs TurboSHAKE128", "pip install 'tactful[vdaf]'"
            ) from absent
        prefix = len(dst).to_bytes(self.length_bytes, "little") + dst
        length = bytes([len(seed)]) if self.writes_seed_length else b""
        absorbed = TurboSHAKE128.new(domain=1, data=prefix + length + seed + binder)
        read: bytes = absorbed.read(count)
        return read


def derive_seed(xof: Xof, seed: bytes, dst: bytes, binder: bytes) -> bytes:
    """A new seed."""
    return xof.stream(seed, dst, binder, xof.seed_bytes)


def expand(
    xof: Xof, field: Field, seed: bytes, dst: bytes, binder: bytes, length: int
) -> Elements:
    """`length` elements from the stream; a value that is not below the modulus is passed over."""
    spare = 0
    while True:
        drawn = field.read(xof.stream(seed, dst, binder, field.size * (length + spare)))
        large = field.too_large(drawn)
        missing = length - (length + spare - int(np.count_nonzero(large)))
        if missing <= 0:
            return np.ascontiguousarray(drawn[..., ~large][..., :length])
        spare += missing + 8

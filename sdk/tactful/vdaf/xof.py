"""Extendable output functions: streams of bytes or field elements (section 6.2)."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tactful.errors import InvalidInput
from tactful.vdaf.field import Elements, Field


class Xof(Protocol):
    """An extendable output function."""

    @property
    def seed_bytes(self) -> int:
        """The number of bytes of a seed."""

    def stream(self, seed: bytes, dst: bytes, binder: bytes, count: int) -> bytes:
        """Return the first `count` bytes; `dst` and `binder` separate uses of `seed`."""


@dataclass(frozen=True)
class HmacSha256Aes128:
    """XofHmacSha256Aes128: HMAC keys AES in counter mode (libprio-rs, src/vdaf/xof.rs)."""

    seed_bytes: int = 32

    def stream(self, seed: bytes, dst: bytes, binder: bytes, count: int) -> bytes:
        """Return the first `count` bytes."""
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

        key_and_iv = hmac.digest(seed, bytes([len(dst)]) + dst + binder, "sha256")
        key, iv = key_and_iv[:16], key_and_iv[16:]
        encryptor = Cipher(algorithms.AES128(key), modes.CTR(iv)).encryptor()
        return encryptor.update(bytes(count))


@dataclass(frozen=True)
class TurboShake128:
    """XofTurboShake128, which needs the extra `tactful[vdaf]`.

    `length_bytes` is the size of the length in front of `dst`. VDAF-08 and VDAF-18
    encode lengths differently.
    """

    seed_bytes: int
    length_bytes: int
    writes_seed_length: bool

    def stream(self, seed: bytes, dst: bytes, binder: bytes, count: int) -> bytes:
        """Return the first `count` bytes; raise InvalidInput without the extra."""
        try:
            from Crypto.Hash import TurboSHAKE128
        except ImportError as error:
            raise InvalidInput(
                "vdaf", "it needs TurboSHAKE128", "pip install 'tactful[vdaf]'"
            ) from error
        prefix = len(dst).to_bytes(self.length_bytes, "little") + dst
        length = bytes([len(seed)]) if self.writes_seed_length else b""
        absorbed = TurboSHAKE128.new(domain=1, data=prefix + length + seed + binder)
        output: bytes = absorbed.read(count)
        return output


def derive_seed(xof: Xof, seed: bytes, dst: bytes, binder: bytes) -> bytes:
    """Return a seed that is derived from another one."""
    return xof.stream(seed, dst, binder, xof.seed_bytes)


def expand(
    xof: Xof, field: Field, seed: bytes, dst: bytes, binder: bytes, length: int
) -> Elements:
    """Return `length` elements of the stream; values not below the modulus are skipped."""
    spare = 0
    while True:
        byte_count = field.size * (length + spare)
        values = field.read(xof.stream(seed, dst, binder, byte_count))
        is_too_large = field.too_large(values)
        missing = int(np.count_nonzero(is_too_large)) - spare
        if missing <= 0:
            elements = values[..., ~is_too_large][..., :length]
            return np.ascontiguousarray(elements)
        spare += missing + 8

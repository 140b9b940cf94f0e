"""XofHmacSha256Aes128: a seed becomes a stream of field elements (libprio-rs, src/vdaf/xof.rs)."""

from __future__ import annotations

import hmac

import numpy as np

from tactful.vdaf.field import MODULUS, Elements

SEED_BYTES = 32


def stream(seed: bytes, dst: bytes, binder: bytes, count: int) -> bytes:
    """The first `count` bytes for `seed`, kept apart from other uses by `dst` and `binder`."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    keyed = hmac.digest(seed, bytes([len(dst)]) + dst + binder, "sha256")
    cipher = Cipher(algorithms.AES128(keyed[:16]), modes.CTR(keyed[16:])).encryptor()
    return cipher.update(bytes(count))


def expand(seed: bytes, dst: bytes, binder: bytes, length: int) -> Elements:
    """`length` elements from the stream: eight bytes each, a value >= p is passed over."""
    spare = 0
    while True:
        raw = np.frombuffer(stream(seed, dst, binder, 8 * (length + spare)), dtype="<u8")
        kept = raw[raw < np.uint64(MODULUS)]
        if len(kept) >= length:
            return kept[:length].astype(np.uint64)
        spare += 8 + length - len(kept)

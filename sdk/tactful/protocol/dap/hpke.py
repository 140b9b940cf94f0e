"""HPKE in base mode, single shot (RFC 9180): encrypt to one public key.

The suite is DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM. The HPKE of the
library `cryptography` takes no associated data, which DAP needs; only its primitives
are used here.
"""

from __future__ import annotations

import hmac
from typing import TYPE_CHECKING

from tactful.errors import OpenError, ProtocolError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

KEM, KDF, AEAD = 0x0020, 0x0001, 0x0001
KEY_BYTES, TAG_BYTES = 32, 16
_KEM_SUITE = b"KEM" + KEM.to_bytes(2, "big")
_SUITE = b"HPKE" + b"".join(part.to_bytes(2, "big") for part in (KEM, KDF, AEAD))


def seal(
    public_key: bytes,
    info: bytes,
    aad: bytes,
    plaintext: bytes,
    ephemeral: bytes | None = None,
) -> tuple[bytes, bytes]:
    """Return the encapsulated key and the ciphertext.

    `ephemeral` (32 bytes) is for reference vectors; without it the sender's key is new.
    Raise ProtocolError for an invalid public key.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import (
        X25519PrivateKey,
        X25519PublicKey,
    )

    if ephemeral is None:
        sender = X25519PrivateKey.generate()
    else:
        sender = X25519PrivateKey.from_private_bytes(ephemeral)
    enc = sender.public_key().public_bytes_raw()
    try:
        shared = sender.exchange(X25519PublicKey.from_public_bytes(public_key))
    except ValueError as error:
        # It has another length, or is a point of low order.
        raise ProtocolError(
            "hpke: the public key is invalid; fetch the HPKE config again"
        ) from error
    key, nonce = _key_schedule(_shared_secret(shared, enc, public_key), info)
    return enc, _aead(key).encrypt(nonce, plaintext, aad)


def open_(
    private_key: X25519PrivateKey,
    enc: bytes,
    info: bytes,
    aad: bytes,
    ciphertext: bytes,
) -> bytes:
    """Return the plaintext.

    Raise OpenError for another key, info, associated data or ciphertext.
    """
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    try:
        shared = private_key.exchange(X25519PublicKey.from_public_bytes(enc))
        public_key = private_key.public_key().public_bytes_raw()
        key, nonce = _key_schedule(_shared_secret(shared, enc, public_key), info)
        return _aead(key).decrypt(nonce, ciphertext, aad)
    except (InvalidTag, ValueError) as error:
        raise OpenError(
            "share: it cannot be decrypted with this key and task; check both"
        ) from error


def _shared_secret(shared: bytes, enc: bytes, public_key: bytes) -> bytes:
    prk = _extract(_KEM_SUITE, b"", b"eae_prk", shared)
    return _expand(_KEM_SUITE, prk, b"shared_secret", enc + public_key, 32)


def _key_schedule(secret: bytes, info: bytes) -> tuple[bytes, bytes]:
    context = b"\0" + _extract(_SUITE, b"", b"psk_id_hash", b"")
    context += _extract(_SUITE, b"", b"info_hash", info)
    prk = _extract(_SUITE, secret, b"secret", b"")
    key = _expand(_SUITE, prk, b"key", context, 16)
    nonce = _expand(_SUITE, prk, b"base_nonce", context, 12)
    return key, nonce


def _extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    labelled = b"HPKE-v1" + suite + label + material
    return hmac.digest(salt or bytes(32), labelled, "sha256")


def _expand(suite: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    # One block of HKDF-Expand is enough, because `length` is at most 32.
    return hmac.digest(prk, labelled + b"\x01", "sha256")[:length]


def _aead(key: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)

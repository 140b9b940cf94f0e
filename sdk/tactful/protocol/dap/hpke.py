"""HPKE base mode, single shot (RFC 9180): seal for one reader, bound to the message around it.

Suite: DHKEM(X25519, HKDF-SHA256), HKDF-SHA256, AES-128-GCM. The library's own HPKE takes no
associated data, which DAP needs; only its public primitives are used here.
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
    """(encapsulated key, ciphertext) that only the holder of the private key opens.

    `ephemeral`, 32 bytes, is for reference vectors; without it the sender's key is fresh. Raises
    ProtocolError for a public key that is none.
    """
    from cryptography.hazmat.primitives.asymmetric.x25519 import (
        X25519PrivateKey,
        X25519PublicKey,
    )

    sender = (
        X25519PrivateKey.generate()
        if ephemeral is None
        else X25519PrivateKey.from_private_bytes(ephemeral)
    )
    enc = sender.public_key().public_bytes_raw()
    try:
        shared = sender.exchange(X25519PublicKey.from_public_bytes(public_key))
    except ValueError as wrong:  # another length, or a point of low order
        raise ProtocolError("hpke: nothing can be sealed to this public key") from wrong
    key, nonce = _key_schedule(_shared_secret(shared, enc, public_key), info)
    return enc, _aead(key).encrypt(nonce, plaintext, aad)


def open_(
    private_key: X25519PrivateKey,
    enc: bytes,
    info: bytes,
    aad: bytes,
    ciphertext: bytes,
) -> bytes:
    """The plaintext; raises OpenError if key, info, associated data or ciphertext is another."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    try:
        shared = private_key.exchange(X25519PublicKey.from_public_bytes(enc))
        own = private_key.public_key().public_bytes_raw()
        key, nonce = _key_schedule(_shared_secret(shared, enc, own), info)
        return _aead(key).decrypt(nonce, ciphertext, aad)
    except (InvalidTag, ValueError) as wrong:
        raise OpenError("the share does not open with this key and task") from wrong


def _shared_secret(shared: bytes, enc: bytes, public_key: bytes) -> bytes:
    prk = _extract(_KEM_SUITE, b"", b"eae_prk", shared)
    return _expand(_KEM_SUITE, prk, b"shared_secret", enc + public_key, 32)


def _key_schedule(secret: bytes, info: bytes) -> tuple[bytes, bytes]:
    context = b"\0" + _extract(_SUITE, b"", b"psk_id_hash", b"")
    context += _extract(_SUITE, b"", b"info_hash", info)
    prk = _extract(_SUITE, secret, b"secret", b"")
    return _expand(_SUITE, prk, b"key", context, 16), _expand(
        _SUITE, prk, b"base_nonce", context, 12
    )


def _extract(suite: bytes, salt: bytes, label: bytes, material: bytes) -> bytes:
    return hmac.digest(
        salt or bytes(32), b"HPKE-v1" + suite + label + material, "sha256"
    )


def _expand(suite: bytes, prk: bytes, label: bytes, info: bytes, length: int) -> bytes:
    labelled = length.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(prk, labelled + b"\x01", "sha256")[
        :length
    ]  # one block is always enough


def _aead(key: bytes) -> AESGCM:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)

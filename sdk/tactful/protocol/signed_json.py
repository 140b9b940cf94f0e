"""Documents that both halves sign: one canonical form, two Ed25519 signatures."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from tactful.errors import ProtocolError


def canonical(document: Mapping[str, object]) -> bytes:
    """JSON in one form only: keys sorted, no spaces, UTF-8."""
    return json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    ).encode()


def encode_signed(document: bytes, signatures: Mapping[str, bytes]) -> bytes:
    """A document and its signatures (by "leader" and "helper") as one JSON body."""
    written = {
        role: base64.b64encode(signed).decode() for role, signed in signatures.items()
    }
    return canonical({"document": document.decode(), "signatures": written})


def decode_signed(body: bytes) -> tuple[bytes, dict[str, bytes]]:
    """The document and signatures of such a body, not verified; raises ProtocolError."""
    try:
        outer = json.loads(body)
        document, signatures = outer.pop("document"), outer.pop("signatures")
        if outer or set(signatures) - {"leader", "helper"}:
            raise ValueError("a field too many")
        decoded = {
            role: base64.b64decode(text, validate=True)
            for role, text in signatures.items()
        }
        return str(document).encode(), decoded
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as wrong:
        raise ProtocolError(
            "document: unsigned; is this a Tactful leader's address?"
        ) from wrong


def verify_both(
    message: bytes,
    signatures: Mapping[str, bytes],
    leader_key: bytes,
    helper_key: bytes,
) -> None:
    """Check both halves' signatures over `message`; raises ProtocolError naming the wrong one."""
    for role, key in (("leader", leader_key), ("helper", helper_key)):
        if not is_signed(message, signatures.get(role, b""), key):
            raise ProtocolError(
                f"signatures.{role}: it is not by the key this device trusts"
            )


def is_signed(message: bytes, signature: bytes, public_key: bytes) -> bool:
    """Whether `signature` is by the holder of `public_key`, over exactly `message`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True

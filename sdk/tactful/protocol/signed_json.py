"""Documents that both aggregators sign: a canonical form, and two Ed25519 signatures."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from tactful.errors import ProtocolError


def canonical(document: Mapping[str, object]) -> bytes:
    """Return JSON with sorted keys and without spaces, in UTF-8."""
    text = json.dumps(
        document, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    return text.encode()


def encode_signed(document: bytes, signatures: Mapping[str, bytes]) -> bytes:
    """Return a document and its signatures (by "leader" and "helper") as a JSON body."""
    encoded = {
        role: base64.b64encode(signature).decode()
        for role, signature in signatures.items()
    }
    return canonical({"document": document.decode(), "signatures": encoded})


def decode_signed(body: bytes) -> tuple[bytes, dict[str, bytes]]:
    """Return the document and signatures of a body, not verified.

    Raise ProtocolError for a body of another form.
    """
    try:
        fields = json.loads(body)
        document, signatures = fields.pop("document"), fields.pop("signatures")
        if fields or set(signatures) - {"leader", "helper"}:
            raise ValueError("an unknown field")
        decoded = {
            role: base64.b64decode(text, validate=True)
            for role, text in signatures.items()
        }
        return str(document).encode(), decoded
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ProtocolError(
            "document: it is not a signed document; check that the address is that of "
            "a Tactful leader"
        ) from error


def verify_both(
    message: bytes,
    signatures: Mapping[str, bytes],
    leader_key: bytes,
    helper_key: bytes,
) -> None:
    """Raise ProtocolError unless both aggregators signed `message`."""
    for role, key in (("leader", leader_key), ("helper", helper_key)):
        if not is_signed(message, signatures.get(role, b""), key):
            raise ProtocolError(
                f"signatures.{role}: it is not by the key that this device trusts; "
                "compare the key in the settings with the operator's"
            )


def is_signed(message: bytes, signature: bytes, public_key: bytes) -> bool:
    """Return True if the holder of `public_key` signed exactly `message`."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True

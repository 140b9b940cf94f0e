"""An aggregator's HPKE config, signed with the Ed25519 key that devices pin.

A relay that ends TLS, or plain http, could replace an unsigned config and read every report.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

from tactful.errors import DecodeError, HpkeConfigRejected, ProtocolError
from tactful.protocol.dap.codec import opaque16
from tactful.protocol.dap.messages import HpkeConfig, decode_config_list
from tactful.protocol.signed_json import (
    canonical,
    decode_signed,
    encode_signed,
    is_signed,
)

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

VERSION: Literal["tactful-1"] = "tactful-1"
SIGNED_AS = b"tactful-1 hpke config"
MOST_SECONDS = 14 * 86_400  # from not_before to not_after
MOST_BODY = 4096  # bytes of a signed document
Role = Literal["leader", "helper"]


@dataclass(frozen=True, kw_only=True)
class ConfigDocument:
    """One HPKE config of one aggregator, and from when to when it may be used.

    `config` is the encoded HpkeConfig in hex, `epoch` rises with each rotation of the key, times
    are unix seconds.
    """

    version: Literal["tactful-1"]
    role: Role
    epoch: int
    config: str
    not_before: int
    not_after: int

    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "strict": True,
    }

    @classmethod
    def parse(cls, document: bytes) -> ConfigDocument:
        """Read a document; raise HpkeConfigRejected naming the field that is wrong."""
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(cls).validate_json(document)
        except ValidationError as wrong:
            first = wrong.errors()[0]
            where = ".".join(str(part) for part in first["loc"]) or "document"
            raise _rejected(where, first["msg"]) from wrong

    @property
    def document(self) -> bytes:
        """The document in its one canonical form."""
        return canonical(asdict(self))

    @property
    def config_sha256(self) -> str:
        """The SHA-256 of the encoded config, in hex."""
        return hashlib.sha256(bytes.fromhex(self.config)).hexdigest()

    @property
    def hpke_config(self) -> HpkeConfig:
        """The config itself; raise HpkeConfigRejected if it is none that shares are sealed to."""
        try:
            configs = decode_config_list(opaque16(bytes.fromhex(self.config)))
        except (DecodeError, ValueError) as wrong:
            raise _rejected("config", "it is no HpkeConfig") from wrong
        if len(configs) != 1:
            raise _rejected(
                "config", f"it holds {len(configs)} usable configs, not one"
            )
        return configs[0]

    def signed(self, key: Ed25519PrivateKey) -> bytes:
        """Sign the document; return the JSON that is published."""
        return encode_signed(
            self.document, {self.role: key.sign(SIGNED_AS + self.document)}
        )


def verified(body: bytes, role: Role, public_key: bytes, now: int) -> ConfigDocument:
    """Return the document of `body` once its signature, role and times hold at `now`.

    Raise HpkeConfigRejected naming the first that does not.
    """
    if len(body) > MOST_BODY:
        raise _rejected("document", f"{len(body)} bytes; at most {MOST_BODY} are read")
    try:
        text, signatures = decode_signed(body)
    except ProtocolError as wrong:
        raise HpkeConfigRejected(f"hpke_config.{wrong}") from wrong
    if not is_signed(SIGNED_AS + text, signatures.get(role, b""), public_key):
        raise _rejected(
            f"signatures.{role}", "it is not by the key that this device trusts"
        )
    document = ConfigDocument.parse(text)
    _check(document, role, now)
    return document


def _check(document: ConfigDocument, role: Role, now: int) -> None:
    if document.role != role:
        raise _rejected("role", f"it is the {document.role}'s, not the {role}'s")
    if document.epoch < 0:
        raise _rejected("epoch", f"{document.epoch} is below 0")
    if not 0 < document.not_after - document.not_before <= MOST_SECONDS:
        raise _rejected("not_after", f"it is not within {MOST_SECONDS // 86_400} days")
    if now < document.not_before:
        raise _rejected("not_before", "it is not valid yet; set this device's clock")
    if now >= document.not_after:
        raise _rejected(
            "not_after", "it is over; set this device's clock, or try again later"
        )
    _ = document.hpke_config


def _rejected(field: str, problem: str) -> HpkeConfigRejected:
    return HpkeConfigRejected(
        f"hpke_config.{field}: {problem}; nothing was charged or sent"
    )

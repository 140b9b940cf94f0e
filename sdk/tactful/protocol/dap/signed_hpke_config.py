"""An aggregator's HPKE config, signed with the Ed25519 key that devices pin.

An unsigned config could be replaced by a relay that terminates TLS, which could then
read every report.
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
MAX_SECONDS = 14 * 86_400  # from not_before to not_after
MAX_BODY = 4096  # bytes of a signed document
Role = Literal["leader", "helper"]


@dataclass(frozen=True, kw_only=True)
class ConfigDocument:
    """One HPKE config of one aggregator, and its period of validity.

    `config` is the encoded HpkeConfig in hex. `epoch` rises with each rotation of the
    key. Times are in unix seconds.
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
        """Return the document; raise HpkeConfigRejected for a wrong field."""
        from pydantic import TypeAdapter, ValidationError

        try:
            return TypeAdapter(cls).validate_json(document)
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "document"
            raise _rejected(field, first["msg"]) from error

    @property
    def document(self) -> bytes:
        """The document in its canonical form."""
        return canonical(asdict(self))

    @property
    def config_sha256(self) -> str:
        """The SHA-256 of the encoded config, in hex."""
        return hashlib.sha256(bytes.fromhex(self.config)).hexdigest()

    @property
    def hpke_config(self) -> HpkeConfig:
        """The decoded config; raises HpkeConfigRejected if it is not usable."""
        try:
            configs = decode_config_list(opaque16(bytes.fromhex(self.config)))
        except (DecodeError, ValueError) as error:
            raise _rejected("config", "it is not an HpkeConfig") from error
        if len(configs) != 1:
            raise _rejected("config", f"it has {len(configs)} usable configs, not one")
        return configs[0]

    def signed(self, key: Ed25519PrivateKey) -> bytes:
        """Return the document, signed with `key`, as published JSON."""
        signature = key.sign(SIGNED_AS + self.document)
        return encode_signed(self.document, {self.role: signature})


def verified(body: bytes, role: Role, public_key: bytes, now: int) -> ConfigDocument:
    """Return the document in `body` if signature, role and times are right at `now`.

    Raise HpkeConfigRejected for the first that is wrong.
    """
    if len(body) > MAX_BODY:
        raise _rejected("document", f"it has {len(body)} bytes, more than {MAX_BODY}")
    try:
        text, signatures = decode_signed(body)
    except ProtocolError as error:
        raise HpkeConfigRejected(f"hpke_config.{error}") from error
    if not is_signed(SIGNED_AS + text, signatures.get(role, b""), public_key):
        raise _rejected(
            f"signatures.{role}", "it is not by the key that this device trusts"
        )
    document = ConfigDocument.parse(text)
    _require_valid(document, role, now)
    return document


def _require_valid(document: ConfigDocument, role: Role, now: int) -> None:
    if document.role != role:
        raise _rejected("role", f"it is that of the {document.role}, not of the {role}")
    if document.epoch < 0:
        raise _rejected("epoch", f"{document.epoch} is below 0")
    if not 0 < document.not_after - document.not_before <= MAX_SECONDS:
        raise _rejected("not_after", f"it is not within {MAX_SECONDS // 86_400} days")
    if now < document.not_before:
        raise _rejected("not_before", "it is not valid yet; set this device's clock")
    if now >= document.not_after:
        raise _rejected(
            "not_after", "it has passed; set this device's clock, or try again later"
        )
    # Raise if the config itself is not usable.
    _ = document.hpke_config


def _rejected(field: str, problem: str) -> HpkeConfigRejected:
    return HpkeConfigRejected(
        f"hpke_config.{field}: {problem}; nothing was charged or sent"
    )

"""Messages of a client (draft-ietf-ppm-dap, section 4), in each DAP version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tactful.errors import DecodeError
from tactful.protocol.dap import hpke
from tactful.protocol.dap.codec import Reader, opaque16, opaque32, u8, u16, u64
from tactful.protocol.dap.dap_task import DapTask
from tactful.protocol.dap.versions import DapVersion, ReportError
from tactful.vdaf.vdaf import Vdaf

ID_BYTES = 16  # of a report


@dataclass(frozen=True)
class HpkeConfig:
    """One public key that shares may be encrypted to."""

    config_id: int
    public_key: bytes

    def encode(self) -> bytes:
        """Return the config as bytes."""
        suite = u16(hpke.KEM) + u16(hpke.KDF) + u16(hpke.AEAD)
        return u8(self.config_id) + suite + opaque16(self.public_key)


def encode_config_list(configs: Sequence[HpkeConfig]) -> bytes:
    """Return the body of a response to `hpke_config`."""
    return opaque16(b"".join(config.encode() for config in configs))


def decode_config_list(body: bytes) -> list[HpkeConfig]:
    """Return the configs of the supported suite, in the order of the list."""
    outer = Reader(body, "HpkeConfigList")
    inner = outer.inside16("HpkeConfigList")
    outer.end()
    configs = []
    while inner.remaining:
        config_id = inner.number(1)
        suite = inner.number(2), inner.number(2), inner.number(2)
        key = inner.opaque16()
        if suite == (hpke.KEM, hpke.KDF, hpke.AEAD) and len(key) == hpke.KEY_BYTES:
            configs.append(HpkeConfig(config_id, key))
    return configs


@dataclass(frozen=True)
class HpkeCiphertext:
    """One encrypted share."""

    config_id: int
    enc: bytes
    payload: bytes

    def encode(self) -> bytes:
        """Return the ciphertext as bytes."""
        return u8(self.config_id) + opaque16(self.enc) + opaque32(self.payload)

    @classmethod
    def read(cls, reader: Reader) -> HpkeCiphertext:
        """Return the next ciphertext of a message."""
        return cls(reader.number(1), reader.opaque16(), reader.opaque32())


@dataclass(frozen=True)
class ReportMetadata:
    """The part of a report that both aggregators see: random id, and time on the wire."""

    report_id: bytes
    time: int

    def encode(self, dap: DapVersion) -> bytes:
        """Return the metadata as bytes, without extensions."""
        extensions = opaque16(b"") if dap.configured else b""
        return self.report_id + u64(self.time) + extensions

    @classmethod
    def read(cls, reader: Reader, dap: DapVersion) -> ReportMetadata:
        """Return the next metadata; raise DecodeError for an extension."""
        metadata = cls(reader.take(ID_BYTES), reader.number(8))
        if dap.configured:
            reader.nothing16("public extension")
        return metadata


@dataclass(frozen=True)
class Report:
    """One contribution to one task: an encrypted share for each aggregator."""

    metadata: ReportMetadata
    public_share: bytes
    leader: HpkeCiphertext
    helper: HpkeCiphertext

    def encode(self, dap: DapVersion) -> bytes:
        """Return the report as bytes."""
        head = self.metadata.encode(dap) + opaque32(self.public_share)
        return head + self.leader.encode() + self.helper.encode()

    @classmethod
    def read(cls, reader: Reader, dap: DapVersion) -> Report:
        """Return the next report of a message."""
        metadata = ReportMetadata.read(reader, dap)
        public_share = reader.opaque32()
        leader = HpkeCiphertext.read(reader)
        helper = HpkeCiphertext.read(reader)
        return cls(metadata, public_share, leader, helper)

    @classmethod
    def decode(cls, body: bytes, dap: DapVersion) -> Report:
        """Return the only report in `body`."""
        reader = Reader(body, "Report")
        report = cls.read(reader, dap)
        reader.end()
        return report


def report_bytes(vdaf: Vdaf, dap: DapVersion) -> int:
    """Return the size of a report, which does not depend on its content."""
    public, leader, helper = vdaf.sizes
    metadata = ReportMetadata(bytes(ID_BYTES), 0).encode(dap)
    ciphertext_head = 1 + 2 + hpke.KEY_BYTES + 4
    overhead = len(encode_plaintext_share(b"")) + hpke.TAG_BYTES
    ciphertexts = 2 * (ciphertext_head + overhead) + leader + helper
    return len(metadata) + 4 + public + ciphertexts


def decode_upload(body: bytes, dap: DapVersion) -> list[Report]:
    """Return the reports of an upload: one in DAP-09, one or more in DAP-18."""
    if dap.counted:
        return [Report.decode(body, dap)]
    reader = Reader(body, "UploadRequest")
    reports = []
    while reader.remaining:
        reports.append(Report.read(reader, dap))
    if not reports:
        raise DecodeError("UploadRequest: it contains no report")
    return reports


def encode_upload_errors(
    errors: Sequence[tuple[bytes, ReportError]], dap: DapVersion
) -> bytes:
    """Return the response to an upload of which some reports were rejected.

    `errors` has (report id, reason) of each of them.
    """
    return b"".join(report_id + u8(dap.errors[reason]) for report_id, reason in errors)


def decode_upload_errors(
    body: bytes, dap: DapVersion
) -> list[tuple[bytes, ReportError]]:
    """Return the (report id, reason) pairs of a response to an upload."""
    reader = Reader(body, "UploadErrors")
    errors = []
    while reader.remaining:
        errors.append((reader.take(ID_BYTES), read_reason(reader, dap)))
    return errors


def read_reason(reader: Reader, dap: DapVersion) -> ReportError:
    """Return the next report error."""
    code = reader.number(1)
    for reason, number in dap.errors.items():
        if number == code:
            return reason
    raise DecodeError(f"ReportError: {code} is not known")


def input_share_aad(
    task: DapTask, metadata: ReportMetadata, public_share: bytes
) -> bytes:
    """Return the associated data of an encrypted share.

    A share that is moved to another task, report or time cannot be decrypted.
    """
    return (
        task.id
        + task.configuration
        + metadata.encode(task.dap)
        + opaque32(public_share)
    )


def encode_plaintext_share(payload: bytes) -> bytes:
    """Return a share before encryption, without private extensions."""
    return opaque16(b"") + opaque32(payload)


def decode_plaintext_share(plaintext: bytes) -> bytes:
    """Return the payload of a decrypted share."""
    reader = Reader(plaintext, "PlaintextInputShare")
    reader.nothing16("private extension")
    payload = reader.opaque32()
    reader.end()
    return payload

"""What a client sends, byte by byte (draft-ietf-ppm-dap, section 4), in each version."""

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
    """One public key that shares may be sealed to."""

    config_id: int
    public_key: bytes

    def encode(self) -> bytes:
        """The config as it travels."""
        suite = u16(hpke.KEM) + u16(hpke.KDF) + u16(hpke.AEAD)
        return u8(self.config_id) + suite + opaque16(self.public_key)


def encode_config_list(configs: Sequence[HpkeConfig]) -> bytes:
    """The body of an answer to `hpke_config`."""
    return opaque16(b"".join(config.encode() for config in configs))


def decode_config_list(body: bytes) -> list[HpkeConfig]:
    """The configs of our suite in the order of the list; others are passed over."""
    outer = Reader(body, "HpkeConfigList")
    inner = outer.inside16("HpkeConfigList")
    outer.end()
    found = []
    while inner.left:
        config_id = inner.number(1)
        suite = inner.number(2), inner.number(2), inner.number(2)
        key = inner.opaque16()
        if suite == (hpke.KEM, hpke.KDF, hpke.AEAD) and len(key) == hpke.KEY_BYTES:
            found.append(HpkeConfig(config_id, key))
    return found


@dataclass(frozen=True)
class HpkeCiphertext:
    """One sealed share."""

    config_id: int
    enc: bytes
    payload: bytes

    def encode(self) -> bytes:
        """The ciphertext as it travels."""
        return u8(self.config_id) + opaque16(self.enc) + opaque32(self.payload)

    @classmethod
    def read(cls, reader: Reader) -> HpkeCiphertext:
        """The next ciphertext of a message."""
        return cls(reader.number(1), reader.opaque16(), reader.opaque32())


@dataclass(frozen=True)
class ReportMetadata:
    """What both halves see of a report: its random id, and its time as it travels."""

    report_id: bytes
    time: int

    def encode(self, dap: DapVersion) -> bytes:
        """The metadata as they travel, without extensions."""
        return (
            self.report_id + u64(self.time) + (opaque16(b"") if dap.configured else b"")
        )

    @classmethod
    def read(cls, reader: Reader, dap: DapVersion) -> ReportMetadata:
        """The next metadata of a message; raises DecodeError for an extension: none is known."""
        metadata = cls(reader.take(ID_BYTES), reader.number(8))
        if dap.configured:
            reader.nothing16("public extension")
        return metadata


@dataclass(frozen=True)
class Report:
    """One contribution to one task: a sealed share for each half."""

    metadata: ReportMetadata
    public_share: bytes
    leader: HpkeCiphertext
    helper: HpkeCiphertext

    def encode(self, dap: DapVersion) -> bytes:
        """The report as it travels."""
        head = self.metadata.encode(dap) + opaque32(self.public_share)
        return head + self.leader.encode() + self.helper.encode()

    @classmethod
    def read(cls, reader: Reader, dap: DapVersion) -> Report:
        """The next report of a message."""
        metadata, public_share = ReportMetadata.read(reader, dap), reader.opaque32()
        return cls(
            metadata,
            public_share,
            HpkeCiphertext.read(reader),
            HpkeCiphertext.read(reader),
        )

    @classmethod
    def decode(cls, body: bytes, dap: DapVersion) -> Report:
        """The one report in `body`."""
        reader = Reader(body, "Report")
        report = cls.read(reader, dap)
        reader.end()
        return report


def report_bytes(vdaf: Vdaf, dap: DapVersion) -> int:
    """The size of a report, whatever is in it."""
    public, leader, helper = vdaf.sizes
    metadata = ReportMetadata(bytes(ID_BYTES), 0).encode(dap)
    sealed = (
        1 + 2 + hpke.KEY_BYTES + 4 + len(encode_plaintext_share(b"")) + hpke.TAG_BYTES
    )
    return len(metadata) + 4 + public + 2 * sealed + leader + helper


def decode_upload(body: bytes, dap: DapVersion) -> list[Report]:
    """The reports of an upload: one in DAP-09, one or more in DAP-18."""
    if dap.counted:
        return [Report.decode(body, dap)]
    reader = Reader(body, "UploadRequest")
    reports = []
    while reader.left:
        reports.append(Report.read(reader, dap))
    if not reports:
        raise DecodeError("UploadRequest: it holds no report")
    return reports


def encode_upload_errors(
    errors: Sequence[tuple[bytes, ReportError]], dap: DapVersion
) -> bytes:
    """The answer to an upload some of whose reports were not taken: (report id, reason) each."""
    return b"".join(report_id + u8(dap.errors[reason]) for report_id, reason in errors)


def decode_upload_errors(
    body: bytes, dap: DapVersion
) -> list[tuple[bytes, ReportError]]:
    """The (report id, reason) pairs of such an answer."""
    reader = Reader(body, "UploadErrors")
    errors = []
    while reader.left:
        errors.append((reader.take(ID_BYTES), read_reason(reader, dap)))
    return errors


def read_reason(reader: Reader, dap: DapVersion) -> ReportError:
    """The next report error."""
    code = reader.number(1)
    for reason, known in dap.errors.items():
        if known == code:
            return reason
    raise DecodeError(f"ReportError: {code} is not known")


def input_share_aad(
    task: DapTask, metadata: ReportMetadata, public_share: bytes
) -> bytes:
    """What a sealed share is bound to: moved to another task, report or time, it does not open."""
    return (
        task.id
        + task.configuration
        + metadata.encode(task.dap)
        + opaque32(public_share)
    )


def encode_plaintext_share(payload: bytes) -> bytes:
    """A share before it is sealed, without private extensions."""
    return opaque16(b"") + opaque32(payload)


def decode_plaintext_share(plaintext: bytes) -> bytes:
    """The payload of an opened share."""
    reader = Reader(plaintext, "PlaintextInputShare")
    reader.nothing16("private extension")
    payload = reader.opaque32()
    reader.end()
    return payload

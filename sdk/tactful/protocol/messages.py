"""What travels, byte by byte: the layouts and names of DAP-18 (draft-ietf-ppm-dap-18, section 4).

One thing differs: where the draft binds its TaskConfiguration, our Task document stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

from tactful.errors import DecodeError
from tactful.protocol import hpke
from tactful.protocol.codec import Reader, opaque16, opaque32, u8, u16, u64

LEADER, HELPER = 2, 3  # roles, as the draft numbers them
INPUT_SHARE_INFO = b"tactful-1 input share\x01"
MEDIA_TYPE = "application/ppm-dap;message="


class ReportError(IntEnum):
    """Why one report was not taken (DAP-18)."""

    BATCH_COLLECTED = 1
    REPORT_REPLAYED = 2
    REPORT_DROPPED = 3
    HPKE_UNKNOWN_CONFIG_ID = 4
    HPKE_DECRYPT_ERROR = 5
    VDAF_VERIFY_ERROR = 6
    TASK_EXPIRED = 7
    INVALID_MESSAGE = 8
    REPORT_TOO_EARLY = 9
    TASK_NOT_STARTED = 10
    OUTDATED_CONFIG = 11


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
    inner = Reader(outer.opaque16(), "HpkeConfigList")
    outer.end()
    found = []
    while inner.left:
        config_id = inner.number(1)
        suite = inner.number(2), inner.number(2), inner.number(2)
        key = inner.opaque16()
        if suite == (hpke.KEM, hpke.KDF, hpke.AEAD) and len(key) == 32:
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
    """What both halves see of a report: its random id, and its time in units of the precision."""

    report_id: bytes
    time: int

    def encode(self) -> bytes:
        """The metadata as they travel, without public extensions."""
        return self.report_id + u64(self.time) + opaque16(b"")

    @classmethod
    def read(cls, reader: Reader) -> ReportMetadata:
        """The next metadata of a message; raises DecodeError for an extension: none is known."""
        metadata = cls(reader.take(16), reader.number(8))
        if reader.opaque16():
            raise DecodeError("ReportMetadata: an unknown extension")
        return metadata


@dataclass(frozen=True)
class Report:
    """One device's contribution to one task: a sealed share for each half."""

    metadata: ReportMetadata
    public_share: bytes
    leader: HpkeCiphertext
    helper: HpkeCiphertext

    def encode(self) -> bytes:
        """The report as it travels."""
        head = self.metadata.encode() + opaque32(self.public_share)
        return head + self.leader.encode() + self.helper.encode()

    @classmethod
    def read(cls, reader: Reader) -> Report:
        """The next report of a message."""
        metadata, public_share = ReportMetadata.read(reader), reader.opaque32()
        return cls(metadata, public_share, HpkeCiphertext.read(reader), HpkeCiphertext.read(reader))


def decode_upload(body: bytes) -> list[Report]:
    """The reports of an upload request, one or more."""
    reader = Reader(body, "UploadRequest")
    reports = []
    while reader.left:
        reports.append(Report.read(reader))
    if not reports:
        raise DecodeError("UploadRequest: it holds no report")
    return reports


def encode_upload_errors(errors: Sequence[tuple[bytes, ReportError]]) -> bytes:
    """The answer to an upload some of whose reports were not taken: (report id, reason) each."""
    return b"".join(report_id + u8(reason) for report_id, reason in errors)


def decode_upload_errors(body: bytes) -> list[tuple[bytes, ReportError]]:
    """The (report id, reason) pairs of such an answer."""
    reader = Reader(body, "UploadErrors")
    errors = []
    while reader.left:
        errors.append((reader.take(16), _reason(reader.number(1))))
    return errors


def input_share_aad(
    task_id: bytes, task_document: bytes, metadata: ReportMetadata, public_share: bytes
) -> bytes:
    """What a sealed share is bound to: moved to another task, report or time, it does not open."""
    bound = task_id + opaque32(task_document)
    return bound + metadata.encode() + opaque32(public_share)


def encode_plaintext_share(payload: bytes) -> bytes:
    """A share before it is sealed, without private extensions."""
    return opaque16(b"") + opaque32(payload)


def decode_plaintext_share(plaintext: bytes) -> bytes:
    """The payload of an opened share."""
    reader = Reader(plaintext, "PlaintextInputShare")
    if reader.opaque16():
        raise DecodeError("PlaintextInputShare: an unknown extension")
    payload = reader.opaque32()
    reader.end()
    return payload


@dataclass(frozen=True)
class VerifyInit:
    """What the leader hands the helper of one report."""

    metadata: ReportMetadata
    public_share: bytes
    helper: HpkeCiphertext

    def encode(self) -> bytes:
        """The entry as it travels; the leader has no message of its own without a proof."""
        head = self.metadata.encode() + opaque32(self.public_share)
        return head + self.helper.encode() + opaque32(b"")

    @classmethod
    def read(cls, reader: Reader) -> VerifyInit:
        """The next entry of a job."""
        metadata, public_share = ReportMetadata.read(reader), reader.opaque32()
        entry = cls(metadata, public_share, HpkeCiphertext.read(reader))
        if reader.opaque32():
            raise DecodeError("VerifyInit: a payload where no proof is used")
        return entry


def encode_job(entries: Sequence[VerifyInit]) -> bytes:
    """AggregationJobInitReq: verification key id, empty parameter, no extensions, the entries."""
    return u8(0) + opaque32(b"") + opaque16(b"") + b"".join(entry.encode() for entry in entries)


def decode_job(body: bytes) -> list[VerifyInit]:
    """The entries of a job."""
    reader = Reader(body, "AggregationJobInitReq")
    if reader.number(1) or reader.opaque32() or reader.opaque16():
        raise DecodeError("AggregationJobInitReq: a parameter or extension that is not known")
    entries = []
    while reader.left:
        entries.append(VerifyInit.read(reader))
    return entries


FINISHED, REJECTED = 1, 2


@dataclass(frozen=True)
class VerifyResp:
    """The helper's answer for one report: taken (`reason` None), or why not."""

    report_id: bytes
    reason: ReportError | None = None

    def encode(self) -> bytes:
        """The answer as it travels."""
        if self.reason is None:
            return self.report_id + u8(FINISHED)
        return self.report_id + u8(REJECTED) + u8(self.reason)

    @classmethod
    def read(cls, reader: Reader) -> VerifyResp:
        """The next answer."""
        report_id, state = reader.take(16), reader.number(1)
        if state == FINISHED:
            return cls(report_id)
        if state == REJECTED:
            return cls(report_id, _reason(reader.number(1)))
        raise DecodeError(f"VerifyResp: state {state} is not known")


def decode_job_answer(body: bytes) -> list[VerifyResp]:
    """The helper's answers, in the order of the job."""
    reader = Reader(body, "AggregationJobResp")
    answers = []
    while reader.left:
        answers.append(VerifyResp.read(reader))
    return answers


@dataclass(frozen=True)
class AggregateShareReq:
    """The leader's request for the helper's sum: both must hold the same reports."""

    count: int
    checksum: bytes

    def encode(self) -> bytes:
        """The request as it travels."""
        return u64(self.count) + self.checksum

    @classmethod
    def decode(cls, body: bytes) -> AggregateShareReq:
        """The request in `body`."""
        reader = Reader(body, "AggregateShareReq")
        request = cls(reader.number(8), reader.take(32))
        reader.end()
        return request


def _reason(code: int) -> ReportError:
    try:
        return ReportError(code)
    except ValueError as unknown:
        raise DecodeError(f"ReportError: {code} is not known") from unknown

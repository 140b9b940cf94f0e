"""Messages of an aggregation job between leader and helper, in each DAP version.

The payloads are the VDAF's ping-pong messages: the leader's verifier share, and the
message of the helper that ends the verification. The aggregation parameter is always
empty, and there is one verification key.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tactful.errors import DecodeError
from tactful.protocol.dap.codec import Reader, opaque16, opaque32, u8, u16
from tactful.protocol.dap.dap_task import LEADER_SELECTED, DapTask
from tactful.protocol.dap.messages import (
    ID_BYTES,
    HpkeCiphertext,
    ReportMetadata,
    read_reason,
)
from tactful.protocol.dap.versions import DapVersion, ReportError

INITIALIZE, FINISH = 0, 2  # ping-pong messages
CONTINUED, FINISHED, REJECTED = 0, 1, 2  # states of a report in a response
BATCH_ID = 1  # the only job extension


@dataclass(frozen=True)
class VerifyInit:
    """One report as the leader sends it to the helper."""

    metadata: ReportMetadata
    public_share: bytes
    helper: HpkeCiphertext
    verifier_share: bytes

    def encode(self, dap: DapVersion) -> bytes:
        """Return the entry as bytes."""
        return (
            self.metadata.encode(dap)
            + opaque32(self.public_share)
            + self.helper.encode()
            + opaque32(u8(INITIALIZE) + opaque32(self.verifier_share))
        )

    @classmethod
    def read(cls, reader: Reader, dap: DapVersion) -> VerifyInit:
        """Return the next entry of a job."""
        metadata = ReportMetadata.read(reader, dap)
        public_share = reader.opaque32()
        helper = HpkeCiphertext.read(reader)
        verifier_share = _read_ping_pong(reader, INITIALIZE)
        return cls(metadata, public_share, helper, verifier_share)


def encode_job(task: DapTask, entries: Sequence[VerifyInit]) -> bytes:
    """Return an AggregationJobInitReq.

    The length rule and the example of DAP-18 omit the byte of the verification key's
    id, which its structure has. This code follows the structure.
    """
    encoded_entries = b"".join(entry.encode(task.dap) for entry in entries)
    if task.dap.counted:
        return opaque32(b"") + _partial_selector(task) + opaque32(encoded_entries)
    extension = b""
    if task.mode == LEADER_SELECTED:
        extension = u16(BATCH_ID) + opaque16(task.batch_id)
    return u8(0) + opaque32(b"") + opaque16(extension) + encoded_entries


def decode_job(task: DapTask, body: bytes) -> list[VerifyInit]:
    """Return the entries of a job; raise DecodeError if it is of another batch."""
    dap = task.dap
    reader = Reader(body, "AggregationJobInitReq")
    if not dap.counted:
        reader.choice(1, [0], "verification key")
    reader.nothing32("aggregation parameter")
    # In DAP-18 the first 5 bytes, key id and parameter, were read above.
    head = _partial_selector(task) if dap.counted else encode_job(task, [])[5:]
    if reader.take(len(head)) != head:
        raise DecodeError(
            "AggregationJobInitReq: another batch, or an unknown extension"
        )
    entry_reader = reader.inside32("AggregationJobInitReq") if dap.counted else reader
    entries = []
    while entry_reader.remaining:
        entries.append(VerifyInit.read(entry_reader, dap))
    reader.end()
    return entries


def _partial_selector(task: DapTask) -> bytes:
    return u8(task.mode) + (task.batch_id if task.mode == LEADER_SELECTED else b"")


@dataclass(frozen=True)
class VerifyResp:
    """The helper's response for one report.

    `outcome` is the message that ends the verification, or why the report is rejected.
    """

    report_id: bytes
    outcome: bytes | ReportError

    def encode(self, dap: DapVersion) -> bytes:
        """Return the response as bytes."""
        if isinstance(self.outcome, ReportError):
            return self.report_id + u8(REJECTED) + u8(dap.errors[self.outcome])
        message = opaque32(u8(FINISH) + opaque32(self.outcome))
        return self.report_id + u8(CONTINUED) + message

    @classmethod
    def read(cls, reader: Reader, dap: DapVersion) -> VerifyResp:
        """Return the next response; VDAFs of one round finish in no other way."""
        report_id = reader.take(ID_BYTES)
        if reader.choice(1, [CONTINUED, REJECTED], "state") == REJECTED:
            return cls(report_id, read_reason(reader, dap))
        return cls(report_id, _read_ping_pong(reader, FINISH))


def encode_job_answer(answers: Sequence[VerifyResp], dap: DapVersion) -> bytes:
    """Return an AggregationJobResp."""
    encoded_answers = b"".join(answer.encode(dap) for answer in answers)
    return opaque32(encoded_answers) if dap.counted else encoded_answers


def decode_job_answer(body: bytes, dap: DapVersion) -> list[VerifyResp]:
    """Return the helper's responses, in the order of the job."""
    reader = Reader(body, "AggregationJobResp")
    answer_reader = reader.inside32("AggregationJobResp") if dap.counted else reader
    answers = []
    while answer_reader.remaining:
        answers.append(VerifyResp.read(answer_reader, dap))
    reader.end()
    return answers


def _read_ping_pong(reader: Reader, kind: int) -> bytes:
    """Return the field of a ping-pong message of this kind."""
    inner = reader.inside32("payload")
    inner.choice(1, [kind], "ping-pong message")
    field = inner.opaque32()
    inner.end()
    return field

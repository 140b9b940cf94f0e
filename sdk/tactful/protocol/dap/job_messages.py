"""What the leader asks of the helper about reports, and its answers, in each version.

The payloads are the VDAF's ping-pong: the leader's verifier share, and the helper's message that
ends it. An aggregation parameter is always empty, and there is one verification key.
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
CONTINUED, FINISHED, REJECTED = 0, 1, 2  # states of a report in an answer
BATCH_ID = 1  # the one job extension


@dataclass(frozen=True)
class VerifyInit:
    """What the leader hands the helper of one report."""

    metadata: ReportMetadata
    public_share: bytes
    helper: HpkeCiphertext
    verifier_share: bytes

    def encode(self, dap: DapVersion) -> bytes:
        """The entry as it travels."""
        head = (
            self.metadata.encode(dap)
            + opaque32(self.public_share)
            + self.helper.encode()
        )
        return head + opaque32(u8(INITIALIZE) + opaque32(self.verifier_share))

    @classmethod
    def read(cls, reader: Reader, dap: DapVersion) -> VerifyInit:
        """The next entry of a job."""
        metadata, public_share = ReportMetadata.read(reader, dap), reader.opaque32()
        helper = HpkeCiphertext.read(reader)
        return cls(metadata, public_share, helper, _pinged(reader, INITIALIZE))


def encode_job(task: DapTask, entries: Sequence[VerifyInit]) -> bytes:
    """AggregationJobInitReq.

    The length rule and the example of -18 leave out the byte of the verification key's id, which
    its structure has; the structure is followed.
    """
    dap, listed = task.dap, b"".join(entry.encode(task.dap) for entry in entries)
    if dap.counted:
        return opaque32(b"") + _partial_selector(task) + opaque32(listed)
    extension = (
        u16(BATCH_ID) + opaque16(task.batch_id) if task.mode == LEADER_SELECTED else b""
    )
    return u8(0) + opaque32(b"") + opaque16(extension) + listed


def decode_job(task: DapTask, body: bytes) -> list[VerifyInit]:
    """The entries of a job; raises DecodeError if it is of another batch."""
    reader, dap = Reader(body, "AggregationJobInitReq"), task.dap
    if not dap.counted:
        reader.choice(1, [0], "verification key")
    reader.nothing32("aggregation parameter")
    head = _partial_selector(task) if dap.counted else encode_job(task, [])[5:]
    if reader.take(len(head)) != head:
        raise DecodeError(
            "AggregationJobInitReq: another batch, or an unknown extension"
        )
    listed = reader.inside32("AggregationJobInitReq") if dap.counted else reader
    entries = []
    while listed.left:
        entries.append(VerifyInit.read(listed, dap))
    reader.end()
    return entries


def _partial_selector(task: DapTask) -> bytes:
    return u8(task.mode) + (task.batch_id if task.mode == LEADER_SELECTED else b"")


@dataclass(frozen=True)
class VerifyResp:
    """The helper's answer for one report: the message that ends its proof, or why it is refused."""

    report_id: bytes
    outcome: bytes | ReportError

    def encode(self, dap: DapVersion) -> bytes:
        """The answer as it travels."""
        if isinstance(self.outcome, ReportError):
            return self.report_id + u8(REJECTED) + u8(dap.errors[self.outcome])
        return (
            self.report_id
            + u8(CONTINUED)
            + opaque32(u8(FINISH) + opaque32(self.outcome))
        )

    @classmethod
    def read(cls, reader: Reader, dap: DapVersion) -> VerifyResp:
        """The next answer; with one round there is no other way to finish."""
        report_id = reader.take(ID_BYTES)
        if reader.choice(1, [CONTINUED, REJECTED], "state") == REJECTED:
            return cls(report_id, read_reason(reader, dap))
        return cls(report_id, _pinged(reader, FINISH))


def encode_job_answer(answers: Sequence[VerifyResp], dap: DapVersion) -> bytes:
    """AggregationJobResp."""
    listed = b"".join(one.encode(dap) for one in answers)
    return opaque32(listed) if dap.counted else listed


def decode_job_answer(body: bytes, dap: DapVersion) -> list[VerifyResp]:
    """The helper's answers, in the order of the job."""
    reader = Reader(body, "AggregationJobResp")
    listed = reader.inside32("AggregationJobResp") if dap.counted else reader
    answers = []
    while listed.left:
        answers.append(VerifyResp.read(listed, dap))
    reader.end()
    return answers


def _pinged(reader: Reader, kind: int) -> bytes:
    """The one field of a ping-pong message of this kind."""
    inner = reader.inside32("payload")
    inner.choice(1, [kind], "ping-pong message")
    field = inner.opaque32()
    inner.end()
    return field

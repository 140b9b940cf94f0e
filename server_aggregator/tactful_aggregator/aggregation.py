"""Reports become sums: the halves agree on each report before either counts it."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from tactful.errors import DecodeError, OpenError, ProtocolError
from tactful.protocol import hpke
from tactful.protocol.codec import Reader
from tactful.protocol.messages import (
    HELPER,
    INPUT_SHARE_INFO,
    LEADER,
    HpkeCiphertext,
    Report,
    ReportError,
    ReportMetadata,
    VerifyInit,
    VerifyResp,
    decode_job,
    decode_job_answer,
    decode_plaintext_share,
    encode_job,
    input_share_aad,
)
from tactful.protocol.task import Task
from tactful.vdaf import additive
from tactful.vdaf.field import Elements
from tactful.vdaf.field64 import FIELD64
from tactful_aggregator.datastore import COUNTED, OPEN, REFUSED, Batch, Datastore, Transaction
from tactful_aggregator.settings import Half
from tactful_aggregator.upload import CONFIG_ID, untimely

REPORTS_PER_JOB = 64

Share = Elements | ReportError
"""A report's share, written out, or why there is none."""


class JobPeer(Protocol):
    """The helper, as far as the leader's jobs need it."""

    def aggregate(self, task: Task, job_id: bytes, request: bytes) -> bytes:
        """The helper's answer to a job; the same job again has the same answer."""


@dataclass(frozen=True)
class Counted:
    """One report that both halves will count: its id and this half's share."""

    report_id: bytes
    share: Elements


# the leader's side


def drive(store: Datastore, half: Half, peer: JobPeer, task: Task) -> None:
    """Settle every report of `task` that was kept so far; picks up what a crash left."""
    while True:
        with store.transaction() as tx:
            jobs = tx.open_jobs(task.id) or _new_job(tx, task)
        if not jobs:
            return
        for job_id in jobs:
            _settle(store, half, peer, task, job_id)


def _new_job(tx: Transaction, task: Task) -> list[bytes]:
    job_id = secrets.token_bytes(16)
    if not tx.take_reports(task.id, job_id, REPORTS_PER_JOB):
        return []
    tx.add_job(job_id, task.id)
    return [job_id]


def _settle(store: Datastore, half: Half, peer: JobPeer, task: Task, job_id: bytes) -> None:
    """Ask the helper, then count what it took: until the last commit all of it can be repeated."""
    with store.transaction() as tx:
        reports = [Report.read(Reader(body, "Report")) for body in tx.reports_of(job_id)]
    shares = [_leader_share(half, task, report) for report in reports]
    offered = [r for r, share in zip(reports, shares, strict=True) if isinstance(share, np.ndarray)]
    request = encode_job([VerifyInit(r.metadata, r.public_share, r.helper) for r in offered])
    response = peer.aggregate(task, job_id, request)
    taken = _taken(offered, decode_job_answer(response))
    counted = [
        Counted(report.metadata.report_id, share)
        for report, share in zip(reports, shares, strict=True)
        if isinstance(share, np.ndarray) and report.metadata.report_id in taken
    ]
    with store.transaction() as tx:
        if tx.answered_job(job_id) is None:
            count(tx, task, counted)
            for report in reports:
                state = COUNTED if report.metadata.report_id in taken else REFUSED
                tx.settle_report(task.id, report.metadata.report_id, state)
            tx.answer_job(job_id, task.id, hashlib.sha256(request).digest(), response)


def _taken(offered: Sequence[Report], answers: Sequence[VerifyResp]) -> set[bytes]:
    if [one.report_id for one in answers] != [one.metadata.report_id for one in offered]:
        raise ProtocolError("helper: it answered for other reports than it was asked about")
    return {one.report_id for one in answers if one.reason is None}


def _leader_share(half: Half, task: Task, report: Report) -> Share:
    def read(payload: bytes) -> Elements:
        return FIELD64.decode(payload, task.encoding.padded)

    return _opened(half, LEADER, task, report.metadata, report.public_share, report.leader, read)


# the helper's side


def answer(
    store: Datastore, half: Half, task: Task, job_id: bytes, request: bytes, now: int
) -> bytes:
    """Count the reports of a job and say which; the same job again gets the same answer.

    Raises ProtocolError if the job's id was used for another request, or a report stands twice.
    """
    digest = hashlib.sha256(request).digest()
    with store.transaction() as tx:
        known = tx.answered_job(job_id)
    if known is None:
        entries = decode_job(request)
        _distinct(entries)
        shares = [_helper_share(half, task, entry, now) for entry in entries]
        with store.transaction() as tx:
            known = tx.answered_job(job_id)
            if known is None:
                known = digest, _counted(tx, task, entries, shares)
                tx.answer_job(job_id, task.id, *known)
    if known[0] != digest:
        raise ProtocolError("invalidMessage: this job was another one before")
    return known[1]


def _counted(
    tx: Transaction, task: Task, entries: Sequence[VerifyInit], shares: Sequence[Share]
) -> bytes:
    is_open = tx.task_state(task.id) == OPEN
    counted, answers = [], []
    for entry, share in zip(entries, shares, strict=True):
        report_id = entry.metadata.report_id
        reason = share if isinstance(share, ReportError) else _unfit(tx, task, report_id, is_open)
        if reason is None and not isinstance(share, ReportError):
            counted.append(Counted(report_id, share))
        answers.append(VerifyResp(report_id, reason))
    count(tx, task, counted)
    return b"".join(one.encode() for one in answers)


def _unfit(tx: Transaction, task: Task, report_id: bytes, is_open: bool) -> ReportError | None:
    if not is_open:
        return ReportError.BATCH_COLLECTED
    is_new = tx.add_report(task.id, report_id, b"", b"")
    return None if is_new else ReportError.REPORT_REPLAYED


def _distinct(entries: Sequence[VerifyInit]) -> None:
    if len({entry.metadata.report_id for entry in entries}) < len(entries):
        raise ProtocolError("invalidMessage: a report stands twice in one job")


def _helper_share(half: Half, task: Task, entry: VerifyInit, now: int) -> Share:
    reason = untimely(task, entry.metadata.time, min(now, task.expires - 1))
    if reason is not None:
        return reason

    def read(payload: bytes) -> Elements:
        if len(payload) != 32:
            raise DecodeError("share: the helper's is a seed of 32 bytes")
        binder = task.id + entry.metadata.report_id
        return additive.expand(payload, binder, task.encoding.padded)

    return _opened(half, HELPER, task, entry.metadata, entry.public_share, entry.helper, read)


# both


def count(tx: Transaction, task: Task, counted: Sequence[Counted]) -> None:
    """Add reports to the task's sum, in the transaction that settles them."""
    if not counted:
        return
    length = task.encoding.padded
    kept = tx.batch(task.id) or Batch(0, bytes(32), bytes(8 * length), None)
    total = FIELD64.decode(kept.total, length)
    checksum = int.from_bytes(kept.checksum, "big")
    for one in counted:
        total = FIELD64.add(total, one.share)
        checksum ^= int.from_bytes(hashlib.sha256(one.report_id).digest(), "big")
    tx.keep_batch(
        task.id,
        replace(
            kept,
            count=kept.count + len(counted),
            checksum=checksum.to_bytes(32, "big"),
            total=FIELD64.encode(total),
        ),
    )


def _opened(
    half: Half,
    role: int,
    task: Task,
    metadata: ReportMetadata,
    public_share: bytes,
    sealed: HpkeCiphertext,
    read: Callable[[bytes], Elements],
) -> Share:
    if sealed.config_id != CONFIG_ID:
        return ReportError.HPKE_UNKNOWN_CONFIG_ID
    info = INPUT_SHARE_INFO + bytes([role])
    aad = input_share_aad(task.id, task.document, metadata, public_share)
    try:
        plaintext = hpke.open_(half.keys.opener, sealed.enc, info, aad, sealed.payload)
        return read(decode_plaintext_share(plaintext))
    except OpenError:
        return ReportError.HPKE_DECRYPT_ERROR
    except DecodeError:
        return ReportError.INVALID_MESSAGE

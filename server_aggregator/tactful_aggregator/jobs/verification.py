"""Verification of sealed reports, and their addition to the sums; the same for both roles."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from tactful.errors import DecodeError, OpenError, ProofRejected
from tactful.protocol.dap import hpke
from tactful.protocol.dap.dap_task import DapTask
from tactful.protocol.dap.messages import (
    HpkeCiphertext,
    ReportMetadata,
    decode_plaintext_share,
    input_share_aad,
)
from tactful.protocol.dap.versions import LEADER, ReportError
from tactful.vdaf.field import Elements
from tactful.vdaf.vdaf import Prepared, Received, VerifyState
from tactful_aggregator.datastore import BatchShard, StoreTransaction
from tactful_aggregator.jobs.dependencies import Dependencies
from tactful_aggregator.task_registry import ProvisionedTask

Verified = tuple[VerifyState, bytes] | ReportError
"""The state and the verifier share of a report, or the reason why it is not counted."""

SealedReport = tuple[ReportMetadata, bytes, HpkeCiphertext]
"""A report as one aggregator opens it: metadata, public share, its own ciphertext."""

CHECKSUM_BYTES = 32
ALL_BUCKETS = (0, 1 << 62)
# Refusals that a later attempt can turn into acceptance.
EARLY = (ReportError.REPORT_TOO_EARLY, ReportError.TASK_NOT_STARTED)


@dataclass(frozen=True)
class CountedReport:
    """A report that both aggregators accepted, with this aggregator's output share."""

    report_id: bytes
    bucket: int
    share: Elements


def verify_reports(
    dependencies: Dependencies,
    provisioned: ProvisionedTask,
    role: int,
    sealed_reports: Sequence[SealedReport],
) -> list[Verified]:
    """Open the reports and begin to verify their proofs; return one result per report.

    An invalid report has its ReportError as result and does not affect the others.
    """
    task = provisioned.task
    private_keys = dependencies.keyring.current().openers
    opened = [_open(private_keys, task, role, *sealed) for sealed in sealed_reports]
    received = [share for share in opened if isinstance(share, Received)]
    aggregator_id = 0 if role == LEADER else 1
    # One call for all reports, because the proof system works on arrays.
    results = iter(
        task.vdaf.verify_init(
            provisioned.verify_key, aggregator_id, received, task.context
        )
    )
    verified: list[Verified] = []
    for share in opened:
        if isinstance(share, ReportError):
            verified.append(share)
        else:
            verified.append(_result(next(results)))
    return verified


def _result(prepared: Prepared) -> Verified:
    if isinstance(prepared, DecodeError):
        return ReportError.INVALID_MESSAGE
    if isinstance(prepared, ProofRejected):
        return ReportError.VDAF_VERIFY_ERROR
    return prepared


def _open(
    private_keys: Mapping[int, X25519PrivateKey],
    task: DapTask,
    role: int,
    metadata: ReportMetadata,
    public_share: bytes,
    sealed: HpkeCiphertext,
) -> Received | ReportError:
    private_key = private_keys.get(sealed.config_id)
    if private_key is None:
        return ReportError.HPKE_UNKNOWN_CONFIG_ID
    info = task.dap.input_share_info(role)
    aad = input_share_aad(task, metadata, public_share)
    try:
        plaintext = hpke.open_(private_key, sealed.enc, info, aad, sealed.payload)
        share = decode_plaintext_share(plaintext)
    except OpenError:
        return ReportError.HPKE_DECRYPT_ERROR
    except DecodeError:
        return ReportError.INVALID_MESSAGE
    return Received(metadata.report_id, public_share, share)


def add_to_sums(
    tx: StoreTransaction,
    provisioned: ProvisionedTask,
    counted: Sequence[CountedReport],
) -> None:
    """Add reports to the task's sums, in the transaction that settles them."""
    by_bucket: dict[int, list[CountedReport]] = defaultdict(list)
    for report in counted:
        by_bucket[report.bucket].append(report)
    # In sorted order, so that two transactions cannot wait for each other's shard.
    for bucket, reports in sorted(by_bucket.items()):
        _add_to_bucket(tx, provisioned.task, bucket, reports)


def _add_to_bucket(
    tx: StoreTransaction,
    task: DapTask,
    bucket: int,
    reports: Sequence[CountedReport],
) -> None:
    field, length = task.vdaf.field, task.vdaf.output_length
    empty = BatchShard(bucket, 0, bytes(CHECKSUM_BYTES), b"")
    shard, stored = tx.sums.lock_shard(task.id, bucket, empty)
    total = field.zeros(length)
    if stored.count:
        total = field.decode(stored.total, length)
    checksum = int.from_bytes(stored.checksum, "big")
    for report in reports:
        total = field.add(total, report.share)
        digest = hashlib.sha256(report.report_id).digest()
        # The checksum is the XOR of the hashes of the ids (draft-ietf-ppm-dap).
        checksum ^= int.from_bytes(digest, "big")
    content = BatchShard(
        bucket,
        stored.count + len(reports),
        checksum.to_bytes(CHECKSUM_BYTES, "big"),
        field.encode(total),
    )
    tx.sums.replace_shard(task.id, shard, content)

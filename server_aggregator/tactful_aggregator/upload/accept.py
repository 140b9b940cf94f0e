"""Uploaded reports at the leader: check each, store it, and only then acknowledge it."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property

from tactful.protocol.dap.dap_task import DapTask
from tactful.protocol.dap.messages import Report
from tactful.protocol.dap.versions import ReportError
from tactful_aggregator.datastore import Datastore, StoredReport, StoreTransaction
from tactful_aggregator.keyring import Keyring
from tactful_aggregator.task_registry import ProvisionedTask
from tactful_aggregator.upload.report_store import ReportStore

# How far the clock of a client, or of the other aggregator, may be ahead of this one.
SKEW_SECONDS = 300

Refusals = list[tuple[bytes, ReportError]]


@dataclass(frozen=True)
class UploadedReport:
    """One report of an upload request, parsed, with the time of its arrival."""

    provisioned: ProvisionedTask
    report: Report
    encoded: bytes
    now: int

    @classmethod
    def of(
        cls,
        provisioned: ProvisionedTask,
        report: Report,
        now: int,
        encoded: bytes | None = None,
    ) -> UploadedReport:
        """Return an uploaded report; `encoded` is its encoding, if it came alone."""
        if encoded is None:
            encoded = report.encode(provisioned.task.dap)
        return cls(provisioned, report, encoded, now)

    @cached_property
    def sha256(self) -> bytes:
        """The hash that distinguishes a repeated report from a different one with its id.

        Computed at first use, which is in the commit thread and not in the event loop.
        """
        return hashlib.sha256(self.encoded).digest()

    @property
    def task_id(self) -> bytes:
        """The id of the report's task."""
        return self.provisioned.task.id

    @property
    def report_id(self) -> bytes:
        """The id of the report, unique within its task."""
        return self.report.metadata.report_id


def store_uploads(
    store: Datastore,
    report_store: ReportStore,
    keyring: Keyring,
    uploads: Sequence[UploadedReport],
) -> list[ReportError | None]:
    """Store reports in one transaction; return None or the refusal of each.

    A repeated report is acknowledged again and counted once.
    """
    accepted_configs = keyring.current().accepted
    outcomes: list[ReportError | None] = [None] * len(uploads)
    with store.transaction() as tx:
        for task_id in dict.fromkeys(upload.task_id for upload in uploads):
            indices = [
                index
                for index, upload in enumerate(uploads)
                if upload.task_id == task_id
            ]
            of_task = [uploads[index] for index in indices]
            task_outcomes = _store_of_task(tx, report_store, accepted_configs, of_task)
            for index, outcome in zip(indices, task_outcomes, strict=True):
                outcomes[index] = outcome
        # Bodies must be on the disk before the commit that points to them.
        report_store.sync()
    return outcomes


def _store_of_task(
    tx: StoreTransaction,
    report_store: ReportStore,
    accepted_configs: Collection[int],
    uploads: Sequence[UploadedReport],
) -> list[ReportError | None]:
    """Store reports of one task; return None or the refusal of each."""
    provisioned, task_id = uploads[0].provisioned, uploads[0].task_id
    tx.tasks.lock(task_id, exclusive=False)
    hashes = tx.reports.stored_hashes(task_id, {upload.report_id for upload in uploads})
    batches = tx.batches.overlapping(task_id, 0, 1 << 62)
    closed = [(first, last) for first, last, _ in batches]
    outcomes: list[ReportError | None] = []
    stored: list[StoredReport] = []
    for upload in uploads:
        report_id = upload.report_id
        if report_id in hashes:
            is_repeated = hashes[report_id] == upload.sha256
            outcomes.append(None if is_repeated else ReportError.REPORT_REPLAYED)
            continue
        bucket = provisioned.bucket(upload.report.metadata.time)
        is_closed = any(first <= bucket < last for first, last in closed)
        outcome = _refusal(upload, accepted_configs, is_closed)
        outcomes.append(outcome)
        if outcome is None:
            hashes[report_id] = upload.sha256
            body = report_store.put(upload.encoded)
            stored.append(StoredReport(report_id, bucket, upload.sha256, body))
    tx.reports.add_all(task_id, stored)
    return outcomes


def _refusal(
    upload: UploadedReport, accepted_configs: Collection[int], is_closed: bool
) -> ReportError | None:
    """Return the reason to refuse a new report, or None."""
    if len(upload.encoded) != upload.provisioned.report_bytes:
        # A report of another size could never be opened, so it is not stored.
        return ReportError.INVALID_MESSAGE
    task, metadata = upload.provisioned.task, upload.report.metadata
    error = time_error(task, metadata.time, upload.now)
    if error is not None:
        return error
    if is_closed:
        return ReportError.BATCH_COLLECTED
    if upload.report.leader.config_id not in accepted_configs:
        return ReportError.OUTDATED_CONFIG
    return None


def time_error(task: DapTask, time: int, now: int) -> ReportError | None:
    """Return the reason why a report with this wire time is not for `task`, or None."""
    if not task.is_rounded(time):
        return ReportError.INVALID_MESSAGE
    seconds = task.seconds(time)
    if seconds > now + SKEW_SECONDS:
        return ReportError.REPORT_TOO_EARLY
    # A report's time is rounded down, so it may lie one unit before the task opens.
    ends_before_task = seconds + task.time_precision <= task.opens
    if ends_before_task or now + SKEW_SECONDS < task.opens:
        return ReportError.TASK_NOT_STARTED
    if max(seconds, now) >= task.expires:
        return ReportError.TASK_EXPIRED
    return None

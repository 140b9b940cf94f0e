"""Aggregation jobs at the helper: verify the reports of a request and count them once."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tactful.errors import DecodeError, ProofRejected
from tactful.protocol.dap.dap_task import DapTask
from tactful.protocol.dap.versions import HELPER, ReportError
from tactful.vdaf.field import Elements
from tactful_aggregator import problems
from tactful_aggregator.dap.job_messages import (
    VerifyInit,
    VerifyResp,
    decode_job,
    encode_job_answer,
)
from tactful_aggregator.datastore import StoreTransaction
from tactful_aggregator.jobs.dependencies import Dependencies
from tactful_aggregator.jobs.verification import (
    ALL_BUCKETS,
    EARLY,
    CountedReport,
    Verified,
    add_to_sums,
    verify_reports,
)
from tactful_aggregator.task_registry import ProvisionedTask
from tactful_aggregator.upload.accept import time_error

Outcome = tuple[Elements, bytes] | ReportError
"""The helper's output share and the message that ends the proof, or a refusal."""


def answer_job(
    dependencies: Dependencies,
    provisioned: ProvisionedTask,
    job_id: bytes,
    request: bytes,
) -> bytes:
    """Count the reports of a job whose proofs hold; return the response.

    A repeated request gets the same response. Raises ProtocolError if the job id was used for
    another request, or if a report occurs twice.
    """
    request_digest = hashlib.sha256(request).digest()
    with dependencies.store.transaction() as tx:
        stored = tx.jobs.response(job_id)
    if stored is None:
        return _answer_new_job(
            dependencies, provisioned, job_id, request, request_digest
        )
    return _require_same_request(stored, request_digest)


def _answer_new_job(
    dependencies: Dependencies,
    provisioned: ProvisionedTask,
    job_id: bytes,
    request: bytes,
    request_digest: bytes,
) -> bytes:
    task = provisioned.task
    entries = decode_job(task, request)
    _require_distinct(entries)
    outcomes = _outcomes(dependencies, provisioned, entries)
    if entries and all(outcome in EARLY for outcome in outcomes):
        # Not stored, because a later attempt can get another response.
        return _encode_refusals(task, entries, outcomes)
    with dependencies.store.transaction() as tx:
        tx.tasks.lock(task.id, exclusive=False)
        # Before any report id is stored: of two concurrent requests for one job, the second
        # must not find the ids of the first and refuse them as replays.
        is_first = tx.jobs.begin_response(job_id, task.id, request_digest)
        stored = None if is_first else tx.jobs.response(job_id)
        if stored is None:
            response = _count_reports(tx, provisioned, entries, outcomes)
            tx.jobs.store_response(job_id, response)
            return response
    return _require_same_request(stored, request_digest)


def _require_same_request(stored: tuple[bytes, bytes], request_digest: bytes) -> bytes:
    stored_digest, response = stored
    if stored_digest != request_digest:
        raise problems.invalid(
            "this job id was used for another request; use a new job id"
        )
    return response


def _require_distinct(entries: Sequence[VerifyInit]) -> None:
    if len({entry.metadata.report_id for entry in entries}) < len(entries):
        raise problems.invalid(
            "a report occurs twice in this job; send each report once"
        )


def _encode_refusals(
    task: DapTask, entries: Sequence[VerifyInit], outcomes: Sequence[Outcome]
) -> bytes:
    responses = [
        VerifyResp(entry.metadata.report_id, outcome)
        for entry, outcome in zip(entries, outcomes, strict=True)
        if isinstance(outcome, ReportError)
    ]
    return encode_job_answer(responses, task.dap)


def _outcomes(
    dependencies: Dependencies,
    provisioned: ProvisionedTask,
    entries: Sequence[VerifyInit],
) -> list[Outcome]:
    task = provisioned.task
    # The leader accepted the reports while the task was open and may verify them later.
    now = min(dependencies.clock(), task.expires - 1)
    time_errors = [time_error(task, entry.metadata.time, now) for entry in entries]
    sealed = [
        (entry.metadata, entry.public_share, entry.helper)
        for entry, error in zip(entries, time_errors, strict=True)
        if error is None
    ]
    verified = iter(verify_reports(dependencies, provisioned, HELPER, sealed))
    outcomes: list[Outcome] = []
    for entry, error in zip(entries, time_errors, strict=True):
        if error is None:
            outcomes.append(_outcome(task, entry, next(verified)))
        else:
            outcomes.append(error)
    return outcomes


def _outcome(task: DapTask, entry: VerifyInit, verified: Verified) -> Outcome:
    """Combine both verifier shares of a report.

    The leader compares what the client stated about the helper's randomness. The helper must
    do so too (`state.bound`): otherwise a client could have a report counted here that the
    leader then refuses.
    """
    if isinstance(verified, ReportError):
        return verified
    state, verifier_share = verified
    shares = [entry.verifier_share, verifier_share]
    try:
        message = task.vdaf.verifier_message(shares, task.context)
        output_share = task.vdaf.verify_next(state, message)
    except (ProofRejected, DecodeError):
        return ReportError.VDAF_VERIFY_ERROR
    return (output_share, message) if state.bound else ReportError.VDAF_VERIFY_ERROR


def _count_reports(
    tx: StoreTransaction,
    provisioned: ProvisionedTask,
    entries: Sequence[VerifyInit],
    outcomes: Sequence[Outcome],
) -> bytes:
    """Count the accepted reports and return the encoded response."""
    task = provisioned.task
    batches = tx.batches.overlapping(task.id, *ALL_BUCKETS)
    closed = [(first, last) for first, last, _ in batches]
    counted: list[CountedReport] = []
    responses: list[VerifyResp] = []
    for entry, outcome in zip(entries, outcomes, strict=True):
        report_id = entry.metadata.report_id
        bucket = provisioned.bucket(entry.metadata.time)
        if not isinstance(outcome, ReportError):
            error = _storage_error(tx, task, report_id, bucket, closed)
            outcome = error or outcome
        if isinstance(outcome, ReportError):
            responses.append(VerifyResp(report_id, outcome))
        else:
            output_share, message = outcome
            counted.append(CountedReport(report_id, bucket, output_share))
            responses.append(VerifyResp(report_id, message))
    add_to_sums(tx, provisioned, counted)
    return encode_job_answer(responses, task.dap)


def _storage_error(
    tx: StoreTransaction,
    task: DapTask,
    report_id: bytes,
    bucket: int,
    closed: Sequence[tuple[int, int]],
) -> ReportError | None:
    """Store the report id; return an error if its batch is closed or it was counted."""
    if any(first <= bucket < last for first, last in closed):
        return ReportError.BATCH_COLLECTED
    is_new = tx.reports.add_id(task.id, report_id, bucket)
    return None if is_new else ReportError.REPORT_REPLAYED

"""Aggregation jobs at the leader: lease a job, verify it with the helper, settle its reports."""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

from tactful.errors import (
    ProofRejected,
    ProtocolError,
    TactfulError,
    TransportError,
    VaultError,
)
from tactful.protocol.dap.dap_task import DapTask
from tactful.protocol.dap.messages import Report
from tactful.protocol.dap.versions import LEADER, ReportError
from tactful.vdaf.field import Elements
from tactful.vdaf.vdaf import VerifyState
from tactful_aggregator.dap.job_messages import (
    VerifyInit,
    VerifyResp,
    decode_job_answer,
    encode_job,
)
from tactful_aggregator.datastore import COUNTED, REFUSED, StoreTransaction
from tactful_aggregator.helper_client import HelperRefused, HelperUnready
from tactful_aggregator.jobs.dependencies import (
    AggregationHelper,
    Dependencies,
    FailedJob,
)
from tactful_aggregator.jobs.verification import (
    ALL_BUCKETS,
    EARLY,
    CountedReport,
    add_to_sums,
    verify_reports,
)
from tactful_aggregator.problems import reason_of
from tactful_aggregator.task_registry import ProvisionedTask

MAX_REPORTS_PER_JOB = 64
# Bytes of shares in memory at a time, however many reports wait.
JOB_BYTES = 32 << 20
# Longer than a job takes; afterwards another worker may lease the job.
LEASE_SECONDS = 120
# With the delays between them, 20 attempts take about eight hours.
MAX_ATTEMPTS = 20
# Longest delay between two attempts; delays double from two seconds.
MAX_DELAY_SECONDS = 3600
# Longest wait for the jobs of other workers, and the pause between two checks.
PATIENCE_SECONDS, PAUSE_SECONDS = 300.0, 0.02

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class OfferedReport:
    """A report whose proof the leader has begun to verify, for the helper to verify."""

    report: Report
    bucket: int
    state: VerifyState
    verifier_share: bytes


def settle_all(
    dependencies: Dependencies,
    helper_client: AggregationHelper,
    provisioned: ProvisionedTask,
    buckets: tuple[int, int] = ALL_BUCKETS,
) -> None:
    """Settle every stored report of these buckets; wait for the jobs of other workers.

    Raises TransportError if some reports are deferred, because the helper did not accept them.
    """
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        if settle_next_job(dependencies, helper_client, provisioned):
            continue
        active, deferred = _remaining_work(dependencies, provisioned, buckets)
        if deferred:
            raise TransportError(
                f"helper: it did not accept {deferred} reports, which wait; see the log, "
                "repair the cause, then run: tactful-aggregator jobs resume --dir DIR"
            )
        if not active:
            return
        if time.monotonic() > deadline:
            raise TransportError(
                "helper: another worker did not finish its job; repeat the request later"
            )
        time.sleep(PAUSE_SECONDS)


def _remaining_work(
    dependencies: Dependencies,
    provisioned: ProvisionedTask,
    buckets: tuple[int, int],
) -> tuple[int, int]:
    """Return (active reports and jobs, deferred reports)."""
    task_id, now = provisioned.task.id, dependencies.clock()
    with dependencies.store.transaction() as tx:
        active, deferred = tx.reports.count_unsettled(task_id, *buckets, now)
        pending_jobs = tx.jobs.count_pending(task_id, now)
    return active + pending_jobs, deferred


def settle_next_job(
    dependencies: Dependencies,
    helper_client: AggregationHelper,
    provisioned: ProvisionedTask,
) -> bool:
    """Lease one existing or new job and settle it; return False if there is none."""
    dependencies.heartbeat()
    _end_failed_leases(dependencies)
    token = secrets.token_bytes(16)
    leased = _lease_job(dependencies, provisioned, token)
    if leased is None:
        return False
    job_id, attempts = leased
    try:
        _settle(dependencies, helper_client, provisioned, job_id, token)
    except Exception as error:
        _defer(dependencies, job_id, token, attempts, error)
        raise
    return True


def _lease_job(
    dependencies: Dependencies, provisioned: ProvisionedTask, token: bytes
) -> tuple[bytes, int] | None:
    task_id, now = provisioned.task.id, dependencies.clock()
    until = now + LEASE_SECONDS
    with dependencies.store.transaction() as tx:
        leased = tx.jobs.lease(task_id, token, now, until)
        if leased is None and _create_job(tx, provisioned):
            leased = tx.jobs.lease(task_id, token, now, until)
    return leased


def _create_job(tx: StoreTransaction, provisioned: ProvisionedTask) -> bool:
    """Put waiting reports into a new job; return False if no report waits."""
    task, job_id = provisioned.task, secrets.token_bytes(16)
    if not tx.reports.assign_to_job(task.id, job_id, max_reports_per_job(task)):
        return False
    tx.jobs.add(job_id, task.id)
    return True


def max_reports_per_job(task: DapTask) -> int:
    """Return the number of reports that one job settles, fewer if reports are long."""
    _, leader_share, _ = task.vdaf.sizes
    # The factor 4 allows for the copies of a share during verification.
    return max(1, min(MAX_REPORTS_PER_JOB, JOB_BYTES // (4 * leader_share)))


def _defer(
    dependencies: Dependencies,
    job_id: bytes,
    token: bytes,
    attempts: int,
    error: Exception,
) -> None:
    """Schedule another attempt of a failed job, or park it; a job is never dropped.

    An attempt does not count if the helper did not answer or this aggregator's own disk
    failed: then the job is free at once.
    """
    has_answer = isinstance(error, HelperUnready)
    is_outage = isinstance(error, (TransportError, VaultError, OSError))
    counts = has_answer or not is_outage
    attempts += counts
    is_parked = isinstance(error, HelperRefused) or attempts >= MAX_ATTEMPTS
    due = dependencies.clock() + _delay(attempts) if counts else 0
    failed_job = FailedJob(job_id, token, attempts, None if is_parked else due)
    dependencies.failed_jobs.append(failed_job)
    # If the database is unavailable now, the lease is ended before the next job.
    with suppress(TactfulError):
        _end_failed_leases(dependencies)
    if counts:
        consequence = (
            "it is parked, run: tactful-aggregator jobs resume --dir DIR"
            if is_parked
            else f"next attempt at {due}"
        )
        logger.warning(
            "job %s failed: %s; %s", job_id.hex(), reason_of(error), consequence
        )


def _end_failed_leases(dependencies: Dependencies) -> None:
    """End the lease of every failed job, unless it expired and another worker has it."""
    for failed_job in tuple(dependencies.failed_jobs):
        job_id, attempts = failed_job.job_id, failed_job.attempts
        with dependencies.store.transaction() as tx:
            if tx.jobs.is_leased_to(job_id, failed_job.token):
                if failed_job.due is None:
                    tx.jobs.park(job_id, attempts)
                else:
                    tx.jobs.reschedule(job_id, attempts, failed_job.due)
        # Another thread may have removed it meanwhile.
        with suppress(ValueError):
            dependencies.failed_jobs.remove(failed_job)


def _delay(attempts: int) -> int:
    """Return the seconds until the next attempt, at random so that jobs spread out."""
    longest = min(1 << attempts, MAX_DELAY_SECONDS)
    return longest - secrets.randbelow(longest // 2 + 1)


def _settle(
    dependencies: Dependencies,
    helper_client: AggregationHelper,
    provisioned: ProvisionedTask,
    job_id: bytes,
    token: bytes,
) -> None:
    """Verify the job with the helper, then count the reports that both accepted.

    Everything before the last commit can be repeated after a crash: the helper gives the same
    response to the same job.
    """
    task = provisioned.task
    with dependencies.store.transaction() as tx:
        rows = tx.reports.of_job(job_id)
    reports = [
        Report.decode(dependencies.report_store.get(body), task.dap) for _, body in rows
    ]
    buckets = [bucket for bucket, _ in rows]
    offered = _offered_reports(dependencies, provisioned, reports, buckets)
    responses = _helper_responses(helper_client, task, job_id, offered)
    counted = _counted_reports(task, offered, responses)

    counted_ids = {report.report_id for report in counted}
    early_ids = {
        response.report_id for response in responses if response.outcome in EARLY
    }
    all_ids = {report.metadata.report_id for report in reports}
    refused_ids = all_ids - counted_ids - early_ids
    with dependencies.store.transaction() as tx:
        tx.tasks.lock(task.id, exclusive=False)
        # A worker whose lease expired must not count what another worker counts.
        if tx.jobs.is_leased_to(job_id, token):
            add_to_sums(tx, provisioned, counted)
            tx.reports.settle(task.id, counted_ids, COUNTED)
            tx.reports.settle(task.id, refused_ids, REFUSED)
            tx.reports.return_to_waiting(task.id, early_ids)
            tx.jobs.finish(job_id)
    if early_ids:
        raise TransportError(
            "helper: its clock is behind; set the clocks of both aggregators"
        )


def _offered_reports(
    dependencies: Dependencies,
    provisioned: ProvisionedTask,
    reports: Sequence[Report],
    buckets: Sequence[int],
) -> list[OfferedReport]:
    sealed = [
        (report.metadata, report.public_share, report.leader) for report in reports
    ]
    verified = verify_reports(dependencies, provisioned, LEADER, sealed)
    offered = []
    for report, bucket, result in zip(reports, buckets, verified, strict=True):
        if not isinstance(result, ReportError):
            state, verifier_share = result
            offered.append(OfferedReport(report, bucket, state, verifier_share))
    return offered


def _helper_responses(
    helper_client: AggregationHelper,
    task: DapTask,
    job_id: bytes,
    offered: Sequence[OfferedReport],
) -> list[VerifyResp]:
    if not offered:
        return []
    entries = [
        VerifyInit(
            offer.report.metadata,
            offer.report.public_share,
            offer.report.helper,
            offer.verifier_share,
        )
        for offer in offered
    ]
    body = helper_client.aggregate(task, job_id, encode_job(task, entries))
    responses = decode_job_answer(body, task.dap)
    requested_ids = [entry.metadata.report_id for entry in entries]
    if [response.report_id for response in responses] != requested_ids:
        raise ProtocolError(
            "helper: its response is about other reports than the request; check that its "
            "address belongs to the paired helper"
        )
    return responses


def _counted_reports(
    task: DapTask, offered: Sequence[OfferedReport], responses: Sequence[VerifyResp]
) -> list[CountedReport]:
    counted = []
    for offer, response in zip(offered, responses, strict=True):
        share = _output_share(task, offer.state, response.outcome)
        if share is not None:
            report_id = offer.report.metadata.report_id
            counted.append(CountedReport(report_id, offer.bucket, share))
    return counted


def _output_share(
    task: DapTask, state: VerifyState, outcome: bytes | ReportError
) -> Elements | None:
    if isinstance(outcome, ReportError):
        return None
    try:
        return task.vdaf.verify_next(state, outcome)
    except ProofRejected:
        return None

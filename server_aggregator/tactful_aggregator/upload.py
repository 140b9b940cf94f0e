"""Reports come in: each is checked, kept, and only then acknowledged (leader)."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from tactful.protocol.messages import Report, ReportError
from tactful.protocol.task import TIME_PRECISION, Task
from tactful_aggregator.datastore import OPEN, Datastore, Transaction

CONFIG_ID = 1  # of the one HPKE key each half has
SKEW_SECONDS = 300  # how far ahead of ours a device's clock may be

Refusals = list[tuple[bytes, ReportError]]


def receive(store: Datastore, task: Task, reports: Sequence[Report], now: int) -> Refusals:
    """Keep `reports` in one transaction; what was not taken comes back with its reason.

    The same report again is taken as before and counted once.
    """
    with store.transaction() as tx:
        is_open = tx.task_state(task.id) == OPEN
        reasons = ((one, _refusal(tx, task, one, is_open, now)) for one in reports)
        return [(one.metadata.report_id, reason) for one, reason in reasons if reason is not None]


def _refusal(
    tx: Transaction, task: Task, report: Report, is_open: bool, now: int
) -> ReportError | None:
    body = report.encode()
    digest, report_id = hashlib.sha256(body).digest(), report.metadata.report_id
    kept = tx.report_sha256(task.id, report_id)
    if kept is not None:
        return None if kept == digest else ReportError.REPORT_REPLAYED
    reason = untimely(task, report.metadata.time, now)
    if reason is not None:
        return reason
    if not is_open:
        return ReportError.BATCH_COLLECTED
    if report.leader.config_id != CONFIG_ID:
        return ReportError.OUTDATED_CONFIG
    tx.add_report(task.id, report_id, digest, body)
    return None


def untimely(task: Task, time: int, now: int) -> ReportError | None:
    """Why a report of this `time` (in units of the precision) is not for `task`, if so."""
    seconds = time * TIME_PRECISION
    if seconds > now + SKEW_SECONDS:
        return ReportError.REPORT_TOO_EARLY
    if seconds + TIME_PRECISION <= task.opens or now < task.opens:
        return ReportError.TASK_NOT_STARTED
    return ReportError.TASK_EXPIRED if max(seconds, now) >= task.expires else None

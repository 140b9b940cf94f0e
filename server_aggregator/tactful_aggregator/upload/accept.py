"""Reports come in: each is checked, kept, and only then acknowledged (leader)."""

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

SKEW_SECONDS = (
    300  # how far ahead of ours the clock of a client, or of the other half, may be
)

Refusals = list[tuple[bytes, ReportError]]


@dataclass(frozen=True)
class Arrival:
    """One report as it came, and was read."""

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
    ) -> Arrival:
        """A report that was just read, from `encoded` if it came alone."""
        encoded = report.encode(provisioned.task.dap) if encoded is None else encoded
        return cls(provisioned, report, encoded, now)

    @cached_property
    def sha256(self) -> bytes:
        """What tells it from another under its id; taken where there is time for long ones."""
        return hashlib.sha256(self.encoded).digest()

    @property
    def key(self) -> tuple[bytes, bytes]:
        """What tells it from every other."""
        return self.provisioned.task.id, self.report.metadata.report_id


def receive(
    store: Datastore, bodies: ReportStore, keyring: Keyring, arrivals: Sequence[Arrival]
) -> list[ReportError | None]:
    """Keep reports in one transaction: for each None, or why it was not taken.

    The same report again is taken as before and counted once.
    """
    known = keyring.current().accepted
    with store.transaction() as tx:
        outcomes: list[ReportError | None] = [None] * len(arrivals)
        for task_id in dict.fromkeys(one.key[0] for one in arrivals):
            places = [at for at, one in enumerate(arrivals) if one.key[0] == task_id]
            some = [arrivals[at] for at in places]
            for at, outcome in zip(places, _kept(tx, bodies, known, some), strict=True):
                outcomes[at] = outcome
        bodies.sync()
    return outcomes


def _kept(
    tx: StoreTransaction,
    bodies: ReportStore,
    configs: Collection[int],
    arrivals: Sequence[Arrival],
) -> list[ReportError | None]:
    """The same for reports of one task."""
    provisioned = arrivals[0].provisioned
    task_id = provisioned.task.id
    tx.tasks.lock(task_id, exclusive=False)
    known = tx.reports.stored_hashes(task_id, {one.key[1] for one in arrivals})
    closed = [
        (first, last) for first, last, _ in tx.batches.overlapping(task_id, 0, 1 << 62)
    ]
    outcomes: list[ReportError | None] = []
    kept = []
    for one in arrivals:
        report_id, bucket = one.key[1], provisioned.bucket(one.report.metadata.time)
        if report_id in known:
            same = known[report_id] == one.sha256
            outcomes.append(None if same else ReportError.REPORT_REPLAYED)
            continue
        outcome = _refusal(
            one, configs, any(first <= bucket < last for first, last in closed)
        )
        outcomes.append(outcome)
        if outcome is None:
            known[report_id] = one.sha256
            kept.append(
                StoredReport(report_id, bucket, one.sha256, bodies.put(one.encoded))
            )
    tx.reports.add_all(task_id, kept)
    return outcomes


def _refusal(
    one: Arrival, configs: Collection[int], is_closed: bool
) -> ReportError | None:
    if len(one.encoded) != one.provisioned.report_bytes:
        return ReportError.INVALID_MESSAGE  # nobody keeps what nobody could open
    reason = untimely(one.provisioned.task, one.report.metadata.time, one.now)
    if reason is not None:
        return reason
    if is_closed:
        return ReportError.BATCH_COLLECTED
    return (
        None if one.report.leader.config_id in configs else ReportError.OUTDATED_CONFIG
    )


def untimely(task: DapTask, time: int, now: int) -> ReportError | None:
    """Why a report of this `time`, as it travels, is not for `task`, if so."""
    if not task.is_rounded(time):
        return ReportError.INVALID_MESSAGE
    seconds = task.seconds(time)
    if seconds > now + SKEW_SECONDS:
        return ReportError.REPORT_TOO_EARLY
    if seconds + task.time_precision <= task.opens or now + SKEW_SECONDS < task.opens:
        return ReportError.TASK_NOT_STARTED
    return ReportError.TASK_EXPIRED if max(seconds, now) >= task.expires else None

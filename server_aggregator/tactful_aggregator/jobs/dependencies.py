"""The objects that aggregation jobs and collections of one aggregator work with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from tactful.protocol.dap.dap_task import DapTask
from tactful_aggregator.datastore import Datastore
from tactful_aggregator.keyring import Keyring
from tactful_aggregator.upload.report_store import ReportStore


class AggregationHelper(Protocol):
    """The helper, as far as aggregation jobs of the leader need it."""

    def aggregate(self, task: DapTask, job_id: bytes, request: bytes) -> bytes:
        """Return the helper's response to a job; the same for a repeated job."""


def _no_heartbeat() -> None:
    """Record nothing."""


@dataclass(frozen=True)
class FailedJob:
    """A failed job whose lease must end; it is retried at `due`, or parked if `due` is None.

    `token` identifies the lease.
    """

    job_id: bytes
    token: bytes
    attempts: int
    due: int | None


@dataclass(frozen=True)
class Dependencies:
    """The datastore, report bodies, keys and clock of one aggregator.

    `clock` returns unix seconds. `heartbeat` records that the work continues. `failed_jobs`
    are those whose lease could not be ended yet.
    """

    store: Datastore
    report_store: ReportStore
    keyring: Keyring
    clock: Callable[[], int]
    heartbeat: Callable[[], None] = _no_heartbeat
    failed_jobs: list[FailedJob] = field(default_factory=list)

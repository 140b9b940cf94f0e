"""The background work of a leader: settle reports, answer collectors, delete old data."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field, replace

from tactful.errors import (
    BatchCollected,
    BatchMismatch,
    BatchTooSmall,
    ProtocolError,
    TactfulError,
    TransportError,
)
from tactful.protocol.dap.dap_task import DapTask
from tactful_aggregator.dap.collect_messages import CollectionReq
from tactful_aggregator.http import error_response_parts
from tactful_aggregator.jobs import collection
from tactful_aggregator.jobs.collection import CollectionHelper
from tactful_aggregator.jobs.dependencies import Dependencies
from tactful_aggregator.jobs.leader_jobs import (
    MAX_REPORTS_PER_JOB,
    max_reports_per_job,
    settle_next_job,
)
from tactful_aggregator.jobs.verification import ALL_BUCKETS
from tactful_aggregator.problems import reason_of
from tactful_aggregator.task_registry import TaskRegistry
from tactful_aggregator.upload.report_store import IN_SEGMENT

# Pause between two rounds of work; it doubles while the helper cannot be reached.
PAUSE_SECONDS, MAX_PAUSE_SECONDS = 0.1, 10.0
# A report waits no longer than this for a full job, or its HPKE key might expire.
SETTLE_SECONDS = 3600.0
# Longer than a job and its transactions may take.
HEARTBEAT_SECONDS = 180.0
# One thread waits for the helper while the other opens shares.
THREADS = 2
# Report ids of an expired task are stored for this time.
KEEP_SECONDS = 30 * 86_400

logger = logging.getLogger(__name__)


def answer_collections(
    dependencies: Dependencies,
    helper_client: CollectionHelper,
    registry: TaskRegistry,
) -> bool:
    """Answer the collections that can be answered; return False if the helper failed.

    The other collections stay pending.
    """
    has_reached_helper = True
    with dependencies.store.transaction() as tx:
        pending = tx.collections.pending()
    for task_id, job_id, request in pending:
        provisioned = registry.get(task_id)
        query = CollectionReq.decode(request, provisioned.task).query
        try:
            collected = collection.collect(
                dependencies, helper_client, provisioned, query
            )
        except BatchTooSmall:
            continue
        except (TransportError, ProtocolError):
            # Only this batch is affected; the others must not wait for it.
            has_reached_helper = False
            continue
        except (BatchMismatch, BatchCollected) as error:
            code, _, _ = error_response_parts(error)
            with dependencies.store.transaction() as tx:
                tx.collections.fail(task_id, job_id, code, str(error))
            continue
        body = collected.encode(provisioned.task)
        with dependencies.store.transaction() as tx:
            tx.collections.finish(task_id, job_id, body)
    return has_reached_helper


def settle_jobs(
    dependencies: Dependencies,
    helper_client: CollectionHelper,
    registry: TaskRegistry,
    *,
    only_full: bool = True,
) -> None:
    """Settle one job of each task that has enough waiting reports or an unfinished job.

    Reports are settled as they arrive, so that a collection has little left to do. Raises the
    last error, after every task had its turn.
    """
    with dependencies.store.transaction() as tx:
        waiting = dict(tx.reports.waiting_per_task())
        unfinished = tx.jobs.tasks_with_free_jobs(dependencies.clock())
    last_error: TactfulError | None = None
    for task_id in dict.fromkeys((*unfinished, *waiting)):
        try:
            provisioned = registry.get(task_id)
            required = _required_reports(provisioned.task, only_full)
            if task_id in unfinished or waiting[task_id] >= required:
                settle_next_job(dependencies, helper_client, provisioned)
        except (TransportError, ProtocolError) as error:
            last_error = error
    if last_error is not None:
        raise last_error


def _required_reports(task: DapTask, only_full: bool) -> int:
    """Return the number of waiting reports that are worth a job."""
    # Long reports are settled a few at a time, so each of them is worth a job.
    has_full_size = max_reports_per_job(task) == MAX_REPORTS_PER_JOB
    return MAX_REPORTS_PER_JOB if only_full and has_full_size else 1


def collect_garbage(dependencies: Dependencies) -> None:
    """Delete expired keys, report ids of long expired tasks and unused segment files.

    Released shares stay, so that no sum is ever computed twice.
    """
    now = dependencies.clock()
    with dependencies.store.transaction() as tx:
        for task_id in tx.tasks.expired_before(now - KEEP_SECONDS):
            unsettled = sum(tx.reports.count_unsettled(task_id, *ALL_BUCKETS, now))
            if tx.delete_expired_task(task_id) and unsettled:
                logger.warning(
                    "task %s: %d reports were never settled", task_id.hex(), unsettled
                )
        # A waiting report may still need an expired key.
        if not tx.reports.unsettled_bodies(b""):
            tx.hpke_keys.delete_expired(now)
        in_segments = tx.reports.unsettled_bodies(IN_SEGMENT)
        if not in_segments:
            dependencies.report_store.finish_segment()
        dependencies.report_store.sweep(in_segments)


@dataclass
class Worker:
    """Threads that do the background work; other processes may run more of them."""

    dependencies: Dependencies
    helper_client: CollectionHelper
    registry: TaskRegistry
    _stopped: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    # Time of the last heartbeat by thread name, on the monotonic clock.
    _heartbeats: dict[str, float] = field(default_factory=dict)
    # When reports that fill no job are settled next, on the monotonic clock.
    _all_due: float = 0.0

    def __post_init__(self) -> None:
        self.dependencies = replace(self.dependencies, heartbeat=self._heartbeat)

    def start(self) -> None:
        """Start the threads."""
        for number in range(THREADS):
            thread = threading.Thread(
                target=self._run, name=f"worker-{number}", daemon=True
            )
            self._threads.append(thread)
            self._heartbeats[thread.name] = time.monotonic()
            thread.start()

    def is_alive(self) -> bool:
        """Return True if all threads were started and had a recent heartbeat."""
        oldest = time.monotonic() - HEARTBEAT_SECONDS
        are_alive = [
            thread.is_alive() and self._heartbeats[thread.name] >= oldest
            for thread in self._threads
        ]
        return bool(are_alive) and all(are_alive)

    def stop(self) -> None:
        """Finish the present jobs and end the threads."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _heartbeat(self) -> None:
        """Record that the thread works; raise TransportError if it has to end."""
        thread = threading.current_thread()
        self._heartbeats[thread.name] = time.monotonic()
        if self._stopped.is_set() and thread in self._threads:
            raise TransportError(
                "worker: this aggregator is stopping; start it again to finish the rest"
            )

    def _run(self) -> None:
        pause = PAUSE_SECONDS
        while not self._stopped.wait(pause):
            self._heartbeats[threading.current_thread().name] = time.monotonic()
            longer_pause = min(2 * pause, MAX_PAUSE_SECONDS)
            pause = PAUSE_SECONDS if self._work() else longer_pause

    def _work(self) -> bool:
        """Do one round of work; return False if anything failed.

        After a failure the worker pauses longer, because a job that is opened in vain is
        expensive.
        """
        has_succeeded = True
        for step in (self._settle, self._answer):
            try:
                has_succeeded = step() and has_succeeded
            except Exception as error:
                # A thread that ended here would settle no more reports.
                logger.warning("worker: %s; it continues", reason_of(error))
                has_succeeded = False
        return has_succeeded

    def _settle(self) -> bool:
        is_all_due = time.monotonic() >= self._all_due
        settle_jobs(
            self.dependencies,
            self.helper_client,
            self.registry,
            only_full=not is_all_due,
        )
        if is_all_due:
            self._all_due = time.monotonic() + SETTLE_SECONDS
        return True

    def _answer(self) -> bool:
        return answer_collections(self.dependencies, self.helper_client, self.registry)

"""What a leader does by itself: settle reports, answer collectors, and forget what is over."""

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
from tactful.protocol.dap.collect_messages import CollectionReq
from tactful_aggregator.http import described
from tactful_aggregator.jobs import collection
from tactful_aggregator.jobs.aggregation import (
    ALL,
    MOST_PER_JOB,
    Dependencies,
    most_per_job,
    work,
)
from tactful_aggregator.jobs.collection import CollectionHelper
from tactful_aggregator.problems import reason_of
from tactful_aggregator.task_registry import TaskRegistry

PAUSE_SECONDS, MOST_PAUSE_SECONDS = (
    0.1,
    10.0,
)  # it doubles while the helper cannot be reached
SETTLE_SECONDS = (
    3600.0  # a report waits no longer for others, or its key might have ended
)
HEARTBEAT_SECONDS = 180.0  # longer than a job and its transactions may take
THREADS = 2  # one waits for the helper while the other opens shares
KEEP_SECONDS = 30 * 86_400  # how long the ids of a task that is over are kept

logger = logging.getLogger(__name__)


def answer_collections(
    dependencies: Dependencies, helper_client: CollectionHelper, registry: TaskRegistry
) -> bool:
    """Answer what can be answered now; the rest stays pending. False if the helper failed."""
    answered = True
    with dependencies.store.transaction() as tx:
        pending = tx.collections.pending()
    for task_id, job_id, request in pending:
        provisioned = registry.of(task_id)
        query = CollectionReq.decode(request, provisioned.task).query
        try:
            found = collection.collect(dependencies, helper_client, provisioned, query)
        except BatchTooSmall:
            continue
        except (TransportError, ProtocolError):
            answered = False
            continue  # of this batch; others must not wait for it
        except (BatchMismatch, BatchCollected) as refused:
            code, _, _ = described(refused)
            with dependencies.store.transaction() as tx:
                tx.collections.fail(task_id, job_id, code, str(refused))
            continue
        with dependencies.store.transaction() as tx:
            tx.collections.finish(task_id, job_id, found.encode(provisioned.task))
    return answered


def settle_jobs(
    dependencies: Dependencies,
    helper_client: CollectionHelper,
    registry: TaskRegistry,
    *,
    only_full: bool = True,
) -> None:
    """Settle reports as soon as they fill a job, so that a collection finds little left to do.

    Long reports are worth a job of a few; one that was begun and not finished is taken up again.
    Raises the last of what went wrong, once every task had its turn.
    """
    with dependencies.store.transaction() as tx:
        waiting, begun = (
            dict(tx.reports.waiting_per_task()),
            tx.jobs.tasks_with_free_jobs(dependencies.clock()),
        )
    wrong: TactfulError | None = None
    for task_id in dict.fromkeys((*begun, *waiting)):
        try:
            provisioned = registry.of(task_id)
            most = most_per_job(provisioned.task) if only_full else 1
            least = most if most == MOST_PER_JOB else 1
            if task_id in begun or waiting[task_id] >= least:
                work(dependencies, helper_client, provisioned)
        except (TransportError, ProtocolError) as lost:
            wrong = lost
    if wrong is not None:
        raise wrong


def collect_garbage(dependencies: Dependencies) -> None:
    """Forget ended keys, the ids of tasks long over, and the bodies that nothing waits for.

    What was released stays: a sum is never computed twice.
    """
    now = dependencies.clock()
    with dependencies.store.transaction() as tx:
        for task_id in tx.tasks.expired_before(now - KEEP_SECONDS):
            unsettled = sum(tx.reports.count_unsettled(task_id, *ALL, now))
            if tx.delete_expired_task(task_id) and unsettled:
                logger.warning(
                    "task %s: %d reports were never settled", task_id.hex(), unsettled
                )
        if not tx.reports.unsettled_bodies(b""):
            tx.hpke_keys.delete_expired(now)
        waiting = tx.reports.unsettled_bodies(b"\1")
        if not waiting:
            dependencies.bodies.finish_segment()
        dependencies.bodies.sweep(waiting)


@dataclass
class Worker:
    """Threads that do all of it until they are stopped; there may be more in other processes."""

    dependencies: Dependencies
    helper_client: CollectionHelper
    registry: TaskRegistry
    _stopped: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _beats: dict[str, float] = field(
        default_factory=dict
    )  # by thread, the monotonic clock
    _all_due: float = (
        0.0  # when reports are settled that fill no job; by the monotonic clock
    )

    def __post_init__(self) -> None:
        self.dependencies = replace(self.dependencies, beat=self._beat)

    def start(self) -> None:
        """Begin."""
        for number in range(THREADS):
            thread = threading.Thread(
                target=self._run, name=f"worker-{number}", daemon=True
            )
            self._threads.append(thread)
            self._beats[thread.name] = time.monotonic()
            thread.start()

    def is_alive(self) -> bool:
        """Whether it was started and all its threads gave a sign of life lately."""
        oldest = time.monotonic() - HEARTBEAT_SECONDS
        alive = [
            one.is_alive() and self._beats[one.name] >= oldest for one in self._threads
        ]
        return bool(alive) and all(alive)

    def stop(self) -> None:
        """Finish the jobs at hand and end."""
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _beat(self) -> None:
        """Note that the work goes on; raise TransportError in a thread that has to end."""
        thread = threading.current_thread()
        self._beats[thread.name] = time.monotonic()
        if self._stopped.is_set() and thread in self._threads:
            raise TransportError(
                "worker: this half stops; the rest is done after its next start"
            )

    def _run(self) -> None:
        pause = PAUSE_SECONDS
        while not self._stopped.wait(pause):
            self._beats[threading.current_thread().name] = time.monotonic()
            pause = (
                PAUSE_SECONDS if self._stepped() else min(2 * pause, MOST_PAUSE_SECONDS)
            )

    def _stepped(self) -> bool:
        """Whether nothing failed: a job opened in vain costs much. Whatever fails, work goes on."""
        reached = True
        for step in (self._settle, self._answer):
            try:
                reached = step() and reached
            except (
                Exception
            ) as failed:  # a thread that ended here would settle nothing any more
                logger.warning("worker: %s; it goes on", reason_of(failed))
                reached = False
        return reached

    def _settle(self) -> bool:
        all_due = time.monotonic() >= self._all_due
        settle_jobs(
            self.dependencies, self.helper_client, self.registry, only_full=not all_due
        )
        if all_due:
            self._all_due = time.monotonic() + SETTLE_SECONDS
        return True

    def _answer(self) -> bool:
        return answer_collections(self.dependencies, self.helper_client, self.registry)

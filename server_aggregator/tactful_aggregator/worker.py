"""What a leader does by itself: settle reports, answer collectors, and forget what is over."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

from tactful.errors import (
    BatchCollected,
    BatchError,
    BatchMismatch,
    BatchTooSmall,
    ProtocolError,
    TransportError,
)
from tactful.protocol.collect_messages import CollectionReq
from tactful_aggregator import collection
from tactful_aggregator.aggregation import MOST_PER_JOB, Bench, work
from tactful_aggregator.collection import SumPeer
from tactful_aggregator.http import described
from tactful_aggregator.provision import Provisions

PAUSE_SECONDS = 0.1
KEEP_SECONDS = 30 * 86_400  # how long the ids of a task that is over are kept


def answer_collections(bench: Bench, peer: SumPeer, provisions: Provisions) -> None:
    """Answer what can be answered now; the rest stays pending."""
    with bench.store.transaction() as tx:
        pending = tx.pending_collections()
    for task_id, job_id, request in pending:
        provision = provisions.of(task_id)
        query = CollectionReq.decode(request, provision.task).query
        try:
            found = collection.collect(bench, peer, provision, query)
        except (BatchTooSmall, TransportError):
            continue
        except (BatchMismatch, BatchCollected) as refused:
            code, _, _ = described(refused)
            with bench.store.transaction() as tx:
                tx.fail_collection(task_id, job_id, code, str(refused))
            continue
        with bench.store.transaction() as tx:
            tx.answer_collection(task_id, job_id, found.encode(provision.task))


def settle_full_jobs(bench: Bench, peer: SumPeer, provisions: Provisions) -> None:
    """Settle reports as soon as they fill a job, so that a collection finds little left to do."""
    with bench.store.transaction() as tx:
        ready = [one for one in tx.task_ids() if tx.waiting_reports(one) >= MOST_PER_JOB]
    for task_id in ready:
        work(bench, peer, provisions.of(task_id))


def collect_garbage(bench: Bench) -> None:
    """Forget ended keys, the ids of tasks long over, and the bodies that nothing waits for.

    What was released stays: a sum is never computed twice.
    """
    now = bench.clock()
    with bench.store.transaction() as tx:
        for task_id in tx.tasks_over(now - KEEP_SECONDS):
            tx.forget_reports(task_id)
        waiting = tx.bodies(b"\1")
        if not waiting:
            tx.drop_hpke_keys(now)
            bench.bodies.finish_segment()
        bench.bodies.sweep(waiting)


@dataclass
class Worker:
    """A thread that does all of it until it is stopped; several may run, in several processes."""

    bench: Bench
    peer: SumPeer
    provisions: Provisions
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="worker", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Finish the job at hand and end."""
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopped.wait(PAUSE_SECONDS):
            for step in (settle_full_jobs, answer_collections):
                try:
                    step(self.bench, self.peer, self.provisions)
                except (ProtocolError, TransportError, BatchError):
                    continue  # it is tried again; a job that always fails is given up

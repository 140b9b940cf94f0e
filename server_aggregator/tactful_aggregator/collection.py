"""A batch is summed once: noise is drawn, stored, and only then does a byte leave."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tactful.errors import BatchMismatch, BatchTooSmall, ProtocolError
from tactful.privacy.discrete_gaussian import NoiseTable, draw
from tactful.protocol.messages import AggregateShareReq
from tactful.protocol.task import Task
from tactful.vdaf import additive
from tactful.vdaf.field64 import FIELD64
from tactful_aggregator.aggregation import JobPeer, drive
from tactful_aggregator.datastore import CLOSING, COLLECTED, OPEN, Batch, Datastore, Transaction
from tactful_aggregator.settings import Half


class Peer(JobPeer, Protocol):
    """The helper, as far as a collection needs it."""

    def aggregate_share(self, task: Task, request: bytes) -> bytes:
        """The helper's noisy share; raises BatchTooSmall or BatchMismatch."""


def collect(store: Datastore, half: Half, peer: Peer, task: Task) -> tuple[NDArray[np.int64], int]:
    """(signed noisy sum, number of reports) of a task; asked again, the same.

    Uploads end here. Below the minimum nothing is released and the task stays open. Raises
    BatchTooSmall, BatchMismatch.
    """
    _close(store, task)
    drive(store, half, peer, task)
    mine = _mine_or_open_again(store, task)
    theirs = peer.aggregate_share(task, AggregateShareReq(mine.count, mine.checksum).encode())
    with store.transaction() as tx:
        noisy = _noisy_share(tx, task)
    length = task.encoding.padded
    total = additive.unshard(FIELD64.decode(noisy, length), FIELD64.decode(theirs, length))
    return total, mine.count


def share(store: Datastore, task: Task, request: AggregateShareReq) -> bytes:
    """The helper's noisy share, once the leader names the same reports; each time the same."""
    with store.transaction() as tx:
        mine = _large_enough(tx, task)
        if (mine.count, mine.checksum) != (request.count, request.checksum):
            raise BatchMismatch(
                f"batchMismatch: the halves hold {request.count} and {mine.count} reports, "
                "or others; nothing is released"
            )
        return _noisy_share(tx, task)


def _close(store: Datastore, task: Task) -> None:
    """Take no more reports, unless there are too few: then the task stays open."""
    with store.transaction() as tx:
        if tx.task_state(task.id) != OPEN:
            return
        kept = tx.count_reports(task.id)
        if kept < task.min_batch_size:
            raise BatchTooSmall(_too_small(kept, task))
        tx.set_task_state(task.id, CLOSING)


def _mine_or_open_again(store: Datastore, task: Task) -> Batch:
    """The sum to release; if refusals made the batch too small, the task takes reports again."""
    try:
        with store.transaction() as tx:
            return _large_enough(tx, task)
    except BatchTooSmall:
        with store.transaction() as tx:
            tx.set_task_state(task.id, OPEN)
        raise


def _large_enough(tx: Transaction, task: Task) -> Batch:
    kept = tx.batch(task.id)
    count = 0 if kept is None else kept.count
    if kept is None or count < task.min_batch_size:
        raise BatchTooSmall(_too_small(count, task))
    return kept


def _too_small(count: int, task: Task) -> str:
    return (
        f"invalidBatchSize: {count} reports of at least {task.min_batch_size}; "
        "nothing is released, wait for more"
    )


def _noisy_share(tx: Transaction, task: Task) -> bytes:
    """This half's sum with its own full noise, drawn once and kept before anyone sees it."""
    kept = tx.batch(task.id)
    if kept is None:
        raise ProtocolError("batchInvalid: nothing was counted for this task")
    if kept.noisy is not None:
        return kept.noisy
    noise = draw(NoiseTable.of(task.family, Fraction(task.sigma2)), task.encoding.padded)
    total = FIELD64.decode(kept.total, task.encoding.padded)
    noisy = FIELD64.encode(FIELD64.add(total, FIELD64.from_integers(noise)))
    tx.keep_batch(task.id, replace(kept, noisy=noisy, total=b""))
    tx.set_task_state(task.id, COLLECTED)
    return noisy

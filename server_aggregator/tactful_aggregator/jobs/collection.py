"""A batch is summed once: noise is drawn, sealed, stored, and only then does a byte leave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tactful.errors import BatchCollected, BatchMismatch, BatchTooSmall
from tactful.privacy.discrete_gaussian import draw
from tactful.protocol.dap import hpke
from tactful.protocol.dap.codec import Reader
from tactful.protocol.dap.collect_messages import (
    AggregateShareReq,
    Collection,
    Interval,
    Query,
    aggregate_share_aad,
    decode_aggregate_share,
)
from tactful.protocol.dap.dap_task import LEADER_SELECTED, DapTask
from tactful.protocol.dap.messages import HpkeCiphertext
from tactful.protocol.dap.versions import HELPER, LEADER
from tactful_aggregator.datastore import (
    CLOSING,
    COLLECTED,
    OPEN,
    ReleasedShare,
    StoreTransaction,
)
from tactful_aggregator.jobs.aggregation import AggregationHelper, Dependencies, drive
from tactful_aggregator.problems import Problem
from tactful_aggregator.task_registry import ProvisionedTask


class CollectionHelper(AggregationHelper, Protocol):
    """The helper, as far as a collection needs it."""

    def aggregate_share(self, task: DapTask, request: bytes) -> bytes:
        """The helper's sealed noisy share; raises BatchTooSmall or BatchMismatch."""


@dataclass(frozen=True)
class Batch:
    """The buckets of a query: `first` up to `last`, which is not in it."""

    query: Query
    first: int
    last: int

    @classmethod
    def of(cls, provisioned: ProvisionedTask, query: Query) -> Batch:
        """The buckets that a query names; raises Problem for an interval that cannot be."""
        if query.interval is None:
            return cls(query, 0, 1)
        task, start, length = (
            provisioned.task,
            query.interval.start,
            query.interval.duration,
        )
        if not (task.is_rounded(start) and task.is_rounded(length) and length):
            raise Problem(
                "batchInvalid", 400, "the interval is not in units of the precision"
            )
        unit = task.time_precision
        first = task.seconds(start) // unit
        last = first + task.seconds(length) // unit
        if last > 1 << 60 or first * unit >= task.expires or last * unit <= task.opens:
            raise Problem("batchInvalid", 400, "the interval is outside of the task's")
        return cls(query, first, last)


# the leader's side


def collect(
    dependencies: Dependencies,
    helper_client: CollectionHelper,
    provisioned: ProvisionedTask,
    query: Query,
) -> Collection:
    """Both halves' sealed sums of a batch; asked again, the same bytes.

    Uploads to the batch end here. Below the minimum nothing is released and it stays open. Raises
    BatchTooSmall, BatchMismatch, BatchCollected.
    """
    batch = Batch.of(provisioned, query)
    _close(dependencies, provisioned, batch)
    drive(dependencies, helper_client, provisioned, (batch.first, batch.last))
    mine = _mine_or_open_again(dependencies, provisioned, batch)
    request = AggregateShareReq(query, mine.count, mine.checksum)
    theirs = helper_client.aggregate_share(
        provisioned.task, request.encode(provisioned.task)
    )
    helper = decode_aggregate_share(theirs)
    with dependencies.store.transaction() as tx:
        tx.tasks.lock(provisioned.task.id, exclusive=True)
        released = _released(tx, provisioned, batch, LEADER)
    leader = HpkeCiphertext.read(Reader(released.share, "AggregateShare"))
    return Collection(
        released.count, _interval(provisioned, batch, released), leader, helper
    )


def _close(
    dependencies: Dependencies, provisioned: ProvisionedTask, batch: Batch
) -> None:
    """Take no more reports, unless there are too few: then the batch stays open."""
    task = provisioned.task
    with dependencies.store.transaction() as tx:
        tx.tasks.lock(task.id, exclusive=True)
        if _is_known(tx, task, batch):
            return
        kept = tx.reports.count_not_refused(task.id, batch.first, batch.last)
        if not _large_enough(kept, task):
            raise BatchTooSmall(_too_small(kept, task))
        tx.batches.close(task.id, batch.first, batch.last)
        if task.mode == LEADER_SELECTED:
            tx.tasks.set_state(task.id, CLOSING)


def _is_known(tx: StoreTransaction, task: DapTask, batch: Batch) -> bool:
    """Whether just this batch was closed before; raises BatchCollected if another overlaps it."""
    others = tx.batches.overlapping(task.id, batch.first, batch.last)
    if any((first, last) != (batch.first, batch.last) for first, last, _ in others):
        raise BatchCollected(
            "batchOverlap: some of these reports were collected in another batch"
        )
    return bool(others)


def _mine_or_open_again(
    dependencies: Dependencies, provisioned: ProvisionedTask, batch: Batch
) -> ReleasedShare:
    """The sum to release; if refusals made the batch too small, it takes reports again."""
    task = provisioned.task
    with dependencies.store.transaction() as tx:
        tx.tasks.lock(task.id, exclusive=True)
        released = tx.batches.released_share(task.id, batch.first, batch.last)
        mine = released or _merged(tx, provisioned, batch)[0]
        if _large_enough(mine.count, task):
            return mine
        tx.batches.reopen(task.id, batch.first, batch.last)
        if task.mode == LEADER_SELECTED:
            tx.tasks.set_state(task.id, OPEN)
    raise BatchTooSmall(_too_small(mine.count, task))


def _interval(
    provisioned: ProvisionedTask, batch: Batch, released: ReleasedShare
) -> Interval:
    """The time that a batch spans, no finer than it must be said."""
    task = provisioned.task
    if batch.query.interval is not None:
        first, last = released.earliest, released.latest + 1
    else:
        first, last = (
            task.opens // task.time_precision,
            -(-task.expires // task.time_precision),
        )
    start = task.wire_time(first * task.time_precision)
    return Interval(start, task.wire_time(last * task.time_precision) - start)


# the helper's side


def share(
    dependencies: Dependencies, provisioned: ProvisionedTask, request: AggregateShareReq
) -> bytes:
    """The helper's sealed noisy share, once the leader names the same reports; each time the same.

    Raises BatchTooSmall, BatchMismatch, BatchCollected.
    """
    batch, task = Batch.of(provisioned, request.query), provisioned.task
    with dependencies.store.transaction() as tx:
        tx.tasks.lock(task.id, exclusive=True)
        _is_known(tx, task, batch)
        mine = (
            tx.batches.released_share(task.id, batch.first, batch.last)
            or _merged(tx, provisioned, batch)[0]
        )
        if not _large_enough(mine.count, task):
            raise BatchTooSmall(_too_small(mine.count, task))
        if (mine.count, mine.checksum) != (request.count, request.checksum):
            raise BatchMismatch(
                f"batchMismatch: the halves hold {request.count} and {mine.count} reports, "
                "or others; nothing is released"
            )
        return _released(tx, provisioned, batch, HELPER).share


# both


def _merged(
    tx: StoreTransaction, provisioned: ProvisionedTask, batch: Batch
) -> tuple[ReleasedShare, bytes]:
    """What both halves compare of a batch, and its sum without noise."""
    task, field = provisioned.task, provisioned.task.vdaf.field
    parts = [
        one for one in tx.sums.shards(task.id, batch.first, batch.last) if one.count
    ]
    total, checksum = field.zeros(task.vdaf.output_length), 0
    for one in parts:
        total = field.add(total, field.decode(one.total, task.vdaf.output_length))
        checksum ^= int.from_bytes(one.checksum, "big")
    buckets = [one.bucket for one in parts] or [batch.first]
    counted = ReleasedShare(
        sum(one.count for one in parts),
        checksum.to_bytes(32, "big"),
        min(buckets),
        max(buckets),
        b"",
    )
    return counted, field.encode(total)


def _released(
    tx: StoreTransaction, provisioned: ProvisionedTask, batch: Batch, role: int
) -> ReleasedShare:
    """This half's sum with its own full noise, drawn once and kept before anyone sees it."""
    task = provisioned.task
    known = tx.batches.released_share(task.id, batch.first, batch.last)
    if known is not None:
        return known
    counted, total = _merged(tx, provisioned, batch)
    if not _large_enough(counted.count, task):
        raise BatchTooSmall(_too_small(counted.count, task))
    sealed = _sealed(provisioned, batch, role, _noisy(provisioned, total))
    released = ReleasedShare(
        counted.count,
        counted.checksum,
        counted.earliest,
        counted.latest,
        sealed.encode(),
    )
    tx.batches.release(task.id, batch.first, batch.last, released)
    if task.mode == LEADER_SELECTED:
        tx.tasks.set_state(task.id, COLLECTED)
    return released


def _noisy(provisioned: ProvisionedTask, total: bytes) -> bytes:
    if provisioned.noise is None:
        return total
    field, length = provisioned.task.vdaf.field, provisioned.task.vdaf.output_length
    noise = field.from_integers(draw(provisioned.noise.table, length))
    return field.encode(field.add(field.decode(total, length), noise))


def _sealed(
    provisioned: ProvisionedTask, batch: Batch, role: int, noisy: bytes
) -> HpkeCiphertext:
    task, collector = provisioned.task, provisioned.collector
    info, aad = (
        task.dap.aggregate_share_info(role),
        aggregate_share_aad(task, batch.query),
    )
    enc, payload = hpke.seal(collector.public_key, info, aad, noisy)
    return HpkeCiphertext(collector.config_id, enc, payload)


def _large_enough(count: int, task: DapTask) -> bool:
    """What each half asks before anything is closed, counted as released, or handed out."""
    return count >= task.min_batch_size


def _too_small(count: int, task: DapTask) -> str:
    return (
        f"invalidBatchSize: {count} reports of at least {task.min_batch_size}; "
        "nothing is released, wait for more"
    )

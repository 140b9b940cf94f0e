"""Collection of batches: draw noise, seal the share, store it, and only then send it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from tactful.errors import BatchCollected, BatchMismatch, BatchTooSmall
from tactful.privacy.discrete_gaussian import draw
from tactful.protocol.dap import hpke
from tactful.protocol.dap.codec import Reader
from tactful.protocol.dap.dap_task import LEADER_SELECTED, DapTask
from tactful.protocol.dap.messages import HpkeCiphertext
from tactful.protocol.dap.versions import HELPER, LEADER
from tactful_aggregator.dap.collect_messages import (
    AggregateShareReq,
    Collection,
    Interval,
    Query,
    aggregate_share_aad,
    decode_aggregate_share,
)
from tactful_aggregator.datastore import (
    CLOSING,
    COLLECTED,
    OPEN,
    ReleasedShare,
    StoreTransaction,
)
from tactful_aggregator.jobs.dependencies import AggregationHelper, Dependencies
from tactful_aggregator.jobs.leader_jobs import settle_all
from tactful_aggregator.jobs.verification import CHECKSUM_BYTES
from tactful_aggregator.problems import Problem
from tactful_aggregator.task_registry import ProvisionedTask

# Bucket numbers must stay far below the end of ALL_BUCKETS.
MAX_BUCKET = 1 << 60


class CollectionHelper(AggregationHelper, Protocol):
    """The helper, as far as a collection needs it."""

    def aggregate_share(self, task: DapTask, request: bytes) -> bytes:
        """Return the helper's sealed noisy share; raises BatchTooSmall or BatchMismatch."""


@dataclass(frozen=True)
class Batch:
    """The buckets [first, last) of a query."""

    query: Query
    first: int
    last: int

    @classmethod
    def of(cls, provisioned: ProvisionedTask, query: Query) -> Batch:
        """Return the batch of a query; raises Problem for an invalid interval."""
        if query.interval is None:
            return cls(query, 0, 1)
        task = provisioned.task
        start, duration = query.interval.start, query.interval.duration
        is_aligned = task.is_rounded(start) and task.is_rounded(duration)
        if not is_aligned or not duration:
            raise Problem(
                "batchInvalid",
                400,
                "the interval is empty or not in units of the time precision; use "
                f"multiples of {task.time_precision} seconds",
            )
        precision = task.time_precision
        first = task.seconds(start) // precision
        last = first + task.seconds(duration) // precision
        is_outside = first * precision >= task.expires or last * precision <= task.opens
        if last > MAX_BUCKET or is_outside:
            raise Problem(
                "batchInvalid",
                400,
                "the interval is outside of the task's lifetime; use an interval within it",
            )
        return cls(query, first, last)


# At the leader


def collect(
    dependencies: Dependencies,
    helper_client: CollectionHelper,
    provisioned: ProvisionedTask,
    query: Query,
) -> Collection:
    """Return both sealed noisy sums of a batch; the same bytes for each repeated call.

    The batch accepts no uploads after this call. If it is too small, nothing is released and
    it stays open. Raises BatchTooSmall, BatchMismatch, BatchCollected.

    The leader requests the helper's share before it releases its own, so that nothing is
    released if the aggregators counted different reports.
    """
    task = provisioned.task
    batch = Batch.of(provisioned, query)
    _close(dependencies, provisioned, batch)
    settle_all(dependencies, helper_client, provisioned, (batch.first, batch.last))
    own_sum = _require_large_enough(dependencies, provisioned, batch)
    request = AggregateShareReq(query, own_sum.count, own_sum.checksum)
    response = helper_client.aggregate_share(task, request.encode(task))
    helper_share = decode_aggregate_share(response)
    with dependencies.store.transaction() as tx:
        tx.tasks.lock(task.id, exclusive=True)
        released = release_share(tx, provisioned, batch, LEADER)
    leader_share = HpkeCiphertext.read(Reader(released.share, "AggregateShare"))
    interval = _interval(provisioned, batch, released)
    return Collection(released.count, interval, leader_share, helper_share)


def _close(
    dependencies: Dependencies, provisioned: ProvisionedTask, batch: Batch
) -> None:
    """Close the batch to reports; raises BatchTooSmall and leaves it open if it is small."""
    task = provisioned.task
    with dependencies.store.transaction() as tx:
        tx.tasks.lock(task.id, exclusive=True)
        if _is_closed(tx, task, batch):
            return
        count = tx.reports.count_not_refused(task.id, batch.first, batch.last)
        if not is_large_enough(count, task):
            raise BatchTooSmall(_too_small(count, task))
        tx.batches.close(task.id, batch.first, batch.last)
        if task.mode == LEADER_SELECTED:
            tx.tasks.set_state(task.id, CLOSING)


def _is_closed(tx: StoreTransaction, task: DapTask, batch: Batch) -> bool:
    """Return True if exactly this batch is closed.

    Raises BatchCollected if another batch overlaps it.
    """
    overlapping = tx.batches.overlapping(task.id, batch.first, batch.last)
    buckets = (batch.first, batch.last)
    if any((first, last) != buckets for first, last, _ in overlapping):
        raise BatchCollected(
            "batchOverlap: some of these reports were collected in another batch; request "
            "a batch that does not overlap it"
        )
    return bool(overlapping)


def _require_large_enough(
    dependencies: Dependencies, provisioned: ProvisionedTask, batch: Batch
) -> ReleasedShare:
    """Return the count and checksum of a settled batch.

    If refusals made the batch too small, reopens it and raises BatchTooSmall.
    """
    task = provisioned.task
    with dependencies.store.transaction() as tx:
        tx.tasks.lock(task.id, exclusive=True)
        own_sum = _released_or_merged(tx, provisioned, batch)
        if is_large_enough(own_sum.count, task):
            return own_sum
        tx.batches.reopen(task.id, batch.first, batch.last)
        if task.mode == LEADER_SELECTED:
            tx.tasks.set_state(task.id, OPEN)
    raise BatchTooSmall(_too_small(own_sum.count, task))


def _released_or_merged(
    tx: StoreTransaction, provisioned: ProvisionedTask, batch: Batch
) -> ReleasedShare:
    task_id = provisioned.task.id
    released = tx.batches.released_share(task_id, batch.first, batch.last)
    if released is not None:
        return released
    merged, _ = merge_shards(tx, provisioned, batch)
    return merged


def _interval(
    provisioned: ProvisionedTask, batch: Batch, released: ReleasedShare
) -> Interval:
    """Return the time span of a batch, no more exact than the collector needs."""
    task = provisioned.task
    precision = task.time_precision
    if batch.query.interval is not None:
        first, last = released.earliest, released.latest + 1
    else:
        # The whole lifetime of the task, with its end rounded up.
        first, last = task.opens // precision, -(-task.expires // precision)
    start = task.wire_time(first * precision)
    return Interval(start, task.wire_time(last * precision) - start)


# At the helper


def release_helper_share(
    dependencies: Dependencies,
    provisioned: ProvisionedTask,
    request: AggregateShareReq,
) -> bytes:
    """Return the helper's sealed noisy share; the same bytes for each repeated request.

    Raises BatchTooSmall, BatchCollected, or BatchMismatch if the leader counted other reports.
    """
    task = provisioned.task
    batch = Batch.of(provisioned, request.query)
    with dependencies.store.transaction() as tx:
        tx.tasks.lock(task.id, exclusive=True)
        # Raises BatchCollected if another batch overlaps this one.
        _is_closed(tx, task, batch)
        own_sum = _released_or_merged(tx, provisioned, batch)
        if not is_large_enough(own_sum.count, task):
            raise BatchTooSmall(_too_small(own_sum.count, task))
        if (own_sum.count, own_sum.checksum) != (request.count, request.checksum):
            raise BatchMismatch(
                f"batchMismatch: the leader counted {request.count} and the helper "
                f"{own_sum.count} reports, or different ones; nothing was released, compare "
                "the logs of both aggregators"
            )
        return release_share(tx, provisioned, batch, HELPER).share


# At both aggregators


def merge_shards(
    tx: StoreTransaction, provisioned: ProvisionedTask, batch: Batch
) -> tuple[ReleasedShare, bytes]:
    """Return a batch's count, checksum and interval, and its encoded sum without noise."""
    field = provisioned.task.vdaf.field
    length = provisioned.task.vdaf.output_length
    stored = tx.sums.shards(provisioned.task.id, batch.first, batch.last)
    shards = [shard for shard in stored if shard.count]
    total, checksum = field.zeros(length), 0
    for shard in shards:
        total = field.add(total, field.decode(shard.total, length))
        checksum ^= int.from_bytes(shard.checksum, "big")
    buckets = [shard.bucket for shard in shards] or [batch.first]
    merged = ReleasedShare(
        count=sum(shard.count for shard in shards),
        checksum=checksum.to_bytes(CHECKSUM_BYTES, "big"),
        earliest=min(buckets),
        latest=max(buckets),
        share=b"",
    )
    return merged, field.encode(total)


def release_share(
    tx: StoreTransaction, provisioned: ProvisionedTask, batch: Batch, role: int
) -> ReleasedShare:
    """Return this aggregator's noisy share of a batch, drawn once and stored before use.

    Drawing noise again for a repeated request would let a reader average the noise away.
    """
    task = provisioned.task
    released = tx.batches.released_share(task.id, batch.first, batch.last)
    if released is not None:
        return released
    merged, total = merge_shards(tx, provisioned, batch)
    if not is_large_enough(merged.count, task):
        raise BatchTooSmall(_too_small(merged.count, task))
    sealed = seal_share(provisioned, batch, role, add_noise(provisioned, total))
    released = ReleasedShare(
        merged.count,
        merged.checksum,
        merged.earliest,
        merged.latest,
        sealed.encode(),
    )
    tx.batches.release(task.id, batch.first, batch.last, released)
    if task.mode == LEADER_SELECTED:
        tx.tasks.set_state(task.id, COLLECTED)
    return released


def add_noise(provisioned: ProvisionedTask, total: bytes) -> bytes:
    """Return the encoded sum with this aggregator's full noise, if the task has any."""
    if provisioned.noise is None:
        return total
    field = provisioned.task.vdaf.field
    length = provisioned.task.vdaf.output_length
    noise = field.from_integers(draw(provisioned.noise.table, length))
    return field.encode(field.add(field.decode(total, length), noise))


def seal_share(
    provisioned: ProvisionedTask, batch: Batch, role: int, noisy_total: bytes
) -> HpkeCiphertext:
    """Return a noisy sum sealed to the collector."""
    task, collector = provisioned.task, provisioned.collector
    info = task.dap.aggregate_share_info(role)
    aad = aggregate_share_aad(task, batch.query)
    enc, payload = hpke.seal(collector.public_key, info, aad, noisy_total)
    return HpkeCiphertext(collector.config_id, enc, payload)


def is_large_enough(count: int, task: DapTask) -> bool:
    """Return True if a batch has at least the task's minimum of reports.

    Each aggregator checks this before it closes or releases a batch.
    """
    return count >= task.min_batch_size


def _too_small(count: int, task: DapTask) -> str:
    return (
        f"invalidBatchSize: {count} reports of at least {task.min_batch_size}; "
        "nothing is released, wait for more"
    )

"""Batches: sums without noise in shards, then one noisy share once they are released."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import ColumnElement, delete, select, update

from tactful.errors import BatchCollected
from tactful_aggregator.datastore.schema import (
    CLOSING,
    COLLECTED,
    batch,
    partial_sum,
)
from tactful_aggregator.datastore.statements import Statements


@dataclass(frozen=True)
class BatchShard:
    """The sum of some reports of one bucket, with their number and checksum."""

    bucket: int
    count: int
    checksum: bytes
    total: bytes


@dataclass(frozen=True)
class ReleasedShare:
    """A released batch: values that both aggregators compare, and the sealed noisy share."""

    count: int
    checksum: bytes
    earliest: int
    latest: int
    share: bytes


class SumQueries:
    """Statements on sums without noise, in up to `shard_count` shards per bucket."""

    def __init__(self, statements: Statements, shard_count: int) -> None:
        self._statements = statements
        self._run = statements.run
        self._shard_count = shard_count

    def lock_shard(
        self, task_id: bytes, bucket: int, empty: BatchShard
    ) -> tuple[int, BatchShard]:
        """Lock a random shard of a bucket; return (shard number, sum so far).

        The shard starts as `empty` and stays locked until the commit.
        """
        shard = secrets.randbelow(self._shard_count)
        row = {"task_id": task_id, "shard": shard, **vars(empty)}
        # The row must exist before it can be locked.
        self._statements.insert_if_absent(partial_sum, row)
        columns = select(
            partial_sum.c.count, partial_sum.c.checksum, partial_sum.c.total
        )
        locked = columns.where(_is_shard(task_id, bucket, shard)).with_for_update()
        count, checksum, total = self._run(locked).one()
        return shard, BatchShard(bucket, count, checksum, total)

    def replace_shard(self, task_id: bytes, shard: int, content: BatchShard) -> None:
        """Replace the sum of one shard of a bucket."""
        values = {
            "count": content.count,
            "checksum": content.checksum,
            "total": content.total,
        }
        is_shard = _is_shard(task_id, content.bucket, shard)
        self._run(update(partial_sum).where(is_shard).values(values))

    def shards(self, task_id: bytes, first: int, last: int) -> list[BatchShard]:
        """Return all shards of the buckets [first, last)."""
        columns = select(
            partial_sum.c.bucket,
            partial_sum.c.count,
            partial_sum.c.checksum,
            partial_sum.c.total,
        )
        rows = self._run(columns.where(_in_buckets(task_id, first, last)))
        return [BatchShard(*row) for row in rows]

    def delete(self, task_id: bytes, first: int, last: int) -> None:
        """Delete the sums without noise of the buckets [first, last)."""
        self._run(delete(partial_sum).where(_in_buckets(task_id, first, last)))

    def delete_of_task(self, task_id: bytes) -> None:
        """Delete all sums without noise of a task."""
        self._run(delete(partial_sum).where(partial_sum.c.task_id == task_id))


class BatchQueries:
    """Statements on batches, each of the buckets [first, last) of a task."""

    def __init__(self, statements: Statements, sums: SumQueries) -> None:
        self._statements = statements
        self._run = statements.run
        self._sums = sums

    def close(self, task_id: bytes, first: int, last: int) -> None:
        """Accept no more reports for these buckets; a repeated call changes nothing."""
        row: dict[str, object] = {
            "task_id": task_id,
            "first": first,
            "last": last,
            "state": CLOSING,
        }
        self._statements.insert_if_absent(batch, row)

    def reopen(self, task_id: bytes, first: int, last: int) -> None:
        """Accept reports for a closed batch again, unless it was released."""
        is_closing = _is_batch(task_id, first, last) & (batch.c.state == CLOSING)
        self._run(delete(batch).where(is_closing))

    def overlapping(
        self, task_id: bytes, first: int, last: int
    ) -> list[tuple[int, int, str]]:
        """Return (first, last, state) of batches that share a bucket with [first, last)."""
        overlaps = (batch.c.first < last) & (batch.c.last > first)
        columns = select(batch.c.first, batch.c.last, batch.c.state)
        rows = self._run(columns.where((batch.c.task_id == task_id) & overlaps))
        return [(row[0], row[1], row[2]) for row in rows]

    def release(
        self, task_id: bytes, first: int, last: int, released: ReleasedShare
    ) -> None:
        """Store the noisy share, and delete the sum without noise."""
        row = {
            "task_id": task_id,
            "first": first,
            "last": last,
            "state": COLLECTED,
            **vars(released),
        }
        self._statements.upsert(batch, ("task_id", "first", "last"), row)
        self._sums.delete(task_id, first, last)

    def released_share(
        self, task_id: bytes, first: int, last: int
    ) -> ReleasedShare | None:
        """Return the released share of exactly these buckets, or None.

        Raises BatchCollected if the share was deleted after it was fetched.
        """
        columns = select(
            batch.c.count,
            batch.c.checksum,
            batch.c.earliest,
            batch.c.latest,
            batch.c.share,
        )
        is_collected = _is_batch(task_id, first, last) & (batch.c.state == COLLECTED)
        row = self._run(columns.where(is_collected)).one_or_none()
        if row is None:
            return None
        if row[4] is None:
            raise BatchCollected(
                "batchOverlap: this batch was collected and its share was deleted; "
                "request a batch that was not collected yet"
            )
        return ReleasedShare(*row)

    def delete_share(self, task_id: bytes, first: int, last: int) -> None:
        """Delete a share that was fetched; its batch stays collected."""
        is_batch = _is_batch(task_id, first, last)
        self._run(update(batch).where(is_batch).values(share=None))


def _is_shard(task_id: bytes, bucket: int, shard: int) -> ColumnElement[bool]:
    in_bucket = (partial_sum.c.task_id == task_id) & (partial_sum.c.bucket == bucket)
    return in_bucket & (partial_sum.c.shard == shard)


def _in_buckets(task_id: bytes, first: int, last: int) -> ColumnElement[bool]:
    in_range = (partial_sum.c.bucket >= first) & (partial_sum.c.bucket < last)
    return (partial_sum.c.task_id == task_id) & in_range


def _is_batch(task_id: bytes, first: int, last: int) -> ColumnElement[bool]:
    has_range = (batch.c.first == first) & (batch.c.last == last)
    return (batch.c.task_id == task_id) & has_range

"""Sums: in shards while they grow, as one noisy share once they are released."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from sqlalchemy import delete, select, update

from tactful.errors import BatchCollected
from tactful_aggregator.datastore.rows import Rows
from tactful_aggregator.datastore.schema import (
    CLOSING,
    COLLECTED,
    DELETED,
    FAILED,
    FINISHED,
    PENDING,
    batch,
    collection,
    job,
    partial_sum,
    report,
)


@dataclass(frozen=True)
class BatchShard:
    """Some reports of one bucket, added up: how many, which (as a checksum), and their total."""

    bucket: int
    count: int
    checksum: bytes
    total: bytes


@dataclass(frozen=True)
class ReleasedShare:
    """A batch whose noise is drawn: what both halves compare, and this half's sealed share."""

    count: int
    checksum: bytes
    earliest: int
    latest: int
    share: bytes


class BatchRows(Rows):
    """What is summed."""

    def part(
        self, task_id: bytes, bucket: int, empty: BatchShard
    ) -> tuple[int, BatchShard]:
        """(shard, sum so far) of a bucket, held until the commit; `empty` if there is none."""
        shard = secrets.randbelow(self._shards)
        row = {"task_id": task_id, "shard": shard, **vars(empty)}
        self._add(partial_sum, row)
        mine = (partial_sum.c.task_id == task_id) & (partial_sum.c.bucket == bucket)
        columns = select(
            partial_sum.c.count, partial_sum.c.checksum, partial_sum.c.total
        )
        found = self._run(
            columns.where(mine & (partial_sum.c.shard == shard)).with_for_update()
        )
        count, checksum, total = found.one()
        return shard, BatchShard(bucket, count, checksum, total)

    def keep_part(self, task_id: bytes, shard: int, part: BatchShard) -> None:
        """Replace one shard of a bucket's sum."""
        mine = (partial_sum.c.task_id == task_id) & (
            partial_sum.c.bucket == part.bucket
        )
        here = mine & (partial_sum.c.shard == shard)
        values = {"count": part.count, "checksum": part.checksum, "total": part.total}
        self._run(update(partial_sum).where(here).values(values))

    def parts(self, task_id: bytes, first: int, last: int) -> list[BatchShard]:
        """All shards of these buckets."""
        mine = (partial_sum.c.task_id == task_id) & (partial_sum.c.bucket >= first)
        columns = select(
            partial_sum.c.bucket,
            partial_sum.c.count,
            partial_sum.c.checksum,
            partial_sum.c.total,
        )
        rows = self._run(columns.where(mine & (partial_sum.c.bucket < last)))
        return [BatchShard(*row) for row in rows]

    def drop_parts(self, task_id: bytes, first: int, last: int) -> None:
        """Forget sums without noise."""
        mine = (partial_sum.c.task_id == task_id) & (partial_sum.c.bucket >= first)
        self._run(delete(partial_sum).where(mine & (partial_sum.c.bucket < last)))

    # batches

    def close_batch(self, task_id: bytes, first: int, last: int) -> None:
        """Take no more reports for these buckets; the same again changes nothing."""
        row = {"task_id": task_id, "first": first, "last": last, "state": CLOSING}
        self._add(batch, row)

    def open_batch(self, task_id: bytes, first: int, last: int) -> None:
        """Take reports again, unless the batch was released."""
        mine = (
            (batch.c.task_id == task_id)
            & (batch.c.first == first)
            & (batch.c.last == last)
        )
        self._run(delete(batch).where(mine & (batch.c.state == CLOSING)))

    def overlapping(
        self, task_id: bytes, first: int, last: int
    ) -> list[tuple[int, int, str]]:
        """(first, last, state) of the batches that share a bucket with these."""
        mine = (
            (batch.c.task_id == task_id)
            & (batch.c.first < last)
            & (batch.c.last > first)
        )
        rows = self._run(select(batch.c.first, batch.c.last, batch.c.state).where(mine))
        return [(row[0], row[1], row[2]) for row in rows]

    def release_batch(
        self, task_id: bytes, first: int, last: int, released: ReleasedShare
    ) -> None:
        """Keep the noisy share, and forget the sum without noise."""
        row = {"task_id": task_id, "first": first, "last": last, "state": COLLECTED}
        self._put(batch, ("task_id", "first", "last"), {**row, **vars(released)})
        self.drop_parts(task_id, first, last)

    def released(self, task_id: bytes, first: int, last: int) -> ReleasedShare | None:
        """What was released of exactly these buckets."""
        mine = (
            (batch.c.task_id == task_id)
            & (batch.c.first == first)
            & (batch.c.last == last)
        )
        columns = select(
            batch.c.count,
            batch.c.checksum,
            batch.c.earliest,
            batch.c.latest,
            batch.c.share,
        )
        row = self._run(
            columns.where(mine & (batch.c.state == COLLECTED))
        ).one_or_none()
        if row is not None and row[4] is None:
            raise BatchCollected(
                "batchOverlap: it was collected, and its share deleted"
            )
        return None if row is None else ReleasedShare(*row)

    def delete_share(self, task_id: bytes, first: int, last: int) -> None:
        """Forget a share that was fetched; its batch stays collected."""
        mine = (
            (batch.c.task_id == task_id)
            & (batch.c.first == first)
            & (batch.c.last == last)
        )
        self._run(update(batch).where(mine).values(share=None))

    # what collectors asked for

    def add_collection(self, task_id: bytes, job_id: bytes, request: bytes) -> bytes:
        """Begin a collection; the request of the one that has this id, perhaps an earlier one.

        One that was deleted or has failed begins anew: the batch does not depend on it.
        """
        row = {"id": job_id, "task_id": task_id, "request": request, "state": PENDING}
        self._add(collection, {**row, "leased_until": 0, "attempts": 0})
        mine = (collection.c.id == job_id) & (collection.c.task_id == task_id)
        ended = (
            mine
            & (collection.c.request == request)
            & collection.c.state.in_([DELETED, FAILED])
        )
        self._run(update(collection).where(ended).values(state=PENDING, body=None))
        return bytes(self._run(select(collection.c.request).where(mine)).scalar_one())

    def collection(
        self, task_id: bytes, job_id: bytes
    ) -> tuple[bytes, str, bytes | None] | None:
        """(request, state, answer) of a collection."""
        mine = (collection.c.id == job_id) & (collection.c.task_id == task_id)
        columns = select(collection.c.request, collection.c.state, collection.c.body)
        row = self._run(columns.where(mine)).one_or_none()
        return None if row is None else (row[0], row[1], row[2])

    def pending_collections(self) -> list[tuple[bytes, bytes, bytes]]:
        """(task, id, request) of what is not answered yet."""
        columns = select(collection.c.task_id, collection.c.id, collection.c.request)
        rows = self._run(columns.where(collection.c.state == PENDING))
        return [(row[0], row[1], row[2]) for row in rows]

    def answer_collection(self, task_id: bytes, job_id: bytes, body: bytes) -> None:
        """Keep the answer, unless the job was deleted meanwhile: each poll gets the same bytes."""
        mine = (collection.c.id == job_id) & (collection.c.task_id == task_id)
        waits = mine & (collection.c.state == PENDING)
        self._run(update(collection).where(waits).values(state=FINISHED, body=body))

    def fail_collection(
        self, task_id: bytes, job_id: bytes, code: str, detail: str
    ) -> None:
        """Keep why a collection was not answered, unless the job was deleted meanwhile."""
        mine = (collection.c.id == job_id) & (collection.c.task_id == task_id)
        waits = mine & (collection.c.state == PENDING)
        body = f"{code} {detail}".encode()
        self._run(update(collection).where(waits).values(state=FAILED, body=body))

    def delete_collection(self, task_id: bytes, job_id: bytes) -> bool:
        """Forget the job and its answer, not the batch. False if there is none."""
        mine = (collection.c.id == job_id) & (collection.c.task_id == task_id)
        done = update(collection).where(mine & (collection.c.state != DELETED))
        return self._run(done.values(state=DELETED, body=None)).rowcount == 1

    # what is over

    def forget_reports(self, task_id: bytes) -> int:
        """Forget the ids, jobs and unreleased sums of a task that is over; how many ids."""
        self._run(delete(job).where(job.c.task_id == task_id))
        self._run(delete(partial_sum).where(partial_sum.c.task_id == task_id))
        return self._run(delete(report).where(report.c.task_id == task_id)).rowcount

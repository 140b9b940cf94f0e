"""Entries of the publication log, written in the transaction that publishes a document."""

from __future__ import annotations

import hashlib

import numpy as np
from numpy.typing import NDArray

from tactful.protocol.documents.task import Task
from tactful.protocol.log import transcript
from tactful_aggregator.datastore import Datastore, StoreTransaction


def append_to_log(
    tx: StoreTransaction, kind: transcript.Kind, document: bytes, now: int
) -> None:
    """Append a document to the publication log."""
    tx.lock_numbering()
    entries = tx.published.entries()
    latest = transcript.parse(entries[-1]).time if entries else 0
    # Times in the log never decrease, even if the clock was set back.
    entry = transcript.follow(len(entries), kind, document, max(now, latest))
    tx.published.append_entry(entry.index, entry.encode())


def record_batch(
    store: Datastore, task: Task, total: NDArray[np.int64], count: int, now: int
) -> None:
    """Publish the noisy sum of a batch with its log entry, unless it is published."""
    content = total.astype("<i8").tobytes()
    content_digest = hashlib.sha256(content).hexdigest()
    record = transcript.BatchRecord(
        task=task.id.hex(), count=count, sigma2=task.sigma2, sum=content_digest
    ).document
    record_digest = hashlib.sha256(record).hexdigest()
    with store.transaction() as tx:
        if tx.published.file(record_digest) is None:
            tx.published.add_file(content_digest, content)
            tx.published.add_file(record_digest, record)
            append_to_log(tx, "result", record, now)

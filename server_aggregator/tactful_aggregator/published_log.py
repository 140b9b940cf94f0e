"""The publication log in memory: parsed and hashed once, then extended by new entries."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeVar

from tactful.protocol.log.transcript import ProvableLog
from tactful_aggregator.datastore import Datastore

Answer = TypeVar("Answer")


class PublishedLog:
    """The publication log of one aggregator, shared by its request threads.

    The log only grows, so other processes on the same database can add to it at any time.
    """

    def __init__(self, store: Datastore) -> None:
        self._store = store
        self._log = ProvableLog()
        self._lock = threading.Lock()

    def read(self, query: Callable[[ProvableLog], Answer]) -> Answer:
        """Return the answer of `query` to the log as it is in the database now."""
        with self._lock:
            with self._store.transaction() as tx:
                new_lines = tx.published.entries(since=len(self._log))
            self._log.extend(new_lines)
            return query(self._log)

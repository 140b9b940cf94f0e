"""The readiness of an aggregator, as a load balancer or its operator requests it."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field

from tactful_aggregator.datastore import Datastore
from tactful_aggregator.jobs.worker import HEARTBEAT_SECONDS, Worker
from tactful_aggregator.problems import reason_of

# At most one check in this time, however many requests come.
CHECK_SECONDS = 1.0
# A check that runs longer than this means that the database is busy.
LATE_SECONDS = 5.0
STARTING, BUSY = "it is starting", "its database does not answer"
NOT_WRITABLE = "its database cannot be written"
NO_WORKER = f"a worker thread was not active for {HEARTBEAT_SECONDS:.0f} seconds"

logger = logging.getLogger(__name__)


@dataclass
class Readiness:
    """A cached check of the database and, at a leader, of its worker."""

    store: Datastore
    worker: Worker | None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _problem: str = STARTING
    _due: float = 0.0
    _began: float = 0.0

    def problem(self) -> str:
        """Return the reason why this aggregator is not ready, or an empty string."""
        # Only one request checks; the others get the last result without waiting.
        if self._lock.acquire(blocking=False):
            try:
                self._refresh()
            finally:
                self._lock.release()
        elif time.monotonic() > self._began + LATE_SECONDS:
            return BUSY
        return self._problem

    def _refresh(self) -> None:
        self._began = time.monotonic()
        if self._began >= self._due:
            self._problem = self._check()
            self._due = time.monotonic() + CHECK_SECONDS

    def _check(self) -> str:
        try:
            self.store.require_writable()
        except Exception as error:
            # Whatever the reason, no report can be acknowledged.
            logger.warning("not ready: %s", reason_of(error))
            return NOT_WRITABLE
        if self.worker is None or self.worker.is_alive():
            return ""
        return NO_WORKER

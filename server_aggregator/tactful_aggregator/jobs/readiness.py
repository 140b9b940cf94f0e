"""Whether a half can do its work now, as its load balancer or its operator asks."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass, field

from tactful_aggregator.datastore import Datastore
from tactful_aggregator.jobs.worker import HEARTBEAT_SECONDS, Worker
from tactful_aggregator.problems import reason_of

CHECK_SECONDS = 1.0  # at most one check in this time, however many ask
LATE_SECONDS = 5.0  # a check that runs longer than this means that the database is busy
STARTING, BUSY = "it is starting", "its database does not answer"
NOT_WRITABLE = "its database cannot be written"
NO_WORKER = f"a worker gave no sign of life for {HEARTBEAT_SECONDS:.0f} seconds"

logger = logging.getLogger(__name__)


@dataclass
class Readiness:
    """Checks the database, and the worker of a leader; a helper has none."""

    store: Datastore
    worker: Worker | None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _problem: str = STARTING
    _due: float = 0.0
    _began: float = 0.0

    def problem(self) -> str:
        """Why this half is not ready; empty if it is."""
        if self._lock.acquire(blocking=False):
            try:
                self._check()
            finally:
                self._lock.release()
        elif time.monotonic() > self._began + LATE_SECONDS:
            return BUSY
        return self._problem

    def _check(self) -> None:
        self._began = time.monotonic()
        if self._began >= self._due:
            self._problem = self._checked()
            self._due = time.monotonic() + CHECK_SECONDS

    def _checked(self) -> str:
        try:
            self.store.require_writable()
        except Exception as failed:  # whatever it is, nothing can be acknowledged
            logger.warning("not ready: %s", reason_of(failed))
            return NOT_WRITABLE
        return "" if self.worker is None or self.worker.is_alive() else NO_WORKER

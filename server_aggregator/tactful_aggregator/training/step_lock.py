"""A lock on the steps of one model, as a lease in the database that all processes share."""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tactful.errors import TactfulError
from tactful_aggregator.datastore import Datastore
from tactful_aggregator.problems import Problem

# After its process is killed, a lock blocks the next step no longer than this.
LEASE_SECONDS = 60
# Longest wait for the step of another caller, and the pause between two attempts.
WAIT_SECONDS, PAUSE_SECONDS = 50.0, 0.1

logger = logging.getLogger(__name__)


@contextmanager
def exclusive(store: Datastore, model: str) -> Iterator[Datastore]:
    """Hold the lock on a model's steps; yield a store that writes only while it is held.

    Waits for the step of another caller, and raises Problem if that takes too long. A step
    whose lease expired raises LockLost instead of writing.
    """
    name, holder = f"step {model}", secrets.token_bytes(16)
    _acquire(store, name, holder, model)
    ended = threading.Event()
    renewal = threading.Thread(
        target=_renew, args=(store, name, holder, ended), daemon=True
    )
    renewal.start()
    try:
        yield store.fenced(name, holder)
    finally:
        ended.set()
        renewal.join()
        # If the release fails, the lease expires by itself.
        with suppress(TactfulError), store.transaction() as tx:
            tx.locks.release(name, holder)


def _acquire(store: Datastore, name: str, holder: bytes, model: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        now = int(time.time())
        with store.transaction() as tx:
            if tx.locks.acquire(name, holder, now, now + LEASE_SECONDS):
                return
        if time.monotonic() > deadline:
            raise Problem(
                "stepInProgress",
                409,
                f"model: a step of {model!r} is running; repeat the request later",
            )
        time.sleep(PAUSE_SECONDS)


def _renew(store: Datastore, name: str, holder: bytes, ended: threading.Event) -> None:
    # Three attempts per lease, so that one failure does not lose the lock.
    while not ended.wait(LEASE_SECONDS / 3):
        try:
            with store.transaction() as tx:
                until = int(time.time()) + LEASE_SECONDS
                if not tx.locks.renew(name, holder, until):
                    return
        except TactfulError as error:
            logger.warning("%s: the lease was not renewed: %s", name, error)

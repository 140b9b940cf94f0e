"""One step of a model at a time, in however many processes: a lease in the database."""

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

LEASE_SECONDS = 60  # a process that is killed blocks the next step no longer than this
WAIT_SECONDS, PAUSE_SECONDS = 50.0, 0.1  # for the step of another caller

logger = logging.getLogger(__name__)


@contextmanager
def exclusive(store: Datastore, model: str) -> Iterator[Datastore]:
    """Hold the lock of a model's steps; the store that is yielded writes only while it is held.

    Wait for another caller's step. Raises Problem if it takes too long. A step whose lease expired
    raises LockLost instead of writing.
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
        with (
            suppress(TactfulError),
            store.transaction() as tx,
        ):  # else the lease expires
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
                f"model: a step of {model!r} runs; ask again later",
            )
        time.sleep(PAUSE_SECONDS)


def _renew(store: Datastore, name: str, holder: bytes, ended: threading.Event) -> None:
    while not ended.wait(LEASE_SECONDS / 3):
        try:
            with store.transaction() as tx:
                if not tx.locks.renew(name, holder, int(time.time()) + LEASE_SECONDS):
                    return
        except TactfulError as failed:
            logger.warning("%s: its lease was not renewed: %s", name, failed)

"""Sending and withdrawing exclude each other, between threads and between processes."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tactful.errors import TransportError

PATIENCE_SECONDS = 75.0  # longer than a request can last
STEP_SECONDS = 0.01


class SendLock:
    """Shared by all who send, held alone by who withdraws; a file beside the vault.

    A device in memory has one process, and a lock of its own.
    """

    def __init__(self, vault: Path | None) -> None:
        self._path = None if vault is None else vault.with_name(f"{vault.name}-sending")
        self._senders, self._changed = 0, threading.Condition()

    @contextmanager
    def sending(self) -> Iterator[None]:
        """Hold the shared side: whoever withdraws waits until the block ends."""
        with self._counted(), self._locked(alone=False):
            yield

    @contextmanager
    def withdrawing(self) -> Iterator[None]:
        """Hold the lock alone: nothing is on its way, and nothing sets out.

        Raises TransportError if a request does not end in time.
        """
        with self._changed:
            if not self._changed.wait_for(lambda: self._senders == 0, PATIENCE_SECONDS):
                raise _stuck()
            with self._locked(alone=True):
                yield

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._changed:
            self._senders += 1
        try:
            yield
        finally:
            with self._changed:
                self._senders -= 1
                self._changed.notify_all()

    @contextmanager
    def _locked(self, *, alone: bool) -> Iterator[None]:
        if self._path is None:
            yield
            return
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(handle, alone)
            yield
        finally:
            os.close(handle)  # lets go of the lock, as the end of the process does


def _lock(handle: int, alone: bool) -> None:
    import fcntl

    how = (fcntl.LOCK_EX if alone else fcntl.LOCK_SH) | fcntl.LOCK_NB
    for _ in range(round(PATIENCE_SECONDS / STEP_SECONDS)):
        try:
            return fcntl.flock(handle, how)
        except BlockingIOError:
            threading.Event().wait(STEP_SECONDS)
    raise _stuck()


def _stuck() -> TransportError:
    return TransportError(
        "consent: a request does not end; stop the other process, then repeat"
    )

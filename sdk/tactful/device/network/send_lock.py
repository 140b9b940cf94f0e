"""A lock that lets either requests be sent or consent be withdrawn.

It holds between threads and between processes.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tactful.errors import TransportError

PATIENCE_SECONDS = 75.0  # longer than a request can last
RETRY_SECONDS = 0.01


class SendLock:
    """A readers-writer lock: senders share it, a withdrawal holds it alone.

    Processes are locked out by a file beside the vault. A vault in memory has only one
    process, and needs no file.
    """

    def __init__(self, vault: Path | None) -> None:
        self._path = None
        if vault is not None:
            self._path = vault.with_name(f"{vault.name}-sending")
        self._sender_count = 0
        self._changed = threading.Condition()

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Hold the lock for sending; a withdrawal waits until the block ends."""
        with self._counted(), self._locked_file(exclusive=False):
            yield

    @contextmanager
    def exclusive(self) -> Iterator[None]:
        """Hold the lock alone: no request is on its way, and none can start.

        Raise TransportError if a request does not end in time.
        """
        with self._changed:
            is_free = self._changed.wait_for(
                lambda: self._sender_count == 0, PATIENCE_SECONDS
            )
            if not is_free:
                raise _timeout()
            with self._locked_file(exclusive=True):
                yield

    @contextmanager
    def _counted(self) -> Iterator[None]:
        with self._changed:
            self._sender_count += 1
        try:
            yield
        finally:
            with self._changed:
                self._sender_count -= 1
                self._changed.notify_all()

    @contextmanager
    def _locked_file(self, *, exclusive: bool) -> Iterator[None]:
        if self._path is None:
            yield
            return
        handle = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _lock(handle, exclusive)
            yield
        finally:
            # Closing releases the lock, as the end of the process does.
            os.close(handle)


def _lock(handle: int, exclusive: bool) -> None:
    import fcntl

    mode = fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH
    for _ in range(round(PATIENCE_SECONDS / RETRY_SECONDS)):
        try:
            return fcntl.flock(handle, mode | fcntl.LOCK_NB)
        except BlockingIOError:
            threading.Event().wait(RETRY_SECONDS)
    raise _timeout()


def _timeout() -> TransportError:
    return TransportError(
        f"consent: a request did not end within {PATIENCE_SECONDS:.0f} seconds; "
        "stop the other process, then repeat"
    )

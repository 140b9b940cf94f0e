"""Where the bytes of reports wait: short ones in the database, long ones in append-only segments.

A database copies what it stores several times; a segment is written once. A row then holds where
the body stands. A segment is deleted when no report in it waits any more.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections.abc import Collection
from pathlib import Path

from tactful.errors import StorageFull

HERE, THERE = b"\0", b"\1"  # how a row's body begins
LONG = 16 << 10  # bytes
SEGMENT = 256 << 20  # bytes, after which a new one begins
SEGMENT_NAME = "[0-9a-f]{32}"  # whatever else lies in the folder is not ours


class ReportStore:
    """The bodies of one half; `folder` None keeps all of them in the database."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._name, self._file, self._at = b"", -1, 0
        self._unsynced = False

    def put(self, body: bytes) -> bytes:
        """Keep a body; what its row must hold. It is safe after `sync`."""
        if self._folder is None or len(body) < LONG:
            return HERE + body
        with self._lock:
            self._open_segment()
            start = self._at
            try:
                view = memoryview(body)
                while view:
                    view = view[os.write(self._file, view) :]
            except OSError as full:
                self._close()  # what was half-written stays behind, pointed to by no row
                raise StorageFull(
                    f"reports: {full.strerror}; free some space"
                ) from full
            self._at += len(body)
            self._unsynced = True
            place = start.to_bytes(8, "big") + len(body).to_bytes(4, "big")
            return THERE + self._name + place

    def sync(self) -> None:
        """Wait until everything that was put is on the disk."""
        with self._lock:
            self._sync()

    def get(self, row: bytes) -> bytes:
        """The body that a row's bytes stand for."""
        if row[:1] == HERE:
            return row[1:]
        name, place = row[1:17], row[17:]
        start, length = (
            int.from_bytes(place[:8], "big"),
            int.from_bytes(place[8:], "big"),
        )
        file = os.open(self._path(name), os.O_RDONLY)
        try:
            return os.pread(file, length, start)
        finally:
            os.close(file)

    def sweep(self, waiting: Collection[bytes]) -> int:
        """Delete every segment that no row in `waiting` points into; how many.

        Called in the transaction that read `waiting`, so that no row is about to be committed.
        """
        if self._folder is None or not self._folder.is_dir():
            return 0
        used = {row[1:17] for row in waiting}
        with self._lock:
            used.add(self._name)
            ours = [
                one
                for one in self._folder.iterdir()
                if re.fullmatch(SEGMENT_NAME, one.name)
            ]
            old = [path for path in ours if bytes.fromhex(path.name) not in used]
        for path in old:
            path.unlink()
        return len(old)

    def finish_segment(self) -> None:
        """Write to a new segment from now on, so that the old one can be deleted."""
        with self._lock:
            self._close()

    def _sync(self) -> None:
        if self._unsynced:
            os.fdatasync(self._file)
            self._unsynced = False

    def _close(self) -> None:
        """Sync first: another thread may be about to commit what it put here."""
        if self._file >= 0:
            try:
                self._sync()
            finally:
                os.close(self._file)
                self._name, self._file, self._at = b"", -1, 0

    def _open_segment(self) -> None:
        if self._file >= 0 and self._at < SEGMENT:
            return
        self._close()
        folder = self._folder
        if folder is not None:
            folder.mkdir(mode=0o700, exist_ok=True)
            self._name, self._at = secrets.token_bytes(16), 0
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
            self._file = os.open(self._path(self._name), flags, 0o600)
            parent = os.open(folder, os.O_RDONLY)
            os.fsync(parent)
            os.close(parent)

    def _path(self, name: bytes) -> str:
        return str((self._folder or Path()) / name.hex())

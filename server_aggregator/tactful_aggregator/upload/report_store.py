"""Bodies of waiting reports: short ones in the database, long ones in append-only segments.

A database copies what it stores several times, but a segment is written once. The row of a long
report has the position of its body. A segment is deleted when no report in it waits any more.
"""

from __future__ import annotations

import os
import re
import secrets
import threading
from collections.abc import Collection
from pathlib import Path

from tactful.errors import StorageFull

# The first byte of a row's body: the body follows, or its position in a segment.
IN_ROW, IN_SEGMENT = b"\0", b"\1"
# Bodies of at least this size are stored in segments, in bytes.
SEGMENT_BODY_BYTES = 16 << 10
# After this size a new segment is started, in bytes.
SEGMENT_BYTES = 256 << 20
# Other files in the folder are never deleted.
SEGMENT_NAME = "[0-9a-f]{32}"
SEGMENT_ID_BYTES = 16


class ReportStore:
    """The bodies of one aggregator; without a folder all of them are in the database."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._segment_id, self._file, self._offset = b"", -1, 0
        self._is_unsynced = False

    def put(self, body: bytes) -> bytes:
        """Store a body; return the bytes for its row. It is durable after `sync`."""
        if self._folder is None or len(body) < SEGMENT_BODY_BYTES:
            return IN_ROW + body
        with self._lock:
            self._open_segment()
            offset = self._offset
            self._append(body)
            position = offset.to_bytes(8, "big") + len(body).to_bytes(4, "big")
            return IN_SEGMENT + self._segment_id + position

    def _append(self, body: bytes) -> None:
        try:
            remaining = memoryview(body)
            while remaining:
                remaining = remaining[os.write(self._file, remaining) :]
        except OSError as error:
            # No row points to the incomplete body, so the segment is only closed.
            self._close()
            raise StorageFull(
                f"reports: {error.strerror}; free some space on the disk"
            ) from error
        self._offset += len(body)
        self._is_unsynced = True

    def sync(self) -> None:
        """Wait until all stored bodies are on the disk."""
        with self._lock:
            self._sync()

    def get(self, row: bytes) -> bytes:
        """Return the body that the bytes of a row contain or point to."""
        if row[:1] == IN_ROW:
            return row[1:]
        segment_id, position = _segment_id(row), row[1 + SEGMENT_ID_BYTES :]
        offset = int.from_bytes(position[:8], "big")
        length = int.from_bytes(position[8:], "big")
        file = os.open(self._path(segment_id), os.O_RDONLY)
        try:
            return os.pread(file, length, offset)
        finally:
            os.close(file)

    def sweep(self, waiting: Collection[bytes]) -> int:
        """Delete each segment that no row of `waiting` points to; return their number.

        Call this in the transaction that read `waiting`, so that no row is about to be
        committed.
        """
        if self._folder is None or not self._folder.is_dir():
            return 0
        used = {_segment_id(row) for row in waiting}
        with self._lock:
            used.add(self._segment_id)
            segments = [
                path
                for path in self._folder.iterdir()
                if re.fullmatch(SEGMENT_NAME, path.name)
            ]
            unused = [path for path in segments if bytes.fromhex(path.name) not in used]
        for path in unused:
            path.unlink()
        return len(unused)

    def finish_segment(self) -> None:
        """Write to a new segment from now on, so that the old one can be deleted."""
        with self._lock:
            self._close()

    def _sync(self) -> None:
        if self._is_unsynced:
            os.fdatasync(self._file)
            self._is_unsynced = False

    def _close(self) -> None:
        """Close the segment, synced because another thread may be about to commit its rows."""
        if self._file >= 0:
            try:
                self._sync()
            finally:
                os.close(self._file)
                self._segment_id, self._file, self._offset = b"", -1, 0

    def _open_segment(self) -> None:
        if self._file >= 0 and self._offset < SEGMENT_BYTES:
            return
        self._close()
        folder = self._folder
        if folder is not None:
            folder.mkdir(mode=0o700, exist_ok=True)
            self._segment_id, self._offset = secrets.token_bytes(SEGMENT_ID_BYTES), 0
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND
            self._file = os.open(self._path(self._segment_id), flags, 0o600)
            _sync_folder(folder)

    def _path(self, segment_id: bytes) -> str:
        return str((self._folder or Path()) / segment_id.hex())


def _segment_id(row: bytes) -> bytes:
    return row[1 : 1 + SEGMENT_ID_BYTES]


def _sync_folder(folder: Path) -> None:
    """Make the name of a new file durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)

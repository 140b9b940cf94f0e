"""Strangers send large bodies to no task, endless headers and odd names to exhaust the leader."""

from __future__ import annotations

import base64
import contextlib
import socket
import threading
import time
from pathlib import Path
from urllib.parse import urlsplit

from tactful_aggregator.testing import RunningAggregator, running_pair

TITLE = "Large uploads to an unknown task, an endless header, a NUL in a name"
UPLOADS, UPLOAD_BYTES = 12, 59_000_000
MEMORY_BYTES = 64 << 20  # how much more the leader may ever need for all of them
PATIENCE_SECONDS = 10.0


def attack(folder: Path) -> str | None:
    """Try the three in turn; return the first that harmed the leader."""
    with running_pair(folder, min_batch_floor=1) as pair:
        return _memory(pair.leader) or _endless_header(pair.leader) or _nul(pair.leader)


def _memory(leader: RunningAggregator) -> str | None:
    before = _peak_memory(leader)
    uploads = [
        threading.Thread(target=_upload, args=(leader.url,)) for _ in range(UPLOADS)
    ]
    for upload in uploads:
        upload.start()
    for upload in uploads:
        upload.join()
    more = _peak_memory(leader) - before
    return None if more < MEMORY_BYTES else f"{more >> 20} MiB of the leader's memory"


def _upload(url: str) -> None:
    task = (
        base64.urlsafe_b64encode(b"no task of this leader, 32 bytes")
        .rstrip(b"=")
        .decode()
    )
    head = f"POST /tasks/{task}/reports HTTP/1.1\r\nHost: leader\r\n"
    with _connected(url) as leader, contextlib.suppress(OSError):
        leader.sendall(f"{head}Content-Length: {UPLOAD_BYTES}\r\n\r\n".encode())
        for _ in range(UPLOAD_BYTES // 1_000_000):
            leader.sendall(bytes(1_000_000))
        leader.recv(1 << 16)


def _endless_header(leader: RunningAggregator) -> str | None:
    """Send header lines until the leader closes the connection."""
    sent, until = 0, time.monotonic() + PATIENCE_SECONDS
    with _connected(leader.url) as connection, contextlib.suppress(OSError):
        connection.sendall(b"GET /healthz HTTP/1.1\r\n")
        while time.monotonic() < until and sent < 16 << 20:
            sent += connection.send(b"X-Padding: " + bytes([65]) * 1000 + b"\r\n")
            time.sleep(0.001)
        else:
            return f"the leader read {sent >> 10} KiB of headers and still waits"
    return None


def _nul(leader: RunningAggregator) -> str | None:
    with _connected(leader.url) as connection:
        connection.sendall(b"GET /models/a%00b/task HTTP/1.1\r\nHost: leader\r\n\r\n")
        status = connection.recv(1 << 16).split(b" ", 2)[1].decode()
    return (
        None
        if status == "404"
        else f"an answer of status {status} to a name with a NUL"
    )


def _connected(url: str) -> socket.socket:
    address = urlsplit(url)
    place = (str(address.hostname), address.port or 80)
    return socket.create_connection(place, timeout=PATIENCE_SECONDS)


def _peak_memory(leader: RunningAggregator) -> int:
    if leader.process is None:
        raise RuntimeError("the leader does not run")
    lines = Path(f"/proc/{leader.process.pid}/status").read_text().splitlines()
    peak = next(line for line in lines if line.startswith("VmHWM"))
    return int(peak.split()[1]) << 10

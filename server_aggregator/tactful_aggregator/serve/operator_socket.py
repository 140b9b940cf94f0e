"""The operator's own way in: a Unix socket in the half's folder, never the public address.

Where there are no Unix sockets, or the folder's path is too long for one, it is a port on loopback.
"""

from __future__ import annotations

import http.client
import json
import os
import socket
from pathlib import Path

from tactful.errors import InvalidInput, TransportError
from tactful.protocol.transport import Method, Response
from tactful_aggregator.settings import (
    PORT_FILE,
    SOCKET_FILE,
    Aggregator,
    write_private,
)

LONGEST = 100  # bytes of a Unix socket's path, on every system
ANSWER_SECONDS = 600.0  # a step may collect a whole round
LOOPBACK = "127.0.0.1"


def listen(folder: Path) -> socket.socket:
    """Listen for the operator; raises InvalidInput if another process serves this folder."""
    path = folder / SOCKET_FILE
    (folder / PORT_FILE).unlink(missing_ok=True)
    if not _fits(path):
        return _on_loopback(folder)
    if _answers(path):
        fix = "end it first, or use a folder of its own for each"
        raise InvalidInput("dir", f"another process serves {folder}", fix)
    path.unlink(missing_ok=True)  # a process that was killed left it
    listening = socket.socket(socket.AF_UNIX)
    before = os.umask(0o177)
    try:
        listening.bind(str(path))
    finally:
        os.umask(before)
    listening.listen()
    return listening


def ask(half: Aggregator, method: Method, path: str, body: bytes = b"") -> Response:
    """What the running half answers its operator; raises TransportError if it does not run."""
    connection = _connection(half.folder)
    headers = {"Authorization": f"Bearer {half.keys.admin_token}"}
    try:
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        return Response(answer.status, answer.read())
    except (OSError, http.client.HTTPException) as lost:
        raise TransportError(
            f"dir: nobody serves {half.folder} ({type(lost).__name__}); "
            "tactful-aggregator serve --dir DIR, on this machine"
        ) from lost
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _connection(folder: Path) -> http.client.HTTPConnection:
    try:
        port = int(json.loads((folder / PORT_FILE).read_text())["port"])
    except (OSError, ValueError, KeyError, TypeError):
        return _UnixConnection(folder / SOCKET_FILE)
    return http.client.HTTPConnection(LOOPBACK, port, timeout=ANSWER_SECONDS)


def _fits(path: Path) -> bool:
    return hasattr(socket, "AF_UNIX") and len(os.fsencode(path)) <= LONGEST


def _on_loopback(folder: Path) -> socket.socket:
    listening = socket.create_server((LOOPBACK, 0))
    port = listening.getsockname()[1]
    write_private(folder / PORT_FILE, json.dumps({"port": port}))
    return listening


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as asking:
        try:
            asking.connect(str(path))
        except OSError:
            return False
    return True

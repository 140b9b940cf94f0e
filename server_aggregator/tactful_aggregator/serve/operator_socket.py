"""The operator's listener: a Unix socket in the folder, never on the public address.

Without Unix sockets, or if the folder's path is too long for one, it is a loopback port.
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

# Longest path of a Unix socket that every system supports, in bytes.
MAX_SOCKET_PATH = 100
# A step may collect a whole round.
RESPONSE_SECONDS = 600.0
LOOPBACK = "127.0.0.1"


def listen(folder: Path) -> socket.socket:
    """Listen for the operator; raises InvalidInput if another process serves this folder."""
    path = folder / SOCKET_FILE
    (folder / PORT_FILE).unlink(missing_ok=True)
    if not _supports_socket(path):
        return _listen_on_loopback(folder)
    if _accepts_connections(path):
        fix = "stop that process first, or use another folder"
        raise InvalidInput("dir", f"another process serves {folder}", fix)
    # A killed process leaves its socket file.
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX)
    # The socket must be private from its creation on.
    former_umask = os.umask(0o177)
    try:
        listener.bind(str(path))
    finally:
        os.umask(former_umask)
    listener.listen()
    return listener


def request(
    aggregator: Aggregator, method: Method, path: str, body: bytes = b""
) -> Response:
    """Return the response of the running aggregator to its operator.

    Raises TransportError if the aggregator does not run.
    """
    connection = _connection(aggregator.folder)
    headers = {"Authorization": f"Bearer {aggregator.keys.admin_token}"}
    try:
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        return Response(response.status, response.read())
    except (OSError, http.client.HTTPException) as error:
        raise TransportError(
            f"dir: no process serves {aggregator.folder} ({type(error).__name__}); start "
            "it on this machine with: tactful-aggregator serve --dir DIR"
        ) from error
    finally:
        connection.close()


class _UnixConnection(http.client.HTTPConnection):
    """An HTTP connection over a Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=RESPONSE_SECONDS)
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
    return http.client.HTTPConnection(LOOPBACK, port, timeout=RESPONSE_SECONDS)


def _supports_socket(path: Path) -> bool:
    has_unix_sockets = hasattr(socket, "AF_UNIX")
    return has_unix_sockets and len(os.fsencode(path)) <= MAX_SOCKET_PATH


def _listen_on_loopback(folder: Path) -> socket.socket:
    listener = socket.create_server((LOOPBACK, 0))
    port = listener.getsockname()[1]
    write_private(folder / PORT_FILE, json.dumps({"port": port}))
    return listener


def _accepts_connections(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True

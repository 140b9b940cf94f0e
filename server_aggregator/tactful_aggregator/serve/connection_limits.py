"""Limits on the head of a request: its length, and how long a client may take to send it.

uvicorn has neither. A client that never ends its headers would hold a connection, and the memory
of what it sent, for ever.
"""

from __future__ import annotations

import asyncio

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

HEADER_SECONDS = (
    20.0  # from the first byte, or from the connection, to the end of the headers
)
HEADER_BYTES = 32 << 10  # nginx allows 4 lines of 8 KiB


class BoundedHttpProtocol(HttpToolsProtocol):
    """HTTP/1.1 as uvicorn speaks it, with limits on the head of each request."""

    _head_timer: asyncio.TimerHandle | None = None
    _head_bytes = 0
    _in_head = True
    _moved_on = False  # a head or a body ended in the bytes that are being parsed

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, object],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the connection."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came; close the connection if its request never gets to the body."""
        if self._in_head and self._head_timer is None:
            self._start_timer()
        self._moved_on = False
        super().data_received(data)
        if not self._in_head or self._moved_on:
            return  # what follows the end of a head or body in `data` is counted next time
        self._head_bytes += len(data)
        if self._head_bytes > HEADER_BYTES and not self.transport.is_closing():
            self._refuse(b"431 Request Header Fields Too Large")

    def on_headers_complete(self) -> None:
        """Start to answer the request."""
        self._in_head, self._moved_on, self._head_bytes = False, True, 0
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Wait for the next request; between two requests uvicorn has its own timeout."""
        self._in_head, self._moved_on = True, True
        super().on_message_complete()

    def _start_timer(self) -> None:
        late = b"408 Request Timeout"
        self._head_timer = self.loop.call_later(HEADER_SECONDS, self._refuse, late)

    def _stop_timer(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _refuse(self, status: bytes) -> None:
        self._stop_timer()
        if self.transport is not None and not self.transport.is_closing():
            self.transport.write(
                b"HTTP/1.1 " + status + b"\r\nConnection: close\r\n\r\n"
            )
            self.transport.close()

"""Limits on the size of request headers and on the time that a client takes to send them.

uvicorn has neither. A client that never ends its headers would otherwise occupy a connection,
and the memory of what it sent, forever.
"""

from __future__ import annotations

import asyncio

from uvicorn.config import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.server import ServerState

# From the first byte, or from the start of the connection, to the end of the headers.
HEADER_SECONDS = 20.0
# nginx allows 4 lines of 8 KiB.
HEADER_BYTES = 32 << 10


class BoundedHttpProtocol(HttpToolsProtocol):
    """The HTTP/1.1 protocol of uvicorn with limits on the headers of each request."""

    _header_timer: asyncio.TimerHandle | None = None
    _header_bytes = 0
    _in_headers = True
    # True if headers or a body ended in the bytes that are being parsed.
    _passed_end = False

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
        """Stop the timer of a closed connection."""
        self._stop_timer()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse received bytes; close the connection if the headers are too long."""
        if self._in_headers and self._header_timer is None:
            self._start_timer()
        self._passed_end = False
        super().data_received(data)
        if not self._in_headers or self._passed_end:
            # Bytes after the end of headers or of a body are not counted this time.
            return
        self._header_bytes += len(data)
        if self._header_bytes > HEADER_BYTES and not self.transport.is_closing():
            self._refuse(b"431 Request Header Fields Too Large")

    def on_headers_complete(self) -> None:
        """Start to answer the request."""
        self._in_headers, self._passed_end, self._header_bytes = False, True, 0
        self._stop_timer()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Expect the next request; between two requests uvicorn has its own timeout."""
        self._in_headers, self._passed_end = True, True
        super().on_message_complete()

    def _start_timer(self) -> None:
        status = b"408 Request Timeout"
        self._header_timer = self.loop.call_later(HEADER_SECONDS, self._refuse, status)

    def _stop_timer(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None

    def _refuse(self, status: bytes) -> None:
        self._stop_timer()
        if self.transport is not None and not self.transport.is_closing():
            response = b"HTTP/1.1 " + status + b"\r\nConnection: close\r\n\r\n"
            self.transport.write(response)
            self.transport.close()

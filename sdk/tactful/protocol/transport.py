"""The transport to an aggregator.

It has one method, so that tests can run both aggregators in one process.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from tactful.errors import TransportError
from tactful.protocol.address import require_protected

if TYPE_CHECKING:
    from urllib3 import PoolManager

CONNECT_SECONDS, READ_SECONDS = 5.0, 60.0
CONNECTIONS = 16  # open to one aggregator; each worker thread of a leader uses one
MAX_BODY = 64 << 20  # bytes of a response
Method = Literal["GET", "POST", "PUT", "DELETE"]


@dataclass(frozen=True)
class Request:
    """One HTTP request."""

    method: Method
    url: str
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Response:
    """One HTTP response; names of headers are in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)

    def header(self, name: str) -> str:
        """Return a header by its name in lower case, empty if there is none."""
        return self.headers.get(name, "")

    @property
    def ok(self) -> bool:
        """True if the status is 2xx."""
        return 200 <= self.status < 300


class Transport(Protocol):
    """An object that sends requests to an aggregator."""

    def send(self, request: Request) -> Response:
        """Return the response, whatever its status.

        Raise TransportError if there is none.
        """


class HttpTransport:
    """HTTP over pooled connections, without redirects and retries."""

    def __init__(self) -> None:
        self._pool: PoolManager | None = None

    def send(self, request: Request) -> Response:
        """Return the response.

        Raise TransportError if there is none, InvalidInput for http to another machine.
        """
        from urllib3.exceptions import HTTPError

        require_protected("request.url", request.url)
        try:
            response = self._connections().request(
                request.method,
                request.url,
                body=request.body or None,
                headers=dict(request.headers),
                preload_content=False,
            )
            body = response.read(MAX_BODY + 1)
            # A connection can be used again only if its response was read whole.
            if len(body) > MAX_BODY:
                response.close()
            else:
                response.release_conn()
        except HTTPError as error:
            raise TransportError(
                f"{request.url}: no answer ({type(error).__name__}); check the network "
                "and that the aggregator is running"
            ) from error
        if len(body) > MAX_BODY:
            raise TransportError(
                f"{request.url}: the answer is larger than {MAX_BODY} bytes; check that "
                "the address is that of a Tactful leader"
            )
        headers = {name.lower(): value for name, value in response.headers.items()}
        return Response(response.status, body, headers)

    def _connections(self) -> PoolManager:
        from urllib3 import PoolManager, Timeout

        if self._pool is None:
            timeout = Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
            self._pool = PoolManager(
                maxsize=CONNECTIONS, timeout=timeout, retries=False
            )
        return self._pool

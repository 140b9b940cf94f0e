"""How bytes reach an aggregator: one method, so that a whole pair can stand in-process in tests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, Protocol

from tactful.errors import TransportError
from tactful.protocol.address import require_protected

if TYPE_CHECKING:
    from urllib3 import PoolManager

CONNECT_SECONDS, READ_SECONDS = 5.0, 60.0
CONNECTIONS = 16  # kept open to one aggregator: each worker thread of a leader uses one
MAX_BODY = 64 << 20  # bytes read of an answer
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
    """Its answer."""

    status: int
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)  # names in lower case

    def header(self, name: str) -> str:
        """A header's value, empty if there is none; `name` in lower case."""
        return self.headers.get(name, "")

    @property
    def ok(self) -> bool:
        """Whether the status is 2xx."""
        return 200 <= self.status < 300


class Transport(Protocol):
    """Whatever can carry a request to an aggregator."""

    def send(self, request: Request) -> Response:
        """The answer, whatever its status; raises TransportError if there is none."""


class HttpTransport:
    """HTTP over pooled connections; redirects are not followed, nothing is tried twice."""

    def __init__(self) -> None:
        self._pool: PoolManager | None = None

    def send(self, request: Request) -> Response:
        """The answer; raises TransportError naming the address if there is none.

        Raises InvalidInput for http:// to another machine.
        """
        from urllib3.exceptions import HTTPError

        require_protected("request.url", request.url)
        try:
            answer = self._connections().request(
                request.method,
                request.url,
                body=request.body or None,
                headers=dict(request.headers),
                preload_content=False,
            )
            body = answer.read(MAX_BODY + 1)
            # what was read whole gives its connection back; what was not is cut off
            (answer.close if len(body) > MAX_BODY else answer.release_conn)()
        except HTTPError as lost:
            raise TransportError(
                f"{request.url}: no answer ({type(lost).__name__}); is the aggregator running?"
            ) from lost
        if len(body) > MAX_BODY:
            raise TransportError(
                f"{request.url}: the answer is larger than {MAX_BODY} bytes"
            )
        named = {name.lower(): value for name, value in answer.headers.items()}
        return Response(answer.status, body, named)

    def _connections(self) -> PoolManager:
        from urllib3 import PoolManager, Timeout

        if self._pool is None:
            patience = Timeout(connect=CONNECT_SECONDS, read=READ_SECONDS)
            self._pool = PoolManager(
                maxsize=CONNECTIONS, timeout=patience, retries=False
            )
        return self._pool

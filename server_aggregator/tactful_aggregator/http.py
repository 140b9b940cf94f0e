"""Requests read to their end, responses, and problem documents."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import Receive

from tactful.errors import (
    BatchCollected,
    BatchMismatch,
    BatchTooSmall,
    DecodeError,
    InvalidInput,
    ModelRejected,
    ProtocolError,
    StorageFull,
    TactfulError,
    TaskRejected,
    TransportError,
    VaultError,
)
from tactful.protocol.dap.dap_task import encoded
from tactful_aggregator.datastore import LockLost
from tactful_aggregator.problems import URN, Problem, invalid

CODES: dict[type[TactfulError], tuple[str, int]] = {
    DecodeError: ("invalidMessage", 400),
    BatchTooSmall: ("invalidBatchSize", 400),
    BatchMismatch: ("batchMismatch", 400),
    BatchCollected: ("batchOverlap", 400),
    TaskRejected: ("taskRejected", 400),
    ModelRejected: ("modelRejected", 400),
    ProtocolError: ("invalidMessage", 400),
    InvalidInput: ("invalidInput", 400),
    LockLost: ("stepInProgress", 409),
    StorageFull: ("storageFull", 507),
    VaultError: ("storageUnavailable", 503),
    TransportError: ("peerUnreachable", 502),
}

# Bytes of a request that anyone may send and that needs no body.
SMALL_BODY = 1024
# All requests together may use memory for this many of the largest bodies.
BODIES_AT_ONCE = 4
# Bytes of a refused body that are read and dropped to keep the connection.
SKIPPED_BODY = 1 << 20
# Enough for the slowest honest connection; a slower client loses its place.
BODY_SECONDS = 300
# Does not name the location of the database, because anyone can read this.
UNAVAILABLE = "this aggregator's database is unavailable; repeat the request later"


@dataclass(frozen=True)
class ApiRequest:
    """One request, read to its end."""

    path: Mapping[str, str]
    body: bytes
    method: str = "GET"
    media: str = ""
    accept: str = ""
    query: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[ApiRequest], Response]
Endpoint = Callable[[Request], Awaitable[Response]]


def route(methods: str, path: str, handler: Handler, token: str | None = None) -> Route:
    """Return a route for `methods` (separated by spaces) that requires `token`, if given."""

    async def read_and_handle(request: Request) -> Response:
        with request.app.state.body_memory.reservation() as reservation:
            call = await read_request(request, reservation, token)
            return await run_in_threadpool(handler, call)

    endpoint: Endpoint = read_and_handle
    return Route(path, endpoint, methods=methods.split())


class BodyMemory:
    """A limit on the bytes of request bodies that are in memory at once."""

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0

    @contextmanager
    def reservation(self) -> Iterator[Reservation]:
        """Yield a reservation for one request; release its bytes when the block ends."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            self._used -= reservation.size

    def reserve(self, size: int) -> None:
        """Reserve `size` more bytes; raises Problem (503) if the limit is reached."""
        if self._used + size > self._limit:
            raise Problem(
                "serverBusy", 503, "too many large requests at once; try again later"
            )
        self._used += size


class Reservation:
    """The bytes that one request has reserved."""

    def __init__(self, memory: BodyMemory) -> None:
        self._memory, self.size = memory, 0

    def add(self, size: int) -> None:
        """Reserve `size` more bytes; raises Problem (503) if the limit is reached."""
        self._memory.reserve(size)
        self.size += size


async def read_request(
    request: Request, reservation: Reservation, token: str | None = None
) -> ApiRequest:
    """Return the request, if it is authorized by `token`; raises Problem otherwise.

    Without a token a client can use only the memory of a small body.
    """
    if any("\0" in str(value) for value in request.path_params.values()):
        raise Problem(
            "unrecognizedResource", 404, "a name contains a NUL character; remove it"
        )
    if token is not None and not _is_authorized(request, token):
        raise Problem(
            "unauthorizedRequest",
            401,
            "the bearer token is missing or wrong; send the token of this aggregator",
        )
    max_bytes = SMALL_BODY if token is None else request.app.state.max_body
    body = await read_body(request.receive, max_bytes, reservation)
    return ApiRequest(
        path=dict(request.path_params),
        body=body,
        method=request.method,
        media=request.headers.get("content-type", ""),
        accept=request.headers.get("accept", ""),
        query=dict(request.query_params),
    )


async def read_body(
    receive: Receive, max_bytes: int, reservation: Reservation
) -> bytes:
    """Return a request's body.

    Raises Problem if it is longer than `max_bytes` or too slow, ClientDisconnect if the
    connection ends before the body.
    """
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _read_parts(receive, max_bytes, reservation)
    except TimeoutError as error:
        raise Problem(
            "invalidMessage",
            408,
            f"the body did not end within {BODY_SECONDS} seconds; send it faster",
        ) from error


async def _read_parts(
    receive: Receive, max_bytes: int, reservation: Reservation
) -> bytes:
    parts: list[bytes] = []
    size, has_more = 0, True
    while has_more:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ClientDisconnect
        part, has_more = event.get("body", b""), event.get("more_body", False)
        size += len(part)
        if size > max_bytes:
            raise Problem(
                "invalidMessage",
                413,
                f"the body is larger than {max_bytes} bytes; send less at once",
            )
        reservation.add(len(part))
        parts.append(part)
    # Most bodies have one part, which is not copied.
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _is_authorized(request: Request, token: str) -> bool:
    """Return True if a request has the token in one of the two headers that DAP uses."""
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
    credential = bearer or request.headers.get("dap-auth-token", "")
    return hmac.compare_digest(credential.encode(), token.encode())


async def handle_error(request: Request, error: Exception) -> Response:
    """Return the response to a refused request."""
    task = request.path_params.get("task")
    return error_response(error, None if task is None else str(task))


def error_response(error: Exception, task: str | None) -> Response:
    """Return an error as a problem document (RFC 9457), which names its task."""
    code, status, detail = error_response_parts(error)
    document = {"type": URN + code, "title": code, "status": status, "detail": detail}
    if task is not None:
        document["taskid"] = task
    headers = {"Retry-After": "1"} if status == 503 else None
    return JSONResponse(
        document, status, headers, media_type="application/problem+json"
    )


def error_response_parts(error: Exception) -> tuple[str, int, str]:
    """Return (code, status, detail) of an error."""
    if isinstance(error, Problem):
        return error.code, error.status, str(error)
    classes = [kind for kind in type(error).__mro__ if kind in CODES]
    code, status = CODES[classes[0]] if classes else ("internal", 500)
    detail = UNAVAILABLE if code == "storageUnavailable" else str(error)
    return code, status, detail


def plain(
    body: bytes, status: int = 200, media_type: str = "application/octet-stream"
) -> Response:
    """Return bytes as a response."""
    return Response(body, status, media_type=media_type)


def decode_id(text: str, length: int) -> bytes:
    """Return an id from an address; raises Problem unless it is canonical base64url."""
    try:
        decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        decoded = b""
    if len(decoded) != length or encoded(decoded) != text:
        raise invalid(
            f"the id in the address is invalid; use {length} bytes in base64url"
        )
    return decoded

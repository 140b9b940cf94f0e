"""A request read to its end, an answer, and the problem documents between them."""

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


SMALL_BODY = 1024  # bytes of a request that anyone may send and that needs no body
BODIES_AT_ONCE = (
    4  # times the largest body: what all requests together may hold in memory
)
SKIPPED_BODY = (
    1 << 20
)  # bytes of a refused body that are read and dropped to keep the connection
BODY_SECONDS = (
    300  # for the slowest of honest lines; who dribbles holds a place no longer
)
UNAVAILABLE = (
    "this half's database is away; try again later"  # where it is, is nobody's business
)


@dataclass(frozen=True)
class ApiRequest:
    """One request, read to its end."""

    path: Mapping[str, str]
    body: bytes
    method: str = "GET"
    media: str = ""
    accept: str = ""
    query: Mapping[str, str] = field(default_factory=dict)


Work = Callable[[ApiRequest], Response]
Answer = Callable[[Request], Awaitable[Response]]


def route(methods: str, path: str, work: Work, token: str | None = None) -> Route:
    """What answers these methods (a list in one string), to whoever shows `token` if one is due."""

    async def endpoint(request: Request) -> Response:
        with request.app.state.body_memory.reservation() as reservation:
            return await run_in_threadpool(
                work, await read(request, reservation, token)
            )

    answer: Answer = endpoint
    return Route(path, answer, methods=methods.split())


class BodyMemory:
    """A limit on the bytes of request bodies that are in memory at once."""

    def __init__(self, limit: int) -> None:
        self._limit, self._used = limit, 0

    @contextmanager
    def reservation(self) -> Iterator[Reservation]:
        """Count one request; what it reserved is free again when the block ends."""
        reservation = Reservation(self)
        try:
            yield reservation
        finally:
            self._used -= reservation.size

    def take(self, size: int) -> None:
        """Count `size` more bytes; raise Problem (503) if all requests hold too much."""
        if self._used + size > self._limit:
            raise Problem(
                "serverBusy", 503, "too many large requests at once; try again later"
            )
        self._used += size


class Reservation:
    """The bytes that one request holds."""

    def __init__(self, memory: BodyMemory) -> None:
        self._memory, self.size = memory, 0

    def add(self, size: int) -> None:
        """Count `size` more bytes of this request; raise Problem (503) if there is no memory."""
        self._memory.take(size)
        self.size += size


async def read(
    request: Request, reservation: Reservation, token: str | None = None
) -> ApiRequest:
    """Return the request, once it showed `token`; raise Problem.

    Whoever shows no token can make this process hold no more than a small body.
    """
    if any("\0" in str(value) for value in request.path_params.values()):
        raise Problem("unrecognizedResource", 404, "no name contains a NUL character")
    if token is not None and not _shows(request, token):
        raise Problem("unauthorizedRequest", 401, "show the bearer token of this half")
    media = request.headers.get("content-type", "")
    most = SMALL_BODY if token is None else request.app.state.max_body
    body = await body_of(request.receive, most, reservation)
    accept, query = request.headers.get("accept", ""), dict(request.query_params)
    return ApiRequest(
        dict(request.path_params), body, request.method, media, accept, query
    )


async def body_of(receive: Receive, most: int, reservation: Reservation) -> bytes:
    """Return a request's body of at most `most` bytes.

    Raise Problem if it is longer or too slow, ClientDisconnect if it is cut.
    """
    try:
        async with asyncio.timeout(BODY_SECONDS):
            return await _whole(receive, most, reservation)
    except TimeoutError as slow:
        raise Problem(
            "invalidMessage", 408, f"no body within {BODY_SECONDS} seconds"
        ) from slow


async def _whole(receive: Receive, most: int, reservation: Reservation) -> bytes:
    parts: list[bytes] = []
    size, more = 0, True
    while more:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ClientDisconnect
        part, more = event.get("body", b""), event.get("more_body", False)
        size += len(part)
        if size > most:
            raise Problem(
                "invalidMessage", 413, f"the body is larger than {most} bytes"
            )
        reservation.add(len(part))
        parts.append(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _shows(request: Request, token: str) -> bool:
    """Whether the request is authorized, in either of the ways that aggregators use."""
    bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
    shown = bearer or request.headers.get("dap-auth-token", "")
    return hmac.compare_digest(shown.encode(), token.encode())


async def problem(request: Request, error: Exception) -> Response:
    """What answers a request that was refused."""
    named = request.path_params.get("task")
    return refusal(error, None if named is None else str(named))


def refusal(error: Exception, task: str | None) -> Response:
    """A refusal as a problem document (RFC 9457); one about a task names it."""
    code, status, detail = described(error)
    document = {"type": URN + code, "title": code, "status": status, "detail": detail}
    if task is not None:
        document["taskid"] = task
    retry = {"Retry-After": "1"} if status == 503 else None
    return JSONResponse(document, status, retry, media_type="application/problem+json")


def described(error: Exception) -> tuple[str, int, str]:
    """(code, status, detail) of a refusal."""
    if isinstance(error, Problem):
        return error.code, error.status, str(error)
    code, status = next(
        (CODES[k] for k in type(error).__mro__ if k in CODES), ("internal", 500)
    )
    return code, status, UNAVAILABLE if code == "storageUnavailable" else str(error)


def plain(
    body: bytes, status: int = 200, kind: str = "application/octet-stream"
) -> Response:
    """Bytes as an answer."""
    return Response(body, status, media_type=kind)


def unpadded(text: str, length: int) -> bytes:
    """An id of an address, in its one form; raises Problem."""
    try:
        decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        decoded = b""
    if len(decoded) != length or encoded(decoded) != text:
        raise invalid(f"an id of {length} bytes in base64url is needed")
    return decoded

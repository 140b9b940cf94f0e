"""A fast path for uploads, which are most of a leader's requests and all alike.

Routing, a request object and middleware would take more CPU time for each request than storing
a short report.
"""

from __future__ import annotations

from typing import Protocol

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tactful.errors import TactfulError
from tactful_aggregator.http import (
    SKIPPED_BODY,
    ApiRequest,
    BodyMemory,
    error_response,
    read_body,
)
from tactful_aggregator.task_registry import ProvisionedTask


class Uploads(Protocol):
    """The handler of upload requests."""

    async def look_up(self, task: str) -> ProvisionedTask:
        """Return the task with this id in base64url; raises Problem if it is unknown."""

    def max_bytes(self, provisioned: ProvisionedTask) -> int:
        """Return the largest body of one request, in bytes."""

    async def receive(self, call: ApiRequest, provisioned: ProvisionedTask) -> Response:
        """Store the reports, and respond once they are on the disk."""


class UploadFastPath:
    """Middleware that handles /tasks/{task}/reports and passes on everything else."""

    def __init__(self, app: ASGIApp, uploads: Uploads, memory: BodyMemory) -> None:
        self._app, self._uploads, self._memory = app, uploads, memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one event of the server (ASGI 3)."""
        task = _task(scope)
        if task is None:
            await self._app(scope, receive, send)
            return
        try:
            response = await self._respond(scope, task, receive)
        except TactfulError as error:
            response = error_response(error, task)
            if _content_length(scope) > SKIPPED_BODY:
                # Reading the rest would waste bandwidth: the server closes the connection.
                response.headers["Connection"] = "close"
        except ClientDisconnect:
            # The report is incomplete, and nobody waits for a response.
            return
        await response(scope, receive, send)

    async def _respond(self, scope: Scope, task: str, receive: Receive) -> Response:
        # The task is looked up before the body is read, so that requests for unknown tasks
        # use no memory.
        provisioned = await self._uploads.look_up(task)
        with self._memory.reservation() as reservation:
            max_bytes = self._uploads.max_bytes(provisioned)
            body = await read_body(receive, max_bytes, reservation)
            media_type = _header(scope, b"content-type")
            call = ApiRequest({"task": task}, body, scope["method"], media_type)
            return await self._uploads.receive(call, provisioned)


def _task(scope: Scope) -> str | None:
    """Return the task id of an upload's path, or None for any other request."""
    if scope["type"] != "http":
        return None
    segments: list[str] = scope["path"].split("/")
    if len(segments) != 4 or segments[0]:
        return None
    is_upload = (segments[1], segments[3]) == ("tasks", "reports")
    return segments[2] if is_upload else None


def _content_length(scope: Scope) -> float:
    """Return the length of the body, or infinity if the client does not state it."""
    stated = _header(scope, b"content-length")
    return int(stated) if stated.isdecimal() else float("inf")


def _header(scope: Scope, name: bytes) -> str:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    return next((value.decode("latin-1") for key, value in headers if key == name), "")

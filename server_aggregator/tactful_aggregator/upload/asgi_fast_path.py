"""Uploads come in by a way of their own: most of what reaches a leader, and the same each time.

A router, a request object and a layer for each are worth more CPU than keeping a short report.
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
    body_of,
    refusal,
)
from tactful_aggregator.task_registry import ProvisionedTask


class Uploads(Protocol):
    """Whatever takes reports."""

    async def look_up(self, task: str) -> ProvisionedTask:
        """Return the task with this id in base64url; raise Problem if there is none."""

    def longest(self, provisioned: ProvisionedTask) -> int:
        """Return how many bytes of reports one request may carry."""

    async def receive(self, call: ApiRequest, provisioned: ProvisionedTask) -> Response:
        """Store the reports, and answer once they are on the disk."""


class UploadFastPath:
    """Takes what is sent to /tasks/{task}/reports; hands everything else on to the application."""

    def __init__(self, app: ASGIApp, uploads: Uploads, memory: BodyMemory) -> None:
        self._app, self._uploads, self._memory = app, uploads, memory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one event of the server (ASGI 3)."""
        task = _task(scope)
        if task is None:
            await self._app(scope, receive, send)
            return
        try:
            answer = await self._answer(scope, task, receive)
        except TactfulError as refused:
            answer = refusal(refused, task)
            if _body_bytes(scope) > SKIPPED_BODY:
                # the rest of the body is not worth reading: the server closes the connection
                answer.headers["Connection"] = "close"
        except ClientDisconnect:
            return  # before the report was whole: nobody waits for an answer
        await answer(scope, receive, send)

    async def _answer(self, scope: Scope, task: str, receive: Receive) -> Response:
        """Look up the task before any of the body is read, so that a stranger costs no memory."""
        provisioned = await self._uploads.look_up(task)
        with self._memory.reservation() as reservation:
            body = await body_of(
                receive, self._uploads.longest(provisioned), reservation
            )
            call = ApiRequest({"task": task}, body, scope["method"], _media(scope))
            return await self._uploads.receive(call, provisioned)


def _task(scope: Scope) -> str | None:
    """Return the task that an upload names, or None if this is no upload."""
    if scope["type"] != "http":
        return None
    steps: list[str] = scope["path"].split("/")
    is_upload = (
        len(steps) == 4
        and not steps[0]
        and (steps[1], steps[3]) == ("tasks", "reports")
    )
    return steps[2] if is_upload else None


def _media(scope: Scope) -> str:
    return _header(scope, b"content-type")


def _body_bytes(scope: Scope) -> float:
    """Return the length of the body; infinity where the client does not state it."""
    stated = _header(scope, b"content-length")
    return int(stated) if stated.isdecimal() else float("inf")


def _header(scope: Scope, name: bytes) -> str:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    return next((value.decode("latin-1") for key, value in headers if key == name), "")

"""Uploads come in by a way of their own: most of what reaches a leader, and the same each time.

A router, a request object and a layer for each are worth more CPU than keeping a short report.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from tactful.errors import TactfulError
from tactful_aggregator.http import Call, body_of, refusal

Take = Callable[[Call], Awaitable[Response]]


class UploadDoor:
    """Takes what is sent to /tasks/{task}/reports; hands everything else on to the application."""

    def __init__(self, app: ASGIApp, take: Take, max_body: int) -> None:
        self._app, self._take, self._max_body = app, take, max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One event of the server (ASGI 3)."""
        task = _task(scope)
        if task is None:
            await self._app(scope, receive, send)
            return
        try:
            body = await body_of(receive, self._max_body)
            answer = await self._take(Call({"task": task}, body, scope["method"], _media(scope)))
        except TactfulError as refused:
            answer = refusal(refused, task)
        except ClientDisconnect:
            return  # before the report was whole: nobody waits for an answer
        await answer(scope, receive, send)


def _task(scope: Scope) -> str | None:
    """The task that an upload names; None if it is none."""
    if scope["type"] != "http":
        return None
    steps: list[str] = scope["path"].split("/")
    is_upload = len(steps) == 4 and not steps[0] and (steps[1], steps[3]) == ("tasks", "reports")
    return steps[2] if is_upload else None


def _media(scope: Scope) -> str:
    headers: list[tuple[bytes, bytes]] = scope["headers"]
    return next((value.decode("latin-1") for name, value in headers if name == b"content-type"), "")

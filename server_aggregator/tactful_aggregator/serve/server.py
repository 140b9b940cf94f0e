"""One process that serves an aggregator's public listener and its operator's listener."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import uvicorn
from starlette.applications import Starlette

from tactful_aggregator.app import Service, build, build_operator
from tactful_aggregator.serve.connection_limits import BoundedHttpProtocol


class OperatorServer(uvicorn.Server):
    """The server of the operator's listener; the public server receives the signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers."""
        yield


class PublicServer(uvicorn.Server):
    """The server of the public listener; it stops after the operator's server stopped."""

    def __init__(self, application: Starlette, operator: OperatorServer) -> None:
        super().__init__(_config(application))
        self._operator = operator
        self._operator_ended = asyncio.Event()

    async def serve_operator(self, listener: socket.socket) -> None:
        """Serve the operator's listener."""
        try:
            await self._operator.serve([listener])
        finally:
            self._operator_ended.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop both servers, after the operator's requests are finished."""
        self._operator.should_exit = True
        await self._operator_ended.wait()
        await super().shutdown(sockets)


def run(service: Service, public: socket.socket, operator: socket.socket) -> None:
    """Serve an aggregator until the process is stopped."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_serve_both(service, public, operator))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """Return the faster event loop of uvloop if it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


async def _serve_both(
    service: Service, public: socket.socket, operator: socket.socket
) -> None:
    operator_server = OperatorServer(_config(build_operator(service)))
    public_server = PublicServer(build(service), operator_server)
    operator_task = asyncio.create_task(public_server.serve_operator(operator))
    await public_server.serve([public])
    await operator_task


def _config(application: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        application, http=BoundedHttpProtocol, log_level="warning", access_log=False
    )

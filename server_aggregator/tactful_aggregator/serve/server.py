"""One process serves a half at two addresses: the public one, and the operator's own."""

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
    """Ends when the public server does, which hears the signals."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


class PublicServer(uvicorn.Server):
    """Lets the operator's requests end before it ends."""

    def __init__(self, application: Starlette, operator: OperatorServer) -> None:
        super().__init__(_config(application))
        self._operator = operator
        self._ended = asyncio.Event()

    async def serve_operator(self, listening: socket.socket) -> None:
        """Serve the operator's address."""
        try:
            await self._operator.serve([listening])
        finally:
            self._ended.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End both."""
        self._operator.should_exit = True
        await self._ended.wait()
        await super().shutdown(sockets)


def run(service: Service, public: socket.socket, operator: socket.socket) -> None:
    """Serve a half until the process is told to stop."""
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(_served(service, public, operator))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """The faster event loop, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    return uvloop.new_event_loop


async def _served(
    service: Service, public: socket.socket, operator: socket.socket
) -> None:
    server = PublicServer(
        build(service), OperatorServer(_config(build_operator(service)))
    )
    beside = asyncio.create_task(server.serve_operator(operator))
    await server.serve([public])
    await beside


def _config(application: Starlette) -> uvicorn.Config:
    return uvicorn.Config(
        application, http=BoundedHttpProtocol, log_level="warning", access_log=False
    )

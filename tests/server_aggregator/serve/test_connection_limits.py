"""A client that never ends its request headers is disconnected."""

import asyncio
import socket
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from tactful_aggregator.serve import connection_limits
from tactful_aggregator.serve.connection_limits import HEADER_BYTES, BoundedHttpProtocol


@pytest.fixture
def address(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, int]]:
    """A server with the limits, which waits half a second for headers."""
    monkeypatch.setattr(connection_limits, "HEADER_SECONDS", 0.5)
    app = Starlette(routes=[Route("/", lambda _: PlainTextResponse("hello"))])
    config = uvicorn.Config(
        app, http=BoundedHttpProtocol, log_level="critical", loop="asyncio"
    )
    server = uvicorn.Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])))
    thread.start()
    yield listener.getsockname()
    server.should_exit = True
    thread.join()
    listener.close()


def answer(connection: socket.socket) -> bytes:
    """What the server sends until it closes the connection."""
    received = b""
    while part := connection.recv(1 << 16):
        received += part
    return received


def read_until(connection: socket.socket, end: bytes) -> None:
    """Read an answer whose last bytes are `end`."""
    received = b""
    while not received.endswith(end):
        part = connection.recv(1 << 16)
        assert part, received
        received += part


def connect(address: tuple[str, int]) -> socket.socket:
    return socket.create_connection(address, timeout=5)


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: a\r\nX-"])
def test_headers_that_do_not_end_in_time_close_the_connection(
    address, sent: bytes
) -> None:
    started = time.monotonic()
    with connect(address) as connection:
        connection.sendall(sent)
        assert answer(connection).startswith(b"HTTP/1.1 408 ")
    assert time.monotonic() - started < 4


def test_a_second_request_on_a_connection_has_the_same_time(address) -> None:
    whole = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"
    with connect(address) as connection:
        connection.sendall(whole)
        read_until(connection, b"hello")
        connection.sendall(whole[:-2])
        assert b"408" in answer(connection)


def test_headers_that_are_too_long_are_refused(address) -> None:
    with connect(address) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: " + b"a" * (2 * HEADER_BYTES))
        assert connection.recv(1 << 16).startswith(b"HTTP/1.1 431 ")


def test_an_ordinary_request_with_a_slow_body_is_answered(address) -> None:
    with connect(address) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n")
        time.sleep(0.8)
        connection.sendall(b"ab")
        read_until(connection, b"hello")


def test_a_long_body_is_not_counted_as_headers(address) -> None:
    body = bytes(8 * HEADER_BYTES)
    head = f"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
    with connect(address) as connection:
        for _ in range(3):
            connection.sendall(head.encode() + body)
            read_until(connection, b"hello")

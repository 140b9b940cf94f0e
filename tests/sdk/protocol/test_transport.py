"""Bytes over HTTP: whatever answers or does not, the caller gets a Response or TransportError."""

import http.server
import socket
import threading
from collections.abc import Iterator

import pytest

from tactful.errors import ReportRejected, TransportError
from tactful.protocol import transport
from tactful.protocol.dap.report_upload import fetch_hpke_config, upload
from tactful.protocol.dap.versions import DAP_18
from tactful.protocol.transport import HttpTransport, Request, Response

MEGABYTE = 1 << 20


class Answers(http.server.BaseHTTPRequestHandler):
    """A server that echoes, redirects, or answers without end."""

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/echo")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif self.path == "/cut":
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(b"short")
            self.close_connection = True
        else:
            self.pour()

    def pour(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", str(64 * MEGABYTE))
        self.end_headers()
        self.server.poured = 0
        try:
            for _ in range(64):
                self.wfile.write(bytes(MEGABYTE))
                self.server.poured += 1
        except OSError:
            self.close_connection = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server() -> Iterator[http.server.ThreadingHTTPServer]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answers) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def url(server: http.server.ThreadingHTTPServer) -> str:
    return f"http://127.0.0.1:{server.server_port}"


@pytest.fixture
def carrier() -> Iterator[HttpTransport]:
    carrier = HttpTransport()
    yield carrier
    carrier._connections().clear()


class Fixed:
    """A transport that always has the same answer."""

    def __init__(self, status: int, body: bytes) -> None:
        self.answer = Response(status, body)

    def send(self, request: Request) -> Response:
        return self.answer


def test_a_body_goes_out_and_its_answer_comes_in(
    url: str, carrier: HttpTransport
) -> None:
    body = bytes(range(256)) * 100

    answer = carrier.send(Request("POST", f"{url}/echo", body))

    assert (answer.status, answer.body) == (201, body)
    assert answer.header("server")
    assert answer.header("x-unknown") == ""


def test_a_redirect_is_not_followed(url: str, carrier: HttpTransport) -> None:
    answer = carrier.send(Request("GET", f"{url}/moved"))

    assert (answer.status, answer.ok) == (302, False)


def test_an_answer_that_breaks_off_is_no_answer(
    url: str, carrier: HttpTransport
) -> None:
    with pytest.raises(TransportError, match="no answer"):
        carrier.send(Request("GET", f"{url}/cut"))


def test_nobody_at_the_address_is_a_transport_error(carrier: HttpTransport) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}"

    with pytest.raises(
        TransportError, match=f"{url}: no answer .*the aggregator is running"
    ):
        carrier.send(Request("GET", url))


@pytest.mark.parametrize("url", ["ftp://host/x", "http://", "http://[::1"])
def test_an_address_that_is_none_is_a_transport_error(
    url: str, carrier: HttpTransport
) -> None:
    with pytest.raises(TransportError):
        carrier.send(Request("GET", url))


def test_an_answer_without_end_is_refused(
    url: str, carrier: HttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transport, "MAX_BODY", MEGABYTE)

    with pytest.raises(TransportError, match="larger than"):
        carrier.send(Request("GET", f"{url}/endless"))


def test_the_rest_of_an_answer_that_is_too_large_is_not_read(
    server: http.server.ThreadingHTTPServer,
    url: str,
    carrier: HttpTransport,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(transport, "MAX_BODY", MEGABYTE)

    with pytest.raises(TransportError, match="larger than"):
        carrier.send(Request("GET", f"{url}/endless"))

    assert server.poured < 60  # megabytes; what the sockets buffer is far less


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"<html>"), (200, b"\0\0"), (404, b""), (500, b"oops")]
)
def test_what_is_no_aggregator_has_no_key(status: int, body: bytes) -> None:
    with pytest.raises(TransportError, match="check the address"):
        fetch_hpke_config(Fixed(status, body), "http://host")


class Task:
    """As much of a task as an upload needs."""

    leader, encoded_id, dap = "http://host", "id", DAP_18


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (
            b'{"type": "urn:ietf:params:ppm:dap:error:unrecognizedTask"}',
            "unrecognizedTask",
        ),
        (b"<html>", "status 404"),
        (b"[]", "status 404"),
        (b'{"type": 1}', "1"),
    ],
)
def test_a_refused_upload_is_raised_with_the_leaders_reason(
    body: bytes, code: str
) -> None:
    with pytest.raises(ReportRejected) as refused:
        upload(Fixed(404, body), Task, [b"report"])

    assert refused.value.code == code


def test_a_refused_report_is_raised_with_its_reason() -> None:
    with pytest.raises(ReportRejected) as refused:
        upload(Fixed(200, bytes(16) + b"\x02"), Task, [b"report"])

    assert refused.value.code == "report_replayed"


def test_a_taken_upload_raises_nothing() -> None:
    upload(Fixed(201, b""), Task, [b"report"])

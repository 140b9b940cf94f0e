"""A program on another loopback port wants to read the person's page, or to block it."""

from __future__ import annotations

import http.client
import http.cookiejar
import http.server
import socket
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlencode, urlsplit

from tactful.device.events import Event
from tactful.person.server import PersonServer
from tactful.testing import small_device

TITLE = "Another program on this machine reads or blocks the person's page"
PATIENCE_SECONDS = 3.0
SECRETS = ("Cookie", "Referer", "Origin")


class Listener(http.server.BaseHTTPRequestHandler):
    """Writes down what browsers send to the attacker's port."""

    heard: dict[str, str] = {}  # noqa: RUF012 - there is one attack at a time

    def do_GET(self) -> None:
        """Keep the headers that may hold a secret."""
        for name in SECRETS:
            if name in self.headers:
                self.heard[name] = self.headers[name]
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Print nothing."""


def attack(folder: Path) -> str | None:
    """Open the page as the person does, then try all that another port can do."""
    Listener.heard = {}
    with small_device() as device, PersonServer(device) as server:
        device.observe(Event(kind="like", item_id="item-3"))
        with _served(server), _served(_listener()) as other:
            cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
            browser = urllib.request.build_opener(cookies)
            page = browser.open(server.address, timeout=PATIENCE_SECONDS)
            if b"Item 3" not in page.read():
                raise RuntimeError("the page does not open for the person")
            browser.open(
                f"http://127.0.0.1:{other.server_port}/", timeout=PATIENCE_SECONDS
            )
            base = urlsplit(page.geturl()).path
            tries = (
                _read_with_what_was_heard,
                _name_of_the_attacker,
                _foreign_form,
                _block,
            )
            results = (trial(server, base) for trial in tries)
            obtained = [result for result in results if result is not None]
        if device.status.paused:
            obtained.append("learning was paused")
    return "; ".join(obtained) or None


def _listener() -> http.server.HTTPServer:
    return http.server.ThreadingHTTPServer(("127.0.0.1", 0), Listener)


@contextmanager
def _served(server: http.server.HTTPServer) -> Iterator[http.server.HTTPServer]:
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _asked(
    server: PersonServer,
    method: str,
    path: str,
    body: str | None,
    headers: dict[str, str],
) -> tuple[int, bytes]:
    """Return status and body; status 0 if there is no answer in time."""
    here = http.client.HTTPConnection(
        "127.0.0.1", server.server_port, timeout=PATIENCE_SECONDS
    )
    try:
        here.request(method, path, body, headers)
        answer = here.getresponse()
        return answer.status, answer.read()
    except TimeoutError:
        return 0, b""
    finally:
        here.close()


def _read_with_what_was_heard(server: PersonServer, base: str) -> str | None:
    status, body = _asked(server, "GET", "/export", None, dict(Listener.heard))
    return (
        f"/export with what another port heard ({len(body)} bytes)"
        if status == 200
        else None
    )


def _name_of_the_attacker(server: PersonServer, base: str) -> str | None:
    headers = {**Listener.heard, "Host": f"attacker.example:{server.server_port}"}
    status, body = _asked(server, "GET", f"{base}export", None, headers)
    return (
        f"/export by another host name ({len(body)} bytes)" if status == 200 else None
    )


def _foreign_form(server: PersonServer, base: str) -> str | None:
    form = urlencode({"paused": "1", "token": server.token})
    headers = {**Listener.heard, "Origin": "http://attacker.example"}
    status, _ = _asked(server, "POST", f"{base}pause", form, headers)
    return "a form from another origin was obeyed" if status < 400 else None


def _block(server: PersonServer, base: str) -> str | None:
    """Hold connections open that say nothing, or announce a form and send none."""
    here = ("127.0.0.1", server.server_port)
    form = f"POST {base}pause HTTP/1.1\r\nHost: {here[0]}:{here[1]}\r\n"
    starts = ("", form, f"{form}Content-Length: 40\r\n\r\n")
    connections = [
        socket.create_connection(here, timeout=PATIENCE_SECONDS) for _ in starts
    ]
    try:
        for connection, start in zip(connections, starts, strict=True):
            connection.sendall(start.encode())
        status, _ = _asked(server, "GET", base, None, {})
        if status == 0:
            return "idle connections block the page"
        return _without_length(here, form)
    finally:
        for connection in connections:
            connection.close()


def _without_length(here: tuple[str, int], form: str) -> str | None:
    with socket.create_connection(here, timeout=PATIENCE_SECONDS) as connection:
        connection.sendall(f"{form}\r\n".encode())
        status = connection.recv(100).split(b" ")[1]
    return (
        None
        if status.startswith(b"4")
        else f"a form without a length was answered {status!r}"
    )

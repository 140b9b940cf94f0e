"""The server of the page: loopback only, a secret path, no cookie, no script."""

from __future__ import annotations

import hmac
import json
import secrets
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar, get_args
from urllib.parse import parse_qs, urlencode, urlsplit

from tactful.device.consent import PURPOSES, ConsentNotice
from tactful.device.events import Scope
from tactful.device.personalizer import Personalizer
from tactful.device.rights.erasure import ErasureScope
from tactful.errors import InvalidInput, TactfulError
from tactful.person.page_content import page_content
from tactful.person.render import LANGUAGES, policy, render, texts

MAX_FORM = 8192  # bytes
MAX_QUESTION = 100  # characters
IDLE_SECONDS = 10.0  # after which an idle connection is closed
MAX_SECONDS = 60.0  # of one connection
DRAIN_SECONDS = 0.2
MAX_CONNECTIONS = 64
LINK = "open the address that `tactful person` printed; it opens the page once"
Fields = Mapping[str, str]
SCOPES: Mapping[str, Scope] = {name: name for name in get_args(Scope)}
Request = socket.socket | tuple[bytes, socket.socket]
T = TypeVar("T")


class PersonServer(ThreadingHTTPServer):
    """Server of one vault for a browser that knows the secret path.

    It sets no cookie, because a browser would send it to other ports as well. Each
    connection has a thread, so that an idle one does not block others. A single thread
    uses the device.
    """

    daemon_threads = True

    def __init__(
        self,
        device: Personalizer,
        port: int = 0,
        *,
        lists: bool = True,
        seconds: float = IDLE_SECONDS,
    ) -> None:
        """Listen on `port`; 0 is a free one.

        With `lists=False` the app's items are not available. A connection that is idle
        for `seconds` is closed.
        """
        self.device = device
        self.token = secrets.token_urlsafe(24)
        self.lists = lists
        self.seconds = seconds
        self.language = ""
        self._link_key = secrets.token_urlsafe(24)
        self._link_lock = threading.Lock()
        self._connections = threading.BoundedSemaphore(MAX_CONNECTIONS)
        self._device_thread = ThreadPoolExecutor(max_workers=1)
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def address(self) -> str:
        """A link that opens the page once."""
        return f"http://127.0.0.1:{self.server_port}/open/{self._link_key}"

    def opens(self, key: str) -> bool:
        """Return True if `key` is that of the link, which is then replaced."""
        with self._link_lock:
            is_right = same(key, self._link_key)
            if is_right:
                self._link_key = secrets.token_urlsafe(24)
        return is_right

    def call(self, function: Callable[[], T]) -> T:
        """Return the result of `function`, run in the thread of the device."""
        return self._device_thread.submit(function).result()

    def process_request(self, request: Request, client_address: object) -> None:
        """Answer in a thread, unless there are too many connections."""
        if not self._connections.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Request, client_address: object) -> None:
        """Answer one connection, and close it after a minute at the latest."""
        timer = threading.Timer(MAX_SECONDS, _shut_down, [request])
        timer.daemon = True
        timer.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            timer.cancel()
            self._connections.release()

    def handle_error(self, request: Request, client_address: object) -> None:
        """Report an error, but not that a browser closed its connection."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        """Stop listening."""
        super().server_close()
        self._device_thread.shutdown()

    def act(self, path: str, fields: Fields, language: str) -> str:
        """Execute a form and return a sentence about the result.

        Raise InvalidInput for a wrong form.
        """
        action = ACTIONS.get(path)
        if action is None:
            raise InvalidInput(
                "address", f"{path!r} does not exist", "go back to the page"
            )
        return texts(language)[f"did_{action(self.device, fields, language)}"]


def _agree(device: Personalizer, fields: Fields, language: str) -> str:
    purpose, grant = fields.get("purpose", ""), fields.get("grant") == "1"
    if purpose not in PURPOSES:
        raise InvalidInput(
            "purpose", f"{purpose!r} is not known", "go back to the page"
        )
    notice = ConsentNotice(
        text=texts(language)[f"purpose_{purpose}"],
        locale=language,
        method="person page",
        gpc_stated=device.restrictions.gpc,
    )
    if grant:
        device.controls.consent.grant(purpose, notice=notice)
    else:
        device.controls.consent.withdraw(purpose, notice=notice)
    return "agree"


def _balance(device: Personalizer, fields: Fields, language: str) -> str:
    device.controls.set_balance(_integer(fields, "balance") / 100)
    return "balance"


def _limit(device: Personalizer, fields: Fields, language: str) -> str:
    shows = _integer(fields, "shows") if fields.get("shows") else None
    device.controls.set_weekly_limit(shows, quiet_at_night=fields.get("quiet") == "1")
    return "limit"


def _pause(device: Personalizer, fields: Fields, language: str) -> str:
    paused = fields.get("paused") == "1"
    device.controls.set_paused(paused)
    return "pause" if paused else "resume"


def _mute(device: Personalizer, fields: Fields, language: str) -> str:
    device.controls.mute(_scope(fields), fields.get("value", ""))
    return "mute"


def _unmute(device: Personalizer, fields: Fields, language: str) -> str:
    device.controls.unmute(_scope(fields), fields.get("value", ""))
    return "unmute"


def _interest(device: Personalizer, fields: Fields, language: str) -> str:
    used = fields.get("use") == "1"
    device.controls.set_interest("item", fields.get("item", ""), 1.0 if used else 0.0)
    return "use" if used else "ignore"


def _erase_item(device: Personalizer, fields: Fields, language: str) -> str:
    item_id = fields.get("item")
    items = frozenset({item_id} if item_id else ())
    device.rights.erase(ErasureScope(items=items))
    return "forget"


def _erase(device: Personalizer, fields: Fields, language: str) -> str:
    if fields.get("sure") != "1":
        raise InvalidInput("sure", "it is not ticked", "tick it, then erase")
    device.rights.forget(hides=fields.get("hides") == "1")
    return "erase"


ACTIONS: Mapping[str, Callable[[Personalizer, Fields, str], str]] = {
    "/agree": _agree,
    "/balance": _balance,
    "/limit": _limit,
    "/pause": _pause,
    "/mute": _mute,
    "/unmute": _unmute,
    "/interest": _interest,
    "/not-mine": _erase_item,
    "/erase": _erase,
}


def _scope(fields: Fields) -> Scope:
    scope = SCOPES.get(fields.get("scope", ""))
    if scope is None:
        raise InvalidInput("scope", "it is not known", "use the buttons of the page")
    return scope


def _integer(fields: Fields, name: str) -> int:
    try:
        return int(fields[name])
    except (KeyError, ValueError) as error:
        raise InvalidInput(
            name, f"{fields.get(name)!r} is not a number", "use digits"
        ) from error


class _Handler(BaseHTTPRequestHandler):
    """Handler of one request, which must come from the page on this machine."""

    server: PersonServer
    server_version, sys_version = "tactful", ""

    def setup(self) -> None:
        """Close the connection when it is idle."""
        super().setup()
        self.connection.settimeout(self.server.seconds)

    def do_GET(self) -> None:
        """Answer with the page or a download; the printed link leads to the page once."""
        address = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(address.query).items()}
        page_path = self._page_path(address.path)
        if not self._has_own_host():
            self._refuse(HTTPStatus.FORBIDDEN, LINK)
        elif address.path.startswith("/open/") and self.server.opens(address.path[6:]):
            self._redirect("/")
        elif page_path is None:
            self._refuse(HTTPStatus.FORBIDDEN, LINK)
        elif page_path == "/":
            self._page(query)
        else:
            self._download(page_path, query)

    def do_POST(self) -> None:
        """Execute a form, then redirect to the page.

        The origin is checked before the form is read.
        """
        page_path = self._page_path(urlsplit(self.path).path)
        if not self._has_own_host() or not self._has_own_origin() or page_path is None:
            self._refuse(HTTPStatus.FORBIDDEN, "use the buttons of the page")
            return
        fields = self._form()
        if fields is None:
            return
        if not same(fields.get("token", ""), self.server.token):
            self._refuse(HTTPStatus.FORBIDDEN, "use the buttons of the page")
            return
        language = self._language()
        try:
            done = self.server.call(
                lambda: self.server.act(page_path, fields, language)
            )
            result = {"done": done}
        except TactfulError as error:
            result = {"refused": str(error)}
        self._redirect(f"/?{urlencode(result)}")

    def _form(self) -> Fields | None:
        """Return the fields of the form; answer a wrong form and return None."""
        size = self.headers.get("Content-Length")
        if size is None:
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "send the form with its length")
            return None
        length = int(size) if size.isdecimal() and len(size) < 9 else MAX_FORM + 1
        if length > MAX_FORM:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the form is too long")
            return None
        try:
            body = self.rfile.read(length)
        except TimeoutError:
            body = b""
        if len(body) < length:
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, "send the whole form")
            return None
        form = parse_qs(body.decode("utf-8", "replace"))
        return {name: values[0] for name, values in form.items()}

    def _page(self, query: Fields) -> None:
        language = query.get("lang", self._language())
        if language not in LANGUAGES:
            self._refuse(HTTPStatus.NOT_FOUND, f"use {' or '.join(LANGUAGES)}")
            return
        question = query.get("why", "")[:MAX_QUESTION]
        if "lang" in query:
            self.server.language = language
        device, lists = self.server.device, self.server.lists
        content = self.server.call(
            lambda: page_content(device, asked=question, lists=lists)
        )
        html = render(
            content,
            language,
            token=self.server.token,
            done=query.get("done", ""),
            refused=query.get("refused", ""),
        )
        self._answer(html.encode(), "text/html; charset=utf-8")

    def _download(self, path: str, query: Fields) -> None:
        language = self._language()
        document = self.server.call(lambda: self._document(path, query, language))
        if document is None:
            self._refuse(HTTPStatus.NOT_FOUND, "the page has no such document")
        else:
            self._answer(*document)

    def _document(
        self, path: str, query: Fields, language: str
    ) -> tuple[bytes, str] | None:
        """Return a document and its media type, None if it does not exist."""
        device = self.server.device
        if path == "/export":
            return _json(device.rights.export()), "application/json"
        if path == "/page":
            page = render(
                page_content(device, lists=self.server.lists), language
            ).encode()
            return page, "text/html; charset=utf-8"
        if path == "/receipt":
            return _json(_receipt(device)), "application/json"
        if path != "/report":
            return None
        report = _report(device, query.get("id", ""))
        return None if report is None else (report, "application/octet-stream")

    def _page_path(self, path: str) -> str | None:
        """Return the path after the secret; None if the secret is missing or wrong."""
        _, _, rest = path.partition("/")
        secret, slash, page_path = rest.partition("/")
        return f"/{page_path}" if slash and same(secret, self.server.token) else None

    def _has_own_host(self) -> bool:
        """Return True if the request names this machine by its number.

        A name could be resolved to another machine later (DNS rebinding).
        """
        return self.headers.get("Host") == f"127.0.0.1:{self.server.server_port}"

    def _has_own_origin(self) -> bool:
        """Return True if the form is from the page, by the headers of the browser.

        A page without a referrer has the origin `null`; then the site decides.
        """
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site")
        own_origin = f"http://127.0.0.1:{self.server.server_port}"
        return origin in (None, "null", own_origin) and site in (None, "same-origin")

    def _language(self) -> str:
        """Return the chosen language, or that of the browser."""
        if self.server.language:
            return self.server.language
        wanted = self.headers.get("Accept-Language", "")[:2]
        return wanted if wanted in LANGUAGES else LANGUAGES[0]

    def _answer(
        self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK
    ) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Content-Security-Policy": policy(),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            # The address of the page contains its secret.
            "Referrer-Policy": "no-referrer",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: HTTPStatus, fix: str) -> None:
        text = f"{status.phrase}: {fix}\n"
        self._answer(text.encode(), "text/plain; charset=utf-8", status)
        self.close_connection = True
        if self.command == "POST":
            # A form that was not read would reset the connection.
            self.connection.settimeout(DRAIN_SECONDS)
            with suppress(OSError):
                self.rfile.read1(MAX_FORM)

    def _redirect(self, path: str) -> None:
        """Redirect to a path after the secret."""
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", f"/{self.server.token}{path}")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - name of the base class
        """Log nothing, because requests show what a person looks at."""


def _shut_down(request: Request) -> None:
    """Close a connection that another thread may be reading from."""
    if isinstance(request, socket.socket):
        with suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)


def same(text: str, secret: str) -> bool:
    """Return True if `text` is the secret, compared in constant time."""
    return hmac.compare_digest(text.encode("utf-8", "replace"), secret.encode())


def _receipt(device: Personalizer) -> dict[str, object]:
    """Return the person's answers, and who adds noise to reports."""
    receipt = device.status.answers.receipt()
    aggregators = device.settings.aggregators
    if aggregators is not None:
        receipt["noise_added_by"] = aggregators.placement
    return receipt


def _json(document: object) -> bytes:
    return json.dumps(document, indent=1, ensure_ascii=False).encode()


def _report(device: Personalizer, report_id: str) -> bytes | None:
    for disclosure in device.status.disclosures.values():
        if disclosure.report_id == report_id and not disclosure.dropped:
            return device.sharing.sent_bytes(disclosure)
    return None

"""The page on this machine alone: loopback, a secret path, no cookie, no script."""

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
from tactful.person.render import LANGUAGES, policy, render, texts
from tactful.person.story import story

MAX_FORM = 8192  # bytes
MOST_ASKED = 100  # letters of what somebody asks about
IDLE_SECONDS = 10.0  # without a byte, after which a connection ends
MOST_SECONDS = 60.0  # that a connection may last, however it dribbles
DRAIN_SECONDS = 0.2
MOST_CONNECTIONS = 64
LINK = "open the address that `tactful person` printed; it opens the page once"
Fields = Mapping[str, str]
SCOPES: Mapping[str, Scope] = {name: name for name in get_args(Scope)}
Request = socket.socket | tuple[bytes, socket.socket]
T = TypeVar("T")


class PersonServer(ThreadingHTTPServer):
    """Serves one vault to whoever knows the secret path; no cookie, which other ports would get.

    A thread answers each connection, so that an idle one holds up no other; the device itself is
    asked by one thread alone.
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
        """`lists` False: the app's items are not at hand, only those that the vault names.

        A connection that sends nothing for `seconds` is ended.
        """
        self.device, self.token, self.lists = device, secrets.token_urlsafe(24), lists
        self.seconds, self.language = seconds, ""
        self._key, self._key_lock = secrets.token_urlsafe(24), threading.Lock()
        self._places = threading.BoundedSemaphore(MOST_CONNECTIONS)
        self._asking = ThreadPoolExecutor(max_workers=1)
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def address(self) -> str:
        """Where to look: a link that opens the page once, to whoever is first."""
        return f"http://127.0.0.1:{self.server_port}/open/{self._key}"

    def opens(self, key: str) -> bool:
        """Whether `key` is the one of the link; it is none any more afterwards."""
        with self._key_lock:
            right = same(key, self._key)
            self._key = secrets.token_urlsafe(24) if right else self._key
        return right

    def ask(self, question: Callable[[], T]) -> T:
        """Return what `question` answers, asked where nothing else uses the device."""
        return self._asking.submit(question).result()

    def process_request(self, request: Request, client_address: object) -> None:
        """Answer in a thread, unless too many are answered already."""
        if not self._places.acquire(blocking=False):
            self.shutdown_request(request)
            return
        super().process_request(request, client_address)

    def process_request_thread(self, request: Request, client_address: object) -> None:
        """Answer one connection; whatever happens, it ends in time."""
        end = threading.Timer(MOST_SECONDS, _cut, [request])
        end.daemon = True
        end.start()
        try:
            super().process_request_thread(request, client_address)
        finally:
            end.cancel()
            self._places.release()

    def handle_error(self, request: Request, client_address: object) -> None:
        """Say what went wrong here, but not that a browser left."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)

    def server_close(self) -> None:
        """Listen no more."""
        super().server_close()
        self._asking.shutdown()

    def act(self, path: str, fields: Fields, language: str) -> str:
        """Do what a form asks; what was done, in words. Raises InvalidInput for nonsense."""
        action = ACTIONS.get(path)
        if action is None:
            raise InvalidInput(
                "address", f"{path!r} is not here", "go back to the page"
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
    device.controls.set_balance(_whole(fields, "balance") / 100)
    return "balance"


def _limit(device: Personalizer, fields: Fields, language: str) -> str:
    shows = _whole(fields, "shows") if fields.get("shows") else None
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


def _not_mine(device: Personalizer, fields: Fields, language: str) -> str:
    device.rights.erase(
        ErasureScope(items=frozenset({fields["item"]} if fields.get("item") else ()))
    )
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
    "/not-mine": _not_mine,
    "/erase": _erase,
}


def _scope(fields: Fields) -> Scope:
    scope = SCOPES.get(fields.get("scope", ""))
    if scope is None:
        raise InvalidInput("scope", "it is not known", "use the buttons of the page")
    return scope


def _whole(fields: Fields, name: str) -> int:
    try:
        return int(fields[name])
    except (KeyError, ValueError) as wrong:
        raise InvalidInput(
            name, f"{fields.get(name)!r} is no number", "use digits"
        ) from wrong


class _Handler(BaseHTTPRequestHandler):
    """One request: is it from this machine's page, and what does it want?"""

    server: PersonServer
    server_version, sys_version = "tactful", ""

    def setup(self) -> None:
        """Let an idle connection end."""
        super().setup()
        self.connection.settimeout(self.server.seconds)

    def do_GET(self) -> None:
        """The page, or a download; the link that was printed leads to the page, once."""
        address = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        place = self._place(address.path)
        if not self._is_here():
            self._refuse(HTTPStatus.FORBIDDEN, LINK)
        elif address.path.startswith("/open/") and self.server.opens(address.path[6:]):
            self._go("/")
        elif place is None:
            self._refuse(HTTPStatus.FORBIDDEN, LINK)
        elif place == "/":
            self._page(asked)
        else:
            self._download(place, asked)

    def do_POST(self) -> None:
        """Do what a form asks, then go back to the page; who asks is looked at before the form."""
        place = self._place(urlsplit(self.path).path)
        if not self._is_here() or not self._is_own() or place is None:
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
            told = {
                "done": self.server.ask(
                    lambda: self.server.act(place, fields, language)
                )
            }
        except TactfulError as refused:
            told = {"refused": str(refused)}
        self._go(f"/?{urlencode(told)}")

    def _form(self) -> Fields | None:
        """Return the fields of the form; None if it is none, which is answered here."""
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

    def _page(self, asked: Fields) -> None:
        language = asked.get("lang", self._language())
        if language not in LANGUAGES:
            self._refuse(HTTPStatus.NOT_FOUND, f"use {' or '.join(LANGUAGES)}")
            return
        asked_of = asked.get("why", "")[:MOST_ASKED]
        self.server.language = language if "lang" in asked else self.server.language
        device, lists = self.server.device, self.server.lists
        html = render(
            self.server.ask(lambda: story(device, asked=asked_of, lists=lists)),
            language,
            token=self.server.token,
            done=asked.get("done", ""),
            refused=asked.get("refused", ""),
        )
        self._answer(html.encode(), "text/html; charset=utf-8")

    def _download(self, path: str, asked: Fields) -> None:
        language = self._language()
        document = self.server.ask(lambda: self._document(path, asked, language))
        if document is None:
            self._refuse(HTTPStatus.NOT_FOUND, "it is not here")
        else:
            self._answer(*document)

    def _document(
        self, path: str, asked: Fields, language: str
    ) -> tuple[bytes, str] | None:
        """Return what is to be downloaded and its media type, None if there is no such thing."""
        device = self.server.device
        if path == "/export":
            return _json(device.rights.export()), "application/json"
        if path == "/page":
            page = render(story(device, lists=self.server.lists), language).encode()
            return page, "text/html; charset=utf-8"
        if path == "/receipt":
            return _json(_receipt(device)), "application/json"
        report = _report(device, asked.get("id", "")) if path == "/report" else None
        return None if report is None else (report, "application/octet-stream")

    def _place(self, path: str) -> str | None:
        """Return what follows the secret in a path; None if the secret is not there."""
        _, _, rest = path.partition("/")
        secret, slash, place = rest.partition("/")
        return f"/{place}" if slash and same(secret, self.server.token) else None

    def _is_here(self) -> bool:
        """Whether the browser asked this machine by its number: no name leads elsewhere later."""
        return self.headers.get("Host") == f"127.0.0.1:{self.server.server_port}"

    def _is_own(self) -> bool:
        """Whether the form is the page's own, as far as the browser says.

        A page without a referrer has the origin `null`; then the site decides.
        """
        origin, site = self.headers.get("Origin"), self.headers.get("Sec-Fetch-Site")
        here = f"http://127.0.0.1:{self.server.server_port}"
        return origin in (None, "null", here) and site in (None, "same-origin")

    def _language(self) -> str:
        """Return the language that was chosen, else the browser's."""
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
            "Referrer-Policy": "no-referrer",  # the address of a page is its secret
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: HTTPStatus, fix: str) -> None:
        self._answer(
            f"{status.phrase}: {fix}\n".encode(), "text/plain; charset=utf-8", status
        )
        self.close_connection = True
        if (
            self.command == "POST"
        ):  # a form that was not read would reset the connection
            self.connection.settimeout(DRAIN_SECONDS)
            with suppress(OSError):
                self.rfile.read1(MAX_FORM)

    def _go(self, where: str) -> None:
        """Lead to a place behind the secret."""
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", f"/{self.server.token}{where}")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name there
        """Keep no log of what a person looks at."""


def _cut(request: Request) -> None:
    """End a connection under the hands of whoever reads from it."""
    if isinstance(request, socket.socket):
        with suppress(OSError):
            request.shutdown(socket.SHUT_RDWR)


def same(text: str, secret: str) -> bool:
    """Whether `text` is the secret; how long that takes does not tell how much of it is right."""
    return hmac.compare_digest(text.encode("utf-8", "replace"), secret.encode())


def _receipt(device: Personalizer) -> dict[str, object]:
    """The person's answers, and who adds the noise to what is sent under them."""
    pair, answers = device.settings.aggregators, device.status.answers.receipt()
    return answers if pair is None else {**answers, "noise_added_by": pair.placement}


def _json(document: object) -> bytes:
    return json.dumps(document, indent=1, ensure_ascii=False).encode()


def _report(device: Personalizer, report_id: str) -> bytes | None:
    found = (
        one for one in device.status.disclosures.values() if one.report_id == report_id
    )
    disclosure = next(found, None)
    return (
        None
        if disclosure is None or disclosure.dropped
        else device.sharing.sent_bytes(disclosure)
    )

"""The page on this machine alone: loopback, a secret in the address, no script, no other origin."""

from __future__ import annotations

import hmac
import json
import secrets
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from urllib.parse import parse_qs, urlencode, urlsplit

from tactful.device.consent import PURPOSES, Shown
from tactful.device.erasure import Part
from tactful.device.personalizer import Personalizer
from tactful.errors import InvalidInput, TactfulError
from tactful.person.render import LANGUAGES, policy, render, texts
from tactful.person.story import story

MAX_FORM = 8192  # bytes
MOST_ASKED = 100  # letters of what somebody asks about
Fields = Mapping[str, str]


class PersonServer(HTTPServer):
    """Serves one vault to whoever holds `token`; one request at a time."""

    def __init__(self, device: Personalizer, port: int = 0, *, lists: bool = True) -> None:
        """`lists` False: the app's items are not at hand, only those that the vault names."""
        self.device, self.token, self.lists = device, secrets.token_urlsafe(24), lists
        super().__init__(("127.0.0.1", port), _Handler)

    @property
    def address(self) -> str:
        """Where to look, with the secret."""
        return f"http://127.0.0.1:{self.server_port}/?token={self.token}"

    def act(self, path: str, fields: Fields, language: str) -> str:
        """Do what a form asks; what was done, in words. Raises InvalidInput for nonsense."""
        action = ACTIONS.get(path)
        if action is None:
            raise InvalidInput("address", f"{path!r} is not here", "go back to the page")
        return texts(language)[f"did_{action(self.device, fields, language)}"]


def _agree(device: Personalizer, fields: Fields, language: str) -> str:
    purpose, grant = fields.get("purpose", ""), fields.get("grant") == "1"
    if purpose not in PURPOSES:
        raise InvalidInput("purpose", f"{purpose!r} is not known", "go back to the page")
    answered = device.memory.answers.consent
    shown = Shown(
        text=texts(language)[f"purpose_{purpose}"],
        locale=language,
        method="person page",
        gpc_stated=device.restrictions.gpc,
    )
    device.agree(answered.grant(purpose) if grant else answered.withdraw(purpose), shown)
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
    device.controls.mute(fields.get("scope", ""), fields.get("value", ""))
    return "mute"


def _unmute(device: Personalizer, fields: Fields, language: str) -> str:
    device.controls.unmute(fields.get("scope", ""), fields.get("value", ""))
    return "unmute"


def _interest(device: Personalizer, fields: Fields, language: str) -> str:
    used = fields.get("use") == "1"
    device.controls.set_interest("item", fields.get("item", ""), 1.0 if used else 0.0)
    return "use" if used else "ignore"


def _not_mine(device: Personalizer, fields: Fields, language: str) -> str:
    device.erase(Part(items=frozenset({fields["item"]} if fields.get("item") else ())))
    return "forget"


def _erase(device: Personalizer, fields: Fields, language: str) -> str:
    if fields.get("sure") != "1":
        raise InvalidInput("sure", "it is not ticked", "tick it, then erase")
    device.forget(hides=fields.get("hides") == "1")
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


def _whole(fields: Fields, name: str) -> int:
    try:
        return int(fields[name])
    except (KeyError, ValueError) as wrong:
        raise InvalidInput(name, f"{fields.get(name)!r} is no number", "use digits") from wrong


class _Handler(BaseHTTPRequestHandler):
    """One request: is it from this machine's page, and what does it want?"""

    server: PersonServer
    server_version, sys_version = "tactful", ""

    def do_GET(self) -> None:
        """The page, or a download; the first visit turns the address's secret into a cookie."""
        address = urlsplit(self.path)
        asked = {name: values[0] for name, values in parse_qs(address.query).items()}
        if address.path == "/" and self._holds(asked.get("token", "")):
            self._go("/", cookie=f"tactful={self.server.token}; HttpOnly; SameSite=Strict; Path=/")
        elif not self._admitted():
            self._refuse(HTTPStatus.FORBIDDEN, "open the address that `tactful person` printed")
        elif address.path == "/":
            self._page(asked)
        else:
            self._download(address.path, asked)

    def do_POST(self) -> None:
        """Do what a form asks, then go back to the page."""
        size = self.headers.get("Content-Length") or "0"
        length = int(size) if size.isdecimal() else -1
        if not 0 <= length <= MAX_FORM:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "the form is too long")
            return
        form = parse_qs(self.rfile.read(length).decode("utf-8", "replace"))
        fields = {name: values[0] for name, values in form.items()}
        if not self._admitted() or not self._holds(fields.get("token", "")):
            self._refuse(HTTPStatus.FORBIDDEN, "use the buttons of the page")
            return
        try:
            told = {"done": self.server.act(urlsplit(self.path).path, fields, self._language())}
        except TactfulError as refused:
            told = {"refused": str(refused)}
        self._go(f"/?{urlencode(told)}")

    def _page(self, asked: Fields) -> None:
        language = asked.get("lang", self._language())
        if language not in LANGUAGES:
            self._refuse(HTTPStatus.NOT_FOUND, f"use {' or '.join(LANGUAGES)}")
            return
        asked_of = asked.get("why", "")[:MOST_ASKED]
        html = render(
            story(self.server.device, asked=asked_of, lists=self.server.lists),
            language,
            token=self.server.token,
            done=asked.get("done", ""),
            refused=asked.get("refused", ""),
        )
        cookie = f"language={language}; SameSite=Strict; Path=/"
        self._answer(html.encode(), "text/html; charset=utf-8", cookie=cookie)

    def _download(self, path: str, asked: Fields) -> None:
        device = self.server.device
        if path == "/export":
            self._answer(_json(device.export()), "application/json")
        elif path == "/page":
            known = story(device, lists=self.server.lists)
            page = render(known, self._language()).encode()
            self._answer(page, "text/html; charset=utf-8")
        elif path == "/receipt":
            self._answer(_json(_receipt(device)), "application/json")
        elif path == "/report" and (found := _report(device, asked.get("id", ""))) is not None:
            self._answer(found, "application/octet-stream")
        else:
            self._refuse(HTTPStatus.NOT_FOUND, "it is not here")

    def _admitted(self) -> bool:
        """Only this machine's own page: its host name, and the cookie that its address gave."""
        here = f"127.0.0.1:{self.server.server_port}"
        return self.headers.get("Host") == here and self._holds(self._cookies().get("tactful", ""))

    def _holds(self, token: str) -> bool:
        return hmac.compare_digest(token.encode(), self.server.token.encode())

    def _language(self) -> str:
        chosen = self._cookies().get("language")
        if chosen in LANGUAGES:
            return chosen
        wanted = self.headers.get("Accept-Language", "")[:2]
        return wanted if wanted in LANGUAGES else LANGUAGES[0]

    def _cookies(self) -> dict[str, str]:
        parts = (one.strip().partition("=") for one in self.headers.get("Cookie", "").split(";"))
        return {name: value for name, _, value in parts}

    def _answer(
        self, body: bytes, kind: str, status: HTTPStatus = HTTPStatus.OK, cookie: str = ""
    ) -> None:
        self.send_response(status)
        headers = {
            "Content-Type": kind,
            "Content-Length": str(len(body)),
            "Content-Security-Policy": policy(),
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Cross-Origin-Resource-Policy": "same-origin",
            **({"Set-Cookie": cookie} if cookie else {}),
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def _refuse(self, status: HTTPStatus, fix: str) -> None:
        self._answer(f"{status.phrase}: {fix}\n".encode(), "text/plain; charset=utf-8", status)

    def _go(self, where: str, cookie: str = "") -> None:
        self.send_response(HTTPStatus.SEE_OTHER)
        self.send_header("Location", where)
        if cookie:
            self.send_header("Set-Cookie", cookie)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Keep no log of what a person looks at."""


def _receipt(device: Personalizer) -> dict[str, object]:
    """The person's answers, and who adds the noise to what is sent under them."""
    pair, answers = device.settings.aggregators, device.memory.answers.receipt()
    return answers if pair is None else {**answers, "noise_added_by": pair.placement}


def _json(document: object) -> bytes:
    return json.dumps(document, indent=1, ensure_ascii=False).encode()


def _report(device: Personalizer, report_id: str) -> bytes | None:
    found = (one for one in device.memory.disclosures.values() if one.report_id == report_id)
    disclosure = next(found, None)
    return None if disclosure is None or disclosure.dropped else device.sent_bytes(disclosure)

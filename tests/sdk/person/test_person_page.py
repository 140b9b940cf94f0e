"""The person's page: complete, theirs alone, and every switch does what it says."""

import base64
import http.client
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from tactful.cli import main
from tactful.device.consent import PURPOSES, Consent, Restrictions
from tactful.device.consent.records import read_receipt
from tactful.device.event_schema import built_in
from tactful.device.events import KINDS, Event
from tactful.device.personalizer import Personalizer
from tactful.device.settings import Aggregators, Settings
from tactful.person.page_content import page_content
from tactful.person.render import LANGUAGES, render, texts
from tactful.person.server import ACTIONS, PersonServer
from tactful.testing import FIXED_KEY, LOCAL, small_catalog, small_device


@pytest.fixture
def device() -> Iterator[Personalizer]:
    with small_device() as made:
        made.observe(Event(kind="like", item_id="item-3"))
        made.observe(Event(kind="purchase", item_id="item-4"))
        for pick in made.recommend(3):
            made.observe(pick.impression())
        yield made


class Visitor:
    """A browser that follows the link once, and from then on knows the secret path."""

    def __init__(self, server: PersonServer) -> None:
        self.server, self.base = server, ""

    def send(
        self, method: str, path: str, body=None, **headers: str
    ) -> tuple[int, str, dict]:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.server.server_port, timeout=10
        )
        connection.request(method, path, body, headers)
        answer = connection.getresponse()
        text = answer.read().decode()
        connection.close()
        assert "Set-Cookie" not in answer.headers
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        return answer.status, text, dict(answer.headers)

    def ask(
        self, method: str, path: str, fields=None, **headers: str
    ) -> tuple[int, str, dict]:
        body = None if fields is None else urlencode(fields)
        return self.send(method, self.base + path, body, **headers)

    def enter(self) -> str:
        status, _, headers = self.send("GET", urlsplit(self.server.address).path)
        assert status == 303
        self.base = headers["Location"].removesuffix("/")
        return self.ask("GET", "/")[1]

    def press(self, path: str, **fields: str) -> str:
        status, _, headers = self.ask(
            "POST", path, {"token": self.server.token, **fields}
        )
        assert status == 303
        return self.send("GET", headers["Location"])[1]


@pytest.fixture
def visitor(device) -> Iterator[Visitor]:
    with PersonServer(device) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield Visitor(server)
        server.shutdown()
        thread.join()


def test_both_languages_say_everything() -> None:
    keys = {language: set(texts(language)) for language in LANGUAGES}

    assert keys["en"] == keys["de"]
    needed = {f"purpose_{one}" for one in PURPOSES if one != "essential"}
    needed |= {f"kind_{one}" for one in KINDS} | {
        f"kind_{one.name}" for one in built_in()
    }
    assert needed <= keys["en"]
    assert not {
        key for key in keys["en"] if not texts("de")[key] or not texts("en")[key]
    }
    assert [key for key in needed if texts("en")[key] == texts("de")[key]] == []


def test_the_page_tells_what_is_known_and_from_what(visitor) -> None:
    page = visitor.enter()

    assert "Item 3" in page
    assert re.search(r"liked <time>\d{4}-\d\d-\d\d", page)
    assert re.search(r"bought <time>\d{4}-\d\d-\d\d", page)
    assert "Nothing has left this device." in page


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_page_has_a_script_or_an_address_elsewhere(device, language: str) -> None:
    page = render(page_content(device), language, token="t")

    assert "<script" not in page
    assert not re.search(r"(src|href|action)=\"(https?:)?//", page)
    assert not re.search(r"\son\w+=", page)
    assert f'<html lang="{language}">' in page
    for wanted in re.findall(r'<label for="(\w+)"', page):
        assert f'id="{wanted}"' in page


def test_an_item_whose_title_is_html_stays_text() -> None:
    catalog = small_catalog()
    nasty = type(catalog)(
        [
            *catalog.items,
            type(catalog.items[0])(id="x", title="<script>alert(1)</script>"),
        ]
    )
    with small_device(nasty) as device:
        device.observe(Event(kind="like", item_id="x"))
        page = render(page_content(device), "en", token="t")
    assert "<script" not in page
    assert "&lt;script&gt;" in page


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/export",
        "/receipt",
        "/report?id=x",
        "/?token=wrong",
        "/open/x",
        "/x/export",
        "//",
    ],
)
def test_without_the_secret_nothing_is_told(visitor, path: str) -> None:
    status, text, _ = visitor.ask("GET", path)

    assert status == 403
    assert "item" not in text.lower().replace("item id", "")


def test_another_host_name_or_a_form_from_elsewhere_is_refused(visitor, device) -> None:
    visitor.enter()

    assert visitor.ask("GET", "/", Host="evil.example")[0] == 403
    for fields in ({"sure": "1"}, {"sure": "1", "token": "guess"}):
        assert visitor.ask("POST", "/erase", fields)[0] == 403
    right = {"sure": "1", "token": visitor.server.token}
    for headers in (
        {"Host": "evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": f"http://127.0.0.1:{visitor.server.server_port + 1}"},
        {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},  # another port of this machine
    ):
        assert visitor.ask("POST", "/erase", right, **headers)[0] == 403
    assert Visitor(visitor.server).ask("POST", "/erase", right)[0] == 403
    assert device.status.profile.beliefs
    own = {
        "Origin": "null",
        "Sec-Fetch-Site": "same-origin",
    }  # as a page without referrer sends
    assert visitor.ask("POST", "/erase", right, **own)[0] == 303


def test_the_link_opens_the_page_once(visitor) -> None:
    link = urlsplit(visitor.server.address).path
    visitor.enter()

    assert Visitor(visitor.server).send("GET", link)[0] == 403
    assert visitor.ask("GET", "/")[0] == 200


def test_idle_and_slow_connections_hold_up_nobody_and_end(device) -> None:
    with PersonServer(device, seconds=0.3) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            visitor, here = Visitor(server), ("127.0.0.1", server.server_port)
            idle = [socket.create_connection(here, timeout=5) for _ in range(5)]
            idle[0].sendall(b"POST /x HTTP/1.1\r\n")
            assert "Item 3" in visitor.enter()
            head = f"Host: 127.0.0.1:{server.server_port}\r\nContent-Length: 50\r\n\r\n"
            slow = socket.create_connection(here, timeout=5)
            slow.sendall(
                f"POST {visitor.base}/pause HTTP/1.1\r\n{head}paused=1".encode()
            )
            assert "Item 3" in visitor.ask("GET", "/")[1]
            assert b"408" in slow.recv(100)
            assert [one.recv(100) for one in idle] == [b""] * 5
            for one in (slow, *idle):
                one.close()
        finally:
            server.shutdown()
            thread.join()


def test_a_form_without_a_length_is_refused(visitor, device) -> None:
    visitor.enter()
    here = ("127.0.0.1", visitor.server.server_port)
    with socket.create_connection(here, timeout=5) as connection:
        head = (
            f"POST {visitor.base}/pause HTTP/1.1\r\nHost: {here[0]}:{here[1]}\r\n\r\n"
        )
        connection.sendall(head.encode())
        assert b" 411 " in connection.recv(100)
    assert (
        visitor.ask("POST", "/pause")[0] == 403
    )  # http.client says that the length is 0
    assert not device.status.paused


def test_every_answer_forbids_scripts_frames_and_copies(visitor) -> None:
    visitor.enter()
    for path in ("/", "/export", "/receipt", "/nothing"):
        headers = visitor.ask("GET", path)[2]
        assert headers["Content-Security-Policy"].startswith(
            "default-src 'none'; style-src 'sha256"
        )
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert headers["Cache-Control"] == "no-store"


def test_a_switch_is_recorded_with_what_was_shown(visitor, device) -> None:
    visitor.enter()

    page = visitor.press("/agree", purpose="share_dp_metrics", grant="1")
    assert "your answer is recorded" in page
    answered = device.status.answers.newest["share_dp_metrics"]
    assert (answered.state, answered.method, answered.locale) == (
        "granted",
        "person page",
        "en",
    )
    assert "experiments" not in device.status.answers.newest
    visitor.press("/agree", purpose="share_dp_metrics", grant="0")
    assert device.status.answers.newest["share_dp_metrics"].state == "withdrawn"
    assert device.status.consent.allows("local_profile")


def test_every_control_of_the_page_does_what_it_says(visitor, device) -> None:
    visitor.enter()
    visitor.press("/balance", balance="25")
    visitor.press("/limit", shows="1")
    visitor.press("/pause", paused="1")
    visitor.press("/mute", scope="item", value="item-9")

    assert device.status.balance == 0.25
    assert device.controls.limits["rules"][0]["limit"] == 1
    assert device.status.paused
    assert device.controls.muted == [("item", "item-9")]

    visitor.press("/unmute", scope="item", value="item-9")
    visitor.press("/limit", shows="")
    visitor.press("/pause", paused="0")
    assert (device.controls.muted, device.controls.limits) == ([], None)
    assert not device.status.paused


def test_an_interest_can_be_silenced_and_what_is_not_mine_forgotten(
    visitor, device
) -> None:
    visitor.enter()
    page = visitor.press("/interest", item="item-3", use="0")

    assert "does not count" in page
    assert not next(
        one for one in device.explain.interests() if one.value == "item-3"
    ).usable
    visitor.press("/interest", item="item-3", use="1")
    assert next(
        one for one in device.explain.interests() if one.value == "item-3"
    ).usable

    visitor.press("/not-mine", item="item-4")
    assert set(device.status.profile.beliefs) == {"item-3"}
    assert "item-4" not in str(list(device.rights.events()))


def test_what_was_said_of_a_whole_category_is_told_and_can_be_taken_back(
    visitor, device
) -> None:
    category = device.catalog["item-5"].category
    device.observe(Event(kind="dislike", item_id="item-5", scope="category"))

    page = visitor.enter()

    (told,) = [one for one in page_content(device).interests if one.scope]
    assert (told.scope, told.title, told.events[0][0]) == (
        "category",
        category,
        "dislike",
    )
    assert told.strength < 0
    assert f"category: {category}" in page
    visitor.press("/not-mine", item="item-5")
    assert not any(one.scope for one in page_content(device).interests)


def test_erasing_needs_a_tick_and_then_leaves_nothing_known(visitor, device) -> None:
    visitor.enter()

    assert "Not done: sure" in visitor.press("/erase")
    assert device.status.profile.beliefs
    assert "Nothing. No interest is known." in visitor.press("/erase", sure="1")
    assert not device.status.profile.beliefs
    assert device.status.answers.records


WRONG = [
    ("/agree", {"purpose": "ads", "grant": "1"}, "purpose"),
    ("/balance", {"balance": "much"}, "balance"),
    ("/balance", {"balance": "101"}, "balance"),
    ("/limit", {"shows": "-1"}, "shows"),
    ("/mute", {"scope": "planet", "value": "x"}, "scope"),
    ("/not-mine", {}, "scope"),
    ("/nothing", {}, "address"),
]


@pytest.mark.parametrize(("path", "fields", "named"), WRONG)
def test_nonsense_is_refused_in_words_and_changes_nothing(
    visitor, device, path, fields, named
):
    visitor.enter()
    before = device.status.position

    page = visitor.press(path, **fields)

    assert 'role="alert"' in page
    assert named in re.search(r'role="alert">([^<]*)', page)[1]
    assert device.status.position == before


def test_a_form_that_is_too_long_is_refused(visitor) -> None:
    visitor.enter()
    assert visitor.ask("POST", "/mute", {"value": "x" * 9000})[0] == 413


def test_the_downloads_are_complete(visitor, device) -> None:
    visitor.enter()

    export = json.loads(visitor.ask("GET", "/export")[1])
    assert export == json.loads(json.dumps(device.rights.export()))
    receipt = json.loads(visitor.ask("GET", "/receipt")[1])
    assert receipt == device.status.answers.receipt()


def test_page_and_receipt_say_that_noise_is_local() -> None:
    key, other = (base64.b64encode(bytes([n]) * 32).decode() for n in (1, 2))
    pair = Aggregators(
        model="films",
        leader="https://leader.example",
        helper="https://helper.example",
        leader_key=key,
        helper_key=other,
        placement="local",
    )
    with (
        small_device(settings=Settings(path=None, aggregators=pair)) as device,
        PersonServer(device) as server,
    ):
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        visitor = Visitor(server)
        page = visitor.enter()
        receipt = json.loads(visitor.ask("GET", "/receipt")[1])
        server.shutdown()
        thread.join()

    assert "Noise is local" in page
    assert "separate operators" not in page
    assert receipt["noise_added_by"] == "local"
    assert read_receipt(receipt).head == device.status.answers.head


def test_the_language_is_the_browsers_until_one_is_chosen(visitor) -> None:
    visitor.enter()
    german = {"Accept-Language": "de-AT,de"}

    assert '<html lang="de">' in visitor.ask("GET", "/", **german)[1]
    assert '<html lang="en">' in visitor.ask("GET", "/")[1]
    assert '<html lang="en">' in visitor.ask("GET", "/?lang=en", **german)[1]
    assert '<html lang="en">' in visitor.ask("GET", "/", **german)[1]  # it was chosen
    assert visitor.ask("GET", "/?lang=xx")[0] == 404


def test_the_command_writes_a_page_that_can_only_be_read(
    tmp_path: Path, capsys
) -> None:
    path, key = tmp_path / "taste.db", tmp_path / "key"
    key.touch(0o600)
    key.write_bytes(FIXED_KEY.key())
    settings = Settings(path=str(path))
    with Personalizer(small_catalog(), settings, key=FIXED_KEY, consent=LOCAL) as made:
        made.observe(Event(kind="like", item_id="item-3"))
    command = ["person", str(path), "--key-file", str(key)]

    assert (
        main([*command, "--write", str(tmp_path / "page.html"), "--language", "de"])
        == 0
    )
    page = (tmp_path / "page.html").read_text()
    assert "item-3" in page
    assert "<form" not in page
    assert main(["person", str(tmp_path / "none.db"), "--key-file", str(key)]) == 2
    assert main([*command, "--catalog", str(tmp_path / "none.json")]) == 2
    assert capsys.readouterr().err.count("\n") == 2


def test_every_form_of_the_page_has_an_action_behind_it(device) -> None:
    device.controls.mute("item", "item-9")
    page = render(page_content(device), "en", token="t")

    assert set(re.findall(r'method="post" action="/t(/[\w-]+)"', page)) == set(ACTIONS)
    assert not re.findall(r'(?:action|href)="(/(?!t/)[^"]*)"', page)


def test_the_page_tells_the_list_of_now_with_reasons_and_reserves_nothing(
    visitor, device
) -> None:
    visitor.enter()
    before = device.status.position
    listed = device.explain.preview(10)

    for language in LANGUAGES:
        page = visitor.ask("GET", f"/?lang={language}")[1]
        rows = re.findall(r"<li>(.*?) <span class=\"quiet\">(.*?)</span></li>", page)
        told = [
            (one.item.title, "; ".join(r.sentence(language) for r in one.reasons))
            for one in listed
        ]
        assert rows == told
        assert all(reasons for _, reasons in rows)
    assert listed == device.explain.preview(10)
    assert device.status.position == before


def test_whoever_misses_something_is_told_why(visitor, device) -> None:
    device.observe(Event(kind="hide", item_id="item-7"))
    visitor.enter()

    for language in LANGUAGES:
        page = visitor.ask("GET", f"/?lang={language}&why=ITEM+7")[1]
        assert device.explain.why_not("item-7").sentence(language) in page
    assert (
        "Nothing of the app has “zebra” in its name."
        in visitor.ask("GET", "/?lang=en&why=zebra")[1]
    )
    assert "&lt;b&gt;" in visitor.ask("GET", "/?why=%3Cb%3E")[1]


def test_without_the_apps_items_no_list_is_made_up(device) -> None:
    page = render(page_content(device, lists=False), "en", token="t")

    assert "<li>" not in page
    assert "open this page from the app" in page


def test_the_page_can_be_taken_along_to_be_read(visitor) -> None:
    visitor.enter()

    page = visitor.ask("GET", "/page")[1]

    assert "Item 3" in page
    assert "<form" not in page


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_for_which_a_yes_does_not_hold_has_words(language: str) -> None:
    said = texts(language)
    for restricted in (
        Restrictions(os=True),
        Restrictions(gpc=True),
        Restrictions(minor=True),
    ):
        with small_device(consent=Consent(frozenset(PURPOSES))) as device:
            device.restrictions = restricted
            held = [
                one
                for one in page_content(device).switches
                if one.granted and not one.allowed
            ]
            page = render(page_content(device), language, token="t")
        assert held
        for one in held:
            assert said["reason_" + one.reason.split()[0]] in page
            assert f": {one.reason})" not in page
    assert {f"reason_{one}" for one in ("GPP", "TCF", "EXPIRED", "SUPERSEDED")} <= set(
        said
    )


def test_what_is_hidden_is_not_offered_to_be_hidden_again(visitor, device) -> None:
    visitor.enter()
    page = visitor.press("/mute", scope="item", value="item-3")

    assert 'aria-label="Never show: Item 3"' not in page
    assert 'aria-label="Never show: Item 4"' in page


def test_a_quiet_night_is_offered_only_where_the_app_reaches_the_person() -> None:
    push = {"schema": 1, "surfaces": {"push": {"interruptive": True}}}
    for caps, offered in ((None, False), (push, True)):
        with small_device(settings=Settings(path=None, caps=caps)) as device:
            assert (
                'name="quiet"' in render(page_content(device), "en", token="t")
            ) == offered


def test_a_request_with_a_length_that_is_none_is_refused(visitor) -> None:
    visitor.enter()
    assert (
        visitor.ask("POST", "/pause", {"paused": "1"}, **{"Content-Length": "many"})[0]
        == 413
    )

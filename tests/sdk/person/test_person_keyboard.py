"""The page in a real browser, with the keyboard alone."""

import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tactful.device.events import Event
from tactful.person.server import PersonServer
from tactful.testing import small_device

CHROMIUM = shutil.which("chromium")
QUIET = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --remote-debugging-pipe "
    "--disable-background-networking --disable-component-update --disable-sync"
)
MOST_TABS = 80


class Browser:
    """Chromium, spoken to over two pipes: it reads from descriptor 3 and writes to 4."""

    def __init__(self, profile: Path) -> None:
        (theirs_in, self.write), (self.read, theirs_out) = os.pipe(), os.pipe()
        run = f"exec {CHROMIUM} {QUIET} --user-data-dir={profile} 3<&{theirs_in} 4>&{theirs_out}"
        self.process = subprocess.Popen(
            ["bash", "-c", run],
            pass_fds=(theirs_in, theirs_out),
            stderr=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self.numbers, self.pending, self.session = count(1), b"", None
        target = self.ask("Target.createTarget", url="about:blank")["targetId"]
        attached = self.ask("Target.attachToTarget", targetId=target, flatten=True)
        self.session = attached["sessionId"]

    def ask(self, method: str, **params: object) -> dict:
        number = next(self.numbers)
        session = {} if self.session is None else {"sessionId": self.session}
        message = {"id": number, "method": method, "params": params, **session}
        os.write(self.write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def _next(self) -> dict:
        while b"\0" not in self.pending:
            part = os.read(self.read, 1 << 16)
            assert part, "the browser ended"
            self.pending += part
        message, _, self.pending = self.pending.partition(b"\0")
        return json.loads(message)

    def open(self, address: str) -> None:
        self.ask("Page.navigate", url=address)
        self.settle()

    def settle(self) -> None:
        """Wait until the page that is loading is there."""
        for _ in range(200):
            if self.value(
                "document.readyState === 'complete' && location.search !== 'x'"
            ):
                return
            threading.Event().wait(0.02)

    def value(self, expression: str) -> object:
        return self.ask("Runtime.evaluate", expression=expression)["result"].get(
            "value"
        )

    def press(self, key: str, code: int, text: str = "") -> None:
        told = {"key": key, "code": key, "windowsVirtualKeyCode": code}
        typed = {"text": text} if text else {}
        self.ask("Input.dispatchKeyEvent", type="keyDown", **told, **typed)
        self.ask("Input.dispatchKeyEvent", type="keyUp", **told)

    def tab_to(self, wanted: str) -> None:
        """Press Tab until the element so named has the focus, and can be seen to have it."""
        name = "(e => e.getAttribute('aria-label') || e.id || e.textContent)(document.activeElement)"
        for _ in range(MOST_TABS):
            self.press("Tab", 9)
            if self.value(name) == wanted:
                outline = "getComputedStyle(document.activeElement).outlineStyle"
                assert self.value(outline) == "solid"
                return
        raise AssertionError(f"Tab never reaches {wanted!r}")

    def enter(self) -> None:
        self.press("Enter", 13, "\r")

    def close(self) -> None:
        self.session = None
        os.close(self.write)
        os.close(self.read)
        self.process.kill()
        self.process.wait()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    opened = Browser(tmp_path / "profile")
    yield opened
    opened.close()


def wait_for(holds) -> bool:
    for _ in range(200):
        if holds():
            return True
        threading.Event().wait(0.02)
    return False


def test_every_switch_can_be_reached_and_used_without_a_mouse(browser: Browser) -> None:
    with small_device() as device, PersonServer(device) as server:
        device.observe(Event(kind="like", item_id="item-3"))
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            browser.open(server.address)
            assert wait_for(
                lambda: (
                    browser.value("document.title")
                    == "What this device knows about you"
                )
            )
            violations = browser.value("document.querySelectorAll('script').length")
            assert violations == 0
            assert (
                browser.value(
                    "getComputedStyle(document.querySelector('main')).maxWidth"
                )
                == "928px"
            )

            browser.tab_to("Turn on: Share noisy counts about how well it works")
            browser.enter()
            assert wait_for(lambda: device.status.consent.allows("share_dp_metrics"))
            assert wait_for(
                lambda: browser.value("!!document.querySelector('[role=status]')")
            )

            browser.tab_to("weekly")
            browser.press("3", 51, "3")
            browser.enter()
            assert wait_for(lambda: device.controls.limits is not None)
            assert device.controls.limits["rules"][0]["limit"] == 3

            assert wait_for(
                lambda: "limit" in str(browser.value("document.body.innerText"))
            )
            browser.tab_to("Never show: Item 3")
            browser.enter()
            assert wait_for(lambda: device.controls.muted == [("item", "item-3")])
        finally:
            server.shutdown()
            thread.join()

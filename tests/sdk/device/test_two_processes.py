"""Whatever one process erases, folds or takes back, the others say and count what a new one would.

Each opens the vault on its own, as the app and the person's page do.
"""

from __future__ import annotations

import secrets
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tactful.device.event_schema import EventSchema, built_in
from tactful.device.events import Event
from tactful.device.personalizer import Personalizer
from tactful.device.rights.erasure import ErasureScope
from tactful.device.settings import Settings
from tactful.testing import FIXED_KEY, LOCAL, FrozenClock, small_catalog

DAY_MS = 86_400_000
ITEMS = [f"item-{number}" for number in range(5)]
LASTING = EventSchema(replace(signal, expires="2199-12-31") for signal in built_in())
THRICE: dict[str, object] = {
    "schema": 1,
    "rules": [
        {
            "id": "thrice",
            "key": ["item"],
            "window": {"kind": "lifetime"},
            "limit": 3,
            "reason_code": "THRICE",
        }
    ],
}
who = st.sampled_from([0, 1])
items = st.sampled_from(ITEMS)


class TwoProcesses(RuleBasedStateMachine):
    """The app and the page of one person, in any order."""

    @initialize()
    def begin(self) -> None:
        self.path = Path(tempfile.gettempdir()) / f"two-{secrets.token_hex(8)}.db"
        self.clock, self.told = FrozenClock(), list[Event]()
        self.devices = [self.opened(), self.opened()]

    def opened(self) -> Personalizer:
        choices = {
            "key": FIXED_KEY,
            "consent": LOCAL,
            "clock": self.clock,
            "event_schema": LASTING,
        }
        return Personalizer(
            small_catalog(5, 2), Settings(path=str(self.path)), **choices
        )

    @rule(
        one=who,
        item=items,
        kind=st.sampled_from(["like", "view", "click", "hide", "dismiss"]),
    )
    def tell(self, one: int, item: str, kind: str) -> None:
        self.told.append(Event(kind=kind, item_id=item))
        self.devices[one].observe(self.told[-1])

    @rule(one=who, n=st.integers(1, 3), seen=st.booleans())
    def show(self, one: int, n: int, seen: bool) -> None:
        for pick in self.devices[one].recommend(n):
            if seen:
                self.devices[one].observe(pick.impression())

    @rule(one=who)
    def draw_late(self, one: int) -> None:
        """The list stays on the screen while the other process erases."""
        picks = self.devices[one].recommend(2)
        self.devices[1 - one].rights.forget()
        for pick in picks:
            self.devices[one].observe(pick.impression())

    @rule(one=who, item=items)
    def erase(self, one: int, item: str) -> None:
        self.devices[one].rights.erase(ErasureScope(items=frozenset({item})))

    @rule(one=who)
    def forget(self, one: int) -> None:
        self.devices[one].rights.forget()
        self.told.clear()

    @rule(one=who)
    def take_back(self, one: int) -> None:
        known = self.devices[one]._core.vault
        for event in self.told[-1:]:
            with known.snapshot() as view:
                there = view.find(event.event_id)
            if there:
                self.devices[one].controls.undo(event.event_id)

    @rule(one=who, days=st.sampled_from([1, 40, 100, 400]))
    def tidy(self, one: int, days: int) -> None:
        self.clock.advance(days * DAY_MS)
        self.devices[one].rights.purge_expired()

    @invariant()
    def all_say_what_a_new_one_says(self) -> None:
        if not hasattr(self, "devices"):
            return
        said = [self.says(device) for device in self.devices]
        with self.opened() as new:
            assert new.state_lost is None
            assert said == [self.says(new)] * 2

    def says(self, device: Personalizer) -> tuple[object, ...]:
        held = [len(device.explain.why_not(item).denials) for item in ITEMS]
        return (
            device.explain.interests(),
            device._core.likes(device.status),
            held,
            device.controls.muted,
        )

    def teardown(self) -> None:
        for device in getattr(self, "devices", []):
            device.close()
        for part in (
            self.path.parent.glob(f"{self.path.name}*") if hasattr(self, "path") else ()
        ):
            part.unlink()


TestTwoProcesses = TwoProcesses.TestCase
TestTwoProcesses.settings = settings(
    max_examples=20, stateful_step_count=12, deadline=None
)


@pytest.fixture
def both(tmp_path: Path) -> Iterator[tuple[Personalizer, Personalizer, FrozenClock]]:
    """The app, which has shown and learnt, and the page of the same vault."""
    clock, settings = FrozenClock(), Settings(path=str(tmp_path / "v"), caps=THRICE)
    choices = {"key": FIXED_KEY, "consent": LOCAL, "clock": clock}
    with (
        Personalizer(small_catalog(1), settings, **choices) as app,
        Personalizer(small_catalog(1), settings, **choices) as page,
    ):
        app.observe(Event(kind="like", item_id="item-0"))
        for _ in range(2):
            show(app)
        assert app.explain.interests()
        yield app, page, clock


def show(device: Personalizer) -> int:
    picks = device.recommend(1)
    for pick in picks:
        device.observe(pick.impression())
    return len(picks)


def test_all_that_another_process_erased_is_gone_here_and_the_file_stays_whole(
    both,
) -> None:
    app, page, _ = both
    page.rights.forget()

    assert not app.explain.interests()
    assert [show(app) for _ in range(4)] == [1, 1, 1, 0]
    app._core.vault.verify()
    assert [len(page.recommend(1)), page.explain.why_not("item-0").denials[0].used] == [
        0,
        3,
    ]


def test_a_part_that_another_process_erased_is_not_believed_here_any_more(both) -> None:
    app, page, _ = both
    page.rights.erase(ErasureScope(items=frozenset({"item-0"})))

    assert not app.explain.interests()
    assert app._core.likes(app.status) == []
    assert "item-0" not in str(app.rights.export())


def test_what_another_process_found_kept_long_enough_is_not_believed_here(both) -> None:
    app, page, clock = both
    clock.advance(740 * DAY_MS)

    assert page.rights.purge_expired() > 0
    assert not app.explain.interests()


def test_a_total_that_another_process_made_counts_once(both) -> None:
    app, page, clock = both
    clock.advance(120 * DAY_MS)

    assert page.rights.purge_expired() > 0
    assert [show(app) for _ in range(2)] == [1, 0]

"""What is not declared is not recorded, and what was kept long enough is gone from every file."""

import json
from datetime import UTC, datetime

import pytest

from tactful.device.events import KINDS, Event
from tactful.device.personalizer import Personalizer
from tactful.device.settings import Settings
from tactful.device.signals import BUILT_IN, Registry, built_in
from tactful.errors import InvalidInput
from tactful.testing import FIXED_KEY, LOCAL, FrozenClock, small_catalog, small_device

DAY_MS = 86_400_000


def at_ms(day: int) -> int:
    """A day of March 2026 as events are dated."""
    return round(datetime(2026, 3, day, 12, tzinfo=UTC).timestamp() * 1000)


def test_every_kind_of_event_is_declared_and_nothing_else() -> None:
    assert {signal.name for signal in built_in()} == set(KINDS)


def test_the_built_in_declarations_pass_the_check_that_an_app_has_to_pass() -> None:
    assert list(Registry.parse(BUILT_IN.read_bytes())) == list(built_in())


def declared(**changes: object) -> str:
    like = {
        "name": "like",
        "description": "a heart",
        "type": "count",
        "sensitivity": "low",
        "purposes": ["local_profile"],
        "retention_days": 10,
        "expires": "2026-03-02",
        "owner": "us",
    }
    return json.dumps([{**like, **changes}])


WRONG = {
    "name": {"name": "telepathy"},
    "purposes": {"purposes": ["ads"]},
    "purposes (none)": {"purposes": []},
    "retention_days": {"retention_days": 0},
    "expires": {"expires": "soon"},
    "description, owner": {"owner": ""},
    "0.sensitivity": {"sensitivity": "some"},
    "0.extra": {"extra": 1},
}


@pytest.mark.parametrize(("field", "changes"), WRONG.items(), ids=WRONG)
def test_a_declaration_that_cannot_be_is_named(field: str, changes: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match=field.split(" (")[0].replace(".", r"\.")):
        Registry.parse(declared(**changes))


def test_a_signal_declared_twice_is_refused() -> None:
    one = declared()[1:-1]
    with pytest.raises(InvalidInput, match=r"signals\.like\.name"):
        Registry.parse(f"[{one}, {one}]")


@pytest.mark.parametrize(
    ("name", "purpose", "day", "match"),
    [
        ("save", "local_profile", 2, "'save' is not declared"),
        ("like", "local_profile", 3, "may not be recorded since 2026-03-02"),
        ("like", "essential", 2, "not declared for essential"),
    ],
)
def test_what_is_undeclared_expired_or_for_another_purpose_is_not_recorded(
    name: str, purpose: str, day: int, match: str
) -> None:
    registry = Registry.parse(declared())

    registry.require("like", "local_profile", at_ms(2))
    with pytest.raises(InvalidInput, match=match):
        registry.require(name, purpose, at_ms(day))


def test_a_device_records_nothing_that_is_not_declared() -> None:
    with small_device(signals=Registry.parse(declared())) as device:
        device.observe(Event(kind="like", item_id="item-1"))
        with pytest.raises(InvalidInput, match="'save' is not declared"):
            device.observe(Event(kind="save", item_id="item-1"))
        assert set(device.memory.profile.beliefs) == {"item-1"}


def test_what_was_kept_long_enough_is_gone_from_every_file(tmp_path) -> None:
    clock = FrozenClock(datetime(2026, 3, 1, tzinfo=UTC))
    settings = Settings(path=str(tmp_path / "taste.db"))
    signals = Registry.parse(declared(expires="2027-01-01"))
    choices = {"key": FIXED_KEY, "consent": LOCAL, "clock": clock, "signals": signals}
    with Personalizer(small_catalog(), settings, **choices) as device:
        device.observe(Event(kind="like", item_id="item-1"))
        old = sealed_bytes(tmp_path)
        clock.advance(10 * DAY_MS)
        device.observe(Event(kind="like", item_id="item-2"))
        assert device.tidy() == 0

        clock.advance(DAY_MS)
        assert device.tidy() == 1
        assert set(device.memory.profile.beliefs) == {"item-2"}
        files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert old not in files


def sealed_bytes(folder) -> bytes:
    """The sealed record of the newest event, as it lies in the file."""
    import sqlite3

    with sqlite3.connect(folder / "taste.db") as raw:
        rows = raw.execute("select sealed from record order by position desc limit 1").fetchone()
    raw.close()
    return rows[0]

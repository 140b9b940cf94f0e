"""What is not declared is not recorded, and what was kept long enough is gone from every file."""

import json
from datetime import UTC, datetime

import pytest

from tactful.device.event_schema import BUILT_IN, EventSchema, built_in
from tactful.device.events import KINDS, Event
from tactful.device.personalizer import Personalizer
from tactful.device.settings import Settings
from tactful.errors import InvalidInput
from tactful.testing import FIXED_KEY, LOCAL, FrozenClock, small_catalog, small_device

DAY_MS = 86_400_000
ONCE: dict[str, object] = {
    "schema": 1,
    "rules": [
        {
            "id": "once",
            "key": ["item"],
            "window": {"kind": "lifetime"},
            "limit": 1,
            "reason_code": "ONCE",
        }
    ],
}


def at_ms(day: int) -> int:
    """A day of March 2026 as events are dated."""
    return round(datetime(2026, 3, day, 12, tzinfo=UTC).timestamp() * 1000)


def test_every_kind_of_event_is_declared_and_nothing_else() -> None:
    assert {signal.name for signal in built_in()} == set(KINDS)


def test_the_built_in_declarations_pass_the_check_that_an_app_has_to_pass() -> None:
    assert list(EventSchema.parse(BUILT_IN.read_bytes())) == list(built_in())


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
def test_a_declaration_that_cannot_be_is_named(
    field: str, changes: dict[str, object]
) -> None:
    with pytest.raises(InvalidInput, match=field.split(" (")[0].replace(".", r"\.")):
        EventSchema.parse(declared(**changes))


def test_a_signal_declared_twice_is_refused() -> None:
    one = declared()[1:-1]
    with pytest.raises(InvalidInput, match=r"signals\.like\.name"):
        EventSchema.parse(f"[{one}, {one}]")


@pytest.mark.parametrize(
    ("name", "purpose", "match"),
    [
        ("save", "local_profile", "'save' is not declared"),
        ("like", "essential", "not declared for essential"),
    ],
)
def test_what_is_undeclared_or_for_another_purpose_is_not_recorded(
    name: str, purpose: str, match: str
) -> None:
    registry = EventSchema.parse(declared())

    registry.require("like", "local_profile")
    with pytest.raises(InvalidInput, match=match):
        registry.require(name, purpose)


def test_a_declaration_ends_after_its_last_day() -> None:
    registry = EventSchema.parse(declared())

    assert [registry.expired("like", at_ms(day)) for day in (1, 2, 3)] == [
        False,
        False,
        True,
    ]


def test_no_built_in_declaration_ends() -> None:
    """A device whose clock runs ahead must not lose its limits, nor one that is never updated."""
    late = round(datetime(2199, 1, 1, tzinfo=UTC).timestamp() * 1000)

    assert not [
        signal.name for signal in built_in() if built_in().expired(signal.name, late)
    ]


@pytest.mark.parametrize("year", [2029, 2150])
def test_a_clock_set_years_ahead_stops_neither_events_nor_limits(year: int) -> None:
    clock = FrozenClock(datetime(year, 1, 1, tzinfo=UTC))
    with small_device(
        small_catalog(1), Settings(path=None, caps=ONCE), clock=clock
    ) as device:
        [pick] = device.recommend(1)
        device.observe(pick.impression())
        device.observe(Event(kind="like", item_id="item-0"))
        device.observe(Event(kind="hide", item_id="item-0"))

        assert not device.recommend(1)
        assert set(device.status.profile.beliefs) == {"item-0"}


def test_an_expired_kind_is_logged_and_counts_for_limits_only(
    caplog: pytest.LogCaptureFixture,
) -> None:
    rows = [
        {**json.loads(declared())[0], "name": kind}
        for kind in ("impression", "click", "like")
    ]
    clock = FrozenClock(datetime(2026, 3, 3, tzinfo=UTC))
    choices = {"settings": Settings(path=None, caps=ONCE), "clock": clock}
    with small_device(
        small_catalog(1), event_schema=EventSchema.parse(json.dumps(rows)), **choices
    ) as me:
        [pick] = me.recommend(1)
        for _ in range(2):
            me.observe(pick.impression())
            me.observe(Event(kind="click", item_id="item-0"))
            me.observe(Event(kind="like", item_id="item-0"))

        assert not me.recommend(1)
        assert {event.kind for event in me.rights.events()} == {"impression", "click"}
        assert {event.purpose for event in me.rights.events()} == {"essential"}
        assert not me.status.profile.beliefs
        assert not me.status.profile.exposures
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 3
    assert "item-0" not in " ".join(told)


def test_a_device_records_nothing_that_is_not_declared() -> None:
    with small_device(event_schema=EventSchema.parse(declared())) as device:
        device.observe(Event(kind="like", item_id="item-1"))
        with pytest.raises(InvalidInput, match="'save' is not declared"):
            device.observe(Event(kind="save", item_id="item-1"))
        assert set(device.status.profile.beliefs) == {"item-1"}


def test_what_was_kept_long_enough_is_gone_from_every_file(tmp_path) -> None:
    clock = FrozenClock(datetime(2026, 3, 1, tzinfo=UTC))
    settings = Settings(path=str(tmp_path / "taste.db"))
    signals = EventSchema.parse(declared(expires="2027-01-01"))
    choices = {
        "key": FIXED_KEY,
        "consent": LOCAL,
        "clock": clock,
        "event_schema": signals,
    }
    with Personalizer(small_catalog(), settings, **choices) as device:
        device.observe(Event(kind="like", item_id="item-1"))
        old = sealed_bytes(tmp_path)
        clock.advance(10 * DAY_MS)
        device.observe(Event(kind="like", item_id="item-2"))
        assert device.rights.purge_expired() == 0

        clock.advance(DAY_MS)
        assert device.rights.purge_expired() == 1
        assert set(device.status.profile.beliefs) == {"item-2"}
        files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
        assert old not in files


def sealed_bytes(folder) -> bytes:
    """The sealed record of the newest event, as it lies in the file."""
    import sqlite3

    with sqlite3.connect(folder / "taste.db") as raw:
        rows = raw.execute(
            "select sealed from record order by position desc limit 1"
        ).fetchone()
    raw.close()
    return rows[0]

"""Erasing a part leaves nothing of it in any file, and everything else as it was."""

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tactful.device.events import Event
from tactful.device.personalizer import Personalizer
from tactful.device.rights.erasure import ErasureScope
from tactful.device.settings import Settings
from tactful.errors import InvalidInput
from tactful.testing import FIXED_KEY, LOCAL, FrozenClock, small_catalog

DAY_MS = 86_400_000
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def device(tmp_path: Path):
    """Three days: each item liked once, lists on two surfaces, one item hidden."""
    clock = FrozenClock(START)
    settings = Settings(path=str(tmp_path / "taste.db"))
    choices = {"key": FIXED_KEY, "consent": LOCAL, "clock": clock}
    with Personalizer(small_catalog(10), settings, **choices) as made:
        for day in range(3):
            for number in range(day * 3, day * 3 + 3):
                made.observe(Event(kind="like", item_id=f"item-{number}"))
            for pick in made.recommend(3, surface=("home", "shop")[day % 2]):
                made.observe(pick.impression())
            clock.advance(DAY_MS)
        made.observe(Event(kind="hide", item_id="item-9"))
        yield made


def told(device: Personalizer) -> str:
    return str(device.rights.export())


def sealed(folder: Path) -> dict[int, bytes]:
    """Every sealed record, as it lies in the file."""
    with sqlite3.connect(folder / "taste.db") as raw:
        rows = dict(raw.execute("select position, sealed from record"))
    raw.close()
    return rows


PARTS = {
    "item": (ErasureScope(items=frozenset({"item-1"})), ["item-1"]),
    "category": (
        ErasureScope(categories=frozenset({"kind-2"})),
        ["item-2", "item-7", "kind-2"],
    ),
    "surface": (ErasureScope(surfaces=frozenset({"shop"})), ["shop"]),
}


@pytest.mark.parametrize(("part", "words"), PARTS.values(), ids=PARTS)
def test_nothing_of_the_part_is_left_in_the_vault_or_in_any_file(
    device, tmp_path: Path, part: ErasureScope, words: list[str]
) -> None:
    assert all(word in told(device) for word in words)
    before = sealed(tmp_path)

    assert device.rights.erase(part) > 0

    assert [word for word in words if word in told(device)] == []
    after = sealed(tmp_path)
    old = [blob for position, blob in before.items() if after.get(position) != blob]
    files = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert old
    assert [blob for blob in old if blob in files] == []


@pytest.mark.parametrize(("part", "words"), PARTS.values(), ids=PARTS)
def test_what_is_left_can_be_read_and_goes_on(
    device, part: ErasureScope, words: list[str]
) -> None:
    kept = set(device.status.profile.beliefs) - set(words)
    device.rights.erase(part)

    device._core.vault.verify()
    assert kept - {"item-9"} <= set(device.status.profile.beliefs) | set(words)
    for pick in device.recommend(3):
        device.observe(pick.impression())
    device.observe(Event(kind="like", item_id="item-1"))
    assert "item-1" in device.status.profile.beliefs


def test_an_erased_item_is_no_longer_counted_and_the_others_are(device) -> None:
    shown = [
        event.item_id for event in device.rights.events() if event.kind == "impression"
    ]
    gone, kept = shown[0], shown[1]
    before = len(device.explain.why_not(kept).denials)
    device.rights.erase(ErasureScope(items=frozenset({gone})))

    assert not device.explain.why_not(gone).denials
    assert len(device.explain.why_not(kept).denials) == before


def test_a_day_is_erased_and_the_days_around_it_stay(device) -> None:
    day = START + timedelta(days=1)
    device.rights.erase(ErasureScope(since=day, until=day + timedelta(hours=1)))

    assert set(device.status.profile.beliefs) == {
        f"item-{n}" for n in (0, 1, 2, 6, 7, 8, 9)
    }
    days = {
        event.at_ms // DAY_MS
        for event in device.rights.events()
        if event.kind == "impression"
    }
    first = int(START.timestamp()) // 86_400
    assert days == {first, first + 2}


def test_what_was_hidden_stays_hidden_unless_it_is_named_too(device) -> None:
    everything = {"items": frozenset({"item-9"})}
    device.rights.erase(ErasureScope(**everything))
    assert device.controls.muted == [("item", "item-9")]

    device.rights.erase(ErasureScope(**everything, hides=True))
    assert device.controls.muted == []
    assert "item-9" not in told(device)


def test_erasing_twice_changes_nothing_more(device) -> None:
    part = ErasureScope(items=frozenset({"item-1"}))
    device.rights.erase(part)

    assert device.rights.erase(part) == 0


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"since": datetime(2026, 3, 1)},
        {"since": START, "until": START},
    ],
)
def test_a_part_that_names_nothing_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput, match="scope"):
        ErasureScope(**wrong)

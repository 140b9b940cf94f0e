"""A vault that was damaged, lost or put back: it is seen, nothing is thrown away, caps tighten."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tactful.device.events import Event
from tactful.device.personalizer import Personalizer
from tactful.device.settings import Settings
from tactful.device.vault import Vault
from tactful.errors import InvalidInput, VaultDamaged, VaultForeign, WrongKey
from tactful.testing import FIXED_KEY, LOCAL, FrozenClock, small_catalog

DAY_MS = 86_400_000
FOUR_A_WEEK = {
    "schema": 1,
    "rules": [
        {
            "id": "week",
            "key": ["item"],
            "window": {"kind": "sliding", "ms": 7 * DAY_MS},
            "limit": 4,
            "reason_code": "WEEK",
        }
    ],
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A device that showed each of three items once, and a copy of its files from before that."""
    clock = FrozenClock()
    with opened(tmp_path, clock) as device:
        device.observe(Event(kind="click", item_id="item-0"))
    (tmp_path / "backup").mkdir()
    shutil.copy(tmp_path / "taste.db", tmp_path / "backup")
    with opened(tmp_path, clock) as device:
        for pick in device.recommend(3):
            device.observe(pick.impression())
    return tmp_path


def opened(
    folder: Path, clock: FrozenClock | None = None, **choices: object
) -> Personalizer:
    settings = Settings(path=str(folder / "taste.db"), caps=FOUR_A_WEEK, **choices)
    clock = clock or FrozenClock()
    return Personalizer(
        small_catalog(3), settings, key=FIXED_KEY, consent=LOCAL, clock=clock
    )


def shows_left(device: Personalizer) -> int:
    """How often all items together can be shown now."""
    count = 0
    while picks := device.recommend(3):
        for pick in picks:
            device.observe(pick.impression())
        count += len(picks)
    return count


def damage(folder: Path) -> None:
    path = folder / "taste.db"
    pages = bytearray(path.read_bytes())
    pages[4096 : len(pages)] = bytes(len(pages) - 4096)
    path.write_bytes(pages)


def truncate(folder: Path) -> None:
    path = folder / "taste.db"
    path.write_bytes(path.read_bytes()[:5000])


def lose(folder: Path) -> None:
    (folder / "taste.db").unlink()


def put_back(folder: Path) -> None:
    shutil.copy(folder / "backup" / "taste.db", folder)


def move(folder: Path) -> None:
    (folder / "taste.db.mark").unlink()


LOSSES = {
    "damaged": (damage, "damaged"),
    "truncated": (truncate, "damaged"),
    "lost": (lose, "another vault was here before"),
    "put back": (put_back, "an older copy"),
    "put back elsewhere": (move, "without its marker"),
}


def test_a_vault_that_is_as_it_was_left_lost_nothing(folder: Path) -> None:
    with opened(folder) as device:
        assert device.state_lost is None


@pytest.mark.parametrize(("crime", "told"), LOSSES.values(), ids=LOSSES)
def test_a_loss_is_told_and_half_of_each_limit_counts_as_used(
    folder: Path, crime: Callable[[Path], None], told: str
) -> None:
    crime(folder)

    with opened(folder) as device:
        assert told in str(device.state_lost)
        assert shows_left(device) <= 3 * 2


def test_closed_shows_nothing_for_a_day_and_then_goes_on(folder: Path) -> None:
    lose(folder)
    clock = FrozenClock()

    with opened(folder, clock, on_state_loss="closed") as device:
        assert shows_left(device) == 0
        assert "WEEK" in {
            denial.reason_code for denial in device.explain.why_not("item-1").denials
        }
        clock.advance(DAY_MS)
        assert shows_left(device) == 3 * 4


def test_without_a_note_of_the_loss_a_new_file_would_be_a_licence(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tactful.device.vault.marker import Marker

    lose(folder)
    monkeypatch.setattr(Marker, "mismatch", lambda *_: None)

    with opened(folder) as device:
        assert shows_left(device) == 3 * 4


def test_a_damaged_file_is_kept_beside_the_new_one(folder: Path) -> None:
    truncate(folder)
    before = (folder / "taste.db").read_bytes()

    with opened(folder) as device:
        assert "taste.db.damaged-1" in str(device.state_lost)
    assert (folder / "taste.db.damaged-1").read_bytes() == before


def test_after_a_loss_the_vault_is_the_one_that_was_here(folder: Path) -> None:
    lose(folder)
    opened(folder).close()

    with opened(folder) as device:
        assert device.state_lost is None


def test_the_wrong_key_and_a_foreign_file_are_no_losses(folder: Path) -> None:
    from tactful.device.device_key import HostKey

    choices = {"key": HostKey(bytes(32)), "consent": LOCAL}
    with pytest.raises(WrongKey):
        Personalizer(
            small_catalog(), Settings(path=str(folder / "taste.db")), **choices
        )
    (folder / "letter.txt").write_text("no database\n" * 200)
    with pytest.raises(VaultForeign):
        Personalizer(
            small_catalog(), Settings(path=str(folder / "letter.txt")), **choices
        )
    assert (folder / "letter.txt").read_text().startswith("no database")


def test_a_tool_that_only_reads_refuses_what_is_damaged(folder: Path) -> None:
    damage(folder)

    with pytest.raises(VaultDamaged):
        Vault.open(folder / "taste.db", FIXED_KEY).check()


def test_there_is_no_open_mode() -> None:
    with pytest.raises(InvalidInput, match="on_state_loss"):
        Settings(path=None, on_state_loss="open")


def by_default(folder: Path, clock: FrozenClock) -> Personalizer:
    """A device with every setting as it is by default."""
    settings = Settings(path=str(folder / "taste.db"))
    return Personalizer(
        small_catalog(5), settings, key=FIXED_KEY, consent=LOCAL, clock=clock
    )


@pytest.fixture
def restored(tmp_path: Path) -> tuple[Path, FrozenClock]:
    """A backup without its marker, by default rules; `item-0` was shown as often as it may be."""
    clock = FrozenClock()
    with by_default(tmp_path, clock) as device:
        for _ in range(2):
            [pick] = device.recommend(
                1, exclude=[f"item-{number}" for number in range(1, 5)]
            )
            device.observe(pick.impression())
            clock.advance(1000)
            device.observe(Event(kind="click", item_id="item-0"))
        assert device.explain.why_not("item-0").denials
    (tmp_path / "elsewhere").mkdir()
    shutil.copy(tmp_path / "taste.db", tmp_path / "elsewhere")
    return tmp_path / "elsewhere", clock


def test_after_a_restore_the_default_list_is_not_empty_and_says_why_it_is_short(
    restored: tuple[Path, FrozenClock],
) -> None:
    folder, clock = restored
    with by_default(folder, clock) as device:
        assert device.state_lost is not None
        picks = device.recommend(5)
        assert {pick.item.id for pick in picks} == {
            f"item-{number}" for number in range(1, 5)
        }
        for pick in picks:
            device.observe(pick.impression())
            clock.advance(1000)
            device.observe(Event(kind="click", item_id=pick.item.id))

        often, held = device.explain.why_not("item-0"), device.explain.why_not("item-1")
        assert not any(
            denial.restored for denial in often.denials if denial.window == "sliding"
        )
        assert all(denial.restored for denial in held.denials)
        assert "put back from a backup" in held.sentence()
        assert "Sicherung" in held.sentence("de")
        assert "often" not in held.sentence().replace("less often", "")
        clock.advance(DAY_MS)
        assert not device.explain.why_not("item-1").denials


@pytest.mark.parametrize(
    ("limit", "left"), [(0, 0), (1, 1), (2, 1), (3, 1), (4, 2), (5, 2)]
)
def test_a_fault_halves_a_limit_and_leaves_one_show_once(
    tmp_path: Path, limit: int, left: int
) -> None:
    rule = {**FOUR_A_WEEK["rules"][0], "limit": limit}
    settings = Settings(
        path=str(tmp_path / "taste.db"), caps={"schema": 1, "rules": [rule]}
    )
    choices = {"key": FIXED_KEY, "consent": LOCAL, "clock": FrozenClock()}
    Personalizer(small_catalog(1), settings, **choices).close()
    move(tmp_path)
    with Personalizer(small_catalog(1), settings, **choices) as device:
        assert shows_left(device) == left
    move(tmp_path)
    with Personalizer(small_catalog(1), settings, **choices) as device:
        assert shows_left(device) == 0  # a second fault on one day is no licence

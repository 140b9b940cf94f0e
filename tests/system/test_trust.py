"""Nothing proves that a vault is the first: every new one waits, and joins only newer rounds."""

import sys
from datetime import timedelta
from pathlib import Path

import pytest

from tactful.device.settings import Settings
from tactful.device.vault.rollback_anchor import RollbackAnchorFile
from tactful.errors import InvalidInput, TrustPending

sys.path.insert(0, str(Path(__file__).parents[1] / "server_aggregator"))
from clocked_town import DAY, Town

DAY_MS = 1000 * DAY
WEEK = 7


@pytest.fixture
def town(tmp_path: Path):
    town = Town(tmp_path)
    yield town
    town.pair.close()


class Phone:
    """One device whose app data can be wiped; pair and device live on the same time."""

    def __init__(self, town: Town) -> None:
        self.town, self.clock, self.anchor = (
            town,
            town.clock(),
            RollbackAnchorFile(town.folder / "anchor"),
        )

    def lives(self, days: float) -> None:
        self.clock.advance(round(days * DAY_MS))
        self.town.pair.now += round(days * DAY)

    def opened(self, model: str = "shop", *, days: int = WEEK, anchored: bool = True):
        anchor = self.anchor if anchored else None
        return self.town.device(model, self.clock, anchor, trust_days=days)

    def wiped(self, *, anchor: bool = True) -> None:
        for file in self.town.folder.glob("device.db*"):
            file.unlink()
        if anchor:
            Path(self.anchor.path).unlink(missing_ok=True)

    def contributes(self, model: str = "shop") -> bool:
        with self.opened(model) as me:
            try:
                return not me.sharing.contribute().repeated
            except TrustPending:
                return False


@pytest.mark.parametrize("days", [0, -1])
def test_an_app_cannot_leave_the_waiting_out(days: int, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"settings\.trust_days"):
        Settings(path=None, trust_days=days)
    (tmp_path / "app.toml").write_text(f"trust_days = {days}")
    with pytest.raises(InvalidInput, match="trust_days"):
        Settings.from_file(tmp_path / "app.toml")


@pytest.mark.parametrize("anchored", [True, False])
def test_a_first_install_waits_whether_it_has_an_anchor_or_not(
    town: Town, anchored: bool
) -> None:
    phone = Phone(town)
    phone.lives(1)
    with phone.opened(anchored=anchored) as me:
        with pytest.raises(TrustPending, match=r"7\.0 more days"):
            me.sharing.contribute()
        assert town.uploads == []


def test_after_the_waiting_it_joins_rounds_that_opened_since_and_no_older_one(
    town: Town,
) -> None:
    phone = Phone(town)
    town.opened("long", round_seconds=60 * DAY)
    phone.lives(0.1)
    assert not phone.contributes("long")
    phone.lives(2)
    town.opened("new")
    phone.lives(5.5)

    assert not phone.contributes("long")
    assert phone.contributes("new")
    phone.lives(20)
    assert not phone.contributes(
        "long"
    )  # the anchor knows the ledger now: it changes nothing
    assert town.uploads[1:] == []


@pytest.mark.parametrize("anchor", [True, False], ids=["with the anchor", "without it"])
def test_wiping_the_app_data_again_and_again_gives_one_report_in_a_round(
    town: Town, anchor: bool
) -> None:
    phone = Phone(town)
    phone.contributes()  # the vault begins
    phone.lives(2)
    town.opened("long", round_seconds=200 * DAY)
    phone.lives(6)
    assert phone.contributes("long")
    for _ in range(3):
        phone.wiped(anchor=anchor)
        assert not phone.contributes("long")
        phone.lives(8)
        assert not phone.contributes("long")

    assert len(town.uploads) == 1


def test_a_lost_mark_is_no_mark(town: Town) -> None:
    phone = Phone(town)
    phone.contributes()
    phone.lives(2)
    town.opened("first")
    town.opened("second", round_seconds=60 * DAY)
    phone.lives(6)
    assert phone.contributes("first")
    Path(phone.anchor.path).unlink()
    assert not phone.contributes("second")
    phone.lives(8)
    assert not phone.contributes(
        "second"
    )  # it opened before the ledger was known again


def test_turning_the_clock_back_lets_no_wiped_device_in(town: Town) -> None:
    phone = Phone(town)
    phone.lives(1)
    phone.contributes()
    phone.clock.advance(WEEK * DAY_MS)
    phone.clock.push_wall(-WEEK * DAY_MS)

    assert not phone.contributes()
    assert town.uploads == []


@pytest.mark.parametrize("years", [-3, 3])
def test_a_clock_that_was_wrong_at_the_first_start_neither_opens_nor_locks(
    town: Town, years: int
) -> None:
    phone = Phone(town)
    town.opened("long", round_seconds=60 * DAY)
    phone.lives(1)
    wrong = round(timedelta(days=365 * years).total_seconds() * 1000)
    phone.clock.push_wall(wrong)
    with phone.opened() as me, pytest.raises(TrustPending):
        me.sharing.contribute()
    phone.clock.push_wall(-wrong)
    phone.lives(2)
    town.opened("new", round_seconds=60 * DAY)
    phone.lives(8)

    assert not phone.contributes("long")
    assert phone.contributes("new")
    assert len(town.uploads) == 1


def test_what_a_lost_ledger_had_spent_is_charged_again_and_its_rounds_are_over(
    town: Town,
) -> None:
    phone = Phone(town)
    phone.contributes()
    phone.lives(2)
    town.opened("first", round_seconds=60 * DAY)
    phone.lives(6)
    assert phone.contributes("first")
    with phone.opened("first") as me:
        spent = me.status.ledger.spent
    phone.wiped(anchor=False)
    assert not phone.contributes("first")
    with phone.opened("first") as me:
        assert [one.purpose for one in me.status.ledger.charges] == ["carried"]
        assert me.status.ledger.spent == spent
    phone.lives(2)
    town.opened("second", round_seconds=60 * DAY)
    phone.lives(6)

    assert phone.contributes("second")
    assert len(town.uploads) == 2

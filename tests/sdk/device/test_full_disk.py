"""What the person refuses holds in this process at once, whatever the disk does, and is stored."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tactful.device.consent import Consent
from tactful.device.events import Event
from tactful.device.personalizer import Personalizer
from tactful.device.settings import Settings
from tactful.errors import ConsentMissing, NotStored, StorageFull
from tactful.testing import FIXED_KEY, LOCAL, FrozenClock, small_catalog

SHARING = LOCAL.grant("share_dp_updates", "diagnostics")


def opened(folder: Path, consent: Consent | None = None) -> Personalizer:
    settings = Settings(path=str(folder / "taste.db"))
    clock = FrozenClock()
    return Personalizer(
        small_catalog(), settings, key=FIXED_KEY, consent=consent, clock=clock
    )


@pytest.fixture
def device(tmp_path: Path) -> Iterator[Personalizer]:
    with opened(tmp_path, SHARING) as made:
        made.observe(Event(kind="like", item_id="item-3"))
        yield made


@contextmanager
def full_disk(device: Personalizer) -> Iterator[None]:
    """SQLite refuses every new page while the block runs."""
    connection = device._core.vault._lines.current().connection
    _fill_free_pages(device)
    pages = connection.execute("pragma page_count").fetchone()[0]
    connection.execute(f"pragma max_page_count = {pages}")
    yield
    with suppress(sqlite3.ProgrammingError):  # closed by the test
        connection.execute("pragma max_page_count = 1000000")


def _fill_free_pages(device: Personalizer) -> None:
    """Write until the next record needs a page of its own, as on a disk without any room."""
    connection = device._core.vault._lines.current().connection
    pages = connection.execute("pragma page_count").fetchone()[0]
    connection.execute(f"pragma max_page_count = {pages}")
    for size in (1000, 100, 1):
        with suppress(StorageFull):
            while True:
                device._core.vault.append(
                    "exposure", {"experiment": "x" * size, "day": 0}
                )


def test_a_withdrawal_holds_at_once_and_is_stored_with_the_next_write(
    device: Personalizer, tmp_path: Path
) -> None:
    with full_disk(device):
        with pytest.raises(NotStored, match="stored with the next write"):
            device.agree(Consent())
        assert not device.status.consent.allows("local_profile")
        for act in (
            device.sharing.contribute,
            lambda: device.observe(Event(kind="like", item_id="item-4")),
        ):
            with pytest.raises(ConsentMissing):
                act()
        assert device.status.answers.consent.allows(
            "local_profile"
        )  # the vault says yes

    device.recommend(1)
    assert device.status.answers.newest["local_profile"].state == "withdrawn"
    device.close()
    with opened(tmp_path) as later:
        assert not later.status.consent.allows("share_dp_updates")


def test_a_withdrawal_is_stored_on_close(device: Personalizer, tmp_path: Path) -> None:
    with full_disk(device), pytest.raises(NotStored):
        device.agree(Consent())
    device.close()

    with opened(tmp_path) as later:
        assert later.status.answers.newest["local_profile"].state == "withdrawn"


def test_a_withdrawal_that_is_lost_on_close_is_told(device: Personalizer) -> None:
    with full_disk(device):
        with pytest.raises(NotStored):
            device.agree(Consent())
        with pytest.raises(NotStored, match="ask the person again"):
            device.close()
    device._core._unstored_answers.clear()


def test_a_yes_after_a_no_holds_again(device: Personalizer) -> None:
    with full_disk(device):
        with pytest.raises(NotStored):
            device.agree(Consent())
        with pytest.raises(NotStored):
            device.agree(LOCAL)
        assert device.status.consent.allows("local_profile")
        assert not device.status.consent.allows("share_dp_updates")
    device.recommend(1)
    assert device.status.answers.newest["share_dp_updates"].state == "withdrawn"


@pytest.mark.parametrize("kind", ["hide", "report", "dismiss"])
def test_what_is_hidden_is_hidden_at_once_and_stored_later(
    device: Personalizer, tmp_path: Path, kind: str
) -> None:
    with full_disk(device):
        with pytest.raises(NotStored, match=kind):
            device.observe(Event(kind=kind, item_id="item-3"))
        assert "item-3" not in [item.item.id for item in device.explain.preview(30)]
    for _ in range(2):
        assert "item-3" not in [pick.item.id for pick in device.recommend(30)]
    device.close()

    with opened(tmp_path) as later:
        assert [event.kind for event in later.rights.events()].count(kind) == 1
        assert later.explain.why_not("item-3").denials


def test_a_mute_holds_at_once_and_is_stored_later(
    device: Personalizer, tmp_path: Path
) -> None:
    with full_disk(device):
        with pytest.raises(NotStored, match="mute"):
            device.controls.mute("category", "kind-3")
        assert device.controls.muted == [("category", "kind-3")]
        assert not [
            one for one in device.explain.preview(30) if one.item.category == "kind-3"
        ]
    device.close()

    with opened(tmp_path) as later:
        assert later.controls.muted == [("category", "kind-3")]


def test_a_dislike_holds_at_once_and_counts_once(
    device: Personalizer, tmp_path: Path
) -> None:
    before = device.status.profile.likes(0)
    with full_disk(device):
        with pytest.raises(NotStored, match="dislike"):
            device.observe(Event(kind="dislike", item_id="item-3"))
        at_once = device.status.profile.likes(0)
    device.recommend(1)

    assert at_once != before
    assert device.status.profile.likes(0) == at_once
    device.close()
    with opened(tmp_path) as later:
        assert [event.kind for event in later.rights.events()].count("dislike") == 1


def test_whatever_is_not_granted_is_denied(tmp_path: Path) -> None:
    with opened(tmp_path) as device:
        device.agree(Consent())
        answers = device.status.answers
        assert {one.state for one in answers.newest.values()} == {"denied"}
        assert not answers.may_ask("share_dp_updates", now=2**40, policy_version="1")
        assert device.status.consent.allows("essential")


def test_refusing_essential_ends_all_recording_until_it_is_granted(
    tmp_path: Path,
) -> None:
    with opened(tmp_path, SHARING) as device:
        [pick] = device.recommend(1)
        device.observe(Event(kind="hide", item_id="item-5"))
        device.agree(SHARING.withdraw("essential"))
        before = device._core.vault.position
        device.observe(pick.impression())
        for another in device.recommend(3):
            device.observe(another.impression())
        device.observe(Event(kind="hide", item_id="item-9"))
        assert device._core.vault.position == before
        assert device.status.consent.reasons["local_profile"] == "NEEDS essential"
        shown = [item.item.id for item in device.explain.preview(30)]
        assert not {"item-5", "item-9"} & set(shown)
    with opened(tmp_path, SHARING) as later:
        assert len(later.recommend(2)) == 2
        assert not later.status.consent.allows("local_profile")
        assert later._core.vault.position == before
        assert "item-5" not in [item.item.id for item in later.explain.preview(30)]
        later.agree(SHARING.grant("essential"))
        later.observe(Event(kind="like", item_id="item-7"))
        assert later._core.vault.position > before


def test_the_trace_goes_with_diagnostics(device: Personalizer) -> None:
    device.recommend(3)
    assert list(device._core.vault.read(0, ["list_trace"]))

    device.agree(LOCAL)

    assert not list(device._core.vault.read(0, ["list_trace"]))

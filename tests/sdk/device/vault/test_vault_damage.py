"""No changed byte keeps an app from starting for ever, and no error of it is without a type."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from vault_damage import fault_of, flipped, opened, places, use, used

from tactful.device.device_key import KeyFile
from tactful.device.events import Event
from tactful.device.vault import Vault
from tactful.errors import VaultDamaged, WrongKey

HEADER_BYTES = 100


@pytest.fixture(scope="module")
def scratch() -> Iterator[Path]:
    """A folder in memory where the system has one: each of many starts waits for the disk."""
    memory = Path("/dev/shm")  # noqa: S108 - a folder of its own is made in it
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def intact(scratch: Path) -> Path:
    used(scratch / "intact")
    return scratch / "intact"


def test_an_intact_copy_opens(intact: Path, tmp_path: Path) -> None:
    assert use(flipped(intact, tmp_path / "copy", "taste.db", 0, 0)) is None


def test_every_byte_of_the_header_may_be_damaged(intact: Path, scratch: Path) -> None:
    faults = [
        (at, fault)
        for at in range(HEADER_BYTES)
        if (
            fault := fault_of(
                flipped(intact, scratch / "copy", "taste.db", at, 1 << at % 8)
            )
        )
    ]
    assert faults == []


def test_any_byte_of_any_file_may_be_damaged(intact: Path, scratch: Path) -> None:
    faults = [
        (place, fault)
        for place in places(intact, 0.001)
        if (fault := fault_of(flipped(intact, scratch / "copy", *place)))
    ]
    assert faults == []


def damaged_long_ago(intact: Path, tmp_path: Path) -> Path:
    """Return a vault with a damaged record too old to be looked at in every start."""
    folder = flipped(intact, tmp_path / "copy", "taste.db", 0, 0)
    with Vault.open(folder / "taste.db", KeyFile(folder / "taste.key")) as vault:
        with vault.transaction(durable=True) as writing:
            writing.append_all("setting", [{"balance": 0.5}] * 600)
        [sealed] = (
            vault._lines.current()
            .connection.execute("select sealed from record where position = 20")
            .fetchone()
        )
    body = (folder / "taste.db").read_bytes()
    (folder / "taste.db").write_bytes(body.replace(sealed, bytes(len(sealed))))
    return folder


def test_damage_that_shows_in_use_is_set_aside_at_the_next_start(
    intact: Path, tmp_path: Path
) -> None:
    folder = damaged_long_ago(intact, tmp_path)

    with Vault.open(folder / "taste.db", KeyFile(folder / "taste.key")) as vault:
        vault.check()
        with pytest.raises(VaultDamaged):
            list(vault.read())
    with opened(folder) as device:
        assert "damaged" in str(device.state_lost)
    assert (folder / "taste.db.damaged-1").exists()
    with opened(folder) as device:
        assert device.state_lost is None


def test_an_old_record_that_the_start_needs_is_set_aside_at_once(
    intact: Path, tmp_path: Path
) -> None:
    folder = damaged_long_ago(intact, tmp_path)

    with opened(folder) as device:
        assert "damaged" in str(device.state_lost)
        device.observe(Event(kind="like", item_id="item-3"))
        assert "item-3" in device.status.profile.beliefs
        assert device.recommend(1)


def test_a_damaged_key_names_the_way_out(intact: Path, tmp_path: Path) -> None:
    refused = use(flipped(intact, tmp_path / "copy", "taste.key", 5, 64))

    assert isinstance(refused, WrongKey)
    assert "tactful reset" in str(refused)

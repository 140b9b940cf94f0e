"""Everything in a half's folder is for its owner alone, from the first moment on."""

import os
import shlex
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tactful.errors import InvalidInput
from tactful_aggregator import private_files
from tactful_aggregator.datastore import Datastore
from tactful_aggregator.settings import (
    PRIVATE_FILES,
    Aggregator,
    AggregatorSettings,
    create,
    require_private,
)
from tactful_aggregator.testing import RunningAggregator, create_pair
from tactful_aggregator.upload.report_store import SEGMENT_BODY_BYTES, ReportStore

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
OPEN_TO_ALL = 0


@pytest.fixture(autouse=True)
def umask() -> Iterator[None]:
    """The most generous: a file is private only if the code says so."""
    before = os.umask(OPEN_TO_ALL)
    yield
    os.umask(before)


@pytest.fixture
def aggregator(tmp_path: Path) -> Aggregator:
    """A leader whose database and reports are there."""
    leader, _ = create_pair(tmp_path, min_batch_floor=4)
    store = Datastore(leader.database, "leader")
    ReportStore(leader.folder / "reports").put(bytes(SEGMENT_BODY_BYTES))
    with store.transaction() as tx:
        tx.trainings.set_state("films", {})
    yield leader
    store.close()


def modes(folder: Path) -> dict[str, str]:
    paths = [folder, *folder.rglob("*")]
    return {path.name: f"{stat.S_IMODE(path.stat().st_mode):o}" for path in paths}


def test_all_that_a_half_keeps_is_private_whatever_the_umask(
    aggregator: Aggregator,
) -> None:
    found = modes(aggregator.folder)

    assert {"aggregator.toml", "keys.json", "card.json", "peer.json", "reports"} <= set(
        found
    )
    assert {"aggregator.db", "aggregator.db-wal", "aggregator.db-shm"} <= set(found)
    assert set(found.values()) == {"600", "700"}
    assert found["reports"] == found[aggregator.folder.name] == "700"
    require_private(aggregator.folder)


def test_a_file_is_private_before_anything_is_in_it(tmp_path: Path) -> None:
    handle = private_files.create(tmp_path / "secret")

    assert stat.S_IMODE(os.fstat(handle).st_mode) == 0o600
    assert os.fstat(handle).st_size == 0
    os.close(handle)
    with pytest.raises(FileExistsError):
        private_files.create(tmp_path / "secret")


@pytest.mark.parametrize("name", ["", *PRIVATE_FILES])
def test_what_others_can_read_is_named_with_the_command_that_closes_it(
    aggregator: Aggregator, name: str
) -> None:
    path = aggregator.folder / name
    if not path.exists():
        path.touch(mode=0o600)
    path.chmod(0o755 if path.is_dir() else 0o640)

    with pytest.raises(InvalidInput) as refused:
        require_private(aggregator.folder)

    assert str(path) in refused.value.problem
    subprocess.run(shlex.split(refused.value.fix), check=True)
    require_private(aggregator.folder)


def test_all_that_is_open_is_closed_by_one_command(aggregator: Aggregator) -> None:
    for path in (
        aggregator.folder,
        aggregator.folder / "keys.json",
        aggregator.folder / "aggregator.db",
    ):
        path.chmod(0o777)

    with pytest.raises(
        InvalidInput, match=r"chmod 700 \S+ && chmod 600 \S+ \S+$"
    ) as refused:
        require_private(aggregator.folder)

    subprocess.run(["sh", "-c", refused.value.fix], check=True)
    require_private(aggregator.folder)


def test_no_half_is_made_in_a_folder_that_others_enter(tmp_path: Path) -> None:
    folder = tmp_path / "open"
    folder.mkdir(mode=0o755)

    with pytest.raises(InvalidInput, match=f"chmod 700 {folder}"):
        create(folder, AggregatorSettings(role="leader", url="https://leader.example"))

    assert list(folder.iterdir()) == []


def test_a_half_that_others_can_read_does_not_start(tmp_path: Path) -> None:
    leader, _ = create_pair(tmp_path, min_batch_floor=4)
    (leader.folder / "keys.json").chmod(0o644)
    command = [*RunningAggregator.COMMAND, "--dir", str(leader.folder)]

    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, check=False
    )

    assert done.returncode == 2
    assert f"chmod 600 {leader.folder / 'keys.json'}" in done.stderr

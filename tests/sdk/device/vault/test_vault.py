"""The vault keeps what it acknowledged, and finds every record that was touched."""

import os
import resource
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tactful.device.device_key import HostKey
from tactful.device.vault import Vault, VaultBusy
from tactful.device.vault.record_schemas import CURRENT, Content
from tactful.errors import (
    InvalidInput,
    StorageFull,
    VaultDamaged,
    VaultError,
    VaultForeign,
    WrongKey,
)

KEY = HostKey(b"k" * 32)
values = st.integers() | st.text(max_size=20) | st.none()
contents = {
    "setting": st.dictionaries(
        st.sampled_from(sorted(CURRENT["setting"].allowed)), values
    ),
    "time_zone": st.lists(values, min_size=1, max_size=1),
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "vault.db"


def edit(path: Path, statement: str, *values: object) -> None:
    """Touch the file as an attacker without the key can."""
    with sqlite3.connect(path) as connection:
        connection.execute(statement, values)
    connection.close()


def filled(path: Path, count: int = 5) -> None:
    with Vault.open(path, KEY) as vault:
        for number in range(count):
            vault.append("setting", {"refreshed": number})


def numbers(vault: Vault) -> list[object]:
    return [record.body["refreshed"] for record in vault.read()]


@settings(max_examples=30)
@given(
    written=st.lists(
        st.one_of(
            st.tuples(st.just(kind), content) for kind, content in contents.items()
        ),
        max_size=12,
    )
)
def test_appended_records_are_read_back_in_order(
    written: list[tuple[str, Content]],
):
    vault = Vault.open(None, KEY)
    for kind, content in written:
        vault.append(kind, content)

    assert [(r.kind, r.content) for r in vault.read()] == written
    assert [r.position for r in vault.read()] == list(range(1, len(written) + 1))
    assert [r.content for r in vault.read(kinds=["setting"])] == [
        content for kind, content in written if kind == "setting"
    ]


def test_a_vault_opened_again_holds_the_same_records(path: Path):
    filled(path, 1200)  # more than one page of records

    with Vault.open(path, KEY) as vault:
        assert numbers(vault) == list(range(1200))
        assert numbers(vault)[1100:] == [
            r.body["refreshed"] for r in vault.read(after=1100)
        ]
        assert vault.position == 1200
        vault.verify()


def test_a_transaction_that_fails_leaves_nothing(path: Path):
    filled(path)
    with Vault.open(path, KEY) as vault:
        with pytest.raises(ZeroDivisionError):
            _append_and_fail(vault)
        vault.verify()
        assert numbers(vault) == [0, 1, 2, 3, 4]


def _append_and_fail(vault: Vault) -> None:
    with vault.transaction(durable=True) as writing:
        writing.append("setting", {"refreshed": 99})
        raise ZeroDivisionError


def test_a_name_used_twice_keeps_one_record(path: Path):
    with Vault.open(path, KEY) as vault:
        first = vault.append("setting", {"refreshed": 1}, name="event-1")

        assert vault.append("setting", {"refreshed": 2}, name="event-1") == first
        assert numbers(vault) == [1]


def test_the_wrong_key_is_told_from_damage(path: Path):
    filled(path)

    with pytest.raises(WrongKey):
        Vault.open(path, HostKey(b"l" * 32))


@pytest.mark.parametrize(
    ("crime", "found"),
    [
        ("update record set sealed = zeroblob(60) where position = 3", "record 3 "),
        ("update record set sealed = (select sealed from record where position = 2) "
         "where position = 3", "record 3 "),
        ("delete from record where position = 3", "record 3 "),
        ("delete from record where position = 5", "record 5 "),
        ("update record set position = 6 where position = 5", "record 5 "),
        ("insert into record (position, sealed) select 6, sealed from record where position = 5",
         "record 6 "),
        ("insert into erased (first, last, sealed) select 3, 3, sealed from record "
         "where position = 3", None),
        ("update vault set head = zeroblob(80)", "head"),
    ],
)  # fmt: skip
def test_a_record_changed_moved_cut_or_copied_is_found(
    path: Path, crime: str, found: str | None
):
    filled(path)
    edit(path, crime)

    if found is None:  # a record beyond the head or beside a live one changes no answer
        with Vault.open(path, KEY) as vault:
            assert numbers(vault) == [0, 1, 2, 3, 4]
        return
    with pytest.raises(VaultDamaged, match=found), Vault.open(path, KEY) as vault:
        list(vault.read())


def test_a_record_of_taste_is_left_alone_unless_it_is_asked_for(path: Path):
    with Vault.open(path, KEY) as vault, vault.transaction() as writing:
        for number in range(4):
            writing.append("setting", {"refreshed": number}, taste=number % 2 == 1)

        assert [r.body["refreshed"] for r in writing.read()] == [0, 1, 2, 3]
        assert [r.body["refreshed"] for r in writing.read(tastes=False)] == [0, 2]


@pytest.mark.parametrize(
    "crime",
    [
        "update record set taste = null where position = 2",
        "update record set taste = (select taste from record where position = 4) "
        "where position = 2",
        "update record set sealed = taste, taste = null where position = 2",
        "update record set taste = sealed, sealed = (select sealed from record "
        "where position = 2) where position = 3",  # a show made to look like a taste
    ],
)
@pytest.mark.parametrize("tastes", [True, False])
def test_a_record_moved_into_or_out_of_taste_is_found(
    path: Path, crime: str, tastes: bool
):
    with Vault.open(path, KEY) as vault, vault.transaction() as writing:
        for number in range(4):
            writing.append("setting", {"refreshed": number}, taste=number % 2 == 1)
    edit(path, crime)

    touched = tastes or "sealed =" in crime
    with Vault.open(path, KEY) as vault:
        if not touched:
            assert [r.body["refreshed"] for r in vault.read(tastes=False)] == [0, 2]
            return
        with pytest.raises(VaultDamaged, match=r"record [23] "):
            list(vault.read(tastes=tastes))


def test_an_older_head_put_back_is_found(path: Path):
    filled(path)
    with sqlite3.connect(path) as connection:
        (head,) = connection.execute("select head from vault").fetchone()
    connection.close()
    filled(path, 2)
    edit(path, "update vault set head = ?", head)

    with pytest.raises(VaultDamaged), Vault.open(path, KEY) as vault:
        vault.verify()


def test_an_erased_record_that_comes_back_is_found(path: Path):
    filled(path)
    with sqlite3.connect(path) as connection:
        (sealed,) = connection.execute(
            "select sealed from record where position = 3"
        ).fetchone()
    connection.close()
    with Vault.open(path, KEY) as vault:
        vault.erase([3])
    edit(path, "insert into record (position, sealed) values (3, ?)", sealed)

    with pytest.raises(VaultDamaged), Vault.open(path, KEY) as vault:
        vault.verify()


@settings(max_examples=25)
@given(st.lists(st.lists(st.integers(1, 12), max_size=5), max_size=4))
def test_erasing_leaves_the_rest_verifiable(groups: list[list[int]]):
    vault = Vault.open(None, KEY)
    for number in range(1, 11):
        vault.append("setting", {"refreshed": number})
    for group in groups:
        vault.erase(group)

    gone = {position for group in groups for position in group}
    vault.verify()
    assert numbers(vault) == [n for n in range(1, 11) if n not in gone]
    assert vault.append("removal", {}) == 11


def everything_in(folder: Path) -> bytes:
    return b"".join(file.read_bytes() for file in sorted(folder.iterdir()))


def test_no_id_event_or_key_is_in_clear_in_any_file(path: Path):
    vault = Vault.open(path, KEY)
    for number in range(50):
        vault.append(
            "setting", {"limits": f"canary-{number}"}, name=f"canary-name-{number}"
        )
        if number == 25:
            with sqlite3.connect(path) as connection:
                connection.execute(
                    "pragma wal_checkpoint"
                )  # some in the file, some in the log
            connection.close()
    with vault.transaction() as writing:
        writing.put("canary-cell", b"canary-content")

    seen = everything_in(path.parent)
    assert len(list(path.parent.iterdir())) == 4  # the file, -wal, -shm, the marker
    assert b"canary" not in seen
    assert b"limits" not in seen
    assert KEY.key() not in seen
    vault.close()


def test_erased_bytes_are_in_no_file(path: Path):
    with Vault.open(path, KEY) as vault:
        for number in range(300):
            vault.append("setting", {"refreshed": number, "limits": "x" * 200})
        with sqlite3.connect(path) as connection:
            rows = connection.execute(
                "select sealed from record where position between 50 and 250"
            ).fetchall()
        connection.close()
        vault.erase(range(50, 251))
        seen = everything_in(path.parent)

    assert not [sealed for (sealed,) in rows if sealed in seen or sealed[:40] in seen]


def test_a_foreign_file_is_refused_and_stays_as_it_was(path: Path):
    edit(path, "create table other (x)")
    before = path.read_bytes()
    with pytest.raises(VaultForeign):
        Vault.open(path, KEY)
    assert path.read_bytes() == before

    path.write_text("this is a letter, not a database, and longer than a header " * 40)
    before = path.read_bytes()
    with pytest.raises(VaultForeign):
        Vault.open(path, KEY)
    assert path.read_bytes() == before


def test_a_newer_file_is_refused(path: Path):
    filled(path)
    edit(path, "pragma user_version = 99")

    with pytest.raises(VaultForeign, match="newer"):
        Vault.open(path, KEY)


def test_a_truncated_file_is_damaged(path: Path):
    filled(path, 400)
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)

    with pytest.raises(VaultError), Vault.open(path, KEY) as vault:
        list(vault.read())


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(InvalidInput, match="nowhere"):
        Vault.open(tmp_path / "nowhere" / "vault.db", KEY)
    with pytest.raises(InvalidInput, match="folder"):
        Vault.open(tmp_path, KEY)


def test_the_file_belongs_to_its_owner_alone(path: Path):
    filled(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_value_that_is_no_json_is_refused(path: Path):
    with Vault.open(path, KEY) as vault:
        for wrong in ({"balance": float("nan")}, {"balance": object()}):
            with pytest.raises(InvalidInput):
                vault.append("setting", wrong)
        assert vault.position == 0


def test_a_full_disk_loses_nothing(path: Path):
    filled(path, 10)
    with Vault.open(path, KEY) as vault:
        vault._lines.current().connection.execute("pragma max_page_count = 12")
        with pytest.raises(StorageFull):
            _append_large(vault, 5000)
        vault.verify()
        assert numbers(vault)[:10] == list(range(10))


def _append_large(vault: Vault, count: int) -> None:
    for number in range(count):
        vault.append("setting", {"refreshed": number, "limits": "x" * 500})


def _limit_file_size() -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))


def test_a_disk_that_refuses_is_a_storage_error(path: Path):
    script = (
        "import sys, signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "from tactful.device.vault import Vault\n"
        "from tactful.device.device_key import HostKey\n"
        "from tactful.errors import StorageFull\n"
        "vault = Vault.open(sys.argv[1], HostKey(b'k' * 32))\n"
        "try:\n"
        "    for n in range(3000): vault.append('setting', {'refreshed': n, 'limits': 'x' * 500})\n"
        "except StorageFull: print(n)\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", script, str(path)],
        capture_output=True,
        text=True,
        check=True,
        preexec_fn=_limit_file_size,
    )
    with Vault.open(path, KEY) as vault:
        vault.verify()
        assert numbers(vault) == list(range(int(told.stdout)))


def test_a_writer_that_waits_too_long_is_told(path: Path):
    filled(path)
    with Vault.open(path, KEY) as vault:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("begin immediate")
        with pytest.raises(VaultBusy), vault.transaction(seconds=0.05):
            pass
        connection.execute("rollback")
        connection.close()
        vault.append("setting", {"refreshed": 5})


def test_threads_and_forked_children_write_without_losing_a_record(path: Path):
    vault = Vault.open(path, KEY)

    def write(number: int) -> None:
        for _ in range(20):
            vault.append("setting", {"refreshed": number})

    threads = [threading.Thread(target=write, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    child = os.fork()
    if child == 0:
        write(3)
        os._exit(0)
    write(4)
    assert os.waitpid(child, 0)[1] == 0
    vault.verify()
    assert sorted(map(str, numbers(vault))) == sorted(
        str(n) for n in range(5) for _ in range(20)
    )
    vault.close()


def test_a_snapshot_inside_a_transaction_sees_it(path: Path):
    with Vault.open(path, KEY) as vault, vault.transaction() as writing:
        writing.append("setting", {"refreshed": 1})
        assert numbers(vault) == [1]
        with pytest.raises(VaultError, match="open already"):
            vault.append("removal", {})

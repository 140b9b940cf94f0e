"""One half's file: all or nothing, once, and of nobody else."""

import sqlite3

import pytest

from tactful.errors import InvalidInput, StorageFull, VaultError, VaultForeign
from tactful_aggregator.datastore import OPEN, BatchShard, Datastore

TASK, OTHER = b"t" * 32, b"o" * 32
EMPTY = BatchShard(0, 0, bytes(32), b"")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "aggregator.db"


@pytest.fixture
def store(path):
    store = Datastore(path, "leader")
    yield store
    store.close()


class Cut(Exception):
    """Power is lost."""


def test_what_is_committed_is_there_after_a_start(path, store) -> None:
    with store.transaction() as tx:
        shard, _ = tx.sums.lock_shard(TASK, 0, EMPTY)
        tx.sums.replace_shard(TASK, shard, BatchShard(0, 3, bytes(32), b"total"))
    store.close()

    again = Datastore(path, "leader")
    with again.transaction() as tx:
        assert tx.sums.shards(TASK, 0, 1) == [BatchShard(0, 3, bytes(32), b"total")]
    again.close()


def test_a_transaction_that_breaks_off_leaves_nothing(store) -> None:
    def broken_off() -> None:
        with store.transaction() as tx:
            tx.published.add_file("a" * 64, b"content")
            tx.trainings.set_state("films", {"state": "open"})
            raise Cut

    with pytest.raises(Cut):
        broken_off()

    with store.transaction() as tx:
        assert tx.published.file("a" * 64) is None
        assert tx.trainings.state("films") is None


def test_a_commit_is_synced_to_the_disk_and_wipes_what_it_deletes(store) -> None:
    with store.transaction() as tx:
        read = [
            tx._statements.connection.exec_driver_sql(f"pragma {name}").scalar()
            for name in ("journal_mode", "synchronous", "secure_delete")
        ]

    assert read == ["wal", 2, 1]


def test_a_full_disk_is_named_and_nothing_is_half_written(store) -> None:
    with store.transaction() as tx:
        pages = tx._statements.connection.exec_driver_sql("pragma page_count").scalar()
        tx._statements.connection.exec_driver_sql(
            f"pragma max_page_count = {pages + 4}"
        )

    def too_much() -> None:
        with store.transaction() as tx:
            tx.published.add_file("a" * 64, b"small")
            tx.published.add_file("b" * 64, bytes(100_000))

    with pytest.raises(StorageFull, match="free some space"):
        too_much()

    with store.transaction() as tx:
        assert tx.published.file("a" * 64) is None


def test_a_word_in_a_value_does_not_fill_the_disk(store) -> None:
    with store.transaction() as tx:
        tx.published.add_release("beautifully-full", 1, b"")

    with pytest.raises(Exception, match="UNIQUE") as refused, store.transaction() as tx:
        tx.published.add_release("beautifully-full", 1, b"")

    assert not isinstance(refused.value, StorageFull)


def test_a_helper_does_not_read_a_leaders_file(path, store) -> None:
    with pytest.raises(VaultForeign, match="belongs to a leader"):
        Datastore(path, "helper")


def test_a_newer_programs_file_is_not_read(path, store) -> None:
    with sqlite3.connect(path) as raw:
        raw.execute("update meta set value = '99' where name = 'schema'")
    raw.close()

    with pytest.raises(VaultForeign, match="newer version"):
        Datastore(path, "leader")


@pytest.mark.parametrize(
    "damage",
    ["update meta set value = 'abc' where name = 'schema'", "delete from meta"],
)
def test_a_file_that_does_not_say_what_wrote_it_is_named(
    path, store, damage: str
) -> None:
    with sqlite3.connect(path) as raw:
        raw.execute(damage)
    raw.close()

    with pytest.raises(VaultForeign, match="schema version or role is missing"):
        Datastore(path, "leader")


def test_a_folder_in_the_place_of_a_database_is_named(path) -> None:
    path.mkdir()

    with pytest.raises(
        VaultError, match=r"aggregator\.db: .*check that the database is reachable"
    ):
        Datastore(path, "leader")


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("postgres://x", "not a PostgreSQL URL"),
        ("postgresql+psycopg://u@h:port/x", "not a PostgreSQL URL"),
    ],
)
def test_a_database_address_that_cannot_be_is_named(url: str, problem: str) -> None:
    with pytest.raises(InvalidInput, match=f"^database: {problem}"):
        Datastore(url, "leader")


def test_a_database_server_that_is_away_is_one_sentence_without_the_password() -> None:
    pytest.importorskip("psycopg")
    with pytest.raises(
        VaultError, match=r"^127\.0\.0\.1:1/x: .*Connection refused"
    ) as lost:
        Datastore("postgresql+psycopg://me:secret@127.0.0.1:1/x", "leader")

    assert "secret" not in str(lost.value)
    assert len(str(lost.value).splitlines()) == 1


def test_no_refusal_of_the_database_tells_what_was_to_be_written(store) -> None:
    """A traceback in a log would else hold keys, ids and reports."""
    with store.transaction() as tx:
        tx.published.append_entry(0, "a secret")
    with pytest.raises(Exception, match="UNIQUE") as refused, store.transaction() as tx:
        tx.published.append_entry(0, "a secret")

    assert "a secret" not in str(refused.value)


def test_another_programs_database_is_not_read(path) -> None:
    with sqlite3.connect(path) as raw:
        raw.execute("create table recipe (name text)")
    raw.close()

    with pytest.raises(VaultForeign, match="not a Tactful aggregator's"):
        Datastore(path, "leader")


def test_a_file_that_is_no_database_is_named(path) -> None:
    path.write_bytes(b"nothing that sqlite knows" * 100)

    with pytest.raises(VaultForeign):
        Datastore(path, "leader")


def test_a_file_keeps_its_first_content(store) -> None:
    with store.transaction() as tx:
        tx.published.add_file("a" * 64, b"content")
        tx.published.add_file("a" * 64, b"other")

        assert tx.published.file("a" * 64) == b"content"


def test_the_newest_release_is_the_one_with_the_highest_version(store) -> None:
    with store.transaction() as tx:
        for version in (2, 10, 9):
            tx.published.add_release("films", version, str(version).encode())

        assert tx.published.newest_release("films") == (10, b"10")
        assert tx.published.newest_release("books") is None


def test_a_place_in_the_transcript_is_taken_once(store) -> None:
    with store.transaction() as tx:
        tx.published.append_entry(0, "first")
    with pytest.raises(Exception, match="UNIQUE"), store.transaction() as tx:
        tx.published.append_entry(0, "another first")

    with store.transaction() as tx:
        assert tx.published.entries() == ["first"]


def test_a_task_is_kept_once_and_open_at_first(pair) -> None:
    task = pair.agreed()
    with pair.leader_store.transaction() as tx:
        tx.tasks.set_state(task.id, "closing")
        tx.tasks.add(tx.tasks.get(task.id))

        assert tx.tasks.state(task.id) == "closing"
        assert tx.tasks.state(OTHER) is None
        assert tx.tasks.of_model(task.model) == [task]
    with pair.helper_store.transaction() as tx:
        assert tx.tasks.state(task.id) == OPEN

"""What the halves rely on, whatever the database: the same suite for SQLite and PostgreSQL.

`make test-postgres` starts a server and sets TACTFUL_POSTGRES to the address of an empty database.
"""

import os
import secrets
import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pytest
from sqlalchemy import create_engine, text

from tactful.errors import BatchCollected
from tactful_aggregator.datastore import (
    COLLECTED,
    COUNTED,
    REFUSED,
    SHARDS,
    BatchShard,
    Datastore,
    LockLost,
    ReleasedShare,
    StoredReport,
    Unfinished,
)

TASK, OTHER = b"t" * 32, b"o" * 32
POSTGRES = os.environ.get("TACTFUL_POSTGRES", "")


def kept(number: int, bucket: int = 0) -> StoredReport:
    return StoredReport(bytes([number]) * 16, bucket, b"hash", bytes([number]))


@pytest.fixture(params=["sqlite", "postgres"] if POSTGRES else ["sqlite"])
def store(request: pytest.FixtureRequest, tmp_path):
    if request.param == "sqlite":
        place = tmp_path / "aggregator.db"
    else:
        name = f"tactful_{secrets.token_hex(8)}"
        admin = create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            connection.execute(text(f"create database {name}"))
        admin.dispose()
        place = POSTGRES.replace("/postgres?", f"/{name}?")
    store = Datastore(place, "leader")
    yield store
    store.close()


class Cut(Exception):
    """Power is lost."""


def test_a_transaction_that_breaks_off_leaves_nothing(store) -> None:
    def broken_off() -> None:
        with store.transaction() as tx:
            tx.add_reports(TASK, [kept(1)])
            tx.close_batch(TASK, 0, 1)
            raise Cut

    with pytest.raises(Cut):
        broken_off()

    with store.transaction() as tx:
        assert tx.count_reports(TASK) == 0
        assert tx.overlapping(TASK, 0, 9) == []


def test_a_report_is_added_once(store) -> None:
    with store.transaction() as tx:
        tx.add_reports(TASK, [kept(1), kept(2)])
        tx.add_reports(
            TASK, [StoredReport(kept(1).report_id, 7, b"other", b"other"), kept(3)]
        )
        tx.add_reports(OTHER, [kept(1)])
        tx.add_reports(OTHER, [])

        assert tx.kept_reports(TASK, {kept(1).report_id, b"x" * 16}) == {
            kept(1).report_id: b"hash"
        }
        assert (tx.count_reports(TASK), tx.count_reports(OTHER)) == (3, 1)


def test_an_id_is_noted_once(store) -> None:
    with store.transaction() as tx:
        assert tx.add_report_id(TASK, b"r" * 16, 3)
        assert not tx.add_report_id(TASK, b"r" * 16, 4)
        assert tx.add_report_id(OTHER, b"r" * 16, 3)


def test_reports_are_counted_by_their_buckets(store) -> None:
    with store.transaction() as tx:
        tx.add_reports(TASK, [kept(number, bucket=number) for number in range(10)])
        tx.settle_reports(TASK, [kept(4).report_id], REFUSED)

        assert tx.count_reports(TASK, 3, 6) == 2
        assert tx.count_reports(TASK) == 9


def test_a_report_is_taken_into_one_job(store) -> None:
    with store.transaction() as tx:
        tx.add_reports(TASK, [kept(number, bucket=number) for number in range(5)])
        assert tx.take_reports(TASK, b"first", 3) == 3
        assert tx.take_reports(TASK, b"second", 3) == 2
        assert tx.take_reports(TASK, b"third", 3) == 0
        bodies = tx.reports_of(b"first") + tx.reports_of(b"second")

        assert sorted(bodies) == [(number, bytes([number])) for number in range(5)]
        assert tx.waiting_reports(TASK) == 0


def test_a_settled_report_keeps_its_id_and_loses_its_body(store) -> None:
    with store.transaction() as tx:
        tx.add_reports(TASK, [kept(1), kept(2)])
        tx.take_reports(TASK, b"job", 2)
        tx.settle_reports(TASK, [kept(1).report_id], COUNTED)

        assert sorted(tx.reports_of(b"job")) == [(0, b""), (0, bytes([2]))]
        assert set(tx.kept_reports(TASK, [kept(1).report_id])) == {kept(1).report_id}


def test_a_job_is_leased_to_one_worker_until_the_lease_ends(store) -> None:
    with store.transaction() as tx:
        tx.add_job(b"job", TASK)
        assert tx.lease_job(TASK, b"one", now=10, until=20) == (b"job", 0)
    with store.transaction() as tx:
        assert tx.lease_job(TASK, b"two", now=19, until=30) is None
        assert tx.lease_job(OTHER, b"two", now=99, until=100) is None
        assert tx.holds_job(b"job", b"one")
    with store.transaction() as tx:
        assert tx.lease_job(TASK, b"two", now=20, until=30) == (b"job", 1)
        assert not tx.holds_job(b"job", b"one")
        assert tx.holds_job(b"job", b"two")
        assert tx.pending_jobs(TASK, 25) == 1
        tx.finish_job(b"job")
        assert not tx.holds_job(b"job", b"two")
        assert tx.pending_jobs(TASK, 25) == 0
        assert tx.lease_job(TASK, b"two", now=99, until=100) is None


def test_a_returned_job_can_be_taken_when_it_is_due_and_a_parked_one_when_resumed(
    store,
) -> None:
    with store.transaction() as tx:
        tx.add_reports(TASK, [kept(1)])
        tx.take_reports(TASK, b"job", 1)
        tx.add_job(b"job", TASK)
        tx.lease_job(TASK, b"one", now=10, until=20)
        tx.return_job(b"job", 1)
        assert not tx.holds_job(b"job", b"one")
        assert tx.lease_job(TASK, b"two", now=11, until=20) == (b"job", 1)
        tx.release_leases()
        assert tx.lease_job(TASK, b"three", now=11, until=20) == (b"job", 2)
        assert tx.unsettled(TASK, 0, 1, 11) == (1, 0)
        tx.return_job(b"job", 3, due=50)
        tx.release_leases()
        assert tx.unsettled(TASK, 0, 1, 49) == (0, 1)
        assert tx.unsettled(TASK, 1, 9, 49) == tx.unsettled(OTHER, 0, 1, 49) == (0, 0)
        assert tx.jobs_put_off(49) == [Unfinished(b"job", TASK, "pending", 3, 50)]
        assert tx.lease_job(TASK, b"four", now=49, until=100) is None
        assert tx.unsettled(TASK, 0, 1, 50) == (1, 0)
        assert tx.lease_job(TASK, b"four", now=50, until=100) == (b"job", 3)
        tx.park_job(b"job", 4)
        assert not tx.holds_job(b"job", b"four")
        assert tx.lease_job(TASK, b"five", now=999, until=1000) is None
        assert tx.jobs_put_off(999) == [Unfinished(b"job", TASK, "parked", 4, 0)]
        assert (tx.count_reports(TASK), tx.unsettled(TASK, 0, 1, 999)) == (1, (0, 1))
        assert tx.resume_jobs(999) == 1
        assert tx.jobs_put_off(0) == []
        assert tx.lease_job(TASK, b"five", now=999, until=1000) == (b"job", 0)


def test_the_first_answer_to_a_job_stays(store) -> None:
    with store.transaction() as tx:
        assert tx.answered_job(b"one") is None
        assert tx.begin_answer(b"one", TASK, b"hash")
        tx.keep_answer(b"one", b"")
        assert not tx.begin_answer(b"one", TASK, b"other")
        assert tx.answered_job(b"one") == (b"hash", b"")
        assert tx.delete_answer(b"one")
        assert not tx.delete_answer(b"one")
        assert tx.answered_job(b"one") is None


def test_a_sum_is_the_sum_of_its_shards(store) -> None:
    for _ in range(40):
        with store.transaction() as tx:
            shard, part = tx.part(TASK, 5, BatchShard(5, 0, bytes(32), b""))
            tx.keep_part(
                TASK,
                shard,
                BatchShard(5, part.count + 1, part.checksum, part.total + b"x"),
            )
    with store.transaction() as tx:
        found = tx.parts(TASK, 5, 6)

        assert sum(one.count for one in found) == 40
        assert len(b"".join(one.total for one in found)) == 40
        assert len(found) <= (1 if store.is_local else SHARDS)
        assert tx.parts(TASK, 0, 5) == tx.parts(OTHER, 5, 6) == []


def test_workers_at_once_lose_no_addition(store) -> None:
    def work() -> None:
        for _ in range(25):
            with store.transaction() as tx:
                tx.hold_task(TASK, alone=False)
                shard, part = tx.part(TASK, 0, BatchShard(0, 0, bytes(32), b""))
                tx.keep_part(TASK, shard, BatchShard(0, part.count + 1, bytes(32), b""))

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    with store.transaction() as tx:
        assert sum(one.count for one in tx.parts(TASK, 0, 1)) == 100


RELEASED = ReleasedShare(3, bytes(32), 4, 6, b"share")


def test_a_released_batch_keeps_its_share_and_loses_its_sum(store) -> None:
    with store.transaction() as tx:
        tx.part(TASK, 4, BatchShard(4, 0, bytes(32), b""))
        tx.part(TASK, 9, BatchShard(9, 0, bytes(32), b""))
        tx.close_batch(TASK, 4, 7)
        tx.close_batch(TASK, 4, 7)
        assert tx.released(TASK, 4, 7) is None
        tx.release_batch(TASK, 4, 7, RELEASED)
        tx.open_batch(TASK, 4, 7)

        assert tx.released(TASK, 4, 7) == RELEASED
        assert tx.overlapping(TASK, 6, 20) == [(4, 7, COLLECTED)]
        assert tx.overlapping(TASK, 7, 20) == tx.overlapping(TASK, 0, 4) == []
        assert [one.bucket for one in tx.parts(TASK, 0, 99)] == [9]
        tx.delete_share(TASK, 4, 7)
        with pytest.raises(BatchCollected):
            tx.released(TASK, 4, 7)


def test_a_closed_batch_can_be_opened_again_until_it_is_released(store) -> None:
    with store.transaction() as tx:
        tx.close_batch(TASK, 0, 1)
        tx.open_batch(TASK, 0, 1)

        assert tx.overlapping(TASK, 0, 1) == []


def test_a_collection_keeps_its_first_request_and_its_answer(store) -> None:
    with store.transaction() as tx:
        assert tx.add_collection(TASK, b"job", b"request") == b"request"
        assert tx.add_collection(TASK, b"job", b"other") == b"request"
        assert tx.pending_collections() == [(TASK, b"job", b"request")]
        tx.answer_collection(TASK, b"job", b"body")
        assert tx.collection(TASK, b"job") == (b"request", "finished", b"body")
        assert tx.pending_collections() == []
        assert tx.delete_collection(TASK, b"job")
        assert not tx.delete_collection(TASK, b"job")
        assert tx.collection(TASK, b"job") == (b"request", "deleted", None)
        assert tx.collection(OTHER, b"job") is None
        tx.answer_collection(TASK, b"job", b"late")
        tx.fail_collection(TASK, b"job", "late", "")
        assert tx.collection(TASK, b"job") == (b"request", "deleted", None)
        assert tx.add_collection(TASK, b"job", b"other") == b"request"
        assert tx.pending_collections() == []
        assert tx.add_collection(TASK, b"job", b"request") == b"request"
        assert tx.pending_collections() == [(TASK, b"job", b"request")]


def test_one_key_is_handed_out_and_old_ones_end(store) -> None:
    with store.transaction() as tx:
        assert tx.add_hpke_key(1, b"first")
        assert not tx.add_hpke_key(1, b"again")
        tx.retire_hpke_keys(expires=100)
        tx.add_hpke_key(2, b"second")
        assert tx.hpke_keys() == [(2, b"second", None), (1, b"first", 100)]
        assert tx.drop_hpke_keys(now=99) == 0
        assert tx.drop_hpke_keys(now=100) == 1
        assert tx.hpke_keys() == [(2, b"second", None)]


def test_what_is_over_is_forgotten_and_what_was_released_is_not(store) -> None:
    with store.transaction() as tx:
        tx.add_reports(TASK, [kept(1), kept(2)])
        tx.add_job(b"job", TASK)
        tx.part(TASK, 0, BatchShard(0, 0, bytes(32), b""))
        tx.release_batch(TASK, 4, 7, RELEASED)

        assert tx.forget_reports(TASK) == 2
        assert tx.forget_reports(TASK) == 0
        assert tx.released(TASK, 4, 7) == RELEASED
        assert tx.parts(TASK, 0, 1) == []


def test_an_operators_task_is_kept_once(store) -> None:
    with store.transaction() as tx:
        assert tx.add_provision(TASK, b"document", 100)
        assert not tx.add_provision(TASK, b"other", 100)
        assert tx.task_body(TASK) == ("", b"document")
        assert tx.task(TASK) is None
        assert tx.task_ids() == [TASK]
        assert tx.task_body(OTHER) is None


def test_of_two_who_answer_one_job_the_later_waits_and_reads_what_the_first_kept(
    store,
) -> None:
    """A killed leader's request may still be at work when the next leader repeats it."""
    found: list[object] = []

    def later() -> None:
        with store.transaction() as tx:
            found.append(tx.begin_answer(b"one", TASK, b"hash"))
            found.append(tx.answered_job(b"one"))

    with store.transaction() as tx:
        assert tx.begin_answer(b"one", TASK, b"hash")
        thread = threading.Thread(target=later)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        tx.keep_answer(b"one", b"answer")
    thread.join()

    assert found == [False, (b"hash", b"answer")]


def test_a_lock_has_one_holder_until_it_is_dropped_or_expires(store) -> None:
    with store.transaction() as tx:
        assert tx.take_lock("films", b"a", 0, 60)
        assert not tx.take_lock("films", b"b", 59, 120)
        assert tx.take_lock("books", b"b", 59, 120)
        assert tx.renew_lock("films", b"a", 90)
        assert tx.take_lock("films", b"b", 90, 150)
        assert not tx.renew_lock("films", b"a", 200)
        tx.drop_lock("films", b"a")
        assert tx.holds_lock("films", b"b")
        assert not tx.holds_lock("films", b"a")
        tx.drop_lock("films", b"b")
        assert tx.take_lock("films", b"a", 0, 60)


def test_of_many_who_want_a_lock_at_once_one_gets_it(store) -> None:
    def take(number: int) -> bool:
        with store.transaction() as tx:
            return tx.take_lock("films", bytes([number]), 0, 60)

    with ThreadPoolExecutor(8) as callers:
        assert sum(callers.map(take, range(8))) == 1


def test_a_store_whose_lock_was_taken_over_writes_nothing(store) -> None:
    with store.transaction() as tx:
        tx.take_lock("films", b"a", 0, 60)
    held = store.fenced("films", b"a")
    with held.transaction() as tx:
        tx.keep_training("films", {"step": 1})
    with store.transaction() as tx:
        tx.take_lock("films", b"b", 60, 120)

    with pytest.raises(LockLost), held.transaction() as tx:
        tx.keep_training("films", {"step": 2})

    with store.transaction() as tx:
        assert tx.training("films") == {"step": 1}


def test_tasks_that_are_added_at_once_are_all_there(store) -> None:
    def add(number: int) -> bool:
        with store.transaction() as tx:
            return tx.add_provision(bytes([number]) * 32, b"", 1)

    with ThreadPoolExecutor(8) as callers:
        assert all(callers.map(add, range(8)))

    with store.transaction() as tx:
        assert sorted(tx.task_ids()) == [bytes([number]) * 32 for number in range(8)]
        assert not tx.add_provision(bytes(32), b"other", 1)


def test_a_database_without_the_newest_table_gets_it(tmp_path) -> None:
    Datastore(tmp_path / "aggregator.db", "leader").close()
    with closing(sqlite3.connect(tmp_path / "aggregator.db")) as raw:
        raw.execute("drop table step_lock")

    store = Datastore(tmp_path / "aggregator.db", "leader")
    with store.transaction() as tx:
        assert tx.take_lock("films", b"a", 0, 60)
    store.close()

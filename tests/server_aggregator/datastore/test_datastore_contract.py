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
    BatchShard,
    Datastore,
    DeferredJob,
    LockLost,
    ReleasedShare,
    StoredReport,
)
from tactful_aggregator.datastore.store import SHARD_COUNT

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
            tx.reports.add_all(TASK, [kept(1)])
            tx.batches.close(TASK, 0, 1)
            raise Cut

    with pytest.raises(Cut):
        broken_off()

    with store.transaction() as tx:
        assert tx.reports.count_not_refused(TASK) == 0
        assert tx.batches.overlapping(TASK, 0, 9) == []


def test_a_report_is_added_once(store) -> None:
    with store.transaction() as tx:
        tx.reports.add_all(TASK, [kept(1), kept(2)])
        tx.reports.add_all(
            TASK, [StoredReport(kept(1).report_id, 7, b"other", b"other"), kept(3)]
        )
        tx.reports.add_all(OTHER, [kept(1)])
        tx.reports.add_all(OTHER, [])

        assert tx.reports.stored_hashes(TASK, {kept(1).report_id, b"x" * 16}) == {
            kept(1).report_id: b"hash"
        }
        assert (
            tx.reports.count_not_refused(TASK),
            tx.reports.count_not_refused(OTHER),
        ) == (3, 1)


def test_an_id_is_noted_once(store) -> None:
    with store.transaction() as tx:
        assert tx.reports.add_id(TASK, b"r" * 16, 3)
        assert not tx.reports.add_id(TASK, b"r" * 16, 4)
        assert tx.reports.add_id(OTHER, b"r" * 16, 3)


def test_reports_are_counted_by_their_buckets(store) -> None:
    with store.transaction() as tx:
        tx.reports.add_all(TASK, [kept(number, bucket=number) for number in range(10)])
        tx.reports.settle(TASK, [kept(4).report_id], REFUSED)

        assert tx.reports.count_not_refused(TASK, 3, 6) == 2
        assert tx.reports.count_not_refused(TASK) == 9


def test_a_report_is_taken_into_one_job(store) -> None:
    with store.transaction() as tx:
        tx.reports.add_all(TASK, [kept(number, bucket=number) for number in range(5)])
        assert tx.reports.assign_to_job(TASK, b"first", 3) == 3
        assert tx.reports.assign_to_job(TASK, b"second", 3) == 2
        assert tx.reports.assign_to_job(TASK, b"third", 3) == 0
        bodies = tx.reports.of_job(b"first") + tx.reports.of_job(b"second")

        assert sorted(bodies) == [(number, bytes([number])) for number in range(5)]
        assert tx.reports.count_waiting(TASK) == 0


def test_a_settled_report_keeps_its_id_and_loses_its_body(store) -> None:
    with store.transaction() as tx:
        tx.reports.add_all(TASK, [kept(1), kept(2)])
        tx.reports.assign_to_job(TASK, b"job", 2)
        tx.reports.settle(TASK, [kept(1).report_id], COUNTED)

        assert sorted(tx.reports.of_job(b"job")) == [(0, b""), (0, bytes([2]))]
        assert set(tx.reports.stored_hashes(TASK, [kept(1).report_id])) == {
            kept(1).report_id
        }


def test_a_job_is_leased_to_one_worker_until_the_lease_ends(store) -> None:
    with store.transaction() as tx:
        tx.jobs.add(b"job", TASK)
        assert tx.jobs.lease(TASK, b"one", now=10, until=20) == (b"job", 0)
    with store.transaction() as tx:
        assert tx.jobs.lease(TASK, b"two", now=19, until=30) is None
        assert tx.jobs.lease(OTHER, b"two", now=99, until=100) is None
        assert tx.jobs.is_leased_to(b"job", b"one")
    with store.transaction() as tx:
        assert tx.jobs.lease(TASK, b"two", now=20, until=30) == (b"job", 1)
        assert not tx.jobs.is_leased_to(b"job", b"one")
        assert tx.jobs.is_leased_to(b"job", b"two")
        assert tx.jobs.count_pending(TASK, 25) == 1
        tx.jobs.finish(b"job")
        assert not tx.jobs.is_leased_to(b"job", b"two")
        assert tx.jobs.count_pending(TASK, 25) == 0
        assert tx.jobs.lease(TASK, b"two", now=99, until=100) is None


def test_a_returned_job_can_be_taken_when_it_is_due_and_a_parked_one_when_resumed(
    store,
) -> None:
    with store.transaction() as tx:
        tx.reports.add_all(TASK, [kept(1)])
        tx.reports.assign_to_job(TASK, b"job", 1)
        tx.jobs.add(b"job", TASK)
        tx.jobs.lease(TASK, b"one", now=10, until=20)
        tx.jobs.reschedule(b"job", 1)
        assert not tx.jobs.is_leased_to(b"job", b"one")
        assert tx.jobs.lease(TASK, b"two", now=11, until=20) == (b"job", 1)
        tx.jobs.release_leases()
        assert tx.jobs.lease(TASK, b"three", now=11, until=20) == (b"job", 2)
        assert tx.reports.count_unsettled(TASK, 0, 1, 11) == (1, 0)
        tx.jobs.reschedule(b"job", 3, due=50)
        tx.jobs.release_leases()
        assert tx.reports.count_unsettled(TASK, 0, 1, 49) == (0, 1)
        assert (
            tx.reports.count_unsettled(TASK, 1, 9, 49)
            == tx.reports.count_unsettled(OTHER, 0, 1, 49)
            == (0, 0)
        )
        assert tx.jobs.deferred(49) == [DeferredJob(b"job", TASK, "pending", 3, 50)]
        assert tx.jobs.lease(TASK, b"four", now=49, until=100) is None
        assert tx.reports.count_unsettled(TASK, 0, 1, 50) == (1, 0)
        assert tx.jobs.lease(TASK, b"four", now=50, until=100) == (b"job", 3)
        tx.jobs.park(b"job", 4)
        assert not tx.jobs.is_leased_to(b"job", b"four")
        assert tx.jobs.lease(TASK, b"five", now=999, until=1000) is None
        assert tx.jobs.deferred(999) == [DeferredJob(b"job", TASK, "parked", 4, 0)]
        assert (
            tx.reports.count_not_refused(TASK),
            tx.reports.count_unsettled(TASK, 0, 1, 999),
        ) == (1, (0, 1))
        assert tx.jobs.resume_deferred(999) == 1
        assert tx.jobs.deferred(0) == []
        assert tx.jobs.lease(TASK, b"five", now=999, until=1000) == (b"job", 0)


def test_the_first_answer_to_a_job_stays(store) -> None:
    with store.transaction() as tx:
        assert tx.jobs.response(b"one") is None
        assert tx.jobs.begin_response(b"one", TASK, b"hash")
        tx.jobs.store_response(b"one", b"")
        assert not tx.jobs.begin_response(b"one", TASK, b"other")
        assert tx.jobs.response(b"one") == (b"hash", b"")
        assert tx.jobs.delete_response(b"one")
        assert not tx.jobs.delete_response(b"one")
        assert tx.jobs.response(b"one") is None


def test_a_sum_is_the_sum_of_its_shards(store) -> None:
    for _ in range(40):
        with store.transaction() as tx:
            shard, part = tx.sums.lock_shard(TASK, 5, BatchShard(5, 0, bytes(32), b""))
            tx.sums.replace_shard(
                TASK,
                shard,
                BatchShard(5, part.count + 1, part.checksum, part.total + b"x"),
            )
    with store.transaction() as tx:
        found = tx.sums.shards(TASK, 5, 6)

        assert sum(one.count for one in found) == 40
        assert len(b"".join(one.total for one in found)) == 40
        assert len(found) <= (1 if store.is_local else SHARD_COUNT)
        assert tx.sums.shards(TASK, 0, 5) == tx.sums.shards(OTHER, 5, 6) == []


def test_workers_at_once_lose_no_addition(store) -> None:
    def work() -> None:
        for _ in range(25):
            with store.transaction() as tx:
                tx.tasks.lock(TASK, exclusive=False)
                shard, part = tx.sums.lock_shard(
                    TASK, 0, BatchShard(0, 0, bytes(32), b"")
                )
                tx.sums.replace_shard(
                    TASK, shard, BatchShard(0, part.count + 1, bytes(32), b"")
                )

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()

    with store.transaction() as tx:
        assert sum(one.count for one in tx.sums.shards(TASK, 0, 1)) == 100


RELEASED = ReleasedShare(3, bytes(32), 4, 6, b"share")


def test_a_released_batch_keeps_its_share_and_loses_its_sum(store) -> None:
    with store.transaction() as tx:
        tx.sums.lock_shard(TASK, 4, BatchShard(4, 0, bytes(32), b""))
        tx.sums.lock_shard(TASK, 9, BatchShard(9, 0, bytes(32), b""))
        tx.batches.close(TASK, 4, 7)
        tx.batches.close(TASK, 4, 7)
        assert tx.batches.released_share(TASK, 4, 7) is None
        tx.batches.release(TASK, 4, 7, RELEASED)
        tx.batches.reopen(TASK, 4, 7)

        assert tx.batches.released_share(TASK, 4, 7) == RELEASED
        assert tx.batches.overlapping(TASK, 6, 20) == [(4, 7, COLLECTED)]
        assert (
            tx.batches.overlapping(TASK, 7, 20)
            == tx.batches.overlapping(TASK, 0, 4)
            == []
        )
        assert [one.bucket for one in tx.sums.shards(TASK, 0, 99)] == [9]
        tx.batches.delete_share(TASK, 4, 7)
        with pytest.raises(BatchCollected):
            tx.batches.released_share(TASK, 4, 7)


def test_a_closed_batch_can_be_opened_again_until_it_is_released(store) -> None:
    with store.transaction() as tx:
        tx.batches.close(TASK, 0, 1)
        tx.batches.reopen(TASK, 0, 1)

        assert tx.batches.overlapping(TASK, 0, 1) == []


def test_a_collection_keeps_its_first_request_and_its_answer(store) -> None:
    with store.transaction() as tx:
        assert tx.collections.add(TASK, b"job", b"request") == b"request"
        assert tx.collections.add(TASK, b"job", b"other") == b"request"
        assert tx.collections.pending() == [(TASK, b"job", b"request")]
        tx.collections.finish(TASK, b"job", b"body")
        assert tx.collections.get(TASK, b"job") == (b"request", "finished", b"body")
        assert tx.collections.pending() == []
        assert tx.collections.delete(TASK, b"job")
        assert not tx.collections.delete(TASK, b"job")
        assert tx.collections.get(TASK, b"job") == (b"request", "deleted", None)
        assert tx.collections.get(OTHER, b"job") is None
        tx.collections.finish(TASK, b"job", b"late")
        tx.collections.fail(TASK, b"job", "late", "")
        assert tx.collections.get(TASK, b"job") == (b"request", "deleted", None)
        assert tx.collections.add(TASK, b"job", b"other") == b"request"
        assert tx.collections.pending() == []
        assert tx.collections.add(TASK, b"job", b"request") == b"request"
        assert tx.collections.pending() == [(TASK, b"job", b"request")]


def test_one_key_is_handed_out_and_old_ones_end(store) -> None:
    with store.transaction() as tx:
        assert tx.hpke_keys.add(1, b"first")
        assert not tx.hpke_keys.add(1, b"again")
        tx.hpke_keys.retire(expires=100)
        tx.hpke_keys.add(2, b"second")
        assert tx.hpke_keys.all() == [(2, b"second", None), (1, b"first", 100)]
        assert tx.hpke_keys.delete_expired(now=99) == 0
        assert tx.hpke_keys.delete_expired(now=100) == 1
        assert tx.hpke_keys.all() == [(2, b"second", None)]


def test_what_is_over_is_forgotten_and_what_was_released_is_not(store) -> None:
    with store.transaction() as tx:
        tx.reports.add_all(TASK, [kept(1), kept(2)])
        tx.jobs.add(b"job", TASK)
        tx.sums.lock_shard(TASK, 0, BatchShard(0, 0, bytes(32), b""))
        tx.batches.release(TASK, 4, 7, RELEASED)

        assert tx.delete_expired_task(TASK) == 2
        assert tx.delete_expired_task(TASK) == 0
        assert tx.batches.released_share(TASK, 4, 7) == RELEASED
        assert tx.sums.shards(TASK, 0, 1) == []


def test_an_operators_task_is_kept_once(store) -> None:
    with store.transaction() as tx:
        assert tx.tasks.add_provisioned(TASK, b"document", 100)
        assert not tx.tasks.add_provisioned(TASK, b"other", 100)
        assert tx.tasks.document(TASK) == ("", b"document")
        assert tx.tasks.get(TASK) is None
        assert tx.tasks.ids() == [TASK]
        assert tx.tasks.document(OTHER) is None


def test_of_two_who_answer_one_job_the_later_waits_and_reads_what_the_first_kept(
    store,
) -> None:
    """A killed leader's request may still be at work when the next leader repeats it."""
    found: list[object] = []

    def later() -> None:
        with store.transaction() as tx:
            found.append(tx.jobs.begin_response(b"one", TASK, b"hash"))
            found.append(tx.jobs.response(b"one"))

    with store.transaction() as tx:
        assert tx.jobs.begin_response(b"one", TASK, b"hash")
        thread = threading.Thread(target=later)
        thread.start()
        thread.join(0.3)
        assert thread.is_alive()
        tx.jobs.store_response(b"one", b"answer")
    thread.join()

    assert found == [False, (b"hash", b"answer")]


def test_a_lock_has_one_holder_until_it_is_dropped_or_expires(store) -> None:
    with store.transaction() as tx:
        assert tx.locks.acquire("films", b"a", 0, 60)
        assert not tx.locks.acquire("films", b"b", 59, 120)
        assert tx.locks.acquire("books", b"b", 59, 120)
        assert tx.locks.renew("films", b"a", 90)
        assert tx.locks.acquire("films", b"b", 90, 150)
        assert not tx.locks.renew("films", b"a", 200)
        tx.locks.release("films", b"a")
        assert tx.locks.is_held_by("films", b"b")
        assert not tx.locks.is_held_by("films", b"a")
        tx.locks.release("films", b"b")
        assert tx.locks.acquire("films", b"a", 0, 60)


def test_of_many_who_want_a_lock_at_once_one_gets_it(store) -> None:
    def take(number: int) -> bool:
        with store.transaction() as tx:
            return tx.locks.acquire("films", bytes([number]), 0, 60)

    with ThreadPoolExecutor(8) as callers:
        assert sum(callers.map(take, range(8))) == 1


def test_a_store_whose_lock_was_taken_over_writes_nothing(store) -> None:
    with store.transaction() as tx:
        tx.locks.acquire("films", b"a", 0, 60)
    held = store.fenced("films", b"a")
    with held.transaction() as tx:
        tx.trainings.set_state("films", {"step": 1})
    with store.transaction() as tx:
        tx.locks.acquire("films", b"b", 60, 120)

    with pytest.raises(LockLost), held.transaction() as tx:
        tx.trainings.set_state("films", {"step": 2})

    with store.transaction() as tx:
        assert tx.trainings.state("films") == {"step": 1}


def test_tasks_that_are_added_at_once_are_all_there(store) -> None:
    def add(number: int) -> bool:
        with store.transaction() as tx:
            return tx.tasks.add_provisioned(bytes([number]) * 32, b"", 1)

    with ThreadPoolExecutor(8) as callers:
        assert all(callers.map(add, range(8)))

    with store.transaction() as tx:
        assert sorted(tx.tasks.ids()) == [bytes([number]) * 32 for number in range(8)]
        assert not tx.tasks.add_provisioned(bytes(32), b"other", 1)


def test_a_database_without_the_newest_table_gets_it(tmp_path) -> None:
    Datastore(tmp_path / "aggregator.db", "leader").close()
    with closing(sqlite3.connect(tmp_path / "aggregator.db")) as raw:
        raw.execute("drop table step_lock")

    store = Datastore(tmp_path / "aggregator.db", "leader")
    with store.transaction() as tx:
        assert tx.locks.acquire("films", b"a", 0, 60)
    store.close()

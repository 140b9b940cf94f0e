"""Workers outlive whatever fails, and readiness says so: on SQLite and on PostgreSQL."""

import json
import logging
import os
import secrets
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from dap_pair import DapPair
from sqlalchemy import create_engine, text

from tactful.errors import VaultError
from tactful.protocol.dap import report_upload as client
from tactful.protocol.dap.dap_task import DapTask
from tactful.protocol.dap.vdaf_config import VdafConfig
from tactful.protocol.transport import Request
from tactful_aggregator.app import Service
from tactful_aggregator.datastore import Datastore
from tactful_aggregator.jobs import readiness, worker
from tactful_aggregator.jobs.leader_jobs import LEASE_SECONDS
from tactful_aggregator.jobs.readiness import Readiness
from tactful_aggregator.jobs.verification import ALL_BUCKETS
from tactful_aggregator.jobs.worker import HEARTBEAT_SECONDS, Worker

COUNT = VdafConfig(kind="count")
POSTGRES = os.environ.get("TACTFUL_POSTGRES", "")
PATIENCE_SECONDS = 20.0


class Broken:
    """A leader's database that can be made read-only, on either kind."""

    def __init__(self, place: Path | str) -> None:
        self._place = place

    def set_read_only(self, on: bool) -> None:
        """From now on nothing can be written, or everything again."""
        if isinstance(self._place, Path):
            self._trigger(on)
            return
        name = self._place.partition("?")[0].rpartition("/")[2]
        admin = create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            change = f"alter database {name} set default_transaction_read_only = {'on' if on else 'off'}"
            connection.execute(text(change))
            ended = "select pg_terminate_backend(pid, 5000) from pg_stat_activity where datname = :name"
            connection.execute(text(ended), {"name": name})
        admin.dispose()

    def _trigger(self, on: bool) -> None:
        """SQLite has no such switch for other connections, and root ignores modes of files."""
        refuse = (
            "begin select raise(abort, 'attempt to write a readonly database'); end"
        )
        with closing(sqlite3.connect(self._place, timeout=30)) as raw:
            for table in ("job", "meta"):
                for event in ("insert", "update"):
                    name = f"no_{event}_{table}"
                    made = f"create trigger {name} before {event} on {table} {refuse}"
                    raw.execute(made if on else f"drop trigger {name}")


@pytest.fixture(params=["sqlite", "postgres"] if POSTGRES else ["sqlite"])
def served(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[DapPair, Broken]]:
    places = None
    if request.param == "postgres":
        names = [f"tactful_{secrets.token_hex(8)}" for _ in range(2)]
        admin = create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
        with admin.connect() as connection:
            for name in names:
                connection.execute(text(f"create database {name}"))
        admin.dispose()
        places = tuple(POSTGRES.replace("/postgres?", f"/{name}?") for name in names)
    pair = DapPair(tmp_path, places)
    yield pair, Broken(places[0] if places else pair.leader.database)
    pair.close()


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[DapPair]:
    pair = DapPair(tmp_path)
    yield pair
    pair.close()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < deadline, "it never comes"
        time.sleep(0.02)


def unsettled(pair: DapPair, task: DapTask) -> int:
    with pair.leader_service.store.transaction() as tx:
        return sum(tx.reports.count_unsettled(task.id, *ALL_BUCKETS, pair.now))


def ready(pair: DapPair, base: str) -> tuple[int, str]:
    answer = pair.network.send(Request("GET", f"{base}/readyz"))
    return answer.status, json.loads(answer.body)["reason"]


def test_workers_and_readiness_outlive_a_database_that_is_read_only_for_a_time(
    served: tuple[DapPair, Broken], monkeypatch: pytest.MonkeyPatch
) -> None:
    pair, broken = served
    monkeypatch.setattr(readiness, "CHECK_SECONDS", 0.0)
    task, url = pair.task("dap-18", COUNT).provisioned.task, pair.leader.settings.url
    service = pair.leader_service

    def settled() -> bool:
        service.worker._all_due = (
            0.0  # else a report waits for the next hour, or for 63 others
        )
        return unsettled(pair, task) == 0

    assert ready(pair, url) == (503, readiness.NO_WORKER)
    service.worker.start()
    try:
        until(lambda: ready(pair, url) == (200, ""))
        for _ in range(3):
            client.contribute(pair.network, task, 1, pair.now)
        broken.set_read_only(True)
        service.worker._all_due = 0.0  # there is something to write
        until(lambda: ready(pair, url) == (503, readiness.NOT_WRITABLE))
        time.sleep(0.5)
        assert service.worker.is_alive()
        broken.set_read_only(False)
        pair.now += (
            LEASE_SECONDS  # a worker may have lost its connection while it held a job
        )

        until(lambda: ready(pair, url) == (200, "") and settled())
    finally:
        service.worker.stop()


def test_a_read_only_database_is_named_as_one_that_cannot_be_written(served) -> None:
    pair, broken = served
    store = pair.leader_service.store
    store.require_writable()
    broken.set_read_only(True)

    with pytest.raises(Exception, match=r"read-?only") as refused:
        store.require_writable()
    assert isinstance(refused.value, VaultError) or store.is_local

    broken.set_read_only(False)
    store.require_writable()


def test_a_worker_that_gives_no_sign_of_life_makes_its_half_unready(
    pair: DapPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    service = pair.leader_service
    busy, free = threading.Event(), threading.Event()

    def hang(self: Worker) -> bool:
        busy.set()
        free.wait(PATIENCE_SECONDS)
        return True

    monkeypatch.setattr(Worker, "_work", hang)
    service.worker.start()
    try:
        assert busy.wait(PATIENCE_SECONDS)
        assert service.worker.is_alive()
        later = time.monotonic() + HEARTBEAT_SECONDS + 1
        monkeypatch.setattr(worker.time, "monotonic", lambda: later)
        assert not service.worker.is_alive()
    finally:
        free.set()
        service.worker.stop()
    assert not service.worker.is_alive()


def test_a_helper_is_ready_while_its_database_can_be_written(pair: DapPair) -> None:
    url = pair.helper.settings.url
    assert ready(pair, url) == (200, "")

    pair.helper_service.readiness._due = 0.0
    Broken(pair.helper.database).set_read_only(True)

    assert ready(pair, url) == (503, readiness.NOT_WRITABLE)
    assert pair.network.send(Request("GET", f"{url}/healthz")).ok


def test_a_check_that_hangs_is_not_ready_to_who_asks_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "LATE_SECONDS", 0.05)
    store = Datastore(tmp_path / "aggregator.db", "helper")
    asked = Readiness(store, None)
    with store.transaction():
        waiting = threading.Thread(target=asked.problem)
        waiting.start()
        until(lambda: asked._began > 0.0)
        assert asked.problem() in (readiness.STARTING, readiness.BUSY)
        until(lambda: asked.problem() == readiness.BUSY)
    waiting.join()

    assert asked.problem() == ""
    store.close()


def test_the_log_tells_where_a_worker_failed_and_nothing_of_what_it_read(
    pair: DapPair, caplog: pytest.LogCaptureFixture
) -> None:
    service: Service = pair.leader_service
    task = pair.task("dap-18", COUNT).provisioned.task
    client.contribute(pair.network, task, 1, pair.now)

    class Odd:
        def aggregate(self, task: DapTask, job_id: bytes, request: bytes) -> bytes:
            raise KeyError("what a report holds")

    broken = Worker(service.dependencies, Odd(), service.registry)
    with caplog.at_level(logging.WARNING):
        assert not broken._work()

    assert "KeyError at test_worker.py" in caplog.text
    assert "what a report holds" not in caplog.text
    with service.store.transaction() as tx:
        assert len(tx.jobs.deferred(pair.now)) == 1  # it blocks no other job
    assert replace(service.dependencies).heartbeat is not broken.dependencies.heartbeat

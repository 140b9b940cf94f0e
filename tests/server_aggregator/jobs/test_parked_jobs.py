"""What was acknowledged waits until whoever is at fault has mended it, and is then counted once."""

import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from dap_pair import HOUR, START, DapPair, _keep

from tactful.errors import ProtocolError, StorageFull, TransportError
from tactful.protocol.dap import report_upload as client
from tactful.protocol.dap.dap_task import DapTask
from tactful.protocol.dap.vdaf_config import VdafConfig
from tactful.protocol.transport import Request, Response
from tactful_aggregator import keyring
from tactful_aggregator.dap.collect_messages import Interval, Query
from tactful_aggregator.dap.collector import AggregateResult
from tactful_aggregator.datastore import PARKED, DeferredJob
from tactful_aggregator.helper_client import HelperClient
from tactful_aggregator.jobs import leader_jobs, verification, worker
from tactful_aggregator.jobs.collection import CollectionHelper
from tactful_aggregator.jobs.leader_jobs import MAX_ATTEMPTS, MAX_DELAY_SECONDS
from tactful_aggregator.jobs.worker import (
    Worker,
    answer_collections,
    collect_garbage,
    settle_jobs,
)

COUNT = VdafConfig(kind="count")
versions = pytest.mark.parametrize("protocol", ["dap-09", "dap-18"])


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[DapPair]:
    pair = DapPair(tmp_path)
    yield pair
    pair.close()


def sent(pair: DapPair, task: DapTask, count: int = 3) -> None:
    for _ in range(count):
        client.contribute(pair.network, task, 1, pair.now)


def settle(pair: DapPair, helper_client: CollectionHelper | None = None) -> None:
    service = pair.leader_service
    asked = helper_client or service.worker.helper_client
    settle_jobs(service.dependencies, asked, service.registry, only_full=False)


def put_off(pair: DapPair) -> list[DeferredJob]:
    with pair.leader_service.store.transaction() as tx:
        return tx.jobs.deferred(pair.now)


def resume(pair: DapPair) -> None:
    with pair.leader_service.store.transaction() as tx:
        assert tx.jobs.resume_deferred(pair.now) == 1


def failed(
    pair: DapPair,
    helper_client: CollectionHelper,
    match: str,
    times: int = MAX_ATTEMPTS,
) -> None:
    """Settle in vain so often, each time as late as a job may be put off."""
    for _ in range(times):
        pair.now += MAX_DELAY_SECONDS
        with pytest.raises((TransportError, ProtocolError), match=match):
            settle(pair, helper_client)


def counted(pair: DapPair, task: DapTask) -> tuple[int, int]:
    found = pair.collector(task).collect(
        pair.network, pair.collector(task).everything(), lambda seconds: pair.work()
    )
    return found.count, task.vdaf.decode(found.total)


class Refusing:
    """The network, but something in front of the helper answers with a status of its own."""

    def __init__(self, pair: DapPair, status: int) -> None:
        self._pair, self._status = pair, status

    def send(self, request: Request) -> Response:
        return Response(self._status, b"")


class Replacing(Refusing):
    """The same, but the request reaches the helper first: only its answer is replaced."""

    def send(self, request: Request) -> Response:
        assert self._pair.network.send(request).ok
        return super().send(request)


@versions
@pytest.mark.parametrize("answering", [Refusing, Replacing])
@pytest.mark.parametrize("status", [400, 401, 404, 413, 500, 507])
def test_an_answer_of_something_in_front_of_the_helper_loses_no_report(
    pair: DapPair, protocol: str, status: int, answering: type[Refusing]
) -> None:
    """Whether the helper had counted the reports or not, both halves agree in the end."""
    task = pair.task(protocol, COUNT).provisioned.task
    sent(pair, task)
    helper_client = HelperClient(pair.leader.other_aggregator, answering(pair, status))

    failed(pair, helper_client, r"^helper: status \d+ without a DAP problem")
    [parked] = put_off(pair)
    assert (parked.state, parked.attempts) == (PARKED, MAX_ATTEMPTS)
    pair.now += 24 * HOUR
    settle(pair, helper_client)  # nothing is tried any more
    resume(pair)

    assert counted(pair, task) == (3, 3)


def test_the_pauses_between_attempts_double_up_to_an_hour_and_outlast_a_restart(
    pair: DapPair,
) -> None:
    task = pair.task("dap-18", COUNT).provisioned.task
    sent(pair, task)
    helper_client = HelperClient(pair.leader.other_aggregator, Refusing(pair, 400))
    for attempt in range(1, MAX_ATTEMPTS):
        with pytest.raises(TransportError):
            settle(pair, helper_client)
        [waiting] = put_off(pair)
        longest = min(2**attempt, MAX_DELAY_SECONDS)
        assert longest / 2 <= waiting.due - pair.now <= longest
        settle(pair, helper_client)  # it is not due
        pair.restart()
        assert put_off(pair) == [waiting]
        pair.now = waiting.due

    assert counted(pair, task) == (3, 3)


@versions
def test_a_batch_waits_for_the_reports_that_are_put_off_and_others_do_not(
    pair: DapPair, protocol: str
) -> None:
    task = pair.task(protocol, COUNT).provisioned.task
    unit, collector = task.dap.unit(HOUR), pair.collector(task)
    queries = [
        Query(Interval((START + h * HOUR) // unit, HOUR // unit)) for h in (0, 1)
    ]
    sent(pair, task)
    failed(
        pair,
        HelperClient(pair.leader.other_aggregator, Refusing(pair, 400)),
        "without a DAP problem",
        1,
    )
    sent(pair, task, 2)
    jobs = [collector.create(pair.network, query) for query in queries]
    pair.work()

    found = [
        collector.poll(pair.network, *one) for one in zip(jobs, queries, strict=True)
    ]

    assert isinstance(found[0], float)
    assert isinstance(found[1], AggregateResult)
    resume(pair)
    pair.work()
    assert collector.poll(pair.network, jobs[0], queries[0]).count == 3


@versions
def test_a_job_that_the_helper_itself_refuses_is_parked_at_once(
    pair: DapPair, protocol: str
) -> None:
    task = pair.task(protocol, COUNT).provisioned.task
    sent(pair, task)

    class Other(HelperClient):
        """A leader of another version."""

        def aggregate(self, task: DapTask, job_id: bytes, request: bytes) -> bytes:
            return super().aggregate(task, job_id, request + b"odd")

    failed(pair, Other(pair.leader.other_aggregator, pair.network), "^helper: ", 1)
    assert [one.state for one in put_off(pair)] == [PARKED]
    with pytest.raises(TransportError, match=r"did not accept 3 reports.*jobs resume"):
        leader_jobs.settle_all(
            pair.leader_service.dependencies,
            pair.leader_service.worker.helper_client,
            pair.leader_service.registry.get(task.id),
        )
    resume(pair)

    assert counted(pair, task) == (3, 3)


@versions
def test_a_token_of_yesterday_loses_no_report(pair: DapPair, protocol: str) -> None:
    task = pair.task(protocol, COUNT).provisioned.task
    sent(pair, task)
    old = HelperClient(
        replace(
            pair.leader.other_aggregator,
            token="the token of yesterday!".replace(" ", "-"),
        ),
        pair.network,
    )

    failed(pair, old, "pair again with the helper's newest card")
    resume(pair)

    assert counted(pair, task) == (3, 3)


@versions
def test_a_task_that_the_helper_learns_of_later_loses_no_report(
    pair: DapPair, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = _keep
    with monkeypatch.context() as patched:
        patched.setattr(
            "dap_pair._keep",
            lambda aggregator, *rest: (
                aggregator.settings.role == "leader" and keep(aggregator, *rest)
            ),
        )
        written = pair.task(protocol, COUNT)
    task = written.provisioned.task
    sent(pair, task)

    failed(
        pair,
        pair.leader_service.worker.helper_client,
        "check that the helper serves the task",
        5,
    )
    pair.now += MAX_DELAY_SECONDS
    keep(pair.helper, pair.helper.database, written, pair.now)

    assert counted(pair, task) == (3, 3)


def test_a_job_that_always_fails_is_parked_and_holds_up_no_other(pair: DapPair) -> None:
    task = pair.task("dap-18", COUNT, expires=START + 100 * HOUR).provisioned.task
    sent(pair, task, 1)

    class Odd(HelperClient):
        def aggregate(self, task: DapTask, job_id: bytes, request: bytes) -> bytes:
            return b"nonsense"

    failed(
        pair,
        Odd(pair.leader.other_aggregator, pair.network),
        "AggregationJobResp|other reports",
    )
    assert [one.state for one in put_off(pair)] == [PARKED]
    sent(pair, task, 2)
    settle(pair)
    assert _unsettled(pair, task) == 1
    resume(pair)

    assert counted(pair, task) == (3, 3)


def test_one_batch_that_cannot_be_collected_holds_up_no_other(pair: DapPair) -> None:
    tasks = [pair.task("dap-18", COUNT).provisioned.task for _ in range(2)]
    jobs = []
    for task in tasks:
        sent(pair, task)
        query = pair.collector(task).everything()
        jobs.append((task, query, pair.collector(task).create(pair.network, query)))
    stuck = tasks[0].encoded_id

    class Picky(HelperClient):
        def aggregate_share(self, task: DapTask, request: bytes) -> bytes:
            if task.encoded_id == stuck:
                raise ProtocolError("helper: never")
            return super().aggregate_share(task, request)

    service = pair.leader_service
    helper_client = Picky(pair.leader.other_aggregator, pair.network)
    answer_collections(service.dependencies, helper_client, service.registry)

    found = [pair.collector(t).poll(pair.network, job, query) for t, query, job in jobs]
    assert [isinstance(one, AggregateResult) for one in found] == [False, True]


@versions
def test_reports_wait_for_a_helper_whose_clock_is_behind(
    pair: DapPair, protocol: str
) -> None:
    task = pair.task(protocol, COUNT).provisioned.task
    sent(pair, task)
    pair.behind = 2 * HOUR

    for _ in range(3):
        with pytest.raises(TransportError, match="set the clocks of both aggregators"):
            settle(pair)
    pair.behind = 0

    assert counted(pair, task) == (3, 3)


@versions
def test_a_helper_some_seconds_behind_takes_the_first_reports_of_a_task(
    pair: DapPair, protocol: str
) -> None:
    task = pair.task(protocol, COUNT, opens=START).provisioned.task
    pair.behind = 20
    sent(pair, task)

    settle(pair)

    assert counted(pair, task) == (3, 3)


@versions
def test_what_was_acknowledged_opens_after_its_key_has_ended(
    pair: DapPair, protocol: str
) -> None:
    task = pair.task(protocol, COUNT, expires=START + 100 * 24 * HOUR).provisioned.task
    sent(pair, task)
    pair.rotate()
    pair.now += 2 * keyring.CACHE_SECONDS + HOUR
    collect_garbage(pair.leader_service.dependencies)

    assert counted(pair, task) == (3, 3)
    collect_garbage(pair.leader_service.dependencies)
    assert len(pair.leader_service.dependencies.keyring.current().openers) == 2
    pair.now += keyring.REFRESH_SECONDS
    assert len(pair.leader_service.dependencies.keyring.current().openers) == 1


def test_reports_that_fill_no_job_are_settled_all_the_same(pair: DapPair) -> None:
    """Else a key that a timer ends could end before they are opened."""
    task = pair.task("dap-18", COUNT).provisioned.task
    sent(pair, task)
    service = pair.leader_service
    settle_jobs(service.dependencies, service.worker.helper_client, service.registry)
    with service.store.transaction() as tx:
        assert tx.reports.count_waiting(task.id) == 3

    service.worker._work()

    with service.store.transaction() as tx:
        assert (
            tx.reports.count_waiting(task.id)
            == tx.jobs.count_pending(task.id, pair.now)
            == 0
        )


@pytest.mark.parametrize(
    "broken", [StorageFull("full"), OSError(28, "No space left on device")]
)
def test_a_worker_outlives_a_full_disk(
    pair: DapPair, broken: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker, "PAUSE_SECONDS", 0.001)
    task = pair.task("dap-18", COUNT).provisioned.task
    sent(pair, task)
    service, times = pair.leader_service, iter([broken] * 3)

    class Full(HelperClient):
        def aggregate(self, task: DapTask, job_id: bytes, request: bytes) -> bytes:
            if (wrong := next(times, None)) is not None:
                raise wrong
            return super().aggregate(task, job_id, request)

    alive = Worker(
        service.dependencies,
        Full(pair.leader.other_aggregator, pair.network),
        service.registry,
    )
    alive.start()
    deadline = time.monotonic() + 20
    while _unsettled(pair, task) and time.monotonic() < deadline:
        time.sleep(0.01)
    alive.stop()

    assert _unsettled(pair, task) == 0
    assert counted(pair, task) == (3, 3)


def _unsettled(pair: DapPair, task: DapTask) -> int:
    with pair.leader_service.store.transaction() as tx:
        return sum(
            tx.reports.count_unsettled(task.id, *verification.ALL_BUCKETS, pair.now)
        )


def test_a_strangers_file_among_the_segments_stops_no_garbage(pair: DapPair) -> None:
    folder = pair.leader.folder / "reports"
    folder.mkdir()
    (folder / "lost+found").mkdir()
    (folder / "notes.txt").write_text("keep")
    (folder / ("0" * 32)).write_bytes(b"an old segment")

    pair.collect_garbage()

    assert sorted(one.name for one in folder.iterdir()) == ["lost+found", "notes.txt"]
    assert Query(None).interval is None

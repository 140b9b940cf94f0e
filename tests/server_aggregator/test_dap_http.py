"""DAP's resources in both versions, over HTTP: the draft's answers, and the draft's refusals."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from dap_pair import HOUR, START, DapPair

from tactful.errors import (
    BatchTooSmall,
    CollectionDeleted,
    ProtocolError,
    ReportRejected,
    TransportError,
)
from tactful.protocol.dap import report_upload as client
from tactful.protocol.dap.dap_task import DapTask, encoded
from tactful.protocol.dap.messages import HpkeConfig, Report
from tactful.protocol.dap.vdaf_config import VdafConfig
from tactful.protocol.transport import Request, Response
from tactful_aggregator.dap.collect_messages import CollectionReq, Interval, Query
from tactful_aggregator.dap.collector import AggregateResult
from tactful_aggregator.keyring import CACHE_SECONDS
from tactful_aggregator.task_registry import Noise

VERSIONS = ["dap-09", "dap-18"]
MODES = ["time_interval", "leader_selected"]
versions = pytest.mark.parametrize("protocol", VERSIONS)
COUNT = VdafConfig(kind="count")
TYPES = {
    "count": (COUNT, [1, 0, 1], 2),
    "sum": (VdafConfig(kind="sum", most=255), [255, 3, 0], 258),
    "sum_vec": (
        VdafConfig(kind="sum_vec", length=3, most=7, chunk=3),
        [[7, 0, 1], [7, 7, 0]],
        [14, 7, 1],
    ),
    "histogram": (
        VdafConfig(kind="histogram", length=4, chunk=2),
        [0, 3, 3],
        [1, 0, 0, 2],
    ),
    "sum_vec_field64": (
        VdafConfig(kind="sum_vec_field64", length=3, most=7, chunk=3, proofs=3),
        [[7, 0, 1], [7, 7, 0]],
        [14, 7, 1],
    ),
    "pine64": (
        VdafConfig(kind="pine64", length=4, most=9, chunk=40, norm_chunk=2, proofs=3),
        [[-9, 0, 0, 0], [3, 3, -3, 1]],
        [-6, 3, -3, 1],
    ),
}


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[DapPair]:
    pair = DapPair(tmp_path)
    yield pair
    pair.close()


def served(
    pair: DapPair, protocol: str, config: VdafConfig = COUNT, **changes: object
) -> DapTask:
    return pair.task(protocol, config, **changes).provisioned.task


def made(
    pair: DapPair, task: DapTask, measurement: object = 1, now: int | None = None
) -> Report:
    configs = [
        client.fetch_hpke_config(pair.network, url)
        for url in (task.leader, task.helper)
    ]
    return client.make_report(
        task, measurement, leader=configs[0], helper=configs[1], now=now or pair.now
    )


def sent(pair: DapPair, task: DapTask, *measurements: object) -> None:
    for measurement in measurements:
        client.contribute(pair.network, task, measurement, pair.now)


def collected(
    pair: DapPair, task: DapTask, query: Query | None = None
) -> AggregateResult:
    collector = pair.collector(task)
    return collector.collect(
        pair.network, query or collector.everything(), lambda seconds: pair.work()
    )


def code(answer: Response) -> str:
    assert answer.header("content-type") == "application/problem+json"
    problem = json.loads(answer.body)
    assert problem["status"] == answer.status
    return problem["type"].removeprefix("urn:ietf:params:ppm:dap:error:")


def asked(
    pair: DapPair, method: str, url: str, body: bytes = b"", kind: str = "", token=""
) -> Response:
    headers = {"Content-Type": kind} if kind else {}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    return pair.network.send(Request(method, url, body, headers))


@versions
@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("kind", TYPES)
def test_what_clients_report_is_what_the_collector_gets(
    pair: DapPair, protocol: str, mode: str, kind: str
) -> None:
    config, measurements, total = TYPES[kind]
    if kind == "pine64" and protocol == "dap-09":
        pytest.skip("PINE64 is served with DAP-18 only")
    task = served(pair, protocol, config, batch_mode=mode)
    sent(pair, task, *measurements)

    found = collected(pair, task)

    assert found.count == len(measurements)
    assert task.vdaf.decode(found.total) == total


@versions
def test_a_collection_covers_its_interval_and_no_other(
    pair: DapPair, protocol: str
) -> None:
    task = served(pair, protocol)
    for hours in (0, 1, 2):
        pair.now = START + hours * HOUR
        sent(pair, task, *[1] * (hours + 1))
    unit = task.dap.unit(HOUR)

    found = collected(pair, task, Query(Interval((START + HOUR) // unit, HOUR // unit)))
    rest = collected(
        pair, task, Query(Interval((START + 2 * HOUR) // unit, 2 * HOUR // unit))
    )

    assert (found.count, task.vdaf.decode(found.total)) == (2, 2)
    assert found.interval == Interval((START + HOUR) // unit, HOUR // unit)
    assert (rest.count, task.vdaf.decode(rest.total)) == (3, 3)


@versions
def test_overlapping_intervals_are_refused_and_repeats_are_not(
    pair: DapPair, protocol: str
) -> None:
    task = served(pair, protocol)
    sent(pair, task, 1, 1)
    unit = task.dap.unit(HOUR)
    query = Query(Interval(START // unit, HOUR // unit))
    first = collected(pair, task, query)

    with pytest.raises(ProtocolError, match="batchOverlap"):
        collected(pair, task, Query(Interval(START // unit, 2 * HOUR // unit)))
    assert (collected(pair, task, query).total == first.total).all()


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("state", ["pending", "finished", "deleted"])
def test_a_second_job_for_a_query_has_the_same_answer_in_dap_09(
    pair: DapPair, mode: str, state: str
) -> None:
    task = served(
        pair,
        "dap-09",
        batch_mode=mode,
        noise=Noise(family="rounded_gaussian", sigma2="100/1"),
    )
    sent(pair, task, 1)
    collector = pair.collector(task)
    query = collector.everything()
    first = collector.create(pair.network, query)
    if state != "pending":
        pair.work()
    totals = [] if state == "pending" else [collector.poll(pair.network, first, query)]
    token = pair.leader.keys.collector_token
    if state == "deleted":
        assert asked(pair, "DELETE", first, token=token).status == 204
    second = (
        f"{task.leader}/tasks/{task.encoded_id}/collection_jobs/{encoded(bytes(16))}"
    )
    body = CollectionReq(query).encode(task)

    assert (
        asked(pair, "PUT", second, body, "application/dap-collect-req", token).status
        == 201
    )
    pair.work()
    totals += [collector.poll(pair.network, second, query)]
    if state == "pending":
        totals += [collector.poll(pair.network, first, query)]

    assert all(isinstance(one, AggregateResult) for one in totals)
    assert len({str(one.total) for one in totals}) == 1
    assert len(totals) == 2


@versions
@pytest.mark.parametrize("mode", MODES)
def test_a_batch_whose_pending_job_was_deleted_is_collected_by_another(
    pair: DapPair, protocol: str, mode: str
) -> None:
    task = served(pair, protocol, batch_mode=mode, min_batch_size=2)
    sent(pair, task, 1)
    collector = pair.collector(task)
    query = collector.everything()
    job = collector.create(pair.network, query)
    pair.work()
    assert (
        asked(pair, "DELETE", job, token=pair.leader.keys.collector_token).status == 204
    )
    with pytest.raises(CollectionDeleted, match="start another collection"):
        collector.poll(pair.network, job, query)
    sent(pair, task, 1)

    assert collected(pair, task).count == 2


@versions
def test_a_job_that_is_deleted_while_it_is_answered_stays_deleted(
    pair: DapPair, protocol: str
) -> None:
    task = served(pair, protocol)
    sent(pair, task, 1)
    collector = pair.collector(task)
    query = collector.everything()
    job = collector.create(pair.network, query)
    token = pair.leader.keys.collector_token

    def delete(request: Request) -> str:
        if request.url.endswith("/aggregate_shares"):
            asked(pair, "DELETE", job, token=token)
        return ""

    pair.network.lose = delete
    pair.work()
    pair.network.lose = lambda request: ""

    with pytest.raises(CollectionDeleted):
        collector.poll(pair.network, job, query)
    assert collected(pair, task).count == 1


@versions
def test_a_collector_ends_when_its_job_is_deleted_or_fails(
    pair: DapPair, protocol: str
) -> None:
    task = served(pair, protocol, min_batch_size=2)
    sent(pair, task, 1)
    collector, token = pair.collector(task), pair.leader.keys.collector_token
    query = collector.everything()
    job = collector.create(pair.network, query)

    with pytest.raises(CollectionDeleted):
        collector.collect(
            pair.network,
            query,
            lambda _: asked(pair, "DELETE", job, token=token) and None,
        )
    with pytest.raises(BatchTooSmall):
        collector.collect(
            pair.network, query, lambda _: setattr(pair, "now", task.expires)
        )


@versions
def test_each_poll_of_a_collection_gets_the_same_bytes(
    pair: DapPair, protocol: str
) -> None:
    task = served(
        pair, protocol, noise=Noise(family="rounded_gaussian", sigma2="100/1")
    )
    sent(pair, task, 1, 1)
    collector = pair.collector(task)
    query = collector.everything()
    job = collector.create(pair.network, query)
    assert isinstance(collector.poll(pair.network, job, query), float)
    pair.work()

    totals = []
    for _ in range(3):
        found = collector.poll(pair.network, job, query)
        assert isinstance(found, AggregateResult)
        totals.append(found.total.tolist())
        pair.restart()

    assert totals[0] == totals[1] == totals[2]


@versions
def test_too_small_a_batch_waits_and_is_refused_when_nothing_more_can_come(
    pair: DapPair, protocol: str
) -> None:
    task = served(pair, protocol, min_batch_size=3)
    sent(pair, task, 1, 1)
    collector = pair.collector(task)
    query = collector.everything()
    job = collector.create(pair.network, query)
    pair.work()
    assert isinstance(collector.poll(pair.network, job, query), float)

    pair.now = task.expires + HOUR
    with pytest.raises(BatchTooSmall):
        collector.poll(pair.network, job, query)


@versions
def test_an_hour_that_is_over_can_be_collected_once_its_late_reports_have_come(
    pair: DapPair, protocol: str
) -> None:
    task = served(pair, protocol, min_batch_size=2)
    unit, collector = task.dap.unit(HOUR), pair.collector(task)
    sent(pair, task, 1)
    late = made(pair, task, 1).encode(task.dap)
    query = Query(Interval(START // unit, HOUR // unit))
    pair.now += 5 * HOUR
    job = collector.create(pair.network, query)
    pair.work()
    assert isinstance(collector.poll(pair.network, job, query), float)

    client.upload(pair.network, task, [late])
    pair.work()

    found = collector.poll(pair.network, job, query)
    assert isinstance(found, AggregateResult)
    assert found.count == 2


@versions
def test_a_late_report_to_a_collected_batch_is_refused(
    pair: DapPair, protocol: str
) -> None:
    task = served(pair, protocol)
    sent(pair, task, 1)
    collected(pair, task)

    with pytest.raises(ReportRejected) as refused:
        sent(pair, task, 1)

    assert refused.value.code == (
        "reportRejected" if protocol == "dap-09" else "batch_collected"
    )


TIMES = {
    "too early": (3 * HOUR, "reportTooEarly", "report_too_early"),
    "before the task": (-5 * HOUR, "reportRejected", "task_not_started"),
}


@versions
@pytest.mark.parametrize("when", TIMES)
def test_a_report_out_of_its_time_is_refused(
    pair: DapPair, protocol: str, when: str
) -> None:
    task = served(pair, protocol)
    moved, old, new = TIMES[when]
    body = made(pair, task, now=pair.now + moved).encode(task.dap)

    with pytest.raises(ReportRejected) as refused:
        client.upload(pair.network, task, [body])

    assert refused.value.code == (old if protocol == "dap-09" else new)


def test_a_time_that_was_not_rounded_is_refused(pair: DapPair) -> None:
    task = served(pair, "dap-09")
    report = made(pair, task)
    odd = replace(
        report, metadata=replace(report.metadata, time=report.metadata.time + 1)
    )

    with pytest.raises(ReportRejected, match="invalidMessage"):
        client.upload(pair.network, task, [odd.encode(task.dap)])


@versions
def test_after_a_rotation_old_reports_open_and_ended_keys_do_not(
    pair: DapPair, protocol: str
) -> None:
    task = served(pair, protocol, expires=START + 100 * 24 * HOUR)
    old, older = made(pair, task, 1), made(pair, task, 1)
    pair.rotate()
    client.upload(pair.network, task, [old.encode(task.dap)])
    pair.now += 2 * CACHE_SECONDS + HOUR

    with pytest.raises(ReportRejected, match=r"outdated_?[cC]onfig"):
        client.upload(pair.network, task, [older.encode(task.dap)])
    sent(pair, task, 1)

    assert collected(pair, task).count == 2  # what was acknowledged in time is counted


@versions
def test_a_client_with_an_ended_key_reports_once_more_with_a_new_one(
    pair: DapPair, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = served(pair, protocol)
    fetched = client.fetch_hpke_config
    stale = iter([HpkeConfig(99, bytes([9]) + bytes(31))])
    monkeypatch.setattr(
        client,
        "fetch_hpke_config",
        lambda transport, url: next(stale, None) or fetched(transport, url),
    )

    sent(pair, task, 1)

    assert collected(pair, task).count == 1


@versions
def test_the_same_report_again_is_taken_and_counted_once(
    pair: DapPair, protocol: str
) -> None:
    task = served(pair, protocol)
    body = made(pair, task).encode(task.dap)
    for _ in range(3):
        client.upload(pair.network, task, [body])

    assert collected(pair, task).count == 1


def test_an_upload_names_only_what_it_did_not_take(pair: DapPair) -> None:
    task = served(pair, "dap-18")
    good, bad = made(pair, task), made(pair, task, now=pair.now + 9 * HOUR)
    body = good.encode(task.dap) + bad.encode(task.dap)
    url = f"{task.leader}/tasks/{task.encoded_id}/reports"

    answer = asked(pair, "POST", url, body, task.dap.media_type("", "upload-req"))

    assert answer.status == 200
    assert answer.body == bad.metadata.report_id + b"\x09"
    assert collected(pair, task).count == 1


@versions
def test_a_message_of_another_kind_version_or_length_is_refused(
    pair: DapPair, protocol: str
) -> None:
    task, other = served(pair, protocol), served(pair, VERSIONS[protocol == "dap-09"])
    url = f"{task.leader}/tasks/{task.encoded_id}/reports"
    method = "PUT" if task.dap.counted else "POST"
    kind = task.dap.media_type("report", "upload-req")
    body = made(pair, task).encode(task.dap)
    foreign = made(pair, other).encode(other.dap)

    refusals = {
        "truncated": asked(pair, method, url, body[:-1], kind),
        "longer": asked(pair, method, url, body + b"\0", kind),
        "of the other version": asked(pair, method, url, foreign, kind),
        "of another media type": asked(pair, method, url, body, "application/json"),
        "by another method": asked(
            pair, "POST" if method == "PUT" else "PUT", url, body, kind
        ),
        "too large": asked(pair, method, url, bytes((64 << 20) + 1), kind),
    }

    assert {name: code(answer) for name, answer in refusals.items()} == dict.fromkeys(
        refusals, "invalidMessage"
    )
    assert refusals["too large"].status == 413


@versions
def test_an_unknown_task_is_named_as_such(pair: DapPair, protocol: str) -> None:
    task = replace(served(pair, protocol), id=bytes(32))

    with pytest.raises(ReportRejected, match="unrecognizedTask"):
        client.upload(pair.network, task, [made(pair, task).encode(task.dap)])
    with pytest.raises(ProtocolError, match="unrecognizedTask"):
        pair.collector(task).create(pair.network, pair.collector(task).everything())


@versions
def test_nobody_collects_or_aggregates_without_the_token(
    pair: DapPair, protocol: str
) -> None:
    task = served(pair, protocol)
    leader, helper = (
        f"{url}/tasks/{task.encoded_id}" for url in (task.leader, task.helper)
    )
    name = encoded(bytes(16))
    for token in ("", "wrong", pair.helper.keys.token[:-1]):
        for method, url in (
            ("PUT", f"{leader}/collection_jobs/{name}"),
            ("POST", f"{leader}/collection_jobs"),
            ("GET", f"{leader}/collection_jobs/{name}"),
            ("PUT", f"{helper}/aggregation_jobs/{name}"),
            ("POST", f"{helper}/aggregation_jobs"),
            ("POST", f"{helper}/aggregate_shares"),
        ):
            answer = asked(pair, method, url, token=token)
            assert (answer.status, code(answer)) == (401, "unauthorizedRequest")


def test_the_other_way_to_show_a_token_is_understood(pair: DapPair) -> None:
    task = served(pair, "dap-09")
    url = f"{task.helper}/tasks/{task.encoded_id}/aggregation_jobs/{encoded(bytes(16))}"
    headers = {"DAP-Auth-Token": pair.helper.keys.token}

    answer = pair.network.send(Request("GET", url, b"", headers))

    assert code(answer) == "unrecognizedAggregationJob"


@versions
def test_an_interval_that_cannot_be_is_refused(pair: DapPair, protocol: str) -> None:
    task = served(pair, protocol)
    unit = task.dap.unit(HOUR)
    wrong = [
        Interval(START // unit, 0),
        Interval(0, HOUR // unit),
        Interval((task.expires + HOUR) // unit, HOUR // unit),
        Interval(START // unit, 2**63),
    ]
    if protocol == "dap-09":
        wrong += [Interval(START + 1, HOUR), Interval(START, HOUR - 1)]

    for interval in wrong:
        with pytest.raises(ProtocolError, match="batchInvalid"):
            pair.collector(task).create(pair.network, Query(interval))


def test_a_helpers_job_is_named_answered_again_and_forgotten(pair: DapPair) -> None:
    task = served(pair, "dap-18")
    sent(pair, task, 1)
    collected(pair, task)
    [request, response] = next(
        one for one in pair.network.seen if one[0].url.endswith("/aggregation_jobs")
    )
    job = task.helper + response.header("location").partition("?")[0]
    token = pair.helper.keys.token

    assert response.status == 201
    assert response.header("location").endswith("?step=0")
    assert pair.network.send(request).body == response.body
    assert asked(pair, "GET", job, token=token).body == response.body
    assert code(asked(pair, "POST", job, token=token)) == "stepMismatch"
    assert asked(pair, "DELETE", job, token=token).status == 204
    assert code(asked(pair, "GET", job, token=token)) == "unrecognizedAggregationJob"


def test_a_share_is_named_fetched_again_and_not_drawn_again_once_deleted(
    pair: DapPair,
) -> None:
    task = served(pair, "dap-18")
    sent(pair, task, 1)
    collected(pair, task)
    [request, response] = next(
        one for one in pair.network.seen if one[0].url.endswith("/aggregate_shares")
    )
    share, token = task.helper + response.header("location"), pair.helper.keys.token

    assert pair.network.send(request).body == response.body
    assert asked(pair, "GET", share, token=token).body == response.body
    assert asked(pair, "DELETE", share, token=token).status == 204
    assert code(pair.network.send(request)) == "batchOverlap"


@versions
def test_a_deleted_collection_answers_nothing_and_stays_collected(
    pair: DapPair, protocol: str
) -> None:
    task = served(pair, protocol)
    sent(pair, task, 1)
    collector = pair.collector(task)
    query = collector.everything()
    job = collector.create(pair.network, query)
    pair.work()
    method = "POST" if task.dap.counted else "GET"
    token = pair.leader.keys.collector_token

    assert asked(pair, "DELETE", job, token=token).status == 204
    assert asked(pair, method, job, token=token).status == 204
    with pytest.raises(ReportRejected):
        sent(pair, task, 1)


def test_a_job_of_another_request_under_the_same_name_is_refused(pair: DapPair) -> None:
    task = served(pair, "dap-09")
    collector, token = pair.collector(task), pair.leader.keys.collector_token
    job = collector.create(pair.network, Query(Interval(START, HOUR)))
    other = CollectionReq(Query(Interval(START + HOUR, HOUR))).encode(task)

    answer = asked(pair, "PUT", job, other, "application/dap-collect-req", token)

    assert code(answer) == "invalidMessage"


@versions
def test_what_the_helper_never_answered_is_asked_again_and_counted_once(
    pair: DapPair, protocol: str
) -> None:
    task = served(pair, protocol)
    sent(pair, task, 1, 1, 0)
    lost = iter(["request", "answer", "", "answer", "request"])
    pair.network.lose = lambda request: (
        next(lost, "") if request.url.startswith(task.helper + "/tasks") else ""
    )
    collector = pair.collector(task)
    query = collector.everything()
    job = collector.create(pair.network, query)
    for _ in range(7):
        pair.work()

    found = collector.poll(pair.network, job, query)

    assert isinstance(found, AggregateResult)
    assert (found.count, task.vdaf.decode(found.total)) == (3, 2)


@versions
def test_a_collection_that_is_not_ready_says_when_to_ask_again(
    pair: DapPair, protocol: str
) -> None:
    task = served(pair, protocol)
    sent(pair, task, 1)
    collector = pair.collector(task)
    job = collector.create(pair.network, collector.everything())
    method = "POST" if task.dap.counted else "GET"

    answer = asked(pair, method, job, token=pair.leader.keys.collector_token)

    assert answer.status == (202 if task.dap.counted else 200)
    assert float(answer.header("retry-after")) > 0
    assert answer.body == b""


def test_a_mismatch_between_the_halves_releases_nothing(pair: DapPair) -> None:
    task = served(pair, "dap-18")
    sent(pair, task, 1, 1)
    with pair.helper_service.store.transaction() as tx:
        tx.reports.add_id(task.id, bytes(16), START // HOUR)
    collector = pair.collector(task)
    query = collector.everything()
    with pair.leader_service.store.transaction() as tx:
        tx.sums.lock_shard(task.id, START // HOUR, _part(task))
    job = collector.create(pair.network, query)
    pair.work()

    with pytest.raises(ProtocolError, match="batchMismatch"):
        collector.poll(pair.network, job, query)


def _part(task: DapTask) -> object:
    from tactful_aggregator.datastore import BatchShard

    empty = task.vdaf.field.zeros(task.vdaf.output_length)
    return BatchShard(START // HOUR, 1, bytes(32), task.vdaf.field.encode(empty))


@versions
def test_ids_are_kept_until_long_after_the_task_and_sums_for_ever(
    pair: DapPair, protocol: str
) -> None:
    task = served(pair, protocol)
    sent(pair, task, 1)
    first = collected(pair, task)
    pair.collect_garbage()
    store = pair.leader_service.store
    with store.transaction() as tx:
        assert tx.reports.count_not_refused(task.id) == 1

    pair.now = task.expires + 31 * 24 * HOUR
    pair.collect_garbage()

    with store.transaction() as tx:
        assert tx.reports.count_not_refused(task.id) == 0
    assert (collected(pair, task).total == first.total).all()


def test_the_helper_that_cannot_be_reached_leaves_the_collection_pending(
    pair: DapPair,
) -> None:
    task = served(pair, "dap-18")
    sent(pair, task, 1)
    pair.network.lose = lambda request: "request" if task.helper in request.url else ""
    collector = pair.collector(task)
    query = collector.everything()
    job = collector.create(pair.network, query)
    pair.work()

    assert isinstance(collector.poll(pair.network, job, query), float)
    with pytest.raises(TransportError):
        client.fetch_hpke_config(pair.network, task.helper)


@versions
def test_no_measurement_is_in_what_passes_between_the_parties_or_is_kept(
    pair: DapPair, protocol: str
) -> None:
    """Every form that a measurement has on a device is searched for in a round and both files."""
    config = VdafConfig(kind="sum_vec_field64", length=12, most=15, chunk=7, proofs=3)
    task = served(pair, protocol, config)
    measurement = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8]
    sent(pair, task, measurement)
    files = [aggregator.database for aggregator in (pair.leader, pair.helper)]
    before = b"".join(
        path.read_bytes() for file in files for path in file.parent.glob("aggr*")
    )
    found = collected(pair, task)
    after = b"".join(
        path.read_bytes() for file in files for path in file.parent.glob("aggr*")
    )
    passed = b"".join(
        request.body + answer.body for request, answer in pair.network.seen
    )

    field = task.vdaf.field
    forms = [
        bytes(measurement),
        field.encode(field.constants(measurement)),
        field.encode(task.vdaf.circuit.encode(measurement)),
        json.dumps(measurement).encode(),
        json.dumps(measurement).replace(" ", "").encode(),
    ]
    assert task.vdaf.decode(found.total) == measurement
    assert len(passed) > 2000
    assert [
        form for form in forms for where in (before, after, passed) if form in where
    ] == []

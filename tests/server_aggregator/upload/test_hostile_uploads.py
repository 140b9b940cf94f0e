"""The one door that is open to everybody: what comes through it is small, whole and soon there."""

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from dap_pair import DapPair

from tactful.errors import VaultError
from tactful.protocol.dap import report_upload as client
from tactful.protocol.dap.dap_task import DapTask
from tactful.protocol.dap.messages import Report
from tactful.protocol.dap.vdaf_config import VdafConfig
from tactful.protocol.transport import Request, Response
from tactful_aggregator import http
from tactful_aggregator.dap_routes import MAX_REPORTS_PER_REQUEST
from tactful_aggregator.problems import Problem

versions = pytest.mark.parametrize("protocol", ["dap-09", "dap-18"])


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[DapPair]:
    pair = DapPair(tmp_path)
    yield pair
    pair.close()


@pytest.fixture
def task(pair: DapPair, protocol: str) -> DapTask:
    return pair.task(protocol, VdafConfig(kind="count")).provisioned.task


def made(pair: DapPair, task: DapTask) -> Report:
    leader, helper = (
        client.fetch_hpke_config(pair.network, url)
        for url in (task.leader, task.helper)
    )
    return client.make_report(task, 1, leader=leader, helper=helper, now=pair.now)


def uploaded(pair: DapPair, task: DapTask, body: bytes, name: str = "") -> Response:
    url = f"{task.leader}/tasks/{name or task.encoded_id}/reports"
    kind = {"Content-Type": task.dap.media_type("report", "upload-req")}
    return pair.network.send(
        Request("PUT" if task.dap.counted else "POST", url, body, kind)
    )


def kept(pair: DapPair, task: DapTask) -> int:
    with pair.leader_service.store.transaction() as tx:
        return tx.reports.count_not_refused(task.id)


@versions
@pytest.mark.parametrize("part", ["public share", "leader", "helper"])
def test_a_report_that_is_longer_than_any_is_not_kept(
    pair: DapPair, task: DapTask, part: str
) -> None:
    report, more = made(pair, task), bytes(4000)
    longer = {
        "public share": replace(report, public_share=more),
        "leader": replace(report, leader=replace(report.leader, payload=more)),
        "helper": replace(report, helper=replace(report.helper, payload=more)),
    }[part]

    answer = uploaded(pair, task, longer.encode(task.dap))

    assert answer.status == (
        400 if task.dap.counted else 200
    )  # -18 names it in the body
    assert answer.body
    assert kept(pair, task) == 0
    assert uploaded(pair, task, report.encode(task.dap)).status == 201


@pytest.mark.parametrize("protocol", ["dap-18"])
def test_more_reports_than_are_taken_at_once_are_refused_and_the_most_is_taken(
    pair: DapPair, task: DapTask
) -> None:
    report = made(pair, task)
    many = [
        replace(
            report,
            metadata=replace(report.metadata, report_id=number.to_bytes(16, "big")),
        )
        for number in range(MAX_REPORTS_PER_REQUEST + 1)
    ]
    body = b"".join(one.encode(task.dap) for one in many)

    assert uploaded(pair, task, body).status == 413
    assert kept(pair, task) == 0
    assert uploaded(pair, task, body[: -len(body) // len(many)]).status == 201
    assert kept(pair, task) == MAX_REPORTS_PER_REQUEST


@versions
@pytest.mark.parametrize("odd", ["{}=", "{}!", ".{}", "{}%0a"])
def test_a_task_has_one_name_only(pair: DapPair, task: DapTask, odd: str) -> None:
    body = made(pair, task).encode(task.dap)

    answer = uploaded(pair, task, body, odd.format(task.encoded_id))

    assert answer.status in (400, 404)
    assert kept(pair, task) == 0


def test_a_body_that_dribbles_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(http, "BODY_SECONDS", 0.05)

    async def dribbling() -> dict[str, object]:
        await asyncio.sleep(0.02)
        return {"type": "http.request", "body": b"x", "more_body": True}

    with (
        http.BodyMemory(1 << 20).reservation() as reservation,
        pytest.raises(Problem, match="body did not end within") as refused,
    ):
        asyncio.run(http.read_body(dribbling, 1 << 20, reservation))
    assert refused.value.status == 408


def test_all_requests_together_hold_no_more_memory_than_the_limit() -> None:
    memory = http.BodyMemory(100)
    with memory.reservation() as first, memory.reservation() as second:
        first.add(60)
        second.add(40)
        with pytest.raises(Problem, match="try again later") as refused:
            second.add(1)
    assert refused.value.status == 503

    with memory.reservation() as later:
        later.add(100)  # what ended requests held is free again


def test_a_request_without_a_token_may_carry_only_a_small_body(pair: DapPair) -> None:
    url = f"{pair.leader.settings.url}/healthz"

    assert pair.network.send(Request("GET", url, bytes(http.SMALL_BODY))).status == 200
    assert (
        pair.network.send(Request("GET", url, bytes(http.SMALL_BODY + 1))).status == 413
    )


@pytest.mark.parametrize(
    "path", ["models/a%00b/task", "models/%00/release", "files/%00"]
)
def test_a_name_with_a_nul_character_is_not_found(pair: DapPair, path: str) -> None:
    """PostgreSQL refuses to compare a NUL character, and the answer was 500."""
    answer = pair.network.send(Request("GET", f"{pair.leader.settings.url}/{path}"))

    assert answer.status == 404
    assert json.loads(answer.body)["title"] == "unrecognizedResource"


def test_a_client_is_not_told_where_the_database_is() -> None:
    code, status, detail = http.error_response_parts(
        VaultError("/srv/leader/aggregator.db: locked")
    )

    assert (code, status) == ("storageUnavailable", 503)
    assert "/srv" not in detail

"""Every media type of both drafts, written out as the drafts have it, as it travels."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from dap_pair import HOUR, DapPair

from tactful.protocol.dap import report_upload as client
from tactful.protocol.dap.messages import decode_config_list
from tactful.protocol.dap.report_upload import fetch_hpke_config
from tactful.protocol.dap.vdaf_config import VdafConfig
from tactful.protocol.transport import Request, Response

COUNT = VdafConfig(kind="count")

# (what is asked, its media type, that of the answer), by the end of the address
TYPES = {
    "dap-09": {  # draft-ietf-ppm-dap-09, "Protocol Message Media Types"
        "PUT /reports": ("application/dap-report", None),
        "PUT /aggregation_jobs": (
            "application/dap-aggregation-job-init-req",
            "application/dap-aggregation-job-resp",
        ),
        "POST /aggregate_shares": (
            "application/dap-aggregate-share-req",
            "application/dap-aggregate-share",
        ),
        "PUT /collection_jobs": ("application/dap-collect-req", None),
        "POST /collection_jobs": (None, "application/dap-collection"),
    },
    "dap-18": {  # draft-ietf-ppm-dap-18, "Protocol Message Media Type"
        "POST /reports": ("application/ppm-dap;message=upload-req", None),
        "POST /aggregation_jobs": (
            "application/ppm-dap;message=aggregation-job-init-req",
            "application/ppm-dap;message=aggregation-job-resp",
        ),
        "POST /aggregate_shares": (
            "application/ppm-dap;message=aggregate-share-req",
            "application/ppm-dap;message=aggregate-share",
        ),
        "POST /collection_jobs": (
            "application/ppm-dap;message=collection-job-req",
            None,
        ),
        "GET /collection_jobs": (
            None,
            "application/ppm-dap;message=collection-job-resp",
        ),
    },
}
OLD_LIST = "application/dap-hpke-config-list"
NEW_LIST = "application/ppm-dap;message=hpke-config-list"
# what a client accepts, its query, and the type that it is answered with
LISTS = {
    "npm client of -09": (OLD_LIST, "?task_id=AAAA", OLD_LIST),
    "Janus main": (NEW_LIST, "", NEW_LIST),
    "-18 with a space": ("application/ppm-dap; message=hpke-config-list", "", NEW_LIST),
    "-18, quoted": ('application/ppm-dap;message="hpke-config-list"', "", NEW_LIST),
    "nothing said": ("", "", NEW_LIST),
    "anything": ("*/*", "", NEW_LIST),
    "-09, which names a task": ("*/*", "?task_id=AAAA", OLD_LIST),
    "both": (f"{OLD_LIST}, {NEW_LIST}", "", NEW_LIST),
    "both, the old one rather": (f"{NEW_LIST};q=0.5, {OLD_LIST}", "", OLD_LIST),
    "a weight that is none": (f"{OLD_LIST};q=x", "", NEW_LIST),
}


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[DapPair]:
    pair = DapPair(tmp_path)
    yield pair
    pair.close()


def place(request: Request) -> str:
    """A request by its method and the kind of resource."""
    kinds = ("reports", "aggregation_jobs", "aggregate_shares", "collection_jobs")
    kind = next((one for one in kinds if f"/{one}" in request.url), "")
    return f"{request.method} /{kind}"


def sent_type(request: Request) -> str | None:
    return request.headers.get("Content-Type")


@pytest.mark.parametrize("version", TYPES)
def test_a_whole_round_travels_under_the_types_of_its_draft(
    pair: DapPair, version: str
) -> None:
    task = pair.task(version, COUNT).provisioned.task
    client.contribute(pair.network, task, 1, pair.now)
    collector = pair.collector(task)
    assert (
        collector.collect(
            pair.network, collector.everything(), lambda _: pair.work()
        ).count
        == 1
    )

    passed = [
        (one, answer) for one, answer in pair.network.seen if "/tasks/" in one.url
    ]
    assert {place(one) for one, _ in passed} == set(TYPES[version])
    for request, answer in passed:
        asked, answered = TYPES[version][place(request)]
        if asked is not None:
            assert sent_type(request) == asked
        if answered is not None and answer.body:
            assert answer.header("content-type") == answered
        assert answer.ok


def test_refused_reports_are_told_in_the_type_of_18(pair: DapPair) -> None:
    task = pair.task("dap-18", COUNT).provisioned.task
    leader, helper = (
        fetch_hpke_config(pair.network, url) for url in (task.leader, task.helper)
    )
    late = pair.now + 9 * HOUR
    report = client.make_report(task, 1, leader=leader, helper=helper, now=late)
    answer = upload(
        pair, task, report.encode(task.dap), "application/ppm-dap;message=upload-req"
    )

    assert answer.status == 200
    assert answer.header("content-type") == "application/ppm-dap;message=upload-errors"


@pytest.mark.parametrize(
    ("version", "kind", "taken"),
    [
        ("dap-18", "application/ppm-dap;message=upload-req;version=18", True),
        ("dap-18", "application/ppm-dap; version=18; message=upload-req", True),
        ("dap-18", 'Application/PPM-DAP;message="upload-req"', True),
        ("dap-18", "application/ppm-dap;message=upload-req;version=09", False),
        ("dap-18", "application/ppm-dap;message=upload-errors", False),
        ("dap-18", "application/ppm-dap", False),
        ("dap-18", "application/dap-report", False),
        ("dap-09", "application/dap-report", True),
        ("dap-09", "application/ppm-dap;message=upload-req", False),
        ("dap-09", "", False),
    ],
)
def test_a_request_is_taken_only_under_its_own_type(
    pair: DapPair, version: str, kind: str, taken: bool
) -> None:
    task = pair.task(version, COUNT).provisioned.task
    leader, helper = (
        fetch_hpke_config(pair.network, url) for url in (task.leader, task.helper)
    )
    report = client.make_report(task, 1, leader=leader, helper=helper, now=pair.now)

    answer = upload(pair, task, report.encode(task.dap), kind)

    assert answer.status == (201 if taken else 415)


def upload(pair: DapPair, task, body: bytes, kind: str) -> Response:
    url = f"{task.leader}/tasks/{task.encoded_id}/reports"
    method = "PUT" if task.dap.counted else "POST"
    return pair.network.send(Request(method, url, body, {"Content-Type": kind}))


@pytest.mark.parametrize(("accept", "query", "due"), LISTS.values(), ids=LISTS)
def test_the_list_of_configs_comes_in_the_type_that_its_client_insists_on(
    pair: DapPair, accept: str, query: str, due: str
) -> None:
    for aggregator in (pair.leader, pair.helper):
        url = f"{aggregator.settings.url}/hpke_config{query}"
        answer = pair.network.send(Request("GET", url, b"", {"Accept": accept}))

        assert answer.header("content-type") == due
        assert answer.header("vary") == "Accept"
        assert answer.header("cache-control") == "max-age=86400"
        assert len(decode_config_list(answer.body)) == 1


@pytest.mark.parametrize("kind", [OLD_LIST, NEW_LIST])
def test_our_client_takes_both(pair: DapPair, kind: str) -> None:
    body = pair.network.send(
        Request("GET", f"{pair.leader.settings.url}/hpke_config")
    ).body

    class Foreign:
        def send(self, request: Request) -> Response:
            return Response(200, body, {"content-type": kind})

    assert fetch_hpke_config(Foreign(), "https://foreign.example").config_id == 1

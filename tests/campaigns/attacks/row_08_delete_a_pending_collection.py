"""A collector's pending job is deleted, in the hope that its batch can never be collected."""

import secrets
import time
from pathlib import Path

from attacked_pair import COUNT, collector_of, count_task, sent

from tactful.errors import ProtocolError
from tactful.protocol.dap.dap_task import encoded
from tactful.protocol.transport import Method, Request, Response
from tactful_aggregator.dap.collect_messages import CollectionReq
from tactful_aggregator.dap.collector import AggregateResult, Collector
from tactful_aggregator.testing import RunningPair, running_pair

TITLE = "A deleted collection makes its batch impossible to collect"
PATIENCE_SECONDS = 8.0


def attack(folder: Path) -> str | None:
    """Delete a collection that is pending, then ask for the same batch under a new name."""
    with running_pair(folder, min_batch_floor=1, min_count_floor=1) as pair:
        written, key = count_task(pair, min_batch_size=2)
        task = written.provisioned.task
        collector = collector_of(pair, task, key)
        sent(pair, task, 1)
        job = collector.create(pair.transport, collector.everything())
        if _asked(pair, collector, "DELETE", job).status != 204:
            raise AssertionError("the pending job was not deleted")
        sent(pair, task, 1)
        return _obtained(pair, collector)


def _obtained(pair: RunningPair, collector: Collector) -> str | None:
    task, query = collector.task, collector.everything()
    body = CollectionReq(query).encode(task)
    name = encoded(secrets.token_bytes(16))
    job = f"{task.leader}/tasks/{task.encoded_id}/collection_jobs/{name}"
    answer = _asked(pair, collector, "PUT", job, body)
    if not answer.ok:
        return f"the batch can never be collected: {answer.body.decode()}"
    until = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < until:
        try:
            found = collector.poll(pair.transport, job, query)
        except ProtocolError as refused:
            return f"the batch can never be collected: {refused}"
        if isinstance(found, AggregateResult):
            return (
                None
                if found.count == COUNT
                else f"{found.count} reports were collected"
            )
        time.sleep(0.1)
    return "the batch is not collected under a new name"


def _asked(
    pair: RunningPair, collector: Collector, method: Method, url: str, body: bytes = b""
) -> Response:
    headers = {
        "Authorization": f"Bearer {collector.token}",
        "Content-Type": collector.task.dap.media_type(
            "collect-req", "collection-job-req"
        ),
    }
    return pair.transport.send(Request(method, url, body, headers))

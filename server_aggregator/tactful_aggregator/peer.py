"""The helper as the leader reaches it: over HTTP, with the token from the helper's card."""

from __future__ import annotations

import base64
import json
from typing import NoReturn

from tactful.errors import BatchMismatch, BatchTooSmall, ProtocolError, TaskRejected
from tactful.protocol.model import ModelRelease
from tactful.protocol.signed import encode_signed
from tactful.protocol.task import Task
from tactful.protocol.transport import Request, Response, Transport
from tactful_aggregator.settings import Card

ERRORS: dict[str, type[Exception]] = {
    "invalidBatchSize": BatchTooSmall,
    "batchMismatch": BatchMismatch,
    "taskRejected": TaskRejected,
}


class HttpPeer:
    """Asks the helper; what it refuses is raised here under the same name."""

    def __init__(self, card: Card, transport: Transport) -> None:
        self._card, self._transport = card, transport

    def sign_task(self, task: Task, signature: bytes) -> bytes:
        """The helper's signature over a task."""
        return self._post("/tasks", encode_signed(task.document, {"leader": signature}))

    def sign_release(self, release: ModelRelease, signature: bytes) -> bytes:
        """The helper's signature over a release."""
        return self._post("/releases", encode_signed(release.document, {"leader": signature}))

    def aggregate(self, task: Task, job_id: bytes, request: bytes) -> bytes:
        """The helper's answer to a job."""
        name = base64.urlsafe_b64encode(job_id).decode().rstrip("=")
        return self._post(f"/tasks/{task.encoded_id}/aggregation_jobs/{name}", request)

    def aggregate_share(self, task: Task, request: bytes) -> bytes:
        """The helper's noisy share of a task's sum."""
        return self._post(f"/tasks/{task.encoded_id}/aggregate_shares", request)

    def _post(self, path: str, body: bytes) -> bytes:
        headers = {"Authorization": f"Bearer {self._card.token}"}
        answer = self._transport.send(Request("POST", self._card.url + path, body, headers))
        return answer.body if answer.ok else _refused(answer)


def _refused(answer: Response) -> NoReturn:
    try:
        problem = json.loads(answer.body)
        code, detail = str(problem["type"]).rpartition(":")[2], str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        code, detail = f"status {answer.status}", "the helper gave no reason; check its address"
    raise ERRORS.get(code, ProtocolError)(f"helper: {detail}")

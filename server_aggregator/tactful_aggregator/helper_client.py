"""The helper as the leader reaches it: over HTTP, with the token from the helper's card."""

from __future__ import annotations

import json

from tactful.errors import (
    BatchCollected,
    BatchMismatch,
    BatchTooSmall,
    ProtocolError,
    TaskRejected,
    TransportError,
)
from tactful.protocol.address import require_protected
from tactful.protocol.dap.dap_task import DapTask, encoded
from tactful.protocol.dap.report_upload import problem
from tactful.protocol.documents.model_release import ModelRelease
from tactful.protocol.documents.task import Task
from tactful.protocol.signed_json import encode_signed
from tactful.protocol.transport import Method, Request, Response, Transport
from tactful_aggregator.problems import URN
from tactful_aggregator.settings import PairingDocument


class HelperUnready(TransportError):
    """The helper, or something in front of it, answered what is no answer: ask again later."""


class HelperRefused(ProtocolError):
    """The helper itself says that it will never take the message."""


ERRORS: dict[str, type[Exception]] = {
    "invalidBatchSize": BatchTooSmall,
    "batchMismatch": BatchMismatch,
    "batchOverlap": BatchCollected,
    "taskRejected": TaskRejected,
}
# what the two operators can mend, so that what is asked stays waiting until they have
MENDED_BY = {
    401: "pair again, with its newest card.json",
    403: "is something in front of it in the way?",
    404: "does its operator know the task, and its address lead to a helper?",
    408: "it is tried again",
    413: "let both halves have the same max_body",
    429: "it is tried again",
}


class HelperClient:
    """Asks the helper; what it refuses is raised here under the same name."""

    def __init__(self, pairing_document: PairingDocument, transport: Transport) -> None:
        """Raise InvalidInput for a card whose address others on the network can listen to."""
        require_protected("peer.url", pairing_document.url)
        self._card, self._transport = pairing_document, transport

    def sign_task(self, task: Task, signature: bytes) -> bytes:
        """The helper's signature over a task."""
        return self._ask(
            "POST", "/tasks", encode_signed(task.document, {"leader": signature})
        )

    def sign_release(self, release: ModelRelease, signature: bytes) -> bytes:
        """The helper's signature over a release."""
        body = encode_signed(release.document, {"leader": signature})
        return self._ask("POST", "/releases", body)

    def aggregate(self, task: DapTask, job_id: bytes, request: bytes) -> bytes:
        """The helper's answer to a job; in DAP-18 the helper names the job by its content."""
        kind = task.dap.media_type(
            "aggregation-job-init-req", "aggregation-job-init-req"
        )
        path = f"/tasks/{task.encoded_id}/aggregation_jobs"
        if task.dap.counted:
            return self._ask("PUT", f"{path}/{encoded(job_id)}", request, kind)
        return self._ask("POST", path, request, kind)

    def aggregate_share(self, task: DapTask, request: bytes) -> bytes:
        """The helper's sealed share of a batch's sum."""
        kind = task.dap.media_type("aggregate-share-req", "aggregate-share-req")
        return self._ask(
            "POST", f"/tasks/{task.encoded_id}/aggregate_shares", request, kind
        )

    def _ask(self, method: Method, path: str, body: bytes, kind: str = "") -> bytes:
        headers = {"Authorization": f"Bearer {self._card.token}"}
        if kind:
            headers["Content-Type"] = kind
        answer = self._transport.send(
            Request(method, self._card.url + path, body, headers)
        )
        if not answer.ok:
            raise _refused(answer)
        return answer.body


def _refused(answer: Response) -> Exception:
    """A message that the helper will never take, or a helper that cannot take any just now."""
    code, detail = problem(answer)
    if not _is_dap_problem(answer):
        fix = MENDED_BY.get(answer.status, "is something in front of it in the way?")
        return HelperUnready(
            f"helper: status {answer.status} and no DAP problem; {fix}"
        )
    if answer.status >= 500 or answer.status in MENDED_BY:
        fix = MENDED_BY.get(answer.status, "see its log")
        return HelperUnready(f"helper: {detail or code}; {fix}")
    return ERRORS.get(code, HelperRefused)(f"helper: {detail or code}")


def _is_dap_problem(answer: Response) -> bool:
    """Whether an aggregator refused, and not a proxy or another program in front of it."""
    media = answer.header("content-type").partition(";")[0].strip()
    try:
        document = json.loads(answer.body)
    except ValueError:
        return False
    kind = document.get("type") if isinstance(document, dict) else None
    return media == "application/problem+json" and str(kind).startswith(URN)

"""The leader's HTTP client of the helper, authorized by the helper's token."""

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
    """An unusable response of the helper, or of a proxy before it; a retry may succeed."""


class HelperRefused(ProtocolError):
    """A refusal by the helper that a retry cannot change."""


ERRORS: dict[str, type[Exception]] = {
    "invalidBatchSize": BatchTooSmall,
    "batchMismatch": BatchMismatch,
    "batchOverlap": BatchCollected,
    "taskRejected": TaskRejected,
}
CHECK_PROXY = "check for a proxy in front of the helper that refuses requests"
# Refusals that the operators can repair; the request waits until they have.
REPAIRS = {
    401: "pair again with the helper's newest card.json",
    403: CHECK_PROXY,
    404: "check that the helper serves the task and that its address is correct",
    408: "it will be retried",
    413: "set the same max_body at both aggregators",
    429: "it will be retried",
}


class HelperClient:
    """A client of the helper that raises the errors which the helper names."""

    def __init__(self, pairing_document: PairingDocument, transport: Transport) -> None:
        """Raise InvalidInput for an address whose traffic others could read."""
        require_protected("peer.url", pairing_document.url)
        self._url, self._token = pairing_document.url, pairing_document.token
        self._transport = transport

    def sign_task(self, task: Task, signature: bytes) -> bytes:
        """Return the helper's signature over a task."""
        body = encode_signed(task.document, {"leader": signature})
        return self._send("POST", "/tasks", body)

    def sign_release(self, release: ModelRelease, signature: bytes) -> bytes:
        """Return the helper's signature over a release."""
        body = encode_signed(release.document, {"leader": signature})
        return self._send("POST", "/releases", body)

    def aggregate(self, task: DapTask, job_id: bytes, request: bytes) -> bytes:
        """Return the helper's response to a job.

        In DAP-18 the helper derives the job id from the content.
        """
        name = "aggregation-job-init-req"
        media_type = task.dap.media_type(name, name)
        path = f"/tasks/{task.encoded_id}/aggregation_jobs"
        if task.dap.counted:
            return self._send("PUT", f"{path}/{encoded(job_id)}", request, media_type)
        return self._send("POST", path, request, media_type)

    def aggregate_share(self, task: DapTask, request: bytes) -> bytes:
        """Return the helper's sealed share of a batch's sum."""
        name = "aggregate-share-req"
        media_type = task.dap.media_type(name, name)
        path = f"/tasks/{task.encoded_id}/aggregate_shares"
        return self._send("POST", path, request, media_type)

    def _send(
        self, method: Method, path: str, body: bytes, media_type: str = ""
    ) -> bytes:
        headers = {"Authorization": f"Bearer {self._token}"}
        if media_type:
            headers["Content-Type"] = media_type
        request = Request(method, self._url + path, body, headers)
        response = self._transport.send(request)
        if not response.ok:
            raise _error(response)
        return response.body


def _error(response: Response) -> Exception:
    """Return HelperUnready if a retry may succeed, else the error that the helper names."""
    status = response.status
    code, detail = problem(response)
    if not _is_dap_problem(response):
        fix = REPAIRS.get(status, CHECK_PROXY)
        return HelperUnready(f"helper: status {status} without a DAP problem; {fix}")
    if status >= 500 or status in REPAIRS:
        fix = REPAIRS.get(status, "see the helper's log")
        return HelperUnready(f"helper: {detail or code}; {fix}")
    return ERRORS.get(code, HelperRefused)(f"helper: {detail or code}")


def _is_dap_problem(response: Response) -> bool:
    """Return True if an aggregator refused, and not a proxy or another program."""
    media_type = response.header("content-type").partition(";")[0].strip()
    try:
        document = json.loads(response.body)
    except ValueError:
        return False
    problem_type = document.get("type") if isinstance(document, dict) else None
    is_dap_type = str(problem_type).startswith(URN)
    return media_type == "application/problem+json" and is_dap_type

"""DAP's resources, for each version: what is asked of whom, and the answers' forms."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route

from tactful.errors import BatchCollected
from tactful.protocol.dap.codec import Reader, u64
from tactful.protocol.dap.collect_messages import AggregateShareReq, CollectionReq
from tactful.protocol.dap.dap_task import DapTask, encoded
from tactful.protocol.dap.messages import (
    decode_upload,
    encode_config_list,
    encode_upload_errors,
)
from tactful.protocol.dap.versions import CONFIG_LIST, ReportError, config_list_version
from tactful_aggregator.datastore import FINISHED, PENDING
from tactful_aggregator.http import ApiRequest, plain, route, unpadded
from tactful_aggregator.jobs import aggregation, collection
from tactful_aggregator.jobs.aggregation import Dependencies
from tactful_aggregator.jobs.collection import Batch
from tactful_aggregator.keyring import CACHE_SECONDS
from tactful_aggregator.problems import Problem, invalid
from tactful_aggregator.task_registry import ProvisionedTask, TaskRegistry
from tactful_aggregator.upload import accept
from tactful_aggregator.upload.accept import Arrival
from tactful_aggregator.upload.group_commit import GroupCommit

ID, JOB_ID = 32, 16  # bytes of a task's id and of a job's
MOST_AT_ONCE = 1000  # reports in one request: they are read, and looked for, together
RETRY = {"Retry-After": "1"}  # seconds
# -09 has problem types where -18 has codes in the answer; all other refusals share one
UPLOAD_PROBLEMS = {
    ReportError.REPORT_TOO_EARLY: "reportTooEarly",
    ReportError.OUTDATED_CONFIG: "outdatedConfig",
    ReportError.INVALID_MESSAGE: "invalidMessage",
}


@dataclass(frozen=True)
class Resources:
    """What both halves have."""

    dependencies: Dependencies
    registry: TaskRegistry

    def hpke_config(self, call: ApiRequest) -> Response:
        """The key that shares for this half are sealed to, for any task and version."""
        answer = plain(encode_config_list([self.dependencies.keyring.config]))
        answer.headers["Cache-Control"] = f"max-age={CACHE_SECONDS}"
        dap = config_list_version(call.accept, names_task="task_id" in call.query)
        answer.headers["Content-Type"] = dap.media_type(CONFIG_LIST, CONFIG_LIST)
        answer.headers["Vary"] = "Accept"
        return answer

    def signed_hpke_config(self, call: ApiRequest) -> Response:
        """The same key with its epoch and times, signed with the key that devices pin."""
        answer = plain(self.dependencies.keyring.signed(), kind="application/json")
        answer.headers["Cache-Control"] = f"max-age={CACHE_SECONDS}"
        return answer

    def _provision(self, call: ApiRequest) -> ProvisionedTask:
        return self.registry.of(unpadded(call.path["task"], ID))


class LeaderResources(Resources):
    """What clients and collectors ask for."""

    def routes(self, token: str) -> list[Route]:
        """Where it is asked for; collectors show `token`."""
        jobs = "/tasks/{task}/collection_jobs"
        return [
            route("POST", jobs, self.begin_collection, token),
            route("PUT POST GET DELETE", jobs + "/{job}", self.collection_job, token),
        ]

    # uploads

    def uploads(self, max_body: int) -> LeaderUploads:
        """Return what takes uploads, and commits together those that come at once."""
        return LeaderUploads(self, GroupCommit(self._commit), max_body)

    def _commit(self, arrivals: Sequence[Arrival]) -> list[ReportError | None]:
        return accept.receive(
            self.dependencies.store,
            self.dependencies.bodies,
            self.dependencies.keyring,
            arrivals,
        )

    # collections

    def begin_collection(self, call: ApiRequest) -> Response:
        """DAP-18: begin a collection; equal requests are one job (draft repository, PR #781)."""
        provisioned = self._provision(call)
        if provisioned.task.dap.counted:
            raise Problem(
                "invalidMessage", 405, "dap-09 names a collection itself, with PUT"
            )
        job_id = hashlib.sha256(provisioned.task.id + call.body).digest()[:JOB_ID]
        self._begin(call, provisioned, job_id)
        answer = self._state(provisioned, job_id)
        answer.headers["Location"] = _path(provisioned.task, "collection_jobs", job_id)
        return answer

    def collection_job(self, call: ApiRequest) -> Response:
        """Begin (dap-09), ask for, or delete a collection."""
        provisioned, job_id = self._provision(call), unpadded(call.path["job"], JOB_ID)
        counted = provisioned.task.dap.counted
        if call.method == "DELETE":
            return self._delete(provisioned, job_id)
        if call.method == "PUT" and counted:
            self._begin(call, provisioned, job_id)
            return plain(b"", 201)
        _require(call, provisioned.task, "POST" if counted else "GET")
        return self._state(provisioned, job_id)

    def _begin(
        self, call: ApiRequest, provisioned: ProvisionedTask, job_id: bytes
    ) -> None:
        task = provisioned.task
        _require_media(call, task, "collect-req", "collection-job-req")
        batch = Batch.of(provisioned, CollectionReq.decode(call.body, task).query)
        with self.dependencies.store.transaction() as tx:
            others = tx.batches.overlapping(task.id, batch.first, batch.last)
            if any((one[0], one[1]) != (batch.first, batch.last) for one in others):
                raise BatchCollected("another batch holds some of these reports")
            if tx.collections.add(task.id, job_id, call.body) != call.body:
                raise invalid("this job was another one before")

    def _state(self, provisioned: ProvisionedTask, job_id: bytes) -> Response:
        """The collection, or that it is not there yet."""
        task = provisioned.task
        with self.dependencies.store.transaction() as tx:
            found = tx.collections.get(task.id, job_id)
        if found is None:
            raise Problem(
                "unrecognizedCollectionJob", 404, "there is no such collection"
            )
        request, state, body = found
        if state == FINISHED and body is not None:
            return plain(
                body, 200, task.dap.media_type("collection", "collection-job-resp")
            )
        if state == PENDING:
            self._require_hope(provisioned, CollectionReq.decode(request, task))
            return Response(b"", 202 if task.dap.counted else 200, headers=RETRY)
        if body is not None:
            code, _, detail = body.decode().partition(" ")
            raise Problem(code, 400, detail)
        return plain(b"", 204)

    def _require_hope(
        self, provisioned: ProvisionedTask, request: CollectionReq
    ) -> None:
        """Raise Problem once no report can come any more that would make the batch large enough.

        A report of an hour that is over may come as long as the task takes any.
        """
        task, batch = provisioned.task, Batch.of(provisioned, request.query)
        if self.dependencies.clock() < task.expires:
            return
        with self.dependencies.store.transaction() as tx:
            kept = tx.reports.count_not_refused(task.id, batch.first, batch.last)
        if kept < task.min_batch_size:
            raise Problem(
                "invalidBatchSize", 400, f"{kept} reports of {task.min_batch_size}"
            )

    def _delete(self, provisioned: ProvisionedTask, job_id: bytes) -> Response:
        with self.dependencies.store.transaction() as tx:
            if not tx.collections.delete(provisioned.task.id, job_id):
                raise Problem(
                    "unrecognizedCollectionJob", 404, "there is no such collection"
                )
        return plain(b"", 204)


@dataclass(frozen=True)
class LeaderUploads:
    """Reports on their way to the disk."""

    resources: LeaderResources
    intake: GroupCommit
    max_body: int  # bytes

    async def look_up(self, task: str) -> ProvisionedTask:
        """Return the task, without making all uploads wait for a database that another one holds.

        Raise Problem if there is no such task.
        """
        task_id, registry = unpadded(task, ID), self.resources.registry
        cached = registry.known(task_id)
        return (
            await run_in_threadpool(registry.of, task_id) if cached is None else cached
        )

    def longest(self, provisioned: ProvisionedTask) -> int:
        """Return how many bytes of reports one request may carry."""
        return min(self.max_body, MOST_AT_ONCE * provisioned.report_bytes)

    async def receive(self, call: ApiRequest, provisioned: ProvisionedTask) -> Response:
        """Take reports; the answer comes once they are on the disk."""
        arrivals = self._arrivals(call, provisioned)
        outcomes = await self.intake.add(arrivals)
        refused = [
            (one.key[1], reason)
            for one, reason in zip(arrivals, outcomes, strict=True)
            if reason is not None
        ]
        dap = provisioned.task.dap
        if dap.counted and refused:
            reason = refused[0][1]
            code = UPLOAD_PROBLEMS.get(reason, "reportRejected")
            raise Problem(code, 400, f"the report was not taken: {reason.name.lower()}")
        if not refused:
            return plain(b"", 201)
        kind = dap.media_type("", "upload-errors")
        return plain(encode_upload_errors(refused, dap), 200, kind)

    def _arrivals(
        self, call: ApiRequest, provisioned: ProvisionedTask
    ) -> list[Arrival]:
        task, now = provisioned.task, self.resources.dependencies.clock()
        _require(call, task, "PUT" if task.dap.counted else "POST")
        _require_media(call, task, "report", "upload-req")
        reports = decode_upload(call.body, task.dap)
        alone = call.body if len(reports) == 1 else None
        return [Arrival.of(provisioned, report, now, alone) for report in reports]


class HelperResources(Resources):
    """What the leader asks for."""

    def routes(self, token: str) -> list[Route]:
        """Where it is asked for, by whoever shows `token`."""
        jobs, shares = (
            "/tasks/{task}/aggregation_jobs",
            "/tasks/{task}/aggregate_shares",
        )
        return [
            route("POST", jobs, self.new_job, token),
            route("PUT POST GET DELETE", jobs + "/{job}", self.job, token),
            route("POST", shares, self.aggregate_share, token),
            route("GET DELETE", shares + "/{share}", self.released_share, token),
        ]

    def new_job(self, call: ApiRequest) -> Response:
        """DAP-18: count the reports of a job, which is named by its content."""
        provisioned = self._provision(call)
        if provisioned.task.dap.counted:
            raise Problem("invalidMessage", 405, "dap-09 names a job itself, with PUT")
        job_id = hashlib.sha256(provisioned.task.id + call.body).digest()[:JOB_ID]
        answer = self._answered(call, provisioned, job_id)
        path = _path(provisioned.task, "aggregation_jobs", job_id)
        answer.headers["Location"] = f"{path}?step=0"
        return answer

    def job(self, call: ApiRequest) -> Response:
        """Begin (dap-09), ask for, or delete a job; there is none to be continued."""
        provisioned, job_id = self._provision(call), unpadded(call.path["job"], JOB_ID)
        if call.method == "PUT" and provisioned.task.dap.counted:
            return self._answered(call, provisioned, job_id)
        with self.dependencies.store.transaction() as tx:
            known = tx.jobs.response(job_id)
            if known is None:
                raise Problem("unrecognizedAggregationJob", 404, "there is no such job")
            if call.method == "DELETE":
                tx.jobs.delete_response(job_id)
                return plain(b"", 204)
        if call.method == "POST":
            raise Problem("stepMismatch", 400, "one step is all there is")
        _require(call, provisioned.task, "GET")
        return plain(known[1], 200, self._job_media(provisioned.task))

    def _answered(
        self, call: ApiRequest, provisioned: ProvisionedTask, job_id: bytes
    ) -> Response:
        request = "aggregation-job-init-req"
        _require_media(call, provisioned.task, request, request)
        body = aggregation.answer(self.dependencies, provisioned, job_id, call.body)
        return plain(body, 201, self._job_media(provisioned.task))

    def _job_media(self, task: DapTask) -> str:
        return task.dap.media_type("aggregation-job-resp", "aggregation-job-resp")

    def aggregate_share(self, call: ApiRequest) -> Response:
        """This half's noisy share of a batch."""
        provisioned = self._provision(call)
        task = provisioned.task
        _require_media(call, task, "aggregate-share-req", "aggregate-share-req")
        request = AggregateShareReq.decode(call.body, task)
        body = collection.share(self.dependencies, provisioned, request)
        answer = plain(
            body, 200, task.dap.media_type("aggregate-share", "aggregate-share")
        )
        if not task.dap.counted:
            batch = Batch.of(provisioned, request.query)
            name = u64(batch.first) + u64(batch.last)
            answer.headers["Location"] = _path(task, "aggregate_shares", name)
        return answer

    def released_share(self, call: ApiRequest) -> Response:
        """The same share again, or that it is needed no more."""
        provisioned = self._provision(call)
        reader = Reader(unpadded(call.path["share"], JOB_ID), "id")
        first, last = reader.number(8), reader.number(8)
        with self.dependencies.store.transaction() as tx:
            released = (
                tx.batches.released_share(provisioned.task.id, first, last)
                if last < 1 << 62
                else None
            )
            if released is None:
                raise Problem(
                    "unrecognizedAggregateShare", 404, "there is no such share"
                )
            if call.method == "DELETE":
                tx.batches.delete_share(provisioned.task.id, first, last)
                return plain(b"", 204)
        kind = provisioned.task.dap.media_type("aggregate-share", "aggregate-share")
        return plain(released.share, 200, kind)


def _require(call: ApiRequest, task: DapTask, method: str) -> None:
    if call.method != method:
        raise Problem(
            "invalidMessage", 405, f"a {task.dap.tag} task takes {method} here"
        )


def _require_media(call: ApiRequest, task: DapTask, old: str, new: str) -> None:
    """Refuse what says that it is another message, or one of another version."""
    if not task.dap.is_media_type(call.media, old, new):
        due = task.dap.media_type(old, new)
        raise Problem("invalidMessage", 415, f"the content type is not {due}")


def _path(task: DapTask, kind: str, name: bytes) -> str:
    return f"/tasks/{task.encoded_id}/{kind}/{encoded(name)}"

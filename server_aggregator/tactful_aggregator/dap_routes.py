"""The HTTP resources of DAP, for each of its versions."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.routing import Route

from tactful.errors import BatchCollected
from tactful.protocol.dap.codec import Reader, u64
from tactful.protocol.dap.dap_task import DapTask, encoded
from tactful.protocol.dap.messages import (
    decode_upload,
    encode_config_list,
    encode_upload_errors,
)
from tactful.protocol.dap.versions import CONFIG_LIST, ReportError, config_list_version
from tactful_aggregator.dap.collect_messages import AggregateShareReq, CollectionReq
from tactful_aggregator.datastore import FINISHED, PENDING
from tactful_aggregator.http import ApiRequest, decode_id, plain, route
from tactful_aggregator.jobs import collection, helper_jobs
from tactful_aggregator.jobs.collection import Batch
from tactful_aggregator.jobs.dependencies import Dependencies
from tactful_aggregator.keyring import CACHE_SECONDS
from tactful_aggregator.problems import Problem, invalid
from tactful_aggregator.task_registry import ProvisionedTask, TaskRegistry
from tactful_aggregator.upload import accept
from tactful_aggregator.upload.accept import UploadedReport
from tactful_aggregator.upload.group_commit import GroupCommit

TASK_ID_BYTES, JOB_ID_BYTES = 32, 16
# Reports of one request are parsed and looked up together.
MAX_REPORTS_PER_REQUEST = 1000
RETRY_HEADERS = {"Retry-After": "1"}
# dap-09 has problem types where dap-18 has codes; all other refusals share one type.
UPLOAD_PROBLEMS = {
    ReportError.REPORT_TOO_EARLY: "reportTooEarly",
    ReportError.OUTDATED_CONFIG: "outdatedConfig",
    ReportError.INVALID_MESSAGE: "invalidMessage",
}


@dataclass(frozen=True)
class Resources:
    """The resources of both roles."""

    dependencies: Dependencies
    registry: TaskRegistry

    def hpke_config(self, call: ApiRequest) -> Response:
        """Return the published HPKE configuration, for every task and version."""
        config = self.dependencies.keyring.config
        response = plain(encode_config_list([config]))
        dap = config_list_version(call.accept, names_task="task_id" in call.query)
        media_type = dap.media_type(CONFIG_LIST, CONFIG_LIST)
        response.headers["Cache-Control"] = f"max-age={CACHE_SECONDS}"
        response.headers["Content-Type"] = media_type
        response.headers["Vary"] = "Accept"
        return response

    def signed_hpke_config(self, call: ApiRequest) -> Response:
        """Return the configuration with its epoch and validity, signed for devices."""
        body = self.dependencies.keyring.signed()
        response = plain(body, media_type="application/json")
        response.headers["Cache-Control"] = f"max-age={CACHE_SECONDS}"
        return response

    def _provisioned(self, call: ApiRequest) -> ProvisionedTask:
        return self.registry.get(decode_id(call.path["task"], TASK_ID_BYTES))


class LeaderResources(Resources):
    """The resources of the leader, for clients and collectors."""

    def routes(self, token: str) -> list[Route]:
        """Return the routes for collectors, which `token` authorizes."""
        jobs = "/tasks/{task}/collection_jobs"
        job = jobs + "/{job}"
        return [
            route("POST", jobs, self.create_collection_job, token),
            route("PUT POST GET DELETE", job, self.collection_job, token),
        ]

    # Uploads

    def uploads(self, max_body: int) -> LeaderUploads:
        """Return the upload handler, which commits concurrent requests together."""
        return LeaderUploads(self, GroupCommit(self._commit), max_body)

    def _commit(self, uploads: Sequence[UploadedReport]) -> list[ReportError | None]:
        return accept.store_uploads(
            self.dependencies.store,
            self.dependencies.report_store,
            self.dependencies.keyring,
            uploads,
        )

    # Collections

    def create_collection_job(self, call: ApiRequest) -> Response:
        """Create a collection job (dap-18).

        Equal requests are one job (DAP draft repository, pull request 781).
        """
        provisioned = self._provisioned(call)
        if provisioned.task.dap.counted:
            raise Problem(
                "invalidMessage", 405, "a dap-09 collector chooses the job id; use PUT"
            )
        job_id = _job_id(provisioned.task, call.body)
        self._create(call, provisioned, job_id)
        response = self._state(provisioned, job_id)
        path = _path(provisioned.task, "collection_jobs", job_id)
        response.headers["Location"] = path
        return response

    def collection_job(self, call: ApiRequest) -> Response:
        """Create (dap-09), poll or delete a collection job."""
        provisioned = self._provisioned(call)
        job_id = decode_id(call.path["job"], JOB_ID_BYTES)
        is_dap09 = provisioned.task.dap.counted
        if call.method == "DELETE":
            return self._delete(provisioned, job_id)
        if call.method == "PUT" and is_dap09:
            self._create(call, provisioned, job_id)
            return plain(b"", 201)
        _require_method(call, provisioned.task, "POST" if is_dap09 else "GET")
        return self._state(provisioned, job_id)

    def _create(
        self, call: ApiRequest, provisioned: ProvisionedTask, job_id: bytes
    ) -> None:
        task = provisioned.task
        _require_media_type(call, task, "collect-req", "collection-job-req")
        batch = Batch.of(provisioned, CollectionReq.decode(call.body, task).query)
        buckets = (batch.first, batch.last)
        with self.dependencies.store.transaction() as tx:
            overlapping = tx.batches.overlapping(task.id, *buckets)
            if any((first, last) != buckets for first, last, _ in overlapping):
                raise BatchCollected(
                    "another batch has some of these reports; request a batch that does "
                    "not overlap it"
                )
            if tx.collections.add(task.id, job_id, call.body) != call.body:
                raise invalid(
                    "this job id was used for another request; use a new job id"
                )

    def _state(self, provisioned: ProvisionedTask, job_id: bytes) -> Response:
        """Return the collection, or a response to poll again."""
        task = provisioned.task
        with self.dependencies.store.transaction() as tx:
            stored = tx.collections.get(task.id, job_id)
        if stored is None:
            raise _unknown_collection()
        request, state, body = stored
        if state == FINISHED and body is not None:
            media_type = task.dap.media_type("collection", "collection-job-resp")
            return plain(body, 200, media_type)
        if state == PENDING:
            self._require_possible(provisioned, CollectionReq.decode(request, task))
            return Response(b"", 202 if task.dap.counted else 200, RETRY_HEADERS)
        if body is not None:
            code, _, detail = body.decode().partition(" ")
            raise Problem(code, 400, detail)
        return plain(b"", 204)

    def _require_possible(
        self, provisioned: ProvisionedTask, request: CollectionReq
    ) -> None:
        """Raise Problem if the task expired before the batch became large enough.

        A report for an earlier hour can arrive until the task expires.
        """
        task, batch = provisioned.task, Batch.of(provisioned, request.query)
        if self.dependencies.clock() < task.expires:
            return
        with self.dependencies.store.transaction() as tx:
            count = tx.reports.count_not_refused(task.id, batch.first, batch.last)
        if count < task.min_batch_size:
            raise Problem(
                "invalidBatchSize",
                400,
                f"{count} reports of {task.min_batch_size} arrived before the task "
                "expired; delete this job",
            )

    def _delete(self, provisioned: ProvisionedTask, job_id: bytes) -> Response:
        with self.dependencies.store.transaction() as tx:
            if not tx.collections.delete(provisioned.task.id, job_id):
                raise _unknown_collection()
        return plain(b"", 204)


@dataclass(frozen=True)
class LeaderUploads:
    """The upload handler of the leader; `max_body` is the largest request in bytes."""

    resources: LeaderResources
    group_commit: GroupCommit
    max_body: int

    async def look_up(self, task: str) -> ProvisionedTask:
        """Return the task with this id in base64url; raises Problem if it is unknown.

        A task that is not cached is read in another thread, so that other uploads do not
        wait for a busy database.
        """
        task_id, registry = decode_id(task, TASK_ID_BYTES), self.resources.registry
        cached = registry.cached(task_id)
        if cached is not None:
            return cached
        return await run_in_threadpool(registry.get, task_id)

    def max_bytes(self, provisioned: ProvisionedTask) -> int:
        """Return the largest body of one request, in bytes."""
        return min(self.max_body, MAX_REPORTS_PER_REQUEST * provisioned.report_bytes)

    async def receive(self, call: ApiRequest, provisioned: ProvisionedTask) -> Response:
        """Store the reports, and respond once they are on the disk."""
        uploads = self._parse(call, provisioned)
        outcomes = await self.group_commit.add(uploads)
        refused = [
            (upload.report_id, reason)
            for upload, reason in zip(uploads, outcomes, strict=True)
            if reason is not None
        ]
        if not refused:
            return plain(b"", 201)
        dap = provisioned.task.dap
        if dap.counted:
            _, reason = refused[0]
            code = UPLOAD_PROBLEMS.get(reason, "reportRejected")
            raise Problem(code, 400, f"the report was refused: {reason.name.lower()}")
        media_type = dap.media_type("", "upload-errors")
        return plain(encode_upload_errors(refused, dap), 200, media_type)

    def _parse(
        self, call: ApiRequest, provisioned: ProvisionedTask
    ) -> list[UploadedReport]:
        task, now = provisioned.task, self.resources.dependencies.clock()
        _require_method(call, task, "PUT" if task.dap.counted else "POST")
        _require_media_type(call, task, "report", "upload-req")
        reports = decode_upload(call.body, task.dap)
        encoded_report = call.body if len(reports) == 1 else None
        return [
            UploadedReport.of(provisioned, report, now, encoded_report)
            for report in reports
        ]


class HelperResources(Resources):
    """The resources of the helper, for the leader."""

    def routes(self, token: str) -> list[Route]:
        """Return the routes for the leader, which `token` authorizes."""
        jobs = "/tasks/{task}/aggregation_jobs"
        shares = "/tasks/{task}/aggregate_shares"
        job, share = jobs + "/{job}", shares + "/{share}"
        return [
            route("POST", jobs, self.create_job, token),
            route("PUT POST GET DELETE", job, self.job, token),
            route("POST", shares, self.aggregate_share, token),
            route("GET DELETE", share, self.released_share, token),
        ]

    def create_job(self, call: ApiRequest) -> Response:
        """Count the reports of a job (dap-18), whose id is derived from its content."""
        provisioned = self._provisioned(call)
        if provisioned.task.dap.counted:
            raise Problem(
                "invalidMessage", 405, "a dap-09 leader chooses the job id; use PUT"
            )
        job_id = _job_id(provisioned.task, call.body)
        response = self._answer(call, provisioned, job_id)
        path = _path(provisioned.task, "aggregation_jobs", job_id)
        response.headers["Location"] = f"{path}?step=0"
        return response

    def job(self, call: ApiRequest) -> Response:
        """Create (dap-09), fetch or delete a job; jobs have one step only."""
        provisioned = self._provisioned(call)
        job_id = decode_id(call.path["job"], JOB_ID_BYTES)
        if call.method == "PUT" and provisioned.task.dap.counted:
            return self._answer(call, provisioned, job_id)
        with self.dependencies.store.transaction() as tx:
            stored = tx.jobs.response(job_id)
            if stored is None:
                raise Problem(
                    "unrecognizedAggregationJob",
                    404,
                    "there is no such job; check the job id",
                )
            if call.method == "DELETE":
                tx.jobs.delete_response(job_id)
                return plain(b"", 204)
        if call.method == "POST":
            raise Problem(
                "stepMismatch", 400, "a job has one step only; use the response to it"
            )
        _require_method(call, provisioned.task, "GET")
        _, body = stored
        return plain(body, 200, _job_media_type(provisioned.task))

    def _answer(
        self, call: ApiRequest, provisioned: ProvisionedTask, job_id: bytes
    ) -> Response:
        name = "aggregation-job-init-req"
        _require_media_type(call, provisioned.task, name, name)
        body = helper_jobs.answer_job(self.dependencies, provisioned, job_id, call.body)
        return plain(body, 201, _job_media_type(provisioned.task))

    def aggregate_share(self, call: ApiRequest) -> Response:
        """Return the helper's noisy share of a batch."""
        provisioned = self._provisioned(call)
        task = provisioned.task
        name = "aggregate-share-req"
        _require_media_type(call, task, name, name)
        request = AggregateShareReq.decode(call.body, task)
        body = collection.release_helper_share(self.dependencies, provisioned, request)
        response = plain(body, 200, _share_media_type(task))
        if not task.dap.counted:
            batch = Batch.of(provisioned, request.query)
            share_id = u64(batch.first) + u64(batch.last)
            response.headers["Location"] = _path(task, "aggregate_shares", share_id)
        return response

    def released_share(self, call: ApiRequest) -> Response:
        """Return a released share again, or delete it."""
        task = self._provisioned(call).task
        reader = Reader(decode_id(call.path["share"], JOB_ID_BYTES), "id")
        first, last = reader.number(8), reader.number(8)
        with self.dependencies.store.transaction() as tx:
            released = None
            # Larger numbers do not fit the database's integers.
            if last < 1 << 62:
                released = tx.batches.released_share(task.id, first, last)
            if released is None:
                raise Problem(
                    "unrecognizedAggregateShare",
                    404,
                    "there is no such share; request it with POST first",
                )
            if call.method == "DELETE":
                tx.batches.delete_share(task.id, first, last)
                return plain(b"", 204)
        return plain(released.share, 200, _share_media_type(task))


def _unknown_collection() -> Problem:
    return Problem(
        "unrecognizedCollectionJob",
        404,
        "there is no such collection job; check the job id",
    )


def _require_method(call: ApiRequest, task: DapTask, method: str) -> None:
    if call.method != method:
        raise Problem(
            "invalidMessage", 405, f"use {method} here for a task of {task.dap.tag}"
        )


def _require_media_type(call: ApiRequest, task: DapTask, old: str, new: str) -> None:
    """Raise Problem for a content type of another message or version."""
    if not task.dap.is_media_type(call.media, old, new):
        expected = task.dap.media_type(old, new)
        raise Problem("invalidMessage", 415, f"the content type must be {expected}")


def _job_media_type(task: DapTask) -> str:
    return task.dap.media_type("aggregation-job-resp", "aggregation-job-resp")


def _share_media_type(task: DapTask) -> str:
    return task.dap.media_type("aggregate-share", "aggregate-share")


def _job_id(task: DapTask, body: bytes) -> bytes:
    """Return a job id derived from the request, so that equal requests are one job."""
    return hashlib.sha256(task.id + body).digest()[:JOB_ID_BYTES]


def _path(task: DapTask, kind: str, name: bytes) -> str:
    return f"/tasks/{task.encoded_id}/{kind}/{encoded(name)}"

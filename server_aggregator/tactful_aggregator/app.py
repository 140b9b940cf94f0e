"""The HTTP applications of one aggregator: the public one and the operator's one."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar, TypeVar

from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tactful.errors import TactfulError
from tactful.protocol.documents.model_release import ModelRelease
from tactful.protocol.documents.task import Task
from tactful.protocol.signed_json import decode_signed
from tactful.protocol.transport import Transport
from tactful_aggregator.dap_routes import HelperResources, LeaderResources
from tactful_aggregator.datastore import PARKED, Datastore, DeferredJob
from tactful_aggregator.helper_client import HelperClient
from tactful_aggregator.http import (
    BODIES_AT_ONCE,
    ApiRequest,
    BodyMemory,
    handle_error,
    plain,
    route,
)
from tactful_aggregator.jobs.dependencies import Dependencies
from tactful_aggregator.jobs.readiness import Readiness
from tactful_aggregator.jobs.worker import Worker, collect_garbage
from tactful_aggregator.keyring import Keyring
from tactful_aggregator.problems import Problem
from tactful_aggregator.published_log import PublishedLog
from tactful_aggregator.settings import REPORTS_FOLDER, Aggregator, invalid_document
from tactful_aggregator.task_registry import TaskRegistry
from tactful_aggregator.training import countersign, experiments, steps
from tactful_aggregator.training.coordinator import Coordinator
from tactful_aggregator.training.state import Training, TrainingState, load_state
from tactful_aggregator.upload.asgi_fast_path import UploadFastPath
from tactful_aggregator.upload.report_store import ReportStore

Document = TypeVar("Document")
Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class RefreshRequest:
    """The operator's request to refresh a training at `step`, or at any step if None."""

    step: int | None = None
    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "strict": True,
    }


@dataclass(frozen=True)
class Service:
    """The request handlers of one aggregator; `clock` returns unix seconds."""

    aggregator: Aggregator
    store: Datastore
    transport: Transport
    clock: Callable[[], int] = lambda: int(time.time())

    # At both aggregators

    def health(self, call: ApiRequest) -> Response:
        """Return the role of this aggregator, to show that it runs."""
        return JSONResponse({"role": self.aggregator.settings.role})

    def ready(self, call: ApiRequest) -> Response:
        """Return whether this aggregator can work now; status 503 with a reason if not."""
        problem = self.readiness.problem()
        status = 503 if problem else 200
        return JSONResponse({"ready": not problem, "reason": problem}, status)

    def rotate(self, call: ApiRequest) -> Response:
        """Publish a new HPKE key from now on."""
        config = self.dependencies.keyring.rotate()
        return JSONResponse({"config_id": config.config_id})

    def collect_garbage(self, call: ApiRequest) -> Response:
        """Delete expired keys, report ids and report bodies."""
        collect_garbage(self.dependencies)
        return JSONResponse({})

    def jobs(self, call: ApiRequest) -> Response:
        """Return the jobs that are parked or will be retried."""
        with self.store.transaction() as tx:
            deferred = tx.jobs.deferred(self.clock())
        return JSONResponse([_job_document(job) for job in deferred])

    def resume_jobs(self, call: ApiRequest) -> Response:
        """Retry all deferred jobs now."""
        with self.store.transaction() as tx:
            resumed = tx.jobs.resume_deferred(self.clock())
        return JSONResponse({"resumed": resumed})

    # At the leader, for devices

    def current_task(self, call: ApiRequest) -> Response:
        """Return the open round of a model."""
        with self.store.transaction() as tx:
            signed = tx.tasks.newest_open(call.path["model"])
        if signed is None:
            raise Problem(
                "unrecognizedTask",
                404,
                "no round is open for this model; ask again later",
            )
        return plain(signed.encode(), media_type="application/json")

    def release(self, call: ApiRequest) -> Response:
        """Return the newest release of a model."""
        with self.store.transaction() as tx:
            newest = tx.published.newest_release(call.path["model"])
        if newest is None:
            raise Problem(
                "unrecognizedModel",
                404,
                "nothing is released for this model yet; ask again later",
            )
        _, body = newest
        return plain(body, media_type="application/json")

    def file(self, call: ApiRequest) -> Response:
        """Return published round parameters or a model, by its SHA-256."""
        with self.store.transaction() as tx:
            content = tx.published.file(call.path["sha256"])
        if content is None:
            raise Problem(
                "unrecognizedFile",
                404,
                "no published file has this hash; check the hash",
            )
        return plain(content)

    def transcript(self, call: ApiRequest) -> Response:
        """Return the publication log, one entry per line."""
        with self.store.transaction() as tx:
            entries = tx.published.entries()
        text = "".join(f"{entry}\n" for entry in entries)
        return plain(text.encode(), media_type="application/jsonl")

    def checkpoint(self, call: ApiRequest) -> Response:
        """Return the signed checkpoint of the publication log."""
        signer = self.aggregator.keys.signer
        signed = self.published_log.read(lambda log: log.signed(signer))
        return plain(signed.encode().encode(), media_type="application/json")

    def proof(self, call: ApiRequest) -> Response:
        """Return proofs that the log has a document and only grew since a given size.

        The document is named by its SHA-256.
        """
        sha256, signer = call.path["sha256"], self.aggregator.keys.signer
        size = _log_size(call.path["since"])
        proof = self.published_log.read(lambda log: log.prove(sha256, size, signer))
        if proof is None:
            raise Problem(
                "unrecognizedDocument",
                404,
                "the log has no such document or is shorter; check hash and size",
            )
        return plain(proof.encode(), media_type="application/json")

    # At the leader, for its operator

    def start(self, call: ApiRequest) -> Response:
        """Start a training."""
        training = _parse(Training, "training", call.body)
        training_state = steps.start(
            self.store, self.aggregator, training, self.clock()
        )
        return self._status_response(training_state)

    def advance(self, call: ApiRequest) -> Response:
        """Take the next step of a training, if it is at the step of the request."""
        request = RefreshRequest()
        if call.body:
            request = _parse(RefreshRequest, "refresh", call.body)
        training_state = steps.step(
            self.store,
            self.aggregator,
            self._coordinator,
            call.path["model"],
            self.clock(),
            request.step,
        )
        return self._status_response(training_state)

    def abandon(self, call: ApiRequest) -> Response:
        """End a training that is not released."""
        return self._status_response(steps.abandon(self.store, call.path["model"]))

    def open_experiment(self, call: ApiRequest) -> Response:
        """Open a period of an experiment."""
        opening = _parse(experiments.Opening, "opening", call.body)
        task = experiments.open_period(
            self.store, self.aggregator, self._coordinator, opening, self.clock()
        )
        return JSONResponse(
            {"experiment": opening.experiment.id, "expires": task.expires}
        )

    def read_experiment(self, call: ApiRequest) -> Response:
        """Collect the open period of an experiment and return all results."""
        result = experiments.read_results(
            self.store,
            self.aggregator,
            self._coordinator,
            call.path["experiment"],
            self.clock(),
        )
        return JSONResponse(result.json())

    def status(self, call: ApiRequest) -> Response:
        """Return the state of each training."""
        with self.store.transaction() as tx:
            models = tx.trainings.models()
        states = [load_state(self.store, model) for model in models]
        return JSONResponse([self._status_document(state) for state in states])

    # At the helper, for its leader

    def sign_task(self, call: ApiRequest) -> Response:
        """Countersign a task that is safe."""
        document, signatures = decode_signed(call.body)
        signature = countersign.countersign_task(
            self.store,
            self.aggregator,
            Task.parse(document),
            signatures.get("leader", b""),
        )
        return plain(signature)

    def sign_release(self, call: ApiRequest) -> Response:
        """Countersign a release whose claims are true."""
        document, signatures = decode_signed(call.body)
        signature = countersign.countersign_release(
            self.store,
            self.aggregator,
            ModelRelease.parse(document),
            signatures.get("leader", b""),
        )
        return plain(signature)

    # Parts

    @property
    def _coordinator(self) -> Coordinator:
        helper = HelperClient(self.aggregator.other_aggregator, self.transport)
        return Coordinator(self.dependencies, self.aggregator, helper)

    @cached_property
    def dependencies(self) -> Dependencies:
        """The objects that jobs and collections work with."""
        # Several machines may share a database server, but they have no common disk.
        is_local = self.store.is_local
        folder = self.aggregator.folder / REPORTS_FOLDER if is_local else None
        keyring = Keyring(self.store, self.aggregator, self.clock)
        return Dependencies(self.store, ReportStore(folder), keyring, self.clock)

    @cached_property
    def published_log(self) -> PublishedLog:
        """The publication log, parsed and hashed once."""
        return PublishedLog(self.store)

    @cached_property
    def registry(self) -> TaskRegistry:
        """The tasks of this aggregator."""
        return TaskRegistry(self.store, self.aggregator)

    @cached_property
    def readiness(self) -> Readiness:
        """The check whether this aggregator can work."""
        is_leader = self.aggregator.settings.role == "leader"
        return Readiness(self.store, self.worker if is_leader else None)

    @cached_property
    def worker(self) -> Worker:
        """The background work of the leader."""
        return Worker(self.dependencies, self._coordinator.helper, self.registry)

    def _status_response(self, training_state: TrainingState) -> JSONResponse:
        return JSONResponse(self._status_document(training_state))

    def _status_document(self, training_state: TrainingState) -> dict[str, object]:
        reports, number = 0, None
        if training_state.task is not None:
            number = len(training_state.tasks)
            task_id = bytes.fromhex(training_state.task)
            with self.store.transaction() as tx:
                reports = tx.reports.count_not_refused(task_id)
        return {
            "model": training_state.training.model,
            "state": training_state.state,
            "step": training_state.step,
            "rounds": training_state.plan.rounds,
            "round": number,
            "reports": reports,
            "min_batch_size": training_state.training.min_batch_size,
            "collected": list(training_state.counts),
        }


def _log_size(text: str) -> int:
    """Return the size of a log from an address; -1, which no log has, if it is invalid."""
    is_number = text.isascii() and text.isdigit() and len(text) < 12
    return int(text) if is_number else -1


def _job_document(job: DeferredJob) -> dict[str, object]:
    return {
        "job": job.job_id.hex(),
        "task": job.task_id.hex(),
        "state": job.state,
        "attempts": job.attempts,
        "again_at": None if job.state == PARKED else job.due,
    }


def build(service: Service) -> Starlette:
    """Return the public application; at a leader the worker runs while it is served."""
    max_body = service.aggregator.settings.max_body
    memory = BodyMemory(BODIES_AT_ONCE * max_body)
    routes = [
        route("GET", "/healthz", service.health),
        route("GET", "/readyz", service.ready),
    ]
    if service.aggregator.settings.role == "leader":
        leader = LeaderResources(service.dependencies, service.registry)
        uploads = leader.uploads(max_body)
        middleware = [Middleware(UploadFastPath, uploads=uploads, memory=memory)]
        routes += _leader_routes(service, leader)
        return _application(service, routes, middleware, memory, _run_worker(service))
    helper = HelperResources(service.dependencies, service.registry)
    routes += _helper_routes(service, helper)
    return _application(service, routes, [], memory, None)


def _leader_routes(service: Service, resources: LeaderResources) -> list[Route]:
    return [
        route("GET", "/models/{model}/task", service.current_task),
        route("GET", "/models/{model}/release", service.release),
        route("GET", "/files/{sha256}", service.file),
        route("GET", "/transcript", service.transcript),
        route("GET", "/transcript/checkpoint", service.checkpoint),
        route("GET", "/transcript/proofs/{sha256}/{since}", service.proof),
        *_hpke_routes(resources),
        *resources.routes(service.aggregator.keys.collector_token),
    ]


def _helper_routes(service: Service, resources: HelperResources) -> list[Route]:
    token = service.aggregator.keys.token
    return [
        route("POST", "/tasks", service.sign_task, token),
        route("POST", "/releases", service.sign_release, token),
        *_hpke_routes(resources),
        *resources.routes(token),
    ]


def _hpke_routes(resources: LeaderResources | HelperResources) -> list[Route]:
    return [
        route("GET", "/hpke_config", resources.hpke_config),
        route("GET", "/hpke_config/signed", resources.signed_hpke_config),
    ]


def build_operator(service: Service) -> Starlette:
    """Return the operator's application, which is served on a listener of its own."""
    token = service.aggregator.keys.admin_token
    routes = [
        route("POST", "/operator/keys", service.rotate, token),
        route("POST", "/operator/garbage", service.collect_garbage, token),
    ]
    if service.aggregator.settings.role == "leader":
        routes += _leader_operator_routes(service, token)
    memory = BodyMemory(service.aggregator.settings.max_body)
    return _application(service, routes, [], memory, None)


def _leader_operator_routes(service: Service, token: str) -> list[Route]:
    training = "/operator/trainings/{model}"
    experiment = "/operator/experiments/{experiment}"
    return [
        route("POST", "/operator/trainings", service.start, token),
        route("POST", f"{training}/refresh", service.advance, token),
        route("POST", f"{training}/abandon", service.abandon, token),
        route("POST", "/operator/experiments", service.open_experiment, token),
        route("POST", experiment, service.read_experiment, token),
        route("GET", "/operator/status", service.status, token),
        route("GET", "/operator/jobs", service.jobs, token),
        route("POST", "/operator/jobs/resume", service.resume_jobs, token),
    ]


def _application(
    service: Service,
    routes: list[Route],
    middleware: list[Middleware],
    memory: BodyMemory,
    lifespan: Lifespan | None,
) -> Starlette:
    app = Starlette(
        routes=routes,
        middleware=middleware,
        exception_handlers={TactfulError: handle_error},
        lifespan=lifespan,
    )
    app.state.max_body = service.aggregator.settings.max_body
    app.state.body_memory = memory
    return app


def _run_worker(service: Service) -> Lifespan:
    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        service.worker.start()
        yield
        service.worker.stop()

    return lifespan


def _parse(kind: type[Document], name: str, body: bytes) -> Document:
    try:
        return TypeAdapter(kind).validate_json(body)
    except ValidationError as error:
        raise invalid_document(f"{name}.", error) from error

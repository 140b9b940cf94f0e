"""One half over HTTP: routes and problem documents, nothing decided here."""

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
    plain,
    problem,
    route,
)
from tactful_aggregator.jobs.aggregation import Dependencies
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


@dataclass(frozen=True)
class Advance:
    """What the operator asks of a training: the step that it is at, None for any."""

    step: int | None = None
    __pydantic_config__: ClassVar[dict[str, object]] = {
        "extra": "forbid",
        "strict": True,
    }


@dataclass(frozen=True)
class Service:
    """What the routes of one half work on; `clock` gives unix seconds."""

    aggregator: Aggregator
    store: Datastore
    transport: Transport
    clock: Callable[[], int] = lambda: int(time.time())

    # both halves

    def health(self, call: ApiRequest) -> Response:
        """That this half runs, and which one it is."""
        return JSONResponse({"role": self.aggregator.settings.role})

    def ready(self, call: ApiRequest) -> Response:
        """Whether this half can do its work now: status 503 and the reason if not."""
        problem = self.readiness.problem()
        return JSONResponse(
            {"ready": not problem, "reason": problem}, 503 if problem else 200
        )

    def rotate(self, call: ApiRequest) -> Response:
        """Hand out a new key from now on."""
        return JSONResponse({"config_id": self.dependencies.keyring.rotate().config_id})

    def collect_garbage(self, call: ApiRequest) -> Response:
        """Forget what is over."""
        collect_garbage(self.dependencies)
        return JSONResponse({})

    def jobs(self, call: ApiRequest) -> Response:
        """The jobs that the helper did not answer as it should."""
        with self.store.transaction() as tx:
            waiting = tx.jobs.deferred(self.clock())
        return JSONResponse([_shown(one) for one in waiting])

    def resume_jobs(self, call: ApiRequest) -> Response:
        """Try all of them again now."""
        with self.store.transaction() as tx:
            return JSONResponse({"resumed": tx.jobs.resume_deferred(self.clock())})

    # the leader, to devices

    def current_task(self, call: ApiRequest) -> Response:
        """The open round of a model."""
        with self.store.transaction() as tx:
            signed = tx.tasks.newest_open(call.path["model"])
        if signed is None:
            raise Problem(
                "unrecognizedTask", 404, "no round is open for this model now"
            )
        return plain(signed.encode(), kind="application/json")

    def release(self, call: ApiRequest) -> Response:
        """The newest release of a model."""
        with self.store.transaction() as tx:
            newest = tx.published.newest_release(call.path["model"])
        if newest is None:
            raise Problem(
                "unrecognizedModel", 404, "nothing is released for this model yet"
            )
        return plain(newest[1], kind="application/json")

    def file(self, call: ApiRequest) -> Response:
        """A guide or a model, by its SHA-256."""
        with self.store.transaction() as tx:
            content = tx.published.file(call.path["sha256"])
        if content is None:
            raise Problem(
                "unrecognizedFile", 404, "no file with this hash is published"
            )
        return plain(content)

    def transcript(self, call: ApiRequest) -> Response:
        """Everything published, one entry a line."""
        with self.store.transaction() as tx:
            lines = tx.published.entries()
        return plain(
            "".join(f"{line}\n" for line in lines).encode(), kind="application/jsonl"
        )

    def checkpoint(self, call: ApiRequest) -> Response:
        """The signed head of everything published."""
        head = self.published_log.read(
            lambda log: log.signed(self.aggregator.keys.signer)
        )
        return plain(head.encode().encode(), kind="application/json")

    def proof(self, call: ApiRequest) -> Response:
        """That a document, named by its SHA-256, is in the log, and that the log only grew."""
        since = call.path["since"]
        size = (
            int(since)
            if since.isascii() and since.isdigit() and len(since) < 12
            else -1
        )
        sha256, signer = call.path["sha256"], self.aggregator.keys.signer
        proof = self.published_log.read(lambda log: log.prove(sha256, size, signer))
        if proof is None:
            raise Problem(
                "unrecognizedDocument",
                404,
                "the log holds no such document, or is shorter",
            )
        return plain(proof.encode(), kind="application/json")

    # the leader, to its operator

    def start(self, call: ApiRequest) -> Response:
        """Begin a training."""
        training = _parsed(Training, "training", call.body)
        return self._status(
            steps.start(self.store, self.aggregator, training, self.clock())
        )

    def advance(self, call: ApiRequest) -> Response:
        """Take the next step of a training, if it is at the step that the request names."""
        model = call.path["model"]
        asked = _parsed(Advance, "refresh", call.body) if call.body else Advance()
        training_state = steps.step(
            self.store, self.aggregator, self._peer, model, self.clock(), asked.step
        )
        return self._status(training_state)

    def abandon(self, call: ApiRequest) -> Response:
        """End a training that is not released."""
        return self._status(steps.abandon(self.store, call.path["model"]))

    def open_experiment(self, call: ApiRequest) -> Response:
        """Open a period of an experiment."""
        opening = _parsed(experiments.Opening, "opening", call.body)
        task = experiments.open_period(
            self.store, self.aggregator, self._peer, opening, self.clock()
        )
        return JSONResponse(
            {"experiment": opening.experiment.id, "expires": task.expires}
        )

    def read_experiment(self, call: ApiRequest) -> Response:
        """Collect the open period of an experiment and read all of them."""
        name = call.path["experiment"]
        read = experiments.read_results(
            self.store, self.aggregator, self._peer, name, self.clock()
        )
        return JSONResponse(read.json())

    def status(self, call: ApiRequest) -> Response:
        """Where each training stands."""
        with self.store.transaction() as tx:
            models = tx.trainings.models()
        training_states = [load_state(self.store, model) for model in models]
        return JSONResponse(
            [self._described(training_state) for training_state in training_states]
        )

    # the helper, to its leader

    def sign_task(self, call: ApiRequest) -> Response:
        """Countersign a task that is safe."""
        document, signatures = decode_signed(call.body)
        task, signed = Task.parse(document), signatures.get("leader", b"")
        return plain(
            countersign.countersign_task(self.store, self.aggregator, task, signed)
        )

    def sign_release(self, call: ApiRequest) -> Response:
        """Countersign a release that is true."""
        document, signatures = decode_signed(call.body)
        release, signed = ModelRelease.parse(document), signatures.get("leader", b"")
        return plain(
            countersign.countersign_release(
                self.store, self.aggregator, release, signed
            )
        )

    @property
    def _peer(self) -> Coordinator:
        return Coordinator(
            self.dependencies,
            self.aggregator,
            HelperClient(self.aggregator.other_aggregator, self.transport),
        )

    @cached_property
    def dependencies(self) -> Dependencies:
        """What reports are settled with."""
        # several machines share a database server, but no disk
        folder = (
            self.aggregator.folder / REPORTS_FOLDER if self.store.is_local else None
        )
        keyring = Keyring(self.store, self.aggregator, self.clock)
        return Dependencies(self.store, ReportStore(folder), keyring, self.clock)

    @cached_property
    def published_log(self) -> PublishedLog:
        """Return the transcript, parsed and hashed once."""
        return PublishedLog(self.store)

    @cached_property
    def registry(self) -> TaskRegistry:
        """The tasks of this half."""
        return TaskRegistry(self.store, self.aggregator)

    @cached_property
    def readiness(self) -> Readiness:
        """What says whether this half can do its work."""
        leads = self.aggregator.settings.role == "leader"
        return Readiness(self.store, self.worker if leads else None)

    @cached_property
    def worker(self) -> Worker:
        """What the leader does by itself."""
        return Worker(self.dependencies, self._peer.helper, self.registry)

    def _status(self, training_state: TrainingState) -> JSONResponse:
        return JSONResponse(self._described(training_state))

    def _described(self, training_state: TrainingState) -> dict[str, object]:
        reports = 0
        if training_state.task is not None:
            with self.store.transaction() as tx:
                reports = tx.reports.count_not_refused(
                    bytes.fromhex(training_state.task)
                )
        return {
            "model": training_state.training.model,
            "state": training_state.state,
            "step": training_state.step,
            "rounds": training_state.plan.rounds,
            "round": None if training_state.task is None else len(training_state.tasks),
            "reports": reports,
            "min_batch_size": training_state.training.min_batch_size,
            "collected": list(training_state.counts),
        }


def build(service: Service) -> Starlette:
    """The public application of one half; the leader's worker runs as long as it is served."""
    leads = service.aggregator.settings.role == "leader"
    keys = service.aggregator.keys
    routes = [
        route("GET", "/healthz", service.health),
        route("GET", "/readyz", service.ready),
    ]
    resources: LeaderResources | HelperResources
    if leads:
        resources = LeaderResources(service.dependencies, service.registry)
        routes += [
            route("GET", "/models/{model}/task", service.current_task),
            route("GET", "/models/{model}/release", service.release),
            route("GET", "/files/{sha256}", service.file),
            route("GET", "/transcript", service.transcript),
            route("GET", "/transcript/checkpoint", service.checkpoint),
            route("GET", "/transcript/proofs/{sha256}/{since}", service.proof),
        ]
    else:
        resources = HelperResources(service.dependencies, service.registry)
        routes += [
            route("POST", "/tasks", service.sign_task, keys.token),
            route("POST", "/releases", service.sign_release, keys.token),
        ]
    shown = keys.collector_token if leads else keys.token
    routes += [
        route("GET", "/hpke_config", resources.hpke_config),
        route("GET", "/hpke_config/signed", resources.signed_hpke_config),
        *resources.routes(shown),
    ]
    most = service.aggregator.settings.max_body
    memory = BodyMemory(BODIES_AT_ONCE * most)
    uploads = _door(resources, most, memory)
    return _application(service, routes, uploads, memory, _working(service, leads))


def build_operator(service: Service) -> Starlette:
    """What only the operator of this half may ask for, on a listener of its own."""
    token = service.aggregator.keys.admin_token
    routes = [
        route("POST", "/operator/keys", service.rotate, token),
        route("POST", "/operator/garbage", service.collect_garbage, token),
    ]
    if service.aggregator.settings.role == "leader":
        routes += [
            route("POST", "/operator/trainings", service.start, token),
            route(
                "POST", "/operator/trainings/{model}/refresh", service.advance, token
            ),
            route(
                "POST", "/operator/trainings/{model}/abandon", service.abandon, token
            ),
            route("POST", "/operator/experiments", service.open_experiment, token),
            route(
                "POST",
                "/operator/experiments/{experiment}",
                service.read_experiment,
                token,
            ),
            route("GET", "/operator/status", service.status, token),
            route("GET", "/operator/jobs", service.jobs, token),
            route("POST", "/operator/jobs/resume", service.resume_jobs, token),
        ]
    return _application(
        service, routes, [], BodyMemory(service.aggregator.settings.max_body), None
    )


Lifespan = Callable[[Starlette], AbstractAsyncContextManager[None]]


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
        exception_handlers={TactfulError: problem},
        lifespan=lifespan,
    )
    app.state.max_body, app.state.body_memory = (
        service.aggregator.settings.max_body,
        memory,
    )
    return app


def _shown(waiting: DeferredJob) -> dict[str, object]:
    return {
        "job": waiting.job_id.hex(),
        "task": waiting.task_id.hex(),
        "state": waiting.state,
        "attempts": waiting.attempts,
        "again_at": None if waiting.state == PARKED else waiting.due,
    }


def _door(
    resources: LeaderResources | HelperResources, most: int, memory: BodyMemory
) -> list[Middleware]:
    """Where uploads come in, at a leader."""
    if not isinstance(resources, LeaderResources):
        return []
    return [Middleware(UploadFastPath, uploads=resources.uploads(most), memory=memory)]


def _working(service: Service, leads: bool) -> Lifespan | None:
    if not leads:
        return None

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        service.worker.start()
        yield
        service.worker.stop()

    return lifespan


T = TypeVar("T")


def _parsed(kind: type[T], name: str, document: bytes) -> T:
    try:
        return TypeAdapter(kind).validate_json(document)
    except ValidationError as wrong:
        raise invalid_document(f"{name}.", wrong) from wrong

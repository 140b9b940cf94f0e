"""One half over HTTP: routes and problem documents, nothing decided here."""

from __future__ import annotations

import base64
import binascii
import hmac
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tactful.errors import (
    BatchCollected,
    BatchMismatch,
    BatchTooSmall,
    DecodeError,
    InvalidInput,
    ModelRejected,
    ProtocolError,
    TactfulError,
    TaskRejected,
    TransportError,
)
from tactful.protocol.messages import (
    AggregateShareReq,
    HpkeConfig,
    decode_upload,
    encode_config_list,
    encode_upload_errors,
)
from tactful.protocol.model import ModelRelease
from tactful.protocol.signed import decode_signed
from tactful.protocol.task import Task
from tactful.protocol.transcript import Entry, parse, prove, signed
from tactful.protocol.transport import Transport
from tactful_aggregator import aggregation, collection, experiments, preflight, refresh, upload
from tactful_aggregator.datastore import Datastore
from tactful_aggregator.peer import HttpPeer
from tactful_aggregator.settings import Half

PROBLEM = "urn:ietf:params:ppm:dap:error:"
CODES: dict[type[TactfulError], tuple[str, int]] = {
    DecodeError: ("invalidMessage", 400),
    BatchTooSmall: ("invalidBatchSize", 400),
    BatchMismatch: ("batchMismatch", 400),
    BatchCollected: ("batchOverlap", 400),
    TaskRejected: ("taskRejected", 400),
    ModelRejected: ("modelRejected", 400),
    ProtocolError: ("invalidMessage", 400),
    InvalidInput: ("invalidInput", 400),
    TransportError: ("peerUnreachable", 502),
}


class Refusal(Exception):
    """An answer that is a problem document (RFC 9457)."""

    def __init__(self, code: str, status: int, detail: str) -> None:
        super().__init__(detail)
        self.code, self.status, self.detail = code, status, detail


@dataclass(frozen=True)
class Call:
    """One request, read to its end."""

    path: dict[str, str]
    body: bytes


@dataclass(frozen=True)
class Service:
    """What the routes of one half work on; `clock` gives unix seconds."""

    half: Half
    store: Datastore
    transport: Transport
    clock: Callable[[], int] = lambda: int(time.time())

    # both halves

    def health(self, call: Call) -> Response:
        """That this half runs, and which one it is."""
        return JSONResponse({"role": self.half.settings.role})

    def hpke_config(self, call: Call) -> Response:
        """The key that shares for this half are sealed to."""
        key = self.half.keys.opener.public_key().public_bytes_raw()
        return _bytes(encode_config_list([HpkeConfig(upload.CONFIG_ID, key)]))

    # the leader, to devices

    def receive(self, call: Call) -> Response:
        """Take reports; the body of the answer names those that were not."""
        task = self._task(call)
        refused = upload.receive(self.store, task, decode_upload(call.body), self.clock())
        return _bytes(encode_upload_errors(refused), 200 if refused else 201)

    def current_task(self, call: Call) -> Response:
        """The open round of a model."""
        with self.store.transaction() as tx:
            signed = tx.open_task(call.path["model"])
        if signed is None:
            raise Refusal("unrecognizedTask", 404, "no round is open for this model now")
        return _bytes(signed.encode(), kind="application/json")

    def release(self, call: Call) -> Response:
        """The newest release of a model."""
        with self.store.transaction() as tx:
            newest = tx.newest_release(call.path["model"])
        if newest is None:
            raise Refusal("unrecognizedModel", 404, "nothing is released for this model yet")
        return _bytes(newest[1], kind="application/json")

    def file(self, call: Call) -> Response:
        """A guide or a model, by its SHA-256."""
        with self.store.transaction() as tx:
            content = tx.file(call.path["sha256"])
        if content is None:
            raise Refusal("unrecognizedFile", 404, "no file with this hash is published")
        return _bytes(content)

    def transcript(self, call: Call) -> Response:
        """Everything published, one entry a line."""
        with self.store.transaction() as tx:
            lines = tx.transcript()
        return _bytes("".join(f"{line}\n" for line in lines).encode(), kind="application/jsonl")

    def checkpoint(self, call: Call) -> Response:
        """The signed head of everything published."""
        head = signed(self._log(), self.half.keys.signer)
        return _bytes(head.encode().encode(), kind="application/json")

    def proof(self, call: Call) -> Response:
        """That a document, named by its SHA-256, is in the log, and that the log only grew."""
        since = call.path["since"]
        size = int(since) if since.isascii() and since.isdigit() and len(since) < 12 else -1
        found = prove(self._log(), call.path["sha256"], size, self.half.keys.signer)
        if found is None:
            raise Refusal(
                "unrecognizedDocument", 404, "the log holds no such document, or is shorter"
            )
        return _bytes(found.encode(), kind="application/json")

    def _log(self) -> list[Entry]:
        with self.store.transaction() as tx:
            return [parse(line) for line in tx.transcript()]

    # the leader, to its operator

    def start(self, call: Call) -> Response:
        """Begin a training."""
        training = _parsed(refresh.Training, "training", call.body)
        return self._status(refresh.start(self.store, training))

    def advance(self, call: Call) -> Response:
        """Take the next step of a training."""
        model = call.path["model"]
        standing = refresh.step(self.store, self.half, self._peer, model, self.clock())
        return self._status(standing)

    def open_experiment(self, call: Call) -> Response:
        """Open a period of an experiment."""
        opening = _parsed(experiments.Opening, "opening", call.body)
        task = experiments.start(self.store, self.half, self._peer, opening, self.clock())
        return JSONResponse({"experiment": opening.experiment.id, "expires": task.expires})

    def read_experiment(self, call: Call) -> Response:
        """Collect the open period of an experiment and read all of them."""
        name = call.path["experiment"]
        read = experiments.read(self.store, self.half, self._peer, name, self.clock())
        return JSONResponse(read.json())

    def status(self, call: Call) -> Response:
        """Where each training stands."""
        with self.store.transaction() as tx:
            models = tx.models()
        standings = [refresh.standing_of(self.store, model) for model in models]
        return JSONResponse([self._described(standing) for standing in standings])

    # the helper, to its leader

    def sign_task(self, call: Call) -> Response:
        """Countersign a task that is safe."""
        document, signatures = decode_signed(call.body)
        task, signed = Task.parse(document), signatures.get("leader", b"")
        return _bytes(preflight.countersign_task(self.store, self.half, task, signed))

    def sign_release(self, call: Call) -> Response:
        """Countersign a release that is true."""
        document, signatures = decode_signed(call.body)
        release, signed = ModelRelease.parse(document), signatures.get("leader", b"")
        return _bytes(preflight.countersign_release(self.store, self.half, release, signed))

    def aggregate(self, call: Call) -> Response:
        """Count the reports of a job."""
        task, job_id = self._task(call), _unpadded(call.path["job"], 16)
        answer = aggregation.answer(self.store, self.half, task, job_id, call.body, self.clock())
        return _bytes(answer, 201)

    def aggregate_share(self, call: Call) -> Response:
        """This half's noisy share."""
        request = AggregateShareReq.decode(call.body)
        return _bytes(collection.share(self.store, self._task(call), request))

    def _task(self, call: Call) -> Task:
        task_id = _unpadded(call.path["task"], 32)
        with self.store.transaction() as tx:
            signed = tx.task(task_id)
        if signed is None:
            raise Refusal("unrecognizedTask", 404, "this half does not know the task")
        return signed.task

    @property
    def _peer(self) -> HttpPeer:
        return HttpPeer(self.half.paired, self.transport)

    def _status(self, standing: refresh.Standing) -> JSONResponse:
        return JSONResponse(self._described(standing))

    def _described(self, standing: refresh.Standing) -> dict[str, object]:
        reports = 0
        if standing.task is not None:
            with self.store.transaction() as tx:
                reports = tx.count_reports(bytes.fromhex(standing.task))
        return {
            "model": standing.training.model,
            "state": standing.state,
            "rounds": standing.plan.rounds,
            "round": None if standing.task is None else len(standing.tasks),
            "reports": reports,
            "min_batch_size": standing.training.min_batch_size,
            "collected": list(standing.counts),
        }


def build(service: Service) -> Starlette:
    """The application of one half."""
    token = service.half.keys.token
    routes = [
        _route("GET", "/healthz", service.health),
        _route("GET", "/hpke_config", service.hpke_config),
    ]
    if service.half.settings.role == "leader":
        routes += [
            _route("POST", "/tasks/{task}/reports", service.receive),
            _route("GET", "/models/{model}/task", service.current_task),
            _route("GET", "/models/{model}/release", service.release),
            _route("GET", "/files/{sha256}", service.file),
            _route("GET", "/transcript", service.transcript),
            _route("GET", "/transcript/checkpoint", service.checkpoint),
            _route("GET", "/transcript/proofs/{sha256}/{since}", service.proof),
            _route("POST", "/operator/trainings", service.start, token),
            _route("POST", "/operator/trainings/{model}/refresh", service.advance, token),
            _route("POST", "/operator/experiments", service.open_experiment, token),
            _route("POST", "/operator/experiments/{experiment}", service.read_experiment, token),
            _route("GET", "/operator/status", service.status, token),
        ]
    else:
        routes += [
            _route("POST", "/tasks", service.sign_task, token),
            _route("POST", "/releases", service.sign_release, token),
            _route("POST", "/tasks/{task}/aggregation_jobs/{job}", service.aggregate, token),
            _route("POST", "/tasks/{task}/aggregate_shares", service.aggregate_share, token),
        ]
    app = Starlette(routes=routes, exception_handlers={Refusal: _problem, TactfulError: _problem})
    app.state.max_body = service.half.settings.max_body
    return app


Work = Callable[[Call], Response]
T = TypeVar("T")


def _parsed(kind: type[T], name: str, document: bytes) -> T:
    try:
        return TypeAdapter(kind).validate_json(document)
    except ValidationError as wrong:
        first = wrong.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "document"
        raise InvalidInput(f"{name}.{where}", first["msg"], "correct it") from wrong


def _route(method: str, path: str, work: Work, token: str | None = None) -> Route:
    async def endpoint(request: Request) -> Response:
        if token is not None and not _shows(request, token):
            raise Refusal("unauthorizedRequest", 401, "show the bearer token of this half")
        body = await _read(request)
        return await run_in_threadpool(work, Call(dict(request.path_params), body))

    answer: Callable[[Request], Awaitable[Response]] = endpoint
    return Route(path, answer, methods=[method])


async def _read(request: Request) -> bytes:
    most = request.app.state.max_body
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most:
            raise Refusal("invalidMessage", 413, f"the body is larger than {most} bytes")
    return bytes(body)


def _shows(request: Request, token: str) -> bool:
    shown = request.headers.get("authorization", "").removeprefix("Bearer ")
    return hmac.compare_digest(shown.encode(), token.encode())


async def _problem(request: Request, error: Exception) -> Response:
    code, status, detail = _described(error)
    problem = {"type": PROBLEM + code, "title": code, "status": status, "detail": detail}
    return JSONResponse(problem, status, media_type="application/problem+json")


def _described(error: Exception) -> tuple[str, int, str]:
    if isinstance(error, Refusal):
        return error.code, error.status, error.detail
    code, status = next((CODES[k] for k in type(error).__mro__ if k in CODES), ("internal", 500))
    return code, status, str(error)


def _bytes(content: bytes, status: int = 200, kind: str = "application/octet-stream") -> Response:
    return Response(content, status, media_type=kind)


def _unpadded(text: str, length: int) -> bytes:
    try:
        decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        decoded = b""
    if len(decoded) != length:
        raise Refusal("invalidMessage", 400, f"an id of {length} bytes in base64url is needed")
    return decoded

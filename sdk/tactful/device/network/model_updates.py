"""Model updates: fetch, verify, adopt."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tactful.device.catalog import Catalog
from tactful.device.settings import Aggregators
from tactful.device.state.device_state import Adoption, DeviceState
from tactful.device.vault import Vault
from tactful.errors import (
    DecodeError,
    InvalidInput,
    ModelRejected,
    ProtocolError,
    TaskRejected,
    TransportError,
    VaultDamaged,
)

if TYPE_CHECKING:
    from tactful.learning.model import Model
    from tactful.learning.round_parameters import RoundParameters
    from tactful.protocol.documents.experiment import Experiment
    from tactful.protocol.documents.model_release import ModelRelease, SignedRelease
    from tactful.protocol.documents.task import Task
    from tactful.protocol.transport import Response, Transport


@dataclass(frozen=True)
class ActiveModel:
    """The adopted model that lists use, and its signed release."""

    release: ModelRelease
    model: Model


@dataclass(frozen=True)
class ModelUpdate:
    """A verified release, its file, and the signed log checkpoint that covers it."""

    signed: SignedRelease
    file: bytes
    checkpoint: str


@dataclass(frozen=True)
class OpenRound:
    """A verified task and its round parameters, which the first round does not have."""

    task: Task
    parameters: RoundParameters | None


class ModelUpdates:
    """Reader of what the aggregators publish for one model; every result is verified."""

    def __init__(
        self, aggregators: Aggregators, transport: Transport, min_batch_size: int
    ) -> None:
        self._aggregators = aggregators
        self._transport = transport
        self._min_batch_size = min_batch_size
        self._publisher = aggregators.publisher or aggregators.leader
        self._public_keys = (
            base64.b64decode(aggregators.leader_key),
            base64.b64decode(aggregators.helper_key),
        )

    def open_round(self, now: int) -> OpenRound:
        """Return the round that is open at `now` (unix seconds).

        Raise TaskRejected if there is none, or if it is not signed, has ended, is for
        other aggregators, or has a batch that is too small.
        """
        task = self._open_task(self._aggregators.model, now)
        if task.guide is None:
            return OpenRound(task, None)
        return OpenRound(task, self._round_parameters(task.kind, task.guide))

    def open_period(self, experiment: Experiment, now: int) -> Task:
        """Return the open period of an experiment; raise TaskRejected as `open_round`."""
        task = self._open_task(f"experiment-{experiment.id}", now)
        if task.kind != "experiment" or task.guide != experiment.sha256:
            raise TaskRejected(
                "task.guide: the task is for another version of this experiment; "
                "update the experiment"
            )
        return task

    def _open_task(self, model: str, now: int) -> Task:
        from tactful.protocol.documents.noise_check import require_kept
        from tactful.protocol.documents.task import SignedTask

        response = self._get(f"/models/{model}/task")
        if response.status == 404:
            raise TaskRejected("task: no round is open now; try again later")
        signed_task = SignedTask.decode(self._body(response))
        task = signed_task.verify(*self._public_keys, now=now)
        self._require_as_configured(task, model)
        require_kept(task)
        return task

    def _require_as_configured(self, task: Task, model: str) -> None:
        """Raise TaskRejected unless the task fits the app's settings."""
        aggregators = self._aggregators
        if task.min_batch_size < self._min_batch_size:
            raise TaskRejected(
                f"task.min_batch_size: {task.min_batch_size} is below the minimum of "
                f"this device, {self._min_batch_size}; ask the operator for larger batches"
            )
        expected = model, aggregators.leader, aggregators.helper
        if (task.model, task.leader, task.helper) != expected:
            raise TaskRejected(
                "task.model, task.leader, task.helper: they differ from the settings; "
                "correct settings.aggregators"
            )
        if task.placement != aggregators.placement:
            raise TaskRejected(
                f"task.placement: {task.placement!r} differs from what the person was "
                f"promised, {aggregators.placement!r}; ask the operator"
            )

    def newest(
        self, catalog: Catalog, newer_than: int, now: int, seen: str = ""
    ) -> ModelUpdate:
        """Return the newest release and its file, verified and publicly logged.

        `newer_than` is the highest version adopted so far, `now` is in unix seconds,
        and `seen` is the last stored checkpoint of the log, empty for none. Raise
        ModelRejected if there is no release, or for the first thing that is wrong.
        """
        from tactful.protocol.documents.model_release import SignedRelease

        response = self._get(f"/models/{self._aggregators.model}/release")
        if response.status == 404:
            raise ModelRejected("release: no model is released yet; try again later")
        signed = SignedRelease.decode(self._body(response))
        release = signed.verify(
            *self._public_keys,
            model=self._aggregators.model,
            catalog=catalog.sha256,
            newer_than=newer_than,
            min_batch_size=self._min_batch_size,
            now=now,
        )
        if release.placement != self._aggregators.placement:
            raise ModelRejected(
                f"release.placement: {release.placement!r} differs from what the "
                f"person was promised, {self._aggregators.placement!r}; ask the operator"
            )
        file = self._body(self._get(f"/files/{release.file}"))
        _require_model(signed, file, catalog)
        checkpoint = self._verified_checkpoint(release.document, seen)
        return ModelUpdate(signed, file, checkpoint)

    def _verified_checkpoint(self, document: bytes, seen: str) -> str:
        """Return the log checkpoint if the log contains `document` and only grew."""
        from tactful.protocol.log.transcript import Proof, SignedCheckpoint

        digest = hashlib.sha256(document).hexdigest()
        try:
            since = SignedCheckpoint.decode(seen).checkpoint if seen else None
            size = 0 if since is None else since.size
            response = self._get(f"/transcript/proofs/{digest}/{size}")
            if response.status == 404:
                raise ModelRejected(
                    "release.log: the log does not contain this release, or is shorter "
                    "than before; tell an auditor"
                )
            proof = Proof.decode(self._body(response))
            proof.verify(document, "release", self._public_keys[0], since)
        except ProtocolError as error:
            raise ModelRejected(f"release.{error}") from error
        return proof.checkpoint.encode()

    def _round_parameters(self, kind: str, digest: str) -> RoundParameters:
        from tactful.learning.round_parameters import lead_of
        from tactful.protocol.documents.model_release import unpack

        file = self._body(self._get(f"/files/{digest}"))
        if hashlib.sha256(file).hexdigest() != digest:
            raise TaskRejected(
                "task.guide: the file differs from the signed hash; tell the operator"
            )
        try:
            return lead_of(kind, unpack(file))
        except (DecodeError, InvalidInput) as error:
            raise TaskRejected(f"task.guide: {error}") from error

    def _get(self, path: str) -> Response:
        from tactful.protocol.transport import Request

        return self._transport.send(Request("GET", self._publisher + path))

    def _body(self, response: Response) -> bytes:
        if not response.ok:
            raise TransportError(
                f"{self._publisher}: it answered with status {response.status}; check "
                "that the address is that of a Tactful leader"
            )
        return response.body


def default_transport() -> Transport:
    """Return the HTTP transport, imported when it is first needed."""
    from tactful.protocol.transport import HttpTransport

    return HttpTransport()


def adopt(vault: Vault, state: DeviceState, update: ModelUpdate) -> None:
    """Make a verified release the adopted one, and erase the file of the old one."""
    signed, release = update.signed, update.signed.release
    with vault.transaction(durable=True) as transaction:
        encoded_file = base64.b64encode(update.file).decode()
        file_position = transaction.append("model_file", {"bytes": encoded_file})
        body: dict[str, object] = {
            "version": release.version,
            "file": file_position,
            "release": signed.encode().decode(),
            "checkpoint": update.checkpoint,
        }
        transaction.append("model", body)
        if state.adoption is not None:
            transaction.erase([state.adoption.file])


def load(vault: Vault, adoption: Adoption, catalog: Catalog) -> ActiveModel | None:
    """Return the adopted model, None if the app has another catalog by now."""
    from tactful.protocol.documents.model_release import SignedRelease

    signed = SignedRelease.decode(adoption.release.encode())
    record = next(vault.read(adoption.file - 1, ["model_file"]), None)
    if record is None or record.position != adoption.file:
        raise VaultDamaged(
            f"vault: the model file at position {adoption.file} is missing; restore "
            "the file from a backup"
        )
    file = base64.b64decode(str(record.body["bytes"]))
    try:
        return ActiveModel(signed.release, _require_model(signed, file, catalog))
    except ModelRejected:
        return None


def _require_model(signed: SignedRelease, file: bytes, catalog: Catalog) -> Model:
    """Return the model in `file`; raise ModelRejected unless it fits the catalog."""
    from tactful.learning.model import Model

    try:
        model = Model.from_arrays(signed.opened(file))
    except InvalidInput as error:
        raise ModelRejected(f"release.file: {error}") from error
    has_same_items = len(model.popularity) == len(catalog)
    if not has_same_items or signed.release.catalog != catalog.sha256:
        raise ModelRejected(
            "release.catalog: the model is for another catalog; update the app's items"
        )
    return model

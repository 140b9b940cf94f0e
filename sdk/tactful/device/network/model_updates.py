"""The one door in: fetch, verify, adopt."""

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
    """The model that lists are made with, and the signed claims it came with."""

    release: ModelRelease
    model: Model


@dataclass(frozen=True)
class ModelUpdate:
    """A verified release, its file, and the signed head of the log that holds it."""

    signed: SignedRelease
    file: bytes
    checkpoint: str


@dataclass(frozen=True)
class OpenRound:
    """A verified task, and the guide that its measurements follow (None in the first round)."""

    task: Task
    guide: RoundParameters | None


class ModelUpdates:
    """Reads what the pair publishes for one model; whatever it returns has been verified."""

    def __init__(
        self, pair: Aggregators, transport: Transport, min_batch_size: int
    ) -> None:
        self._pair, self._transport = pair, transport
        self._min_batch_size = min_batch_size
        self._publisher = pair.publisher or pair.leader
        self._keys = (
            base64.b64decode(pair.leader_key),
            base64.b64decode(pair.helper_key),
        )

    def open_round(self, now: int) -> OpenRound:
        """The round that is open at `now` (unix seconds).

        Raises TaskRejected if there is none, or if it is unsigned, foreign, too small or over.
        """
        task = self._task(self._pair.model, now)
        return OpenRound(
            task, None if task.guide is None else self._lead(task.kind, task.guide)
        )

    def _task(self, model: str, now: int) -> Task:
        from tactful.protocol.documents.noise_check import require_kept
        from tactful.protocol.documents.task import SignedTask

        answer = self._get(f"/models/{model}/task")
        if answer.status == 404:
            raise TaskRejected("task: no round is open now; try again later")
        task = SignedTask.decode(self._body(answer)).verify(*self._keys, now=now)
        if task.min_batch_size < self._min_batch_size:
            raise TaskRejected(
                f"task.min_batch_size: {task.min_batch_size} is below this device's floor "
                f"{self._min_batch_size}"
            )
        if (task.model, task.leader, task.helper) != (
            model,
            self._pair.leader,
            self._pair.helper,
        ):
            raise TaskRejected(
                "task.model, task.leader, task.helper: not those of the settings"
            )
        if task.placement != self._pair.placement:
            raise TaskRejected(
                f"task.placement: {task.placement!r}, but the person was promised "
                f"{self._pair.placement!r}"
            )
        require_kept(task)
        return task

    def open_period(self, experiment: Experiment, now: int) -> Task:
        """The open period of an experiment; raises TaskRejected like `open_round`."""
        task = self._task(f"experiment-{experiment.id}", now)
        if task.kind != "experiment" or task.guide != experiment.sha256:
            raise TaskRejected(
                "task.guide: it is for another version of this experiment"
            )
        return task

    def newest(
        self, catalog: Catalog, newer_than: int, now: int, seen: str = ""
    ) -> ModelUpdate:
        """The newest release and its file, both verified, and logged where everybody can see it.

        `seen` is the head of the log that was kept last, empty for none. Raises ModelRejected if
        there is no release, or naming the first thing that is wrong with it.
        """
        from tactful.protocol.documents.model_release import SignedRelease

        answer = self._get(f"/models/{self._pair.model}/release")
        if answer.status == 404:
            raise ModelRejected("release: nothing is released for this model yet")
        signed = SignedRelease.decode(self._body(answer))
        release = signed.verify(
            *self._keys,
            model=self._pair.model,
            catalog=catalog.sha256,
            newer_than=newer_than,
            min_batch_size=self._min_batch_size,
            now=now,
        )
        if release.placement != self._pair.placement:
            raise ModelRejected(
                f"release.placement: {release.placement!r} is not what was promised"
            )
        file = self._body(self._get(f"/files/{release.file}"))
        _model(signed, file, catalog)
        return ModelUpdate(signed, file, self._logged(release.document, seen))

    def _logged(self, document: bytes, seen: str) -> str:
        """The head of the log, once it holds `document` and only grew; as it is kept."""
        from tactful.protocol.log.transcript import Proof, SignedCheckpoint

        digest = hashlib.sha256(document).hexdigest()
        try:
            since = SignedCheckpoint.decode(seen).checkpoint if seen else None
            size = 0 if since is None else since.size
            answer = self._get(f"/transcript/proofs/{digest}/{size}")
            if answer.status == 404:
                raise ModelRejected("release.log: the log does not hold it, or was cut")
            proof = Proof.decode(self._body(answer))
            proof.verify(document, "release", self._keys[0], since)
        except ProtocolError as wrong:
            raise ModelRejected(f"release.{wrong}") from wrong
        return proof.checkpoint.encode()

    def _lead(self, kind: str, digest: str) -> RoundParameters:
        from tactful.learning.round_parameters import lead_of
        from tactful.protocol.documents.model_release import unpack

        file = self._body(self._get(f"/files/{digest}"))
        if hashlib.sha256(file).hexdigest() != digest:
            raise TaskRejected("task.guide: the file is not the one that was signed")
        try:
            return lead_of(kind, unpack(file))
        except (DecodeError, InvalidInput) as wrong:
            raise TaskRejected(f"task.guide: {wrong}") from wrong

    def _get(self, path: str) -> Response:
        from tactful.protocol.transport import Request

        return self._transport.send(Request("GET", self._publisher + path))

    def _body(self, answer: Response) -> bytes:
        if not answer.ok:
            raise TransportError(
                f"{self._publisher}: status {answer.status}; is this a Tactful leader?"
            )
        return answer.body


def default_transport() -> Transport:
    """HTTP over pooled connections, loaded when first needed."""
    from tactful.protocol.transport import HttpTransport

    return HttpTransport()


def adopt(vault: Vault, memory: DeviceState, found: ModelUpdate) -> None:
    """Make a verified release the one in use; the one before it is erased."""
    signed, file, release = found.signed, found.file, found.signed.release
    with vault.transaction(durable=True) as writing:
        content = writing.append(
            "model_file", {"bytes": base64.b64encode(file).decode()}
        )
        body: dict[str, object] = {
            "version": release.version,
            "file": content,
            "release": signed.encode().decode(),
        }
        body["checkpoint"] = found.checkpoint
        writing.append("model", body)
        if memory.adoption is not None:
            writing.erase([memory.adoption.file])


def load(vault: Vault, adoption: Adoption, catalog: Catalog) -> ActiveModel | None:
    """The model in use; None once the app's catalog is another than it was made for."""
    from tactful.protocol.documents.model_release import SignedRelease

    signed = SignedRelease.decode(adoption.release.encode())
    record = next(vault.read(adoption.file - 1, ["model_file"]), None)
    if record is None or record.position != adoption.file:
        raise VaultDamaged(
            f"vault: the model's file at position {adoption.file} is gone"
        )
    file = base64.b64decode(str(record.body["bytes"]))
    try:
        return ActiveModel(signed.release, _model(signed, file, catalog))
    except ModelRejected:
        return None


def _model(signed: SignedRelease, file: bytes, catalog: Catalog) -> Model:
    from tactful.learning.model import Model

    try:
        model = Model.from_arrays(signed.opened(file))
    except InvalidInput as wrong:
        raise ModelRejected(f"release.file: {wrong}") from wrong
    if (
        len(model.popularity) != len(catalog)
        or signed.release.catalog != catalog.sha256
    ):
        raise ModelRejected(
            "release.catalog: it is for another catalog; update the app's items"
        )
    return model

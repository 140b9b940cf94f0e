"""Tasks with everything that one aggregator needs to serve them."""

from __future__ import annotations

import base64
import binascii
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import ClassVar, Literal

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from pydantic import TypeAdapter, ValidationError

from tactful.errors import InvalidInput, ProtocolError
from tactful.privacy.discrete_gaussian import NoiseTable
from tactful.privacy.mechanism import Family, read_fraction
from tactful.protocol.dap import hpke
from tactful.protocol.dap.dap_task import LEADER_SELECTED, TIME_INTERVAL, DapTask
from tactful.protocol.dap.messages import HpkeConfig, report_bytes
from tactful.protocol.dap.vdaf_config import VdafConfig
from tactful.protocol.dap.versions import VERSIONS, Tag
from tactful.protocol.documents.task import SignedTask, Task
from tactful.protocol.signed_json import canonical
from tactful_aggregator import problems
from tactful_aggregator.datastore import Datastore
from tactful_aggregator.settings import Aggregator, invalid_document

# Id of the leader's own collector key.
COLLECTOR_CONFIG_ID = 1
MAX_REPORTS = 1 << 32
STRICT: dict[str, object] = {"extra": "forbid", "strict": True}
# Kinds of VDAF whose tasks have the lower floor `min_count_floor`.
SMALL_KINDS = ("count", "sum", "histogram")


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The noise that each aggregator adds in full to each entry of its sum.

    `sigma2` is the variance as "numerator/denominator".
    """

    family: Family
    sigma2: str
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    @property
    def table(self) -> NoiseTable:
        """The table that noise is drawn from; raises InvalidInput naming `sigma2`."""
        variance = read_fraction("task.noise.sigma2", self.sigma2)
        return NoiseTable.of(self.family, variance)


@dataclass(frozen=True)
class ProvisionedTask:
    """A task as an aggregator serves it.

    `noise` is None if the aggregators add none, because devices do or because the task has no
    differential privacy.
    """

    task: DapTask
    collector: HpkeConfig
    noise: Noise | None
    verify_key: bytes = field(repr=False)

    @cached_property
    def report_bytes(self) -> int:
        """The size of every valid report of this task, in bytes."""
        return report_bytes(self.task.vdaf, self.task.dap)

    def bucket(self, wire_time: int) -> int:
        """Return the bucket of the sums that a report of this time belongs to."""
        if self.task.mode == LEADER_SELECTED:
            return 0
        return self.task.seconds(wire_time) // self.task.time_precision


@dataclass(frozen=True, kw_only=True)
class OperatorTask:
    """A task that both operators write into equal files; keys are in base64url.

    If `id` is None, it is derived from the configuration. `noise` has no default: "none"
    states that sums are released exactly, as plain DAP does.
    """

    protocol: Tag
    leader: str
    helper: str
    time_precision: int
    min_batch_size: int
    batch_mode: Literal["time_interval", "leader_selected"]
    opens: int
    expires: int
    vdaf: VdafConfig
    info: str
    verify_key: str = field(repr=False)
    collector_config_id: int
    collector_key: str
    noise: Noise | Literal["none"]
    id: str | None = None
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    @classmethod
    def parse(cls, document: bytes) -> OperatorTask:
        """Return the task of a JSON file; raises InvalidInput naming the field."""
        try:
            return TypeAdapter(cls).validate_json(document)
        except ValidationError as error:
            raise invalid_document("task.", error) from error

    @property
    def document(self) -> bytes:
        """The task as canonical JSON."""
        return canonical(TypeAdapter(type(self)).dump_python(self, mode="json"))

    @property
    def provisioned(self) -> ProvisionedTask:
        """The task as an aggregator serves it; raises InvalidInput naming the field."""
        task = self._dap_task
        key_bytes = task.vdaf.verify_key_bytes
        verify_key = _decode("verify_key", self.verify_key, key_bytes)
        public_key = _decode("collector_key", self.collector_key, 32)
        if not 0 <= self.collector_config_id < 256:
            raise InvalidInput(
                "task.collector_config_id",
                f"{self.collector_config_id} is out of range",
                "use the id of the collector's key, 0 to 255",
            )
        collector = HpkeConfig(self.collector_config_id, public_key)
        noise = None if self.noise == "none" else self.noise
        return ProvisionedTask(task, collector, noise, verify_key)

    @property
    def _dap_task(self) -> DapTask:
        has_interval = self.batch_mode == "time_interval"
        task = DapTask(
            id=bytes(32) if self.id is None else _decode("id", self.id, 32),
            dap=VERSIONS[self.protocol],
            leader=self.leader,
            helper=self.helper,
            time_precision=self.time_precision,
            min_batch_size=self.min_batch_size,
            mode=TIME_INTERVAL if has_interval else LEADER_SELECTED,
            opens=self.opens,
            expires=self.expires,
            vdaf_config=self.vdaf,
            info=self.info.encode(),
        )
        if self.id is not None:
            return task
        if not task.dap.configured:
            raise InvalidInput(
                "task.id",
                "missing, and DAP-09 cannot derive it",
                "add 32 random bytes in base64url",
            )
        return task.derived()


def provisioned_round(task: Task, aggregator: Aggregator) -> ProvisionedTask:
    """Return a round of a training or experiment as `aggregator` serves it."""
    full_noise = Noise(family=task.family, sigma2=task.sigma2)
    return ProvisionedTask(
        task.dap,
        HpkeConfig(COLLECTOR_CONFIG_ID, aggregator.collector_key),
        None if task.where.on_device else full_noise,
        verify_key(aggregator.verify_secret, task.dap),
    )


def verify_key(secret: bytes, task: DapTask) -> bytes:
    """Return the key that proofs of a task are verified with (DAP-18, section 4.3)."""
    length = task.vdaf.verify_key_bytes
    hkdf = HKDF(hashes.SHA256(), length, salt=b"verify_key", info=task.id)
    return hkdf.derive(secret)


def check_operator_task(
    provisioned: ProvisionedTask, aggregator: Aggregator, now: int
) -> None:
    """Raise InvalidInput, naming the field, unless `aggregator` may serve the task."""
    task = provisioned.task
    _check_addresses(task, aggregator)
    _check_batch_size(task, aggregator)
    if task.expires <= now:
        expired = datetime.fromtimestamp(task.expires, UTC)
        raise InvalidInput(
            "task.expires", f"it expired on {expired:%Y-%m-%d}", "choose a later time"
        )
    try:
        hpke.seal(provisioned.collector.public_key, b"", b"", b"")
    except ProtocolError as error:
        raise InvalidInput(
            "task.collector_key",
            "not an X25519 public key",
            "copy it from the collector again",
        ) from error
    if provisioned.noise is not None:
        # Raises InvalidInput, which names sigma2.
        _ = provisioned.noise.table
    max_sum = MAX_REPORTS * max(task.vdaf_config.most, 1)
    if max_sum >= task.vdaf.field.modulus // 2:
        raise InvalidInput(
            "task.vdaf.most",
            "a sum could wrap around the modulus",
            "use a smaller maximum",
        )


def _check_addresses(task: DapTask, aggregator: Aggregator) -> None:
    settings, other = aggregator.settings, aggregator.other_aggregator
    addresses = {settings.role: settings.url, other.role: other.url}
    if addresses != {"leader": task.leader, "helper": task.helper}:
        raise InvalidInput(
            "task.leader, task.helper",
            "not this pair",
            f"use {addresses['leader']} and {addresses['helper']}",
        )


def _check_batch_size(task: DapTask, aggregator: Aggregator) -> None:
    settings = aggregator.settings
    is_small = task.vdaf_config.kind in SMALL_KINDS
    floor = settings.min_count_floor if is_small else settings.min_batch_floor
    if task.min_batch_size < floor:
        raise InvalidInput(
            "task.min_batch_size",
            f"{task.min_batch_size} is below the floor of this aggregator",
            f"use at least {floor}",
        )


def serve_operator_task(
    aggregator: Aggregator, operator_task: OperatorTask, now: int
) -> ProvisionedTask:
    """Store an operator's task, so that it is served from now on.

    Storing the same task again changes nothing. Raises InvalidInput if the task is not safe
    or if its id is used by another task.
    """
    provisioned = operator_task.provisioned
    check_operator_task(provisioned, aggregator, now)
    task, document = provisioned.task, operator_task.document
    store = Datastore(aggregator.database, aggregator.settings.role)
    with store.transaction() as tx:
        is_new = tx.tasks.add_provisioned(task.id, document, task.expires)
        is_same = is_new or tx.tasks.document(task.id) == ("", document)
    store.close()
    if not is_same:
        raise InvalidInput(
            "task.id",
            "another task has this id",
            "use a new id, because a task cannot be changed",
        )
    return provisioned


class TaskRegistry:
    """The tasks of one aggregator by id, cached because a task never changes."""

    MAX_CACHED = 256

    def __init__(self, store: Datastore, aggregator: Aggregator) -> None:
        self._store, self._aggregator = store, aggregator
        self._cache: OrderedDict[bytes, ProvisionedTask] = OrderedDict()

    def cached(self, task_id: bytes) -> ProvisionedTask | None:
        """Return the task with this id if it is cached, without reading the database."""
        return self._cache.get(task_id)

    def get(self, task_id: bytes) -> ProvisionedTask:
        """Return the task with this id; raises Problem if it is unknown."""
        cached = self.cached(task_id)
        if cached is not None:
            return cached
        provisioned = self._read(task_id)
        self._cache[task_id] = provisioned
        while len(self._cache) > self.MAX_CACHED:
            self._cache.popitem(last=False)
        return provisioned

    def _read(self, task_id: bytes) -> ProvisionedTask:
        with self._store.transaction() as tx:
            stored = tx.tasks.document(task_id)
        if stored is None:
            raise problems.unrecognized_task()
        model, body = stored
        if model:
            return provisioned_round(SignedTask.decode(body).task, self._aggregator)
        return OperatorTask.parse(body).provisioned


def _decode(name: str, text: str, length: int) -> bytes:
    try:
        decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        decoded = b""
    if len(decoded) != length:
        raise InvalidInput(
            f"task.{name}",
            f"not {length} bytes in base64url",
            "correct it in the file of both aggregators",
        )
    return decoded

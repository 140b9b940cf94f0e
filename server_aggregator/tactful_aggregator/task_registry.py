"""What one half needs to know of a task: DAP's own, and what is agreed beside it."""

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

COLLECTOR_CONFIG_ID = 1  # of the leader's own key
MOST_REPORTS = 1 << 32
STRICT: dict[str, object] = {"extra": "forbid", "strict": True}


@dataclass(frozen=True, kw_only=True)
class Noise:
    """What each half adds to each entry of its sum, in full; `sigma2` is "num/den"."""

    family: Family
    sigma2: str
    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    @property
    def table(self) -> NoiseTable:
        """What it is drawn from."""
        return NoiseTable.of(
            self.family, read_fraction("task.noise.sigma2", self.sigma2)
        )


@dataclass(frozen=True)
class ProvisionedTask:
    """A task as a half serves it.

    `noise` None: its halves add none, because devices do, or because no privacy is promised.
    """

    task: DapTask
    collector: HpkeConfig
    noise: Noise | None
    verify_key: bytes = field(repr=False)

    @cached_property
    def report_bytes(self) -> int:
        """The size of every report to this task: another one cannot be opened."""
        return report_bytes(self.task.vdaf, self.task.dap)

    def bucket(self, wire_time: int) -> int:
        """Which part of the sums a report of this time belongs to."""
        if self.task.mode == LEADER_SELECTED:
            return 0
        return self.task.seconds(wire_time) // self.task.time_precision


@dataclass(frozen=True, kw_only=True)
class OperatorTask:
    """A task that both operators write into a file, the same at both; keys are base64url.

    `id` None is derived from the configuration. There is no default for `noise`: "none" says that
    sums are released exactly, as DAP alone does it.
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
        """The task of a JSON file; raises InvalidInput naming the field and the fix."""
        try:
            return TypeAdapter(cls).validate_json(document)
        except ValidationError as wrong:
            raise invalid_document("task.", wrong) from wrong

    @property
    def document(self) -> bytes:
        """The task in one form."""
        return canonical(TypeAdapter(type(self)).dump_python(self, mode="json"))

    @property
    def provisioned(self) -> ProvisionedTask:
        """The task as a half serves it; raises InvalidInput naming what does not fit."""
        task = self._dap
        key = _unpadded("verify_key", self.verify_key, task.vdaf.verify_key_bytes)
        public = _unpadded("collector_key", self.collector_key, 32)
        if not 0 <= self.collector_config_id < 256:
            raise InvalidInput(
                "task.collector_config_id", "it is not in [0, 255]", "correct it"
            )
        collector = HpkeConfig(self.collector_config_id, public)
        return ProvisionedTask(
            task, collector, None if self.noise == "none" else self.noise, key
        )

    @property
    def _dap(self) -> DapTask:
        task = DapTask(
            id=bytes(32) if self.id is None else _unpadded("id", self.id, 32),
            dap=VERSIONS[self.protocol],
            leader=self.leader,
            helper=self.helper,
            time_precision=self.time_precision,
            min_batch_size=self.min_batch_size,
            mode=TIME_INTERVAL
            if self.batch_mode == "time_interval"
            else LEADER_SELECTED,
            opens=self.opens,
            expires=self.expires,
            vdaf_config=self.vdaf,
            info=self.info.encode(),
        )
        if self.id is None and not task.dap.configured:
            raise InvalidInput(
                "task.id", "DAP-09 derives none", "choose 32 random bytes"
            )
        return task.derived() if self.id is None else task


def provisioned_round(task: Task, aggregator: Aggregator) -> ProvisionedTask:
    """A round of a training as `half` serves it."""
    return ProvisionedTask(
        task.dap,
        HpkeConfig(COLLECTOR_CONFIG_ID, aggregator.collector_key),
        None if task.where.on_device else Noise(family=task.family, sigma2=task.sigma2),
        verify_key(aggregator.verify_secret, task.dap),
    )


def verify_key(secret: bytes, task: DapTask) -> bytes:
    """What proofs of a task are checked with (draft-ietf-ppm-dap-18, section 4.3)."""
    length = task.vdaf.verify_key_bytes
    return HKDF(hashes.SHA256(), length, salt=b"verify_key", info=task.id).derive(
        secret
    )


def check_operator_task(
    provisioned: ProvisionedTask, aggregator: Aggregator, now: int
) -> None:
    """Raise InvalidInput naming the field, unless `half` may serve the task."""
    task, mine = provisioned.task, aggregator.settings
    theirs = aggregator.other_aggregator
    if {mine.role: mine.url, theirs.role: theirs.url} != {
        "leader": task.leader,
        "helper": task.helper,
    }:
        raise InvalidInput(
            "task.leader, task.helper", "not this pair", "name both as paired"
        )
    small = task.vdaf_config.kind in ("count", "sum", "histogram")
    floor = mine.min_count_floor if small else mine.min_batch_floor
    if task.min_batch_size < floor:
        raise InvalidInput(
            "task.min_batch_size", f"below this half's floor {floor}", "raise it"
        )
    if task.expires <= now:
        over = datetime.fromtimestamp(task.expires, UTC)
        raise InvalidInput(
            "task.expires", f"it was over at {over:%Y-%m-%d}", "choose a later end"
        )
    try:
        hpke.seal(provisioned.collector.public_key, b"", b"", b"")
    except ProtocolError as wrong:
        raise InvalidInput(
            "task.collector_key", "it is no X25519 key", "copy it again"
        ) from wrong
    if provisioned.noise is not None:
        _ = provisioned.noise.table  # raises InvalidInput naming sigma2
    widest = MOST_REPORTS * max(task.vdaf_config.most, 1)
    if widest >= task.vdaf.field.modulus // 2:
        raise InvalidInput(
            "task.vdaf.most", "a sum could wrap around", "use a smaller one"
        )


def serve_operator_task(
    aggregator: Aggregator, written: OperatorTask, now: int
) -> ProvisionedTask:
    """Serve an operator's task from now on; raises InvalidInput if it is not safe or not new."""
    provisioned = written.provisioned
    check_operator_task(provisioned, aggregator, now)
    task, store = (
        provisioned.task,
        Datastore(aggregator.database, aggregator.settings.role),
    )
    with store.transaction() as tx:
        is_new = tx.tasks.add_provisioned(task.id, written.document, task.expires)
        same = is_new or tx.tasks.document(task.id) == ("", written.document)
    store.close()
    if not same:
        raise InvalidInput(
            "task.id", "another task has it", "a task is never changed: a new id"
        )
    return provisioned


class TaskRegistry:
    """The tasks of one half by id; a task never changes, so it is read once."""

    MOST = 256

    def __init__(self, store: Datastore, aggregator: Aggregator) -> None:
        self._store, self._half = store, aggregator
        self._known: OrderedDict[bytes, ProvisionedTask] = OrderedDict()

    def known(self, task_id: bytes) -> ProvisionedTask | None:
        """The task with this id, if it was read before."""
        return self._known.get(task_id)

    def of(self, task_id: bytes) -> ProvisionedTask:
        """The task with this id; raises Problem if this half does not know it."""
        known = self.known(task_id)
        if known is not None:
            return known
        with self._store.transaction() as tx:
            found = tx.tasks.document(task_id)
        if found is None:
            raise problems.unrecognized_task()
        model, body = found
        provisioned = (
            provisioned_round(SignedTask.decode(body).task, self._half)
            if model
            else OperatorTask.parse(body).provisioned
        )
        self._known[task_id] = provisioned
        while len(self._known) > self.MOST:
            self._known.popitem(last=False)
        return provisioned


def _unpadded(name: str, text: str, length: int) -> bytes:
    try:
        decoded = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        decoded = b""
    if len(decoded) != length:
        raise InvalidInput(
            f"task.{name}", f"not {length} bytes in base64url", "correct the file"
        )
    return decoded

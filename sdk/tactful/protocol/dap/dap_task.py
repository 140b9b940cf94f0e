"""A task as DAP defines it: the aggregators, the time, and the smallest batch."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, replace
from functools import cached_property

from tactful.errors import InvalidInput
from tactful.protocol.dap.codec import opaque8, opaque16, u8, u16, u32, u64
from tactful.protocol.dap.vdaf_config import VdafConfig
from tactful.protocol.dap.versions import DapVersion
from tactful.vdaf.vdaf import Vdaf

TIME_INTERVAL, LEADER_SELECTED = 1, 2  # batch modes
MAX_SECONDS, MAX_BATCH = 1 << 40, 1 << 32
TASK_INTERVAL = 1  # the only task extension
ID_SALT = hashlib.sha256(b"dap-taskprov task id").digest()


@dataclass(frozen=True, kw_only=True)
class DapTask:
    """The parameters that client, leader, helper and collector share.

    `opens` and `expires` are in unix seconds, `time_precision` in seconds. `info` names
    the task to people, in 1 to 255 bytes. In LEADER_SELECTED mode there is one batch,
    which is collected once.
    """

    id: bytes
    dap: DapVersion
    leader: str
    helper: str
    time_precision: int
    min_batch_size: int
    mode: int
    opens: int
    expires: int
    vdaf_config: VdafConfig
    info: bytes

    def __post_init__(self) -> None:
        """Raise InvalidInput for a wrong field."""
        if len(self.id) != 32 or not 1 <= len(self.info) <= 255:
            raise InvalidInput(
                "task.id, task.info",
                "a size is wrong",
                "use an id of 32 bytes and an info of 1 to 255 bytes",
            )
        for name, most in (
            ("time_precision", MAX_SECONDS),
            ("min_batch_size", MAX_BATCH),
        ):
            value = getattr(self, name)
            if not 1 <= value <= most:
                raise InvalidInput(
                    f"task.{name}", f"{value} is not in [1, {most}]", "correct it"
                )
        if not 0 <= self.opens < self.expires <= MAX_SECONDS:
            raise InvalidInput(
                "task.opens, task.expires", "they are not an interval", "correct them"
            )
        if self.mode not in (TIME_INTERVAL, LEADER_SELECTED):
            raise InvalidInput(
                "task.mode", f"batch mode {self.mode} is not known", "use 1 or 2"
            )

    def derived(self) -> DapTask:
        """Return the task with the id of its configuration (taskprov -04)."""
        return replace(self, id=hashlib.sha256(ID_SALT + self.configuration).digest())

    @property
    def encoded_id(self) -> str:
        """The id as used in addresses: base64url without padding."""
        return encoded(self.id)

    @property
    def vdaf(self) -> Vdaf:
        """The VDAF of the task."""
        return self.vdaf_config.vdaf(self.dap.vdaf)

    @property
    def context(self) -> bytes:
        """The context string that every share and proof is bound to."""
        return self.dap.tag.encode() + self.id if self.dap.vdaf.has_context else b""

    @cached_property
    def configuration(self) -> bytes:
        """The TaskConfiguration (DAP-18, section 4.2); DAP-09 has none."""
        if not self.dap.configured:
            return b""
        unit, config = self.time_precision, self.vdaf_config
        first, last = self.opens // unit, -(-self.expires // unit)
        interval = u64(first) + u64(last - first)
        return (
            opaque8(self.info)
            + opaque16(self.leader.encode())
            + opaque16(self.helper.encode())
            + u64(unit)
            + u64(self.min_batch_size)
            + u8(self.mode)
            + opaque16(b"")
            + u32(config.type_id(self.dap.vdaf))
            + opaque16(config.encode())
            + opaque16(u16(TASK_INTERVAL) + opaque16(interval))
        )

    @property
    def batch_id(self) -> bytes:
        """The id of the one batch in LEADER_SELECTED mode."""
        return hashlib.sha256(b"tactful batch" + self.id).digest()

    def wire_time(self, seconds: int) -> int:
        """Return unix seconds in units of the wire, rounded down to the precision."""
        return seconds // self.time_precision * self._wire_units_per_precision

    def seconds(self, wire_time: int) -> int:
        """Return `wire_time` in unix seconds."""
        return wire_time * self.dap.unit(self.time_precision)

    def is_rounded(self, wire_time: int) -> bool:
        """Return True if a time of the wire is a multiple of the precision."""
        return wire_time % self._wire_units_per_precision == 0

    @property
    def _wire_units_per_precision(self) -> int:
        return self.time_precision // self.dap.unit(self.time_precision)


def encoded(name: bytes) -> str:
    """Return bytes as used in addresses: base64url without padding."""
    return base64.urlsafe_b64encode(name).decode().rstrip("=")

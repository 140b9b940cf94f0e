"""One task as DAP knows it: who sums what, from when to when, and how small a batch may be."""

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
MOST_SECONDS, MOST_BATCH = 1 << 40, 1 << 32
TASK_INTERVAL = 1  # the one task extension
ID_SALT = hashlib.sha256(b"dap-taskprov task id").digest()


@dataclass(frozen=True, kw_only=True)
class DapTask:
    """What client, leader, helper and collector agree on.

    `opens` and `expires` are unix seconds, `time_precision` seconds; `info` names the task to
    people, 1 to 255 bytes. In LEADER_SELECTED mode there is one batch, collected once.
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
        if len(self.id) != 32 or not 1 <= len(self.info) <= 255:
            raise InvalidInput("task", "its id or info has a wrong size", "correct it")
        for name, most in (
            ("time_precision", MOST_SECONDS),
            ("min_batch_size", MOST_BATCH),
        ):
            if not 1 <= getattr(self, name) <= most:
                raise InvalidInput(
                    f"task.{name}", f"it is not in [1, {most}]", "correct it"
                )
        if not 0 <= self.opens < self.expires <= MOST_SECONDS or self.mode not in (
            TIME_INTERVAL,
            LEADER_SELECTED,
        ):
            raise InvalidInput(
                "task", "its interval or batch mode is impossible", "correct it"
            )

    def derived(self) -> DapTask:
        """The same task under the id that follows from its configuration (taskprov -04)."""
        return replace(self, id=hashlib.sha256(ID_SALT + self.configuration).digest())

    @property
    def encoded_id(self) -> str:
        """The id as it stands in addresses: base64url without padding."""
        return encoded(self.id)

    @property
    def vdaf(self) -> Vdaf:
        """What shards and verifies."""
        return self.vdaf_config.vdaf(self.dap.vdaf)

    @property
    def context(self) -> bytes:
        """What every share and proof is bound to."""
        return self.dap.tag.encode() + self.id if self.dap.vdaf.has_context else b""

    @cached_property
    def configuration(self) -> bytes:
        """TaskConfiguration (DAP-18, section 4.2); empty in DAP-09, which has none."""
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
        """The name of the one batch in LEADER_SELECTED mode."""
        return hashlib.sha256(b"tactful batch" + self.id).digest()

    def wire_time(self, seconds: int) -> int:
        """A moment as it travels, rounded down to the precision."""
        return seconds // self.time_precision * self._per_unit

    def seconds(self, wire_time: int) -> int:
        """The moment that `wire_time` stands for, in unix seconds."""
        return wire_time * self.dap.unit(self.time_precision)

    def is_rounded(self, wire_time: int) -> bool:
        """Whether a time on the wire is a multiple of the precision."""
        return wire_time % self._per_unit == 0

    @property
    def _per_unit(self) -> int:
        return self.time_precision // self.dap.unit(self.time_precision)


def encoded(name: bytes) -> str:
    """Bytes as they stand in addresses: base64url without padding."""
    return base64.urlsafe_b64encode(name).decode().rstrip("=")

"""The versions of DAP that are spoken, as one table: draft-ietf-ppm-dap -09 and -18.

A newer draft is one more record. What a record does not name is the same in both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Literal

from tactful.vdaf.version import VDAF_08, VDAF_18, Version

COLLECTOR, CLIENT, LEADER, HELPER = 0, 1, 2, 3  # roles, as the drafts number them
Tag = Literal["dap-09", "dap-18"]


class ReportError(IntEnum):
    """Why one report was not taken; the numbers are those of DAP-18, where 0 is reserved."""

    BATCH_SATURATED = 0
    BATCH_COLLECTED = 1
    REPORT_REPLAYED = 2
    REPORT_DROPPED = 3
    HPKE_UNKNOWN_CONFIG_ID = 4
    HPKE_DECRYPT_ERROR = 5
    VDAF_VERIFY_ERROR = 6
    TASK_EXPIRED = 7
    INVALID_MESSAGE = 8
    REPORT_TOO_EARLY = 9
    TASK_NOT_STARTED = 10
    OUTDATED_CONFIG = 11


_09: Mapping[ReportError, int] = MappingProxyType(
    {
        ReportError.BATCH_COLLECTED: 0,
        ReportError.REPORT_REPLAYED: 1,
        ReportError.REPORT_DROPPED: 2,
        ReportError.HPKE_UNKNOWN_CONFIG_ID: 3,
        ReportError.HPKE_DECRYPT_ERROR: 4,
        ReportError.VDAF_VERIFY_ERROR: 5,
        ReportError.BATCH_SATURATED: 6,
        ReportError.TASK_EXPIRED: 7,
        ReportError.INVALID_MESSAGE: 8,
        ReportError.REPORT_TOO_EARLY: 9,
        # what -09 has no code for: the nearest one
        ReportError.TASK_NOT_STARTED: 2,
        ReportError.OUTDATED_CONFIG: 3,
    }
)
_18: Mapping[ReportError, int] = MappingProxyType(
    {one: int(one) for one in ReportError if one is not ReportError.BATCH_SATURATED}
)


@dataclass(frozen=True)
class DapVersion:
    """What differs between drafts.

    `counted` lists stand behind their length in bytes, else they run to the end. `configured`
    messages are bound to the TaskConfiguration, times count units of the precision, reports have
    public extensions, and the helper names its resources.
    """

    tag: Tag
    media: str
    counted: bool
    configured: bool
    vdaf: Version
    errors: Mapping[ReportError, int] = field(hash=False)

    def media_type(self, old: str, new: str) -> str:
        """The media type of a message: -09's name for it, and -18's."""
        return self.media + (new if self.configured else old)

    def is_media_type(self, text: str, old: str, new: str) -> bool:
        """Return whether a request's content type is that of this message.

        In -18 it may also say which draft it follows, if it is this one ("Protocol Message Media
        Type" in the draft).
        """
        parts = [part.strip().lower().replace('"', "") for part in text.split(";")]
        hint = f"version={self.tag[-2:]}"
        if self.configured and hint in parts[1:]:
            parts.remove(hint)
        return ";".join(parts) == self.media_type(old, new)

    def input_share_info(self, role: int) -> bytes:
        """What a share for `role` is sealed for."""
        return f"{self.tag} input share".encode() + bytes([CLIENT, role])

    def aggregate_share_info(self, role: int) -> bytes:
        """What an aggregate share from `role` is sealed for."""
        return f"{self.tag} aggregate share".encode() + bytes([role, COLLECTOR])

    def unit(self, time_precision: int) -> int:
        """How many seconds a time on the wire counts."""
        return time_precision if self.configured else 1


DAP_09 = DapVersion("dap-09", "application/dap-", True, False, VDAF_08, _09)
DAP_18 = DapVersion("dap-18", "application/ppm-dap;message=", False, True, VDAF_18, _18)
CONFIG_LIST = "hpke-config-list"
VERSIONS: Mapping[str, DapVersion] = MappingProxyType(
    {one.tag: one for one in (DAP_09, DAP_18)}
)


def config_list_version(accept: str, *, names_task: bool) -> DapVersion:
    """Return the version whose media type answers a request for HPKE configs.

    The resource has no task, so it follows what is accepted. Where that says nothing, only a
    client of -09 names a task in the query, and clients of -18 insist on their type.
    """
    quality = {
        dap: _quality(accept, dap.media_type(CONFIG_LIST, CONFIG_LIST))
        for dap in _NEWEST
    }
    best = max(quality.values())
    if best > 0:
        return next(dap for dap in _NEWEST if quality[dap] == best)
    return DAP_09 if names_task else DAP_18


_NEWEST = (DAP_18, DAP_09)


def _quality(accept: str, media: str) -> float:
    """Return how much a client wants exactly this type (RFC 9110, section 12.4.2); 0 if not."""
    for listed in accept.lower().replace(" ", "").replace('"', "").split(","):
        named, _, weight = listed.partition(";q=")
        if named == media:
            try:
                return float(weight or 1)
            except ValueError:
                return 0.0
    return 0.0

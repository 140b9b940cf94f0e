"""The supported versions of DAP: draft-ietf-ppm-dap -09 and -18.

Each version is one record of what differs between them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from types import MappingProxyType
from typing import Literal

from tactful.vdaf.version import VDAF_08, VDAF_18, Version

COLLECTOR, CLIENT, LEADER, HELPER = 0, 1, 2, 3  # numbers of roles in the drafts
Tag = Literal["dap-09", "dap-18"]


class ReportError(IntEnum):
    """Reason for rejecting a report; the numbers are those of DAP-18, which reserves 0."""

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
        # DAP-09 has no codes for these; they get the closest one.
        ReportError.TASK_NOT_STARTED: 2,
        ReportError.OUTDATED_CONFIG: 3,
    }
)
_18: Mapping[ReportError, int] = MappingProxyType(
    {
        reason: int(reason)
        for reason in ReportError
        if reason is not ReportError.BATCH_SATURATED
    }
)


@dataclass(frozen=True)
class DapVersion:
    """The properties of one draft that differ from others.

    - `counted`: lists have their length in front; otherwise they end with the message.
    - `configured`: messages are bound to the TaskConfiguration, times are in units of
      the precision, reports have public extensions, and the helper names its resources.
    """

    tag: Tag
    media: str
    counted: bool
    configured: bool
    vdaf: Version
    errors: Mapping[ReportError, int] = field(hash=False)

    def media_type(self, old: str, new: str) -> str:
        """Return the media type of a message, named `old` in DAP-09 and `new` in DAP-18."""
        return self.media + (new if self.configured else old)

    def is_media_type(self, text: str, old: str, new: str) -> bool:
        """Return True if `text` is the content type of this message.

        In DAP-18 it may also name the draft ("Protocol Message Media Type").
        """
        parts = [part.strip().lower().replace('"', "") for part in text.split(";")]
        hint = f"version={self.tag[-2:]}"
        if self.configured and hint in parts[1:]:
            parts.remove(hint)
        return ";".join(parts) == self.media_type(old, new)

    def input_share_info(self, role: int) -> bytes:
        """Return the HPKE info of a share for `role`."""
        return f"{self.tag} input share".encode() + bytes([CLIENT, role])

    def aggregate_share_info(self, role: int) -> bytes:
        """Return the HPKE info of an aggregate share from `role`."""
        return f"{self.tag} aggregate share".encode() + bytes([role, COLLECTOR])

    def unit(self, time_precision: int) -> int:
        """Return the seconds in one unit of a time on the wire."""
        return time_precision if self.configured else 1


DAP_09 = DapVersion("dap-09", "application/dap-", True, False, VDAF_08, _09)
DAP_18 = DapVersion("dap-18", "application/ppm-dap;message=", False, True, VDAF_18, _18)
CONFIG_LIST = "hpke-config-list"
VERSIONS: Mapping[str, DapVersion] = MappingProxyType(
    {version.tag: version for version in (DAP_09, DAP_18)}
)


def config_list_version(accept: str, *, names_task: bool) -> DapVersion:
    """Return the version of the response to a request for HPKE configs.

    The resource belongs to no task, so `accept` decides. If it is not specific, only a
    client of DAP-09 names a task in the query.
    """
    quality = {
        dap: _quality(accept, dap.media_type(CONFIG_LIST, CONFIG_LIST))
        for dap in _NEWEST_FIRST
    }
    best = max(quality.values())
    if best > 0:
        return next(dap for dap in _NEWEST_FIRST if quality[dap] == best)
    return DAP_09 if names_task else DAP_18


_NEWEST_FIRST = (DAP_18, DAP_09)


def _quality(accept: str, media: str) -> float:
    """Return the quality value of exactly this type (RFC 9110, section 12.4.2).

    It is 0 if the type is not listed.
    """
    for entry in accept.lower().replace(" ", "").replace('"', "").split(","):
        media_type, _, weight = entry.partition(";q=")
        if media_type == media:
            try:
                return float(weight or 1)
            except ValueError:
                return 0.0
    return 0.0

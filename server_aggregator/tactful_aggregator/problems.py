"""Refusals under the names of the DAP draft (draft-ietf-ppm-dap, section 3.3; RFC 9457)."""

from __future__ import annotations

import traceback
from pathlib import Path

from tactful.errors import ProtocolError, TactfulError

URN = "urn:ietf:params:ppm:dap:error:"


class Problem(ProtocolError):
    """A refusal that is sent as a problem document."""

    def __init__(self, code: str, status: int, detail: str) -> None:
        super().__init__(detail)
        self.code, self.status = code, status


def unrecognized_task() -> Problem:
    """Return the refusal of a request for an unknown task."""
    return Problem(
        "unrecognizedTask",
        404,
        "this aggregator does not know the task; check the task id and the address",
    )


def invalid(detail: str) -> Problem:
    """Return the refusal of an invalid message."""
    return Problem("invalidMessage", 400, detail)


def reason_of(error: BaseException) -> str:
    """Return the reason of a failure for a log.

    Of unexpected errors only type and location are given, because their text may quote a
    report.
    """
    if isinstance(error, TactfulError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    if not frames:
        return type(error).__name__
    file_name = Path(frames[-1].filename).name
    return f"{type(error).__name__} at {file_name}:{frames[-1].lineno}"

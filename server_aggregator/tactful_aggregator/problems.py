"""What is refused, under the draft's own names (draft-ietf-ppm-dap, section 3.3; RFC 9457)."""

from __future__ import annotations

import traceback
from pathlib import Path

from tactful.errors import ProtocolError, TactfulError

URN = "urn:ietf:params:ppm:dap:error:"


class Problem(ProtocolError):
    """A refusal that becomes a problem document."""

    def __init__(self, code: str, status: int, detail: str) -> None:
        super().__init__(detail)
        self.code, self.status = code, status


def unrecognized_task() -> Problem:
    """No task has this id here."""
    return Problem("unrecognizedTask", 404, "this half does not know the task")


def invalid(detail: str) -> Problem:
    """The message cannot be."""
    return Problem("invalidMessage", 400, detail)


def reason_of(error: BaseException) -> str:
    """Why something failed, for a log: of other errors only where, as they may quote a report."""
    if isinstance(error, TactfulError):
        return str(error)
    frames = traceback.extract_tb(error.__traceback__)
    where = (
        f" at {Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else ""
    )
    return f"{type(error).__name__}{where}"

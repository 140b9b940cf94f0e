"""What is refused, under the draft's own names (draft-ietf-ppm-dap, section 3.3; RFC 9457)."""

from __future__ import annotations

from tactful.errors import ProtocolError

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

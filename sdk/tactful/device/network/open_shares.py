"""The open shares of a report that was not acknowledged yet, so that they can be sealed anew.

Both together hold the measurement. They lie in the vault, sealed like every record, never leave
it, and are destroyed once the report was taken or dropped, or its task is over.
"""

from __future__ import annotations

import base64

from tactful.device.vault import VaultTransaction

KIND = "shares"


def keep(
    writing: VaultTransaction, report_id: str, shares: tuple[bytes, bytes], expires: int
) -> None:
    """Record the (leader, helper) shares of a report; `expires` ends its task, unix seconds."""
    leader, helper = (base64.b64encode(share).decode() for share in shares)
    body = {"leader": leader, "helper": helper, "expires": expires}
    writing.append(KIND, body, name=_name(report_id))


def find(writing: VaultTransaction, report_id: str) -> tuple[bytes, bytes] | None:
    """Return the (leader, helper) shares of a report, None if they are gone."""
    position = writing.find(_name(report_id))
    if position is None:
        return None
    body = next(writing.read(position - 1, [KIND])).body
    return base64.b64decode(str(body["leader"])), base64.b64decode(str(body["helper"]))


def drop(writing: VaultTransaction, report_id: str) -> None:
    """Destroy the shares of a report, if they are still there."""
    position = writing.find(_name(report_id))
    if position is not None:
        writing.erase([position])


def _name(report_id: str) -> str:
    return f"shares {report_id}"

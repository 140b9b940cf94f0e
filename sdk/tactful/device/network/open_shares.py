"""The open shares of a report that is not acknowledged yet.

With them the report can be sealed to new keys. Both together contain the measurement.
They are encrypted in the vault like every record, never leave it, and are erased when
the report was accepted or dropped, or its task has ended.
"""

from __future__ import annotations

import base64

from tactful.device.vault import VaultTransaction

KIND = "open_shares"


def store(
    transaction: VaultTransaction,
    report_id: str,
    shares: tuple[bytes, bytes],
    expires: int,
) -> None:
    """Record the (leader, helper) shares of a report.

    `expires` is when its task ends, in unix seconds.
    """
    leader, helper = (base64.b64encode(share).decode() for share in shares)
    body = {"leader": leader, "helper": helper, "expires": expires}
    transaction.append(KIND, body, name=_record_name(report_id))


def find(transaction: VaultTransaction, report_id: str) -> tuple[bytes, bytes] | None:
    """Return the (leader, helper) shares of a report, None if they were erased."""
    position = transaction.find(_record_name(report_id))
    if position is None:
        return None
    body = next(transaction.read(position - 1, [KIND])).body
    return base64.b64decode(str(body["leader"])), base64.b64decode(str(body["helper"]))


def drop(transaction: VaultTransaction, report_id: str) -> None:
    """Erase the shares of a report, if they still exist."""
    position = transaction.find(_record_name(report_id))
    if position is not None:
        transaction.erase([position])


def _record_name(report_id: str) -> str:
    return f"shares {report_id}"

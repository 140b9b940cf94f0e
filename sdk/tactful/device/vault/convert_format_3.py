"""Conversion of a vault of format 3, which was used before the first release.

Version 0.2 deletes this module.
"""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Mapping

from tactful.device.device_key import Sealer
from tactful.device.vault.journal import (
    MODULUS,
    TASTE,
    JournalHead,
    pack_record,
    record_aad,
)
from tactful.device.vault.record_schemas import Content
from tactful.errors import VaultDamaged

_HEAD = struct.Struct(">QQ32s")
KINDS: Mapping[str, str] = {
    "anchor": "time_anchor",
    "dropped": "report_dropped",
    "owner": "process",
    "receipt": "report_accepted",
    "restored": "quarantine",
    "sent": "report_sent",
    "session": "activity_session",
    "shares": "open_shares",
    "thing": "cap_subject",
    "total": "daily_totals",
    "trace": "list_trace",
    "undone": "removal",
    "unit": "experiment_unit",
    "zone": "time_zone",
}
EVENT_FIELDS = 16  # of format 3, before the cap subject


def convert(connection: sqlite3.Connection, sealer: Sealer) -> None:
    """Write every record again with the kinds and fields of format 4.

    Positions, names and erased ranges stay. Caches are deleted. Raise VaultDamaged if a
    record was changed; the caller then rolls back.
    """
    head = _old_head(connection, sealer)
    marks = 0
    rows = connection.execute("select position, sealed, taste, name from record")
    for position, sealed, taste, name in rows.fetchall():
        aad = record_aad(position, name)
        prefix, old = (b"", sealed) if taste is None else (TASTE, taste)
        text = sealer.open(old, prefix + aad)
        if text is None:
            raise VaultDamaged(
                f"vault: record {position} was changed; restore the file from a backup"
            )
        new = sealer.seal(pack_record(*_converted(text)), prefix + aad)
        column = "sealed" if taste is None else "taste"
        connection.execute(
            f"update record set {column} = ? where position = ?",  # noqa: S608
            (new, position),
        )
        marks += sealer.mark(aad, new)
    connection.execute("delete from cell")
    converted = JournalHead(head.last, head.live, marks % MODULUS, head.note)
    connection.execute(
        "update vault set head = ?", (sealer.seal(converted.encode(), b"head"),)
    )


def _old_head(connection: sqlite3.Connection, sealer: Sealer) -> JournalHead:
    [sealed] = connection.execute("select head from vault").fetchone()
    text = sealer.open(sealed, b"head")
    if text is None:
        raise VaultDamaged("vault: the head was changed; restore a backup")
    last, live, digest = _HEAD.unpack_from(text)
    return JournalHead(last, live, int.from_bytes(digest, "big"), text[_HEAD.size :])


def _converted(text: bytes) -> tuple[str, Content]:
    """Return kind and content in format 4 of a record of format 3."""
    kind, _, written = text.decode().partition("\n")
    body: dict[str, object] = json.loads(written)
    return KINDS.get(kind, kind), _converted_content(kind, body)


def _converted_content(kind: str, body: dict[str, object]) -> Content:
    if kind == "event":
        return _event_fields(body)
    if kind == "total":
        return [body["f"]]
    if kind == "model":
        return {"checkpoint": "", **body}
    if kind == "forgotten":
        return {"checkpoint": "", **body}
    fields = body.get("f")
    return fields if isinstance(fields, list) else body


def _event_fields(body: Mapping[str, object]) -> Content:
    fields = body["e"]
    if not isinstance(fields, list):
        raise VaultDamaged("vault: an event record holds no event")
    if "x" not in body:
        return fields
    return [*fields, *[None] * (EVENT_FIELDS - len(fields)), body["x"]]

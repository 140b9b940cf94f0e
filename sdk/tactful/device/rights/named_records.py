"""Vault records with named fields and words, as the person's export shows them."""

from __future__ import annotations

from collections.abc import Mapping

from tactful.device.caps.counting.reservations import OUTCOMES
from tactful.device.caps.rules.model import LEVEL_CODES, PRESUMED
from tactful.device.events import EVIDENCE_CODES, KIND_CODES, PURPOSE_CODES
from tactful.device.vault import Record
from tactful.device.vault.record_schemas import CURRENT

WITHHELD = "stays in the vault"
# The words of each field that is stored as a code: by record kind and field.
CODE_TABLES: Mapping[tuple[str, str], Mapping[int, str]] = {
    ("event", "kind"): {code: word for word, code in KIND_CODES.items()},
    ("event", "evidence"): {code: word for word, code in EVIDENCE_CODES.items()},
    ("event", "purpose"): {code: word for word, code in PURPOSE_CODES.items()},
    ("close", "outcome"): {**OUTCOMES},
    ("daily_totals", "level"): {
        **{code: word for word, code in LEVEL_CODES.items()},
        PRESUMED: "presumed",
    },
}


def named_record(record: Record) -> dict[str, object]:
    """Return position, kind and fields of `record`; secrets are left out.

    Codes become words. Empty fields are left out.
    """
    schema = CURRENT[record.kind]
    fields = {
        name: WITHHELD
        if name in schema.withheld
        else _with_words(record.kind, name, value)
        for name, value in record.named().items()
        if value is not None
    }
    return {"position": record.position, "kind": record.kind, "fields": fields}


def _with_words(kind: str, name: str, value: object) -> object:
    """Return `value` with words instead of codes, in rows too."""
    if isinstance(value, list) and all(isinstance(row, dict) for row in value):
        return [
            {column: _word(kind, column, cell) for column, cell in row.items()}
            for row in value
        ]
    return _word(kind, name, value)


def _word(kind: str, name: str, value: object) -> object:
    """Return the word of a code; any other value as it is."""
    words = CODE_TABLES.get((kind, name), {})
    return words.get(value, value) if isinstance(value, int) else value

"""Schemas of the vault's records: the kinds, their versions and named fields.

`docs/spec/vault-format.md` explains each kind. The header of a stored record names its
kind and version. A released schema never changes: a new field makes a new version, and
a new version or kind raises the format of the file (`connections.FORMAT`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

Content = Mapping[str, object] | Sequence[object]


@dataclass(frozen=True, kw_only=True)
class RecordSchema:
    """The fields of one version of a record kind.

    A `positional` record is stored as a JSON array in the order of `fields`, in which
    `optional` fields come last and trailing nulls are left out. Any other record is
    stored as a JSON object. A field in `rows` holds a list of arrays, whose columns
    have these names. `withheld` fields are secret and never leave
    the vault.
    """

    kind: str
    fields: tuple[str, ...]
    version: int = 1
    positional: bool = False
    optional: frozenset[str] = frozenset()
    withheld: frozenset[str] = frozenset()
    rows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @cached_property
    def header(self) -> str:
        """The first line of a stored record."""
        return f"{self.kind} {self.version}"

    def require_valid(self, content: Content) -> None:
        """Raise ValueError unless `content` has the fields of this schema."""
        if self.positional:
            count = len(content)
            most = len(self.fields)
            is_valid = isinstance(content, list) and (
                most - len(self.optional) <= count <= most
            )
        else:
            is_valid = isinstance(content, Mapping) and (
                self.required <= content.keys() <= self.allowed
            )
        if not is_valid:
            raise ValueError(
                f"record {self.header}: the fields are wrong; use {', '.join(self.fields)}"
            )

    @cached_property
    def allowed(self) -> frozenset[str]:
        """The names of all fields."""
        return frozenset(self.fields)

    @cached_property
    def required(self) -> frozenset[str]:
        """The names of the fields that every record has."""
        return self.allowed - self.optional

    def named(self, content: Content) -> dict[str, object]:
        """Return the fields of `content` by name, rows included."""
        if isinstance(content, Mapping):
            return dict(content)
        named = dict(zip(self.fields, content, strict=False))
        for name, columns in self.rows.items():
            named[name] = _named_rows(named.get(name), columns)
        return named


def _named_rows(rows: object, columns: Sequence[str]) -> list[dict[str, object]]:
    if not isinstance(rows, list):
        return []
    return [dict(zip(columns, row, strict=False)) for row in rows]


def _positional(
    kind: str,
    fields: str,
    *,
    optional: str = "",
    rows: Mapping[str, tuple[str, ...]] | None = None,
) -> RecordSchema:
    names = (*fields.split(), *optional.split())
    return RecordSchema(
        kind=kind,
        fields=names,
        positional=True,
        optional=frozenset(optional.split()),
        rows=rows or {},
    )


def _object(
    kind: str, fields: str = "", *, optional: str = "", withheld: str = ""
) -> RecordSchema:
    return RecordSchema(
        kind=kind,
        fields=(*fields.split(), *optional.split()),
        optional=frozenset(optional.split()),
        withheld=frozenset(withheld.split()),
    )


SCHEMAS: Sequence[RecordSchema] = (
    # Events.
    _positional(
        "event",
        "kind at_ms segment mono_ms day zone purpose",
        optional="item_id reservation_id evidence late verified_drift value scope "
        "surface subject cap_subject",
    ),
    # Frequency caps.
    _positional(
        "segment",
        "boot_id mono_start_ms full_start_ms verified_start_ms ledger_start_ms gap_ms "
        "after_time_anchor",
    ),
    _positional(
        "time_anchor", "exact moves", rows={"moves": ("timeline", "segment", "ms")}
    ),
    _positional("time_zone", "name"),
    _positional("process", "boot_id pid started"),
    _positional(
        "cap_subject",
        "item family creative campaign categories brand channel tags item_class "
        "priority replenishable",
    ),
    _positional(
        "decision",
        "segment offset_ms day verified_drift zone process ttl_ms surface subject "
        "cap_subjects opportunities",
    ),
    _positional(
        "close",
        "rows",
        rows={"rows": ("decision", "slot", "outcome", "day", "verified_drift")},
    ),
    _positional("activity_session", "segment offset_ms day verified_drift zone"),
    _positional("mute", "subject scope value is_muted segment offset_ms length_ms"),
    _positional("waiting", "subject items segment offset_ms"),
    _positional("loss", "segment offset_ms mode"),
    _positional(
        "daily_totals",
        "rows",
        rows={
            "rows": (
                "cap_subject",
                "surface",
                "subject",
                "level",
                "segment",
                "day",
                "verified_day",
                "zone",
                "offset_ms",
                "impressions",
            )
        },
    ),
    # What the person decided, and what was removed.
    _object(
        "consent",
        "purpose state at policy_version locale shown_text_sha256 method app_version "
        "gpc_acknowledged signals_in_force valid_until previous",
    ),
    _object(
        "setting",
        optional="balance interest used_up paused limits refreshed noticed",
    ),
    _object("removal"),
    _object("forgotten", "newest checkpoint"),
    # What is sent, and its cost.
    _object("charge", "state task_id purpose rho time report_id event"),
    _object("report", "bytes"),
    _object("open_shares", "leader helper expires", withheld="leader helper"),
    _object(
        "disclosure",
        "task_id report_id purpose at recipient size sha256 meaning report consent",
    ),
    _object("report_sent", "task_id report_id time"),
    _object("report_accepted", "task_id at"),
    _object("report_dropped", "task_id at"),
    _object("config_epoch", "key epoch sha256"),
    _object("quarantine", "waited_ms"),
    _object("ledger_key", "key", withheld="key"),
    # What is received and shown.
    _object("model", "version file release checkpoint"),
    _object("model_file", "bytes"),
    _object(
        "list_trace",
        "decision_id at_ms surface length shown denied exclude hidden balance position "
        "allowed model standard promoted relaxed wear gains wall diversity",
    ),
    # Experiments.
    _object("experiment_unit", "secret born", withheld="secret"),
    _object("assignment", "experiment arm"),
    _object("exposure", "experiment day"),
    _object("period", "experiment task_id"),
)
# The schema that each kind is stored with.
CURRENT: Mapping[str, RecordSchema] = {schema.kind: schema for schema in SCHEMAS}
# Every schema that this release reads.
BY_HEADER: Mapping[str, RecordSchema] = {schema.header: schema for schema in SCHEMAS}

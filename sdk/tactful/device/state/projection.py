"""Reading the state from the vault, with projections cached in it.

The vault caches two projections in cells: the profile, and the records of the state
without the profile. An old vault therefore opens without reading every record.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from itertools import takewhile

from tactful.device.state.device_state import SETTING_KINDS, STATE_KINDS, DeviceState
from tactful.device.state.profile import Profile
from tactful.device.vault import Record, Vault, VaultBusy, VaultTransaction
from tactful.errors import StorageFull

# Cells of the vault. Each holds a position (8 bytes, big endian), then JSON. A release
# that projects differently uses another number, so that it never reads an old cache.
SETTINGS_CELL, PROFILE_CELL = "settings 1", "profile 1"
CACHE_EVERY = 2000  # records that are read again at most when a vault is opened
RecordRow = tuple[int, str, Mapping[str, object]]  # position, kind, body


def project(
    vault: Vault, state: DeviceState, *, until: int | None = None
) -> DeviceState:
    """Return `state` with all newer records of the vault, or those up to `until`."""
    with vault.snapshot() as view:
        if until is None:
            state = _with_cached_settings(view, state)
            state = _with_cached_profile(view, state)
        end = view.position if until is None else until
        if end == state.position == state.profile_position:
            return state
        start = min(state.position, state.profile_position)
        newer = view.read(start, STATE_KINDS)
        records = list(takewhile(lambda record: record.position <= end, newer))
    if state.profile_position and _removes_events(records, state.profile_position):
        # The profile contains events that were erased: build it from the first event.
        state = replace(state, profile=Profile(), profile_position=0)
        return project(vault, state, until=until)
    projected = replace(state.after(records), position=end, profile_position=end)
    if until is None and end - state.profile_position >= CACHE_EVERY:
        _store_cell(vault, PROFILE_CELL, end, projected.profile.packed())
    return projected


def project_without_profile(vault: Vault, state: DeviceState) -> DeviceState:
    """Return `state` with all newer records but events, which are not opened."""
    with vault.snapshot() as view:
        state = _with_cached_settings(view, state)
        end = view.position
        if end == state.position:
            return state
        records = list(view.read(state.position, SETTING_KINDS, tastes=False))
        is_cache_due = end - state.position >= CACHE_EVERY
        rows = _rows_since(view, state.position, records) if is_cache_due else None
    if rows is not None:
        content = json.dumps(rows, separators=(",", ":")).encode()
        _store_cell(vault, SETTINGS_CELL, end, content)
    return replace(state.after(records), position=end)


def _removes_events(records: Iterable[Record], position: int) -> bool:
    return any(
        record.kind == "removal" and record.position > position for record in records
    )


def _rows_since(
    view: VaultTransaction, position: int, records: Iterable[Record]
) -> list[RecordRow] | None:
    """Return the cached rows and `records`; None if the cache is of another position."""
    if position != _cell_position(view.cell(SETTINGS_CELL)):
        return None
    new_rows = [(record.position, record.kind, record.body) for record in records]
    return [*_cached_rows(view), *new_rows]


def _with_cached_settings(view: VaultTransaction, state: DeviceState) -> DeviceState:
    """Return an empty `state` with the cached records; any other as it is."""
    position = 0 if state.position else _cell_position(view.cell(SETTINGS_CELL))
    if not position:
        return state
    records = [Record(*row) for row in _cached_rows(view)]
    return replace(state.after(records), position=position)


def _with_cached_profile(view: VaultTransaction, state: DeviceState) -> DeviceState:
    content = None if state.profile_position else view.cell(PROFILE_CELL)
    if content is None:
        return state
    profile = Profile.unpacked(content[8:])
    return replace(state, profile=profile, profile_position=_cell_position(content))


def _cached_rows(view: VaultTransaction) -> list[RecordRow]:
    content = view.cell(SETTINGS_CELL)
    if content is None:
        return []
    return [(position, kind, body) for position, kind, body in json.loads(content[8:])]


def _cell_position(content: bytes | None) -> int:
    return 0 if content is None else int.from_bytes(content[:8], "big")


def _store_cell(vault: Vault, cell: str, position: int, content: bytes) -> None:
    """Store a cache, unless the vault cannot be written now."""
    with (
        suppress(VaultBusy, StorageFull),
        vault.transaction(seconds=0) as transaction,
    ):
        # If the position changed, records may have been erased meanwhile.
        if transaction.position == position:
            transaction.put(cell, position.to_bytes(8, "big") + content)

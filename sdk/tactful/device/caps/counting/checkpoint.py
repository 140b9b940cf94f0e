"""Checkpoint of the counter state, so that an old vault opens without reading it all.

It contains nothing that the records do not contain. If it is missing, or was made by
another version or with other rules, everything is counted from the records.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass

from tactful.device.caps.counting.counter_state import CounterState
from tactful.device.caps.counting.reservations import Hold, Owner, Stamp
from tactful.device.caps.counting.rule_counters import Packed, RuleCounters
from tactful.device.caps.counting.user_blocks import Block, Ladder, UserBlocks
from tactful.device.caps.rules.model import Rules
from tactful.device.caps.rules.subject import CapSubject
from tactful.device.caps.timeline.segments import VERIFIED, Segment, Timeline

Row = list[object]
CELL = "caps"
VERSION = 2
# Closed holds older than this are not stored; `CounterState.load_hold` reads them from
# the records in the rare case that they are reported again.
LATE_MS = 2 * 86_400_000


def fingerprint(rules: Rules) -> str:
    """Return a hash of `rules` that is the same in every process."""
    return hashlib.sha256(repr(_plain(rules)).encode()).hexdigest()


def _plain(value: object) -> object:
    if is_dataclass(value):
        parts = [
            (field.name, _plain(getattr(value, field.name))) for field in fields(value)
        ]
        return (type(value).__name__, parts)
    if isinstance(value, Mapping):
        return sorted((str(key), repr(_plain(part))) for key, part in value.items())
    if isinstance(value, frozenset):
        return sorted(map(str, value))
    return [_plain(part) for part in value] if isinstance(value, tuple) else value


def packed(state: CounterState, now: tuple[int, int]) -> bytes:
    """Return all of `state` as bytes; it must have no unwritten closes.

    `now` is the canonical time on `FULL` and on `VERIFIED`.
    """
    zone_numbers = {zone: number for number, zone in enumerate(state.zones)}
    columns = Columns()
    document = {
        "version": VERSION,
        "rules": fingerprint(state.rules),
        "position": state.position,
        "segments": [_segment_row(segment) for segment in state.timeline.segments],
        "zones": state.zones,
        "owners": [[owner.boot_id, owner.pid, owner.started] for owner in state.owners],
        "things": state.cap_subjects,
        "holds": [
            _hold_row(hold, state, zone_numbers)
            for hold in _recent_holds(state, now[VERIFIED])
        ],
        "opportunities": [
            [rule_id, key, count]
            for (rule_id, key), count in state.opportunities.items()
        ],
        "activity": [[*name, *span] for name, span in state.activity.items()],
        "feedback": _user_blocks_document(state.user_blocks),
        "losses": state.losses,
        "waiting": [[*name, since] for name, since in state.waiting_since.items()],
        "tracks": [
            _counter_rows(counters, zone_numbers, columns, now[counters.timeline])
            for counters in state.rule_counters
        ],
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    return zlib.compress(len(text).to_bytes(8, "big") + text + columns.pack(), 1)


def unpacked(content: bytes, rules: Rules) -> CounterState | None:
    """Return the state that `packed` stored.

    Return None if another version stored it, or if it was made with other rules.
    """
    uncompressed = zlib.decompress(content)
    length = int.from_bytes(uncompressed[:8], "big")
    document = json.loads(uncompressed[8 : 8 + length])
    if document["version"] != VERSION or document["rules"] != fingerprint(rules):
        return None
    state = CounterState(rules)
    state.position = document["position"]
    state.zones = document["zones"]
    segments = tuple(_segment_of(row) for row in document["segments"])
    state.timeline = Timeline(segments, segments[-1].mono0_ms if segments else 0)
    state.owners = [Owner(*row) for row in document["owners"]]
    for row in document["things"]:
        state.intern(CapSubject.from_fields(row))
    state.opportunities = {
        (rule_id, tuple(key)): count
        for rule_id, key, count in document["opportunities"]
    }
    state.activity = {
        (gap_ms, timeline): (start, last)
        for gap_ms, timeline, start, last in document["activity"]
    }
    state.losses = [
        (segment, offset, mode) for segment, offset, mode in document["losses"]
    ]
    state.waiting_since = {
        (subject, item): since for subject, item, since in document["waiting"]
    }
    _restore_user_blocks(state.user_blocks, document["feedback"])
    columns = Columns.unpack(memoryview(uncompressed)[8 + length :])
    rows_by_rule = zip(state.rule_counters, document["tracks"], strict=True)
    for counters, rows in rows_by_rule:
        _restore_counters(counters, rows, columns, state.zones)
    for row in document["holds"]:
        _restore_hold(state, row)
    return state


def _segment_row(segment: Segment) -> Row:
    return [
        segment.boot_id,
        segment.mono0_ms,
        segment.base,
        segment.gap,
        segment.verified,
        segment.after_stamp,
    ]


def _segment_of(row: Row) -> Segment:
    boot_id, mono0_ms, base, gap, verified, after_stamp = row
    return Segment(
        None if boot_id is None else str(boot_id),
        _int(mono0_ms),
        _triple(base),
        _triple(gap),
        bool(verified),
        bool(after_stamp),
    )


def _recent_holds(state: CounterState, now_verified_ms: int) -> Iterable[Hold]:
    since = now_verified_ms - LATE_MS
    needed = state.open_holds.keys() | state.pending_fatigue.keys()
    for hold in state.holds_by_id.values():
        if hold.id in needed or state.expires_at(hold) > since:
            yield hold


def _hold_row(
    hold: Hold, state: CounterState, zone_numbers: Mapping[str | None, int]
) -> Row:
    stamp = hold.stamp
    fatigue_pending = hold.id in state.pending_fatigue
    flags = (hold.released, hold.closed, hold.reacted, hold.late, fatigue_pending)
    return [
        *hold.id,
        state.cap_subject_numbers[hold.cap_subject],
        hold.surface,
        hold.subject,
        state.owners.index(hold.owner),
        hold.ttl_ms,
        [*stamp[:4], zone_numbers[stamp.zone]],
        hold.level,
        hold.evidence,
        [int(flag) for flag in flags],
    ]


def _restore_hold(state: CounterState, row: Row) -> None:
    position, slot, number, surface, subject, owner, ttl_ms, *more = row
    stamp_row, level, evidence, flags = more
    segment, offset, day, verified_day, zone = map(_int, _list(stamp_row))
    hold = Hold(
        (_int(position), _int(slot)),
        state.cap_subjects[_int(number)],
        surface=str(surface),
        subject=str(subject),
        owner=state.owners[_int(owner)],
        ttl_ms=_int(ttl_ms),
        stamp=Stamp(segment, offset, day, verified_day, state.zones[zone]),
    )
    hold.level = _int(level)
    hold.evidence = _int(evidence)
    released, closed, reacted, late, fatigue_pending = map(bool, _list(flags))
    hold.released, hold.closed = released, closed
    hold.reacted, hold.late = reacted, late
    state.restore(hold, fatigue_pending=fatigue_pending)


def _user_blocks_document(user_blocks: UserBlocks) -> dict[str, object]:
    return {
        "mutes": [[key, _block(block)] for key, block in user_blocks.mutes.items()],
        "final": [[key, _block(block)] for key, block in user_blocks.final.items()],
        "ladders": [
            [key, ladder.dismissals, _block(ladder.block)]
            for key, ladder in user_blocks.ladders.items()
        ],
    }


def _restore_user_blocks(
    user_blocks: UserBlocks, document: Mapping[str, list[list[list[object]]]]
) -> None:
    for key, block in document["mutes"]:
        user_blocks.mutes[_key(key)] = _block_of(block)
    for key, block in document["final"]:
        user_blocks.final[_key(key)] = _block_of(block)
    for key, dismissals, block in document["ladders"]:
        user_blocks.ladders[_key(key)] = Ladder(_int(dismissals), _block_of(block))


def _block(block: Block) -> list[object]:
    return [block.segment, block.offset, block.length_ms, block.reason_code]


def _block_of(row: list[object]) -> Block:
    segment, offset, length, reason_code = row
    length_ms = None if length is None else _int(length)
    return Block(_int(segment), _int(offset), length_ms, str(reason_code))


class Columns:
    """The numbers of all key counters, one after another.

    `integers` holds the counted events, `floats` the fatigue.
    """

    def __init__(self, integers: bytes = b"", floats: bytes = b"") -> None:
        self.integers = array("q", integers)
        self.floats = array("d", floats)

    def pack(self) -> bytes:
        """Return both columns as bytes, after the number of integers."""
        count = len(self.integers).to_bytes(8, "big")
        return count + self.integers.tobytes() + self.floats.tobytes()

    @classmethod
    def unpack(cls, content: memoryview) -> Columns:
        """Return the columns that `pack` stored."""
        floats_start = 8 + 8 * int.from_bytes(content[:8], "big")
        return cls(bytes(content[8:floats_start]), bytes(content[floats_start:]))


def _counter_rows(
    counters: RuleCounters,
    zone_numbers: Mapping[str | None, int],
    columns: Columns,
    now_ms: int,
) -> list[Row]:
    """Append the numbers of one rule to `columns`; return a row for each key."""
    rows: list[Row] = []
    for key, key_counter in counters.by_key.items():
        integers_start, floats_start = len(columns.integers), len(columns.floats)
        for entry in counters.entries_in_reach(key_counter, now_ms):
            columns.integers.extend((*entry[:4], zone_numbers[entry.zone]))
        if key_counter.fatigue is not None:
            columns.floats.extend(key_counter.fatigue.to_numbers())
        integer_count = len(columns.integers) - integers_start
        float_count = len(columns.floats) - floats_start
        if integer_count or float_count or key_counter.total:
            rows.append(
                [
                    key,
                    key_counter.total,
                    key_counter.first_at,
                    integers_start,
                    floats_start,
                    integer_count,
                    float_count,
                ]
            )
    return rows


def _restore_counters(
    counters: RuleCounters, rows: list[Row], columns: Columns, zones: list[str | None]
) -> None:
    for key, total, first_at, *numbers in rows:
        integers_start, floats_start, integer_count, float_count = map(_int, numbers)
        key_counter = counters.counter_to_change(_key(key))
        key_counter.total = _int(total)
        key_counter.first_at = None if first_at is None else _int(first_at)
        if key_counter.fatigue is not None:
            floats_end = floats_start + float_count
            key_counter.fatigue.restore(columns.floats[floats_start:floats_end])
        if integer_count:
            key_counter.packed_entries = Packed(
                columns.integers, integers_start, integer_count, zones
            )


def _key(value: object) -> tuple[str, ...]:
    return tuple(map(str, _list(value)))


def _triple(value: object) -> tuple[int, int, int]:
    full, verified, budget = map(_int, _list(value))
    return full, verified, budget


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("no list")
    return value


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError("no whole number")
    return value

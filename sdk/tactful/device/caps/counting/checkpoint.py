"""A state kept in the vault's cache, so that an old vault opens without counting its past again.

It says nothing that the records do not say: where it is missing, of another version or of other
rules, everything is counted from the records.
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
LATE_MS = (
    2 * 86_400_000
)  # shows this old are looked up in the records if they are told of again


def fingerprint(rules: Rules) -> str:
    """A name for what `rules` say, the same in every process."""
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
    """All that `state` says at its position; nothing of it may wait to be written.

    `now` is the canonical time, full and verified.
    """
    zones = {zone: number for number, zone in enumerate(state.zones)}
    columns = Columns()
    document = {
        "version": VERSION,
        "rules": fingerprint(state.rules),
        "position": state.position,
        "segments": [_segment(one) for one in state.timeline.segments],
        "zones": state.zones,
        "owners": [[one.boot_id, one.pid, one.started] for one in state.owners],
        "things": state.things,
        "holds": [_hold(one, state, zones) for one in _recent(state, now[VERIFIED])],
        "opportunities": [[r, key, n] for (r, key), n in state.opportunities.items()],
        "activity": [[*where, *span] for where, span in state.activity.items()],
        "feedback": _feedback(state.feedback),
        "losses": state.losses,
        "waiting": [[*who, at] for who, at in state.waiting.items()],
        "tracks": [
            _track(one, zones, columns, now[one.timeline]) for one in state.tracks
        ],
    }
    text = json.dumps(document, separators=(",", ":")).encode()
    return zlib.compress(len(text).to_bytes(8, "big") + text + columns.pack(), 1)


def unpacked(content: bytes, rules: Rules) -> CounterState | None:
    """The state that `packed` kept, None if it is of another version or of other rules."""
    opened = zlib.decompress(content)
    length = int.from_bytes(opened[:8], "big")
    document = json.loads(opened[8 : 8 + length])
    if document["version"] != VERSION or document["rules"] != fingerprint(rules):
        return None
    state = CounterState(rules)
    state.position, state.zones = document["position"], document["zones"]
    segments = tuple(_segment_of(one) for one in document["segments"])
    state.timeline = Timeline(segments, segments[-1].mono0_ms if segments else 0)
    state.owners = [Owner(*one) for one in document["owners"]]
    state.things = [CapSubject.from_fields(one) for one in document["things"]]
    state.thing_numbers = {thing: number for number, thing in enumerate(state.things)}
    state.opportunities = {
        (r, tuple(key)): n for r, key, n in document["opportunities"]
    }
    state.activity = {(gap, line): (a, b) for gap, line, a, b in document["activity"]}
    state.losses = [
        (segment, offset, mode) for segment, offset, mode in document["losses"]
    ]
    state.waiting = {(who, item): at for who, item, at in document["waiting"]}
    _take_feedback(state.feedback, document["feedback"])
    columns = Columns.unpack(memoryview(opened)[8 + length :])
    for track, rows in zip(state.tracks, document["tracks"], strict=True):
        _take_track(track, rows, columns, state.zones)
    for row in document["holds"]:
        _take_hold(state, row)
    return state


def _segment(one: Segment) -> list[object]:
    return [one.boot_id, one.mono0_ms, one.base, one.gap, one.verified, one.after_stamp]


def _segment_of(row: list[object]) -> Segment:
    boot, mono0, base, gap, verified, after = row
    return Segment(
        None if boot is None else str(boot),
        _int(mono0),
        _triple(base),
        _triple(gap),
        bool(verified),
        bool(after),
    )


def _recent(state: CounterState, now_verified: int) -> Iterable[Hold]:
    since = now_verified - LATE_MS
    waiting = state.open.keys() | state.slots.keys()
    return (
        h for h in state.shows.values() if h.id in waiting or state.expires(h) > since
    )


def _hold(
    hold: Hold, state: CounterState, zones: Mapping[str | None, int]
) -> list[object]:
    stamp = hold.stamp
    flags = (hold.released, hold.closed, hold.acted, hold.late, hold.id in state.slots)
    return [
        *hold.id,
        state.thing_numbers[hold.thing],
        hold.surface,
        hold.subject,
        state.owners.index(hold.owner),
        hold.ttl_ms,
        [*stamp[:4], zones[stamp.zone]],
        hold.level,
        hold.evidence,
        [int(flag) for flag in flags],
    ]


def _take_hold(state: CounterState, row: list[object]) -> None:
    (
        position,
        slot,
        thing,
        surface,
        subject,
        owner,
        ttl,
        stamp,
        level,
        evidence,
        flags,
    ) = row
    *when, zone = (_int(part) for part in _list(stamp))
    hold = Hold(
        (_int(position), _int(slot)),
        state.things[_int(thing)],
        surface=str(surface),
        subject=str(subject),
        owner=state.owners[_int(owner)],
        ttl_ms=_int(ttl),
        stamp=Stamp(when[0], when[1], when[2], when[3], state.zones[zone]),
    )
    hold.level, hold.evidence = _int(level), _int(evidence)
    hold.released, hold.closed, hold.acted, hold.late, waits = map(bool, _list(flags))
    state.take(hold, waits=waits)


def _feedback(feedback: UserBlocks) -> dict[str, object]:
    return {
        "mutes": [[key, _block(block)] for key, block in feedback.mutes.items()],
        "final": [[key, _block(block)] for key, block in feedback.final.items()],
        "ladders": [
            [key, one.times, _block(one.block)] for key, one in feedback.ladders.items()
        ],
    }


def _take_feedback(
    feedback: UserBlocks, document: Mapping[str, list[list[list[object]]]]
) -> None:
    for key, block in document["mutes"]:
        feedback.mutes[_key(key)] = _block_of(block)
    for key, block in document["final"]:
        feedback.final[_key(key)] = _block_of(block)
    for key, times, block in document["ladders"]:
        feedback.ladders[_key(key)] = Ladder(_int(times), _block_of(block))


def _block(block: Block) -> list[object]:
    return [block.segment, block.offset, block.length_ms, block.reason_code]


def _block_of(row: list[object]) -> Block:
    segment, offset, length, code = row
    return Block(
        _int(segment), _int(offset), None if length is None else _int(length), str(code)
    )


class Columns:
    """The numbers of all series, one after another: whole ones of entries, others of fatigue."""

    def __init__(self, whole: bytes = b"", others: bytes = b"") -> None:
        self.whole, self.others = array("q", whole), array("d", others)

    def pack(self) -> bytes:
        """Both in one text."""
        return (
            len(self.whole).to_bytes(8, "big")
            + self.whole.tobytes()
            + self.others.tobytes()
        )

    @classmethod
    def unpack(cls, content: memoryview) -> Columns:
        """What `pack` made."""
        end = 8 + 8 * int.from_bytes(content[:8], "big")
        return cls(bytes(content[8:end]), bytes(content[end:]))


def _track(
    track: RuleCounters, zones: Mapping[str | None, int], columns: Columns, now_ms: int
) -> Row:
    rows: Row = []
    for key, series in track.series.items():
        start, worn = len(columns.whole), len(columns.others)
        for entry in track.lasting(series, now_ms):
            columns.whole.extend((*entry[:4], zones[entry.zone]))
        if series.wear is not None:
            columns.others.extend(series.wear.facts())
        lengths = [len(columns.whole) - start, len(columns.others) - worn]
        if any(lengths) or series.total:
            rows.append([key, series.total, series.first, start, worn, *lengths])
    return rows


def _take_track(
    track: RuleCounters, rows: list[Row], columns: Columns, zones: list[str | None]
) -> None:
    for key, total, first, start, worn, count, wears in rows:
        series = track.of(_key(key))
        series.total, series.first = _int(total), None if first is None else _int(first)
        if series.wear is not None:
            series.wear.take(columns.others[_int(worn) : _int(worn) + _int(wears)])
        if count:
            series.unread = Packed(columns.whole, _int(start), _int(count), zones)


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

"""Effect of each kind of vault record on the state of frequency caps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from tactful.device.caps.counting.counter_state import CounterState
from tactful.device.caps.counting.reservations import (
    OUTCOMES,
    Hold,
    Owner,
    Stamp,
    hold_id,
)
from tactful.device.caps.counting.user_blocks import Block
from tactful.device.caps.rules.model import LEVEL_CODES
from tactful.device.caps.rules.subject import CapSubject
from tactful.device.caps.timeline.segments import VERIFIED, Move, Segment
from tactful.device.events import StoredEvent
from tactful.device.vault import Record
from tactful.device.vault.record_schemas import Content
from tactful.errors import VaultDamaged

# Records that remove earlier records, so that the state must be counted again.
REMOVAL_KINDS = ("removal", "forgotten")
REACTION_KINDS = ("click", "dismiss", "hide", "report", "convert")


def apply(state: CounterState, record: Record) -> None:
    """Apply one record to `state`; raises VaultDamaged if it contradicts the others."""
    apply_content = _READERS.get(record.kind)
    if apply_content is not None:
        try:
            apply_content(state, record.position, record.content)
        except (KeyError, IndexError, TypeError, ValueError) as mismatch:
            raise VaultDamaged(
                f"vault: record {record.position} ({record.kind}) does not fit the others"
            ) from mismatch
    state.position = record.position


def _segment(state: CounterState, _: int, content: Content) -> None:
    if state.timeline_is_final:
        return
    boot, mono0, full, verified, budget, gap, after_stamp = _fields(content, 7)
    segment = Segment(
        _text_or_none(boot),
        _int(mono0),
        (_int(full), _int(verified), _int(budget)),
        (_int(gap), 0, 0),
        verified=bool(after_stamp),
        after_stamp=bool(after_stamp),
    )
    state.timeline = state.timeline.opened(segment)


def _anchor(state: CounterState, _: int, content: Content) -> None:
    """Correct the timeline; a move of the past means that all must be counted again."""
    if state.timeline_is_final:
        return
    exact, rows = _fields(content, 2)
    moves = [Move(*map(_int, row)) for row in _lists(rows)]
    state.timeline = state.timeline.corrected(moves, exact=bool(exact))
    state.stale = state.stale or bool(moves)


def _zone(state: CounterState, _: int, content: Content) -> None:
    state.zones.append(_text_or_none(_fields(content, 1)[0]))


def _owner(state: CounterState, _: int, content: Content) -> None:
    boot, pid, started = _fields(content, 3)
    state.owners.append(Owner(_text_or_none(boot), _int(pid), _int(started)))


def _cap_subject(state: CounterState, _: int, content: Content) -> None:
    state.intern(CapSubject.from_fields(_fields(content, 11)))


def _decision(state: CounterState, position: int, content: Content) -> None:
    *stamp_fields, owner, ttl, surface, subject, numbers, opportunities = _fields(
        content, 11
    )
    stamp = _stamp(state, stamp_fields)
    state.add_due_fatigue(state.canonical_ms(stamp, VERIFIED))
    for rule_id, *key in _lists(opportunities):
        state.add_opportunity(str(rule_id), tuple(map(str, key)))
    granted = [state.cap_subjects[_int(number)] for number in _list(numbers)]
    for slot, cap_subject in enumerate(granted):
        hold = Hold(
            (position, slot),
            cap_subject,
            surface=str(surface),
            subject=str(subject),
            owner=state.owners[_int(owner)],
            ttl_ms=_int(ttl),
            stamp=stamp,
        )
        state.add_hold(hold)
    if granted:
        state.add_activity(stamp)


def _close(state: CounterState, _: int, content: Content) -> None:
    for position, slot, outcome, day, drift in _lists(_fields(content, 1)[0]):
        hold = state.find_hold((_int(position), _int(slot)))
        if hold is not None:
            verified_day = _int(day) + _int(drift)
            state.close(hold, OUTCOMES[_int(outcome)], _int(day), verified_day)


def _event(state: CounterState, _: int, content: Content) -> None:
    event = StoredEvent.from_fields(_list(content))
    if event.segment >= len(state.timeline.segments):
        return
    zone = state.zones[event.zone] if event.zone < len(state.zones) else None
    stamp = Stamp(event.segment, event.mono_ms, event.day, event.verified_day, zone)
    state.add_due_fatigue(state.canonical_ms(stamp, VERIFIED))
    id_of_hold = hold_id(event.reservation_id or "")
    hold = state.find_hold(id_of_hold) if id_of_hold else None
    if event.kind == "impression":
        if hold is not None and event.evidence is not None:
            level = LEVEL_CODES[event.evidence]
            hold.evidence = max(hold.evidence, level)
            hold.late = hold.late or event.late
            state.raise_level(hold, level, stamp)
    elif event.kind in REACTION_KINDS:
        _reaction(state, event, stamp, hold)
    state.add_activity(stamp)


def _reaction(
    state: CounterState,
    event: StoredEvent,
    stamp: Stamp,
    hold: Hold | None,
) -> None:
    """Count a reaction to `hold` or to the event's subject; ignore one without both."""
    if hold is not None:
        hold.reacted = True
        cap_subject, surface = hold.cap_subject, hold.surface
    elif event.cap_subject is not None:
        cap_subject = state.cap_subjects[event.cap_subject]
        surface = event.surface or ""
    else:
        return
    state.add_reaction(cap_subject, surface, event.subject, event.kind, stamp)
    state.user_blocks.add_reaction(
        event.kind,
        cap_subject,
        event.subject,
        (stamp.segment, stamp.offset),
        event.scope or "item",
        event.surface or surface,
    )


def _session(state: CounterState, _: int, content: Content) -> None:
    state.start_sessions(_stamp(state, _fields(content, 5)))


def _mute(state: CounterState, _: int, content: Content) -> None:
    subject, scope, value, is_muted, segment, offset, length = _fields(content, 7)
    mute_key = (str(subject), str(scope), str(value))
    if not is_muted:
        state.user_blocks.unmute(mute_key)
        return
    length_ms = None if length is None else _int(length)
    block = Block(_int(segment), _int(offset), length_ms, "NOT_INTERESTED")
    state.user_blocks.mute(mute_key, block)


def _waiting(state: CounterState, _: int, content: Content) -> None:
    subject, items, segment, offset = _fields(content, 4)
    place = (_int(segment), _int(offset))
    state.add_waiting(str(subject), map(str, _list(items)), place)


def _loss(state: CounterState, _: int, content: Content) -> None:
    segment, offset, mode = _fields(content, 3)
    state.losses.append((_int(segment), _int(offset), str(mode)))


def _total(state: CounterState, _: int, content: Content) -> None:
    for number, surface, subject, *numbers in _lists(_fields(content, 1)[0]):
        level, segment, day, verified_day, zone, offset, impressions = map(
            _int, numbers
        )
        stamp = Stamp(segment, offset, day, verified_day, state.zones[zone])
        state.add_total(
            state.cap_subjects[_int(number)],
            str(surface),
            str(subject),
            level,
            stamp,
            impressions,
        )


Reader = Callable[[CounterState, int, Content], None]
_READERS: Mapping[str, Reader] = {
    "segment": _segment,
    "time_anchor": _anchor,
    "time_zone": _zone,
    "process": _owner,
    "cap_subject": _cap_subject,
    "decision": _decision,
    "close": _close,
    "event": _event,
    "activity_session": _session,
    "mute": _mute,
    "waiting": _waiting,
    "loss": _loss,
    "daily_totals": _total,
    # `CapSession` counts all records again after one of these.
    **dict.fromkeys(REMOVAL_KINDS, lambda state, position, content: None),
}
KINDS = tuple(_READERS)


def _stamp(state: CounterState, fields: Iterable[object]) -> Stamp:
    segment, offset, day, drift, zone = map(_int, fields)
    return Stamp(segment, offset, day, day + drift, state.zones[zone])


def _fields(content: Content, count: int) -> list[object]:
    fields = _list(content)
    if len(fields) != count:
        raise ValueError("wrong number of fields")
    return fields


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError("no list")
    return value


def _lists(value: object) -> list[list[object]]:
    return [_list(entry) for entry in _list(value)]


def _int(value: object) -> int:
    if not isinstance(value, int):
        raise TypeError("no whole number")
    return value


def _text_or_none(value: object) -> str | None:
    return None if value is None else str(value)

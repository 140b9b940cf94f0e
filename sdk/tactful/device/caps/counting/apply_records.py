"""From records to state: what each record of the vault means to caps."""

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
from tactful.errors import VaultDamaged

GONE = (
    "undone",
    "forgotten",
)  # records that say: something that was counted is no more
ACTIONS = ("click", "dismiss", "hide", "report", "convert")


def apply(state: CounterState, record: Record) -> None:
    """Take one record into account; raises VaultDamaged if it makes no sense."""
    read = _READERS.get(record.kind)
    if read is not None:
        try:
            read(state, record.position, record.body)
        except (KeyError, IndexError, TypeError, ValueError) as wrong:
            raise VaultDamaged(
                f"vault: record {record.position} ({record.kind}) does not fit the others"
            ) from wrong
    state.position = record.position


def _segment(state: CounterState, _: int, body: Mapping[str, object]) -> None:
    if state.timeline_known:
        return
    boot, mono0, full, verified, budget, gap, after_stamp = _fields(body, 7)
    segment = Segment(
        _text_or_none(boot),
        _int(mono0),
        (_int(full), _int(verified), _int(budget)),
        (_int(gap), 0, 0),
        verified=bool(after_stamp),
        after_stamp=bool(after_stamp),
    )
    state.timeline = state.timeline.opened(segment)


def _anchor(state: CounterState, _: int, body: Mapping[str, object]) -> None:
    """A correction moves the past, so what was folded before it must be folded again."""
    if state.timeline_known:
        return
    exact, moves = _fields(body, 2)
    moved = [Move(*map(_int, move)) for move in _lists(moves)]
    state.timeline = state.timeline.corrected(moved, exact=bool(exact))
    state.stale = state.stale or bool(moved)


def _zone(state: CounterState, _: int, body: Mapping[str, object]) -> None:
    state.zones.append(_text_or_none(_fields(body, 1)[0]))


def _owner(state: CounterState, _: int, body: Mapping[str, object]) -> None:
    boot, pid, started = _fields(body, 3)
    state.owners.append(Owner(_text_or_none(boot), _int(pid), _int(started)))


def _thing(state: CounterState, _: int, body: Mapping[str, object]) -> None:
    state.learn(CapSubject.from_fields(_fields(body, 11)))


def _decision(state: CounterState, position: int, body: Mapping[str, object]) -> None:
    *when, owner, ttl, surface, subject, things, chances = _fields(body, 11)
    stamp = _stamp(state, when)
    state.close_slots(state.at(stamp, VERIFIED))
    for rule_id, *key in _lists(chances):
        state.offer(str(rule_id), tuple(map(str, key)))
    shown = [state.things[_int(number)] for number in _list(things)]
    for slot, thing in enumerate(shown):
        state.hold(
            Hold(
                (position, slot),
                thing,
                surface=str(surface),
                subject=str(subject),
                owner=state.owners[_int(owner)],
                ttl_ms=_int(ttl),
                stamp=stamp,
            )
        )
    if shown:
        state.active(stamp)


def _close(state: CounterState, _: int, body: Mapping[str, object]) -> None:
    for position, slot, outcome, day, drift in _lists(_fields(body, 1)[0]):
        hold = state.show((_int(position), _int(slot)))
        if hold is not None:
            state.close(
                hold, OUTCOMES[_int(outcome)], _int(day), _int(day) + _int(drift)
            )


def _event(state: CounterState, _: int, body: Mapping[str, object]) -> None:
    event = StoredEvent.from_body(body)
    if event.segment >= len(state.timeline.segments):
        return
    zone = state.zones[event.zone] if event.zone < len(state.zones) else None
    stamp = Stamp(event.segment, event.mono_ms, event.day, event.verified_day, zone)
    state.close_slots(state.at(stamp, VERIFIED))
    name = hold_id(event.reservation_id or "")
    hold = state.show(name) if name else None
    if event.kind == "impression":
        if hold is not None and event.evidence is not None:
            level = LEVEL_CODES[event.evidence]
            hold.evidence, hold.late = (
                max(hold.evidence, level),
                hold.late or event.late,
            )
            state.raise_level(hold, level, stamp)
    elif event.kind in ACTIONS:
        _reaction(state, event, stamp, hold, body.get("x"))
    state.active(stamp)


def _reaction(
    state: CounterState,
    event: StoredEvent,
    stamp: Stamp,
    hold: Hold | None,
    number: object,
) -> None:
    """A reaction to something unknown (an orphan) is kept, and counts for nothing."""
    if hold is not None:
        hold.acted = True
        thing, surface = hold.thing, hold.surface
    elif isinstance(number, int):
        thing, surface = state.things[number], event.surface or ""
    else:
        return
    state.react(thing, surface, event.subject, event.kind, stamp)
    place = (stamp.segment, stamp.offset)
    state.feedback.take(
        event.kind,
        thing,
        event.subject,
        place,
        event.scope or "item",
        event.surface or surface,
    )


def _session(state: CounterState, _: int, body: Mapping[str, object]) -> None:
    state.new_session(_stamp(state, _fields(body, 5)))


def _mute(state: CounterState, _: int, body: Mapping[str, object]) -> None:
    subject, scope, value, on, segment, offset, length = _fields(body, 7)
    what = (str(subject), str(scope), str(value))
    if not on:
        state.feedback.unmute(what)
        return
    until = None if length is None else _int(length)
    block = Block(_int(segment), _int(offset), until, "NOT_INTERESTED")
    state.feedback.mute(what, block)


def _waiting(state: CounterState, _: int, body: Mapping[str, object]) -> None:
    subject, items, segment, offset = _fields(body, 4)
    state.wait(str(subject), map(str, _list(items)), (_int(segment), _int(offset)))


def _loss(state: CounterState, _: int, body: Mapping[str, object]) -> None:
    segment, offset, mode = _fields(body, 3)
    state.losses.append((_int(segment), _int(offset), str(mode)))


def _total(state: CounterState, _: int, body: Mapping[str, object]) -> None:
    for thing, surface, subject, *numbers in _lists(body["f"]):
        level, segment, day, verified, zone, offset, shows = map(_int, numbers)
        stamp = Stamp(segment, offset, day, verified, state.zones[zone])
        state.tally(
            state.things[_int(thing)], str(surface), str(subject), level, stamp, shows
        )


Reader = Callable[[CounterState, int, Mapping[str, object]], None]
_READERS: Mapping[str, Reader] = {
    "segment": _segment,
    "anchor": _anchor,
    "zone": _zone,
    "owner": _owner,
    "thing": _thing,
    "decision": _decision,
    "close": _close,
    "event": _event,
    "session": _session,
    "mute": _mute,
    "waiting": _waiting,
    "loss": _loss,
    "total": _total,
    **dict.fromkeys(GONE, lambda state, position, body: None),  # the desk folds again
}
KINDS = tuple(_READERS)
TIME_KINDS = ("segment", "anchor")


def _stamp(state: CounterState, fields: Iterable[object]) -> Stamp:
    segment, offset, day, drift, zone = map(_int, fields)
    return Stamp(segment, offset, day, day + drift, state.zones[zone])


def _fields(body: Mapping[str, object], count: int) -> list[object]:
    fields = _list(body["f"])
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

"""Keeps the state beside the vault: reads what others wrote, stamps and writes what is new."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial

from tactful.device.caps.counting import checkpoint
from tactful.device.caps.counting.apply_records import GONE, KINDS, apply
from tactful.device.caps.counting.counter_state import CounterState
from tactful.device.caps.counting.reservations import (
    OUTCOME_CODES,
    Hold,
    HoldId,
    Outcome,
    Owner,
    Processes,
    Stamp,
)
from tactful.device.caps.counting.rule_counters import RuleInstant
from tactful.device.caps.counting.user_blocks import UserBlocks
from tactful.device.caps.rules.model import PRESUMED, Rules
from tactful.device.caps.rules.subject import CapSubject
from tactful.device.caps.timeline.civil_time import date_of
from tactful.device.caps.timeline.segments import (
    FULL,
    VERIFIED,
    Segment,
    StampKind,
    Timeline,
)
from tactful.device.clock import Clock, ClockReading
from tactful.device.vault import BUSY_SECONDS, Record, Vault, VaultTransaction

NO_DAY = Stamp(0, 0, 0, 0, None)  # of what was not seen: nobody looks at it
CHECKPOINT_EVERY = 2000  # records


@dataclass(frozen=True, slots=True)
class Instant:
    """Now: where it lies in canonical time, and what the device's clocks show."""

    stamp: Stamp
    timeline: Timeline
    reading: ClockReading

    def ms(self, timeline: int) -> int:
        """Canonical time."""
        return (
            self.timeline.segments[self.stamp.segment].base[timeline]
            + self.stamp.offset
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeAnchor:
    """A trusted stamp: the true time now (unix milliseconds), and how far off it may be.

    `exact` says what time it is; `not_before` only what has passed. `independent`: neither
    the app's operator nor an aggregator controls its source.
    """

    at_ms: int
    uncertainty_ms: int
    kind: StampKind = "exact"
    independent: bool = False


class WriteTransaction:
    """One open write transaction: whatever is put into it counts at once, and is undone with it."""

    def __init__(
        self,
        tx: VaultTransaction,
        state: CounterState,
        now: Instant,
        processes: Processes,
    ) -> None:
        self.tx, self.state, self.now, self._processes = tx, state, now, processes
        self.ended = 0  # reservations that ended as it began
        self._owner: int | None = None

    def put(self, kind: str, fields: Sequence[object], **more: object) -> int:
        """Append one record and count it."""
        position = self.append(kind, fields, **more)
        apply(self.state, Record(position, kind, {"f": list(fields), **more}))
        return position

    def append(self, kind: str, fields: Sequence[object], **more: object) -> int:
        """Append one record that the caller counts."""
        return self.tx.append(kind, {"f": list(fields), **more})

    def when(self, stamp: Stamp) -> list[object]:
        """A stamp as the fields of a record."""
        drift = stamp.verified_day - stamp.day
        return [
            stamp.segment,
            stamp.offset,
            stamp.day,
            drift,
            self.zone_number(stamp.zone),
        ]

    def zone_number(self, zone: str | None) -> int:
        """The number of `zone` in this vault, written down on first sight."""
        if zone not in self.state.zones:
            self.put("zone", [zone])
        return self.state.zones.index(zone)

    def owner_number(self) -> int:
        """The number of the calling process in this vault."""
        if self._owner is None:
            owner = self._processes.me(self.now.reading.boot_id)
            if owner not in self.state.owners:
                self.put("owner", [owner.boot_id, owner.pid, owner.started])
            self._owner = self.state.owners.index(owner)
        return self._owner

    def thing_numbers(self, things: Sequence[CapSubject]) -> list[int]:
        """The numbers of `things` in this vault; changed attributes are a new thing."""
        known = self.state.thing_numbers
        new = [thing for thing in dict.fromkeys(things) if thing not in known]
        self.tx.append_all("thing", [{"f": list(thing)} for thing in new])
        for thing in new:
            self.state.learn(thing)
        return [known[thing] for thing in things]


class CapSession:
    """One engine's view of one vault; threads take turns, processes take turns in the vault."""

    def __init__(
        self, vault: Vault, clock: Clock, rules: Rules, processes: Processes
    ) -> None:
        self.vault, self.clock, self.processes = vault, clock, processes
        self.rules = rules
        self._state: CounterState | None = None
        self._kept = 0  # the position of the last checkpoint
        self.unstored = UserBlocks()  # refusals that the vault did not take yet
        self._lock, self._process = threading.RLock(), os.getpid()

    def use(self, rules: Rules) -> None:
        """Judge by `rules` from now on; the facts stay, and are counted anew."""
        with self._turn():
            self.rules, self._state = rules, None

    @contextmanager
    def writing(self, *, durable: bool, seconds: float) -> Iterator[WriteTransaction]:
        """A transaction that sees all that any process wrote; all or nothing."""
        with self._turn():
            try:
                with self.vault.transaction(durable=durable, seconds=seconds) as tx:
                    writing = self._begin(tx)
                    yield writing
                    writing.state.position = tx.position  # all of it is counted already
                    self._keep(writing)
            except BaseException:
                self._state = None  # it may hold what was undone
                raise

    def _keep(self, writing: WriteTransaction) -> None:
        """Now and then leave a checkpoint, so that opening the vault stays quick."""
        state = writing.state
        if state.position - self._kept >= CHECKPOINT_EVERY:
            content = checkpoint.packed(
                state, (writing.now.ms(FULL), writing.now.ms(VERIFIED))
            )
            writing.tx.put(checkpoint.CELL, content)
            self._kept = state.position

    @contextmanager
    def looking(self) -> Iterator[tuple[CounterState, Instant]]:
        """The state as it is now; nothing is written."""
        with self._turn(), self.vault.snapshot() as view:
            try:
                state = self._caught_up(view)
                now = self._instant(state, self.clock.reading())
                self._settle(state, now)
            except BaseException:
                self._state = None
                raise
            yield state, now

    def facts(self) -> CounterState:
        """What was recorded up to now, whatever time it is; nothing is written."""
        with self._turn(), self.vault.snapshot() as view:
            try:
                return self._caught_up(view)
            except BaseException:
                self._state = None
                raise

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if (
            self._process != os.getpid()
        ):  # a fork may have caught another thread halfway
            self._lock, self._process, self._state = (
                threading.RLock(),
                os.getpid(),
                None,
            )
        with self._lock:
            yield

    def _begin(self, tx: VaultTransaction) -> WriteTransaction:
        state, reading = self._caught_up(tx), self.clock.reading()
        if not state.timeline.joins(reading):
            _open_segment(tx, state, state.timeline.next_segment(reading))
        state.timeline = state.timeline.ticked(reading)
        tx.leave_note(json.dumps([reading.mono_ms, reading.wall_ms]).encode())
        writing = WriteTransaction(
            tx, state, self._instant(state, reading), self.processes
        )
        self._settle(state, writing.now)
        _write_closes(writing)
        return writing

    def anchor(self, stamp: TimeAnchor) -> None:
        """Correct canonical time by a trusted stamp; raises InvalidInput if it cannot be true."""
        with self.writing(durable=True, seconds=BUSY_SECONDS) as writing:
            state, reading = writing.state, writing.now.reading
            here, timelines = (
                state.timeline.moment(reading),
                range(3 if stamp.independent else 2),
            )
            moves = [
                move
                for p in timelines
                for move in state.timeline.correction(
                    here, stamp.at_ms, stamp.uncertainty_ms, stamp.kind, p
                )
            ]
            exact = stamp.kind == "exact"
            rows = [[move.timeline, move.first, move.ms] for move in moves]
            writing.put("anchor", [exact, rows])
            if exact:
                segment = state.timeline.stamped_segment(reading)
                _open_segment(writing.tx, state, segment)

    def _caught_up(self, view: VaultTransaction) -> CounterState:
        state = self._state
        if state is None or state.stale or state.position > view.position:
            state = self._state = self._begun(view)
        state.recover = partial(_recovered, view, state)
        counted = state.position
        for record in view.read(after=counted, kinds=KINDS, tastes=False):
            apply(state, record)
            state.stale = state.stale or (record.kind in GONE and counted > 0)
        if state.stale:
            state = self._state = self._folded_again(state, view)
        state.position = view.position
        state.attach()
        state.feedback.add(self.unstored)
        if view.note:
            mono, wall = json.loads(view.note)
            state.timeline = replace(
                state.timeline, last_mono_ms=mono, last_wall_ms=wall
            )
        return state

    def _begun(self, view: VaultTransaction) -> CounterState:
        """The checkpoint that was left last, if it is of these rules; else nothing counted yet."""
        content = view.cell(checkpoint.CELL)
        state = None if content is None else checkpoint.unpacked(content, self.rules)
        self._kept = 0 if state is None else state.position
        return state or CounterState(self.rules)

    def _folded_again(
        self, known: CounterState, view: VaultTransaction
    ) -> CounterState:
        """Everything counted anew on a corrected timeline."""
        state = CounterState(self.rules)
        state.timeline, state.timeline_known = known.timeline, True
        for record in view.read(kinds=KINDS, tastes=False):
            apply(state, record)
        state.timeline_known = False
        return state

    def _instant(self, state: CounterState, reading: ClockReading) -> Instant:
        """Where `reading` lies; a boot not yet written down is placed where it will be."""
        timeline = state.timeline
        if not timeline.joins(reading):
            timeline = timeline.opened(timeline.next_segment(reading))
        moment = timeline.moment(reading)
        zone = reading.zone or "UTC"
        full, verified = timeline.at(moment, FULL), timeline.at(moment, VERIFIED)
        day = date_of(full, zone)
        verified_day = day if full == verified else date_of(verified, zone)
        stamp = Stamp(moment.segment, moment.offset, day, verified_day, reading.zone)
        return Instant(stamp, timeline, reading)

    def _settle(self, state: CounterState, now: Instant) -> None:
        """End what is overdue: dropped if its owner lives, else presumed to have been seen."""
        state.close_slots(now.ms(VERIFIED))
        boot, lives = now.reading.boot_id, cache(self.processes.alive)
        for hold in state.overdue(now.ms(VERIFIED)):
            outcome = self._outcome(hold, lambda owner: lives(owner, boot))
            end = self._end_of(state, hold) if outcome == "presumed" else NO_DAY
            state.close(hold, outcome, end.day, end.verified_day)
            state.unwritten.append((hold, outcome, end))

    @staticmethod
    def _outcome(hold: Hold, lives: Callable[[Owner], bool]) -> Outcome:
        done = hold.level >= PRESUMED - 1
        return "dropped" if done or lives(hold.owner) else "presumed"

    @staticmethod
    def _end_of(state: CounterState, hold: Hold) -> Stamp:
        end = hold.stamp._replace(offset=hold.stamp.offset + hold.ttl_ms)
        zone = end.zone or "UTC"
        day, verified_day = (date_of(state.at(end, p), zone) for p in (FULL, VERIFIED))
        return end._replace(day=day, verified_day=verified_day)

    def now(
        self, state: CounterState, instant: Instant, ahead_ms: int = 0
    ) -> tuple[RuleInstant, RuleInstant]:
        """The moment on the full and the verified timeline, `ahead_ms` from now."""
        zone = instant.reading.zone
        segments = instant.timeline.segments
        full, verified = (
            state.now(instant.ms(p) + ahead_ms, p, zone, segments)
            for p in (FULL, VERIFIED)
        )
        return full, verified


def _recovered(
    view: VaultTransaction, state: CounterState, name: HoldId
) -> Hold | None:
    """A show that is too old to be kept at hand, as the records up to `state` tell of it."""
    decision = next(view.read(after=name[0] - 1, tastes=False), None)
    if decision is None or (decision.position, decision.kind) != (name[0], "decision"):
        return None
    past = CounterState(Rules())
    for record in view.read(kinds=KINDS, tastes=False):
        if record.position > state.position:
            break
        apply(past, record)
    return past.shows.get(name)


def _open_segment(tx: VaultTransaction, state: CounterState, segment: Segment) -> None:
    fields = [
        segment.boot_id,
        segment.mono0_ms,
        *segment.base,
        segment.gap[FULL],
        segment.after_stamp,
    ]
    position = tx.append("segment", {"f": fields})
    apply(state, Record(position, "segment", {"f": fields}))


def _write_closes(writing: WriteTransaction) -> None:
    """Write down what ended; nobody need know of holds that were confirmed in full."""
    state = writing.state
    rows = [
        [*hold.id, OUTCOME_CODES[outcome], end.day, end.verified_day - end.day]
        for hold, outcome, end in state.unwritten
    ]
    writing.ended, state.unwritten = len(rows), []
    if rows:
        writing.append("close", [rows])

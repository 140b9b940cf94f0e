"""Sessions of frequency caps: the counter state beside the vault, kept up to date.

A session reads what other threads and processes recorded, and records what is new.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cache, partial

from tactful.device.caps.counting import checkpoint
from tactful.device.caps.counting.apply_records import KINDS, REMOVAL_KINDS, apply
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
    TIMELINES,
    VERIFIED,
    Segment,
    StampKind,
    Timeline,
)
from tactful.device.clock import Clock, ClockReading
from tactful.device.vault import BUSY_SECONDS, Record, Vault, VaultTransaction

NO_STAMP = Stamp(0, 0, 0, 0, None)  # for a dropped hold, which has no date
CHECKPOINT_EVERY = 2000  # records


@dataclass(frozen=True, slots=True)
class Instant:
    """The current moment: its place in canonical time, and the clock reading."""

    stamp: Stamp
    timeline: Timeline
    reading: ClockReading

    def ms(self, timeline: int) -> int:
        """Return the canonical time on `timeline`, in unix milliseconds."""
        base = self.timeline.segments[self.stamp.segment].base
        return base[timeline] + self.stamp.offset


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeAnchor:
    """A trusted stamp: the true time now (unix milliseconds) and its uncertainty.

    An `exact` stamp is the time itself; a `not_before` stamp only proves that this time
    has passed. `independent` means that neither the app's operator nor an aggregator
    controls its source.
    """

    at_ms: int
    uncertainty_ms: int
    kind: StampKind = "exact"
    independent: bool = False


class WriteTransaction:
    """One open write transaction of the vault, with the state that it changes.

    Records are applied to the state at once. If the transaction fails, the session
    drops the state.
    """

    def __init__(
        self,
        tx: VaultTransaction,
        state: CounterState,
        now: Instant,
        processes: Processes,
    ) -> None:
        self.tx = tx
        self.state = state
        self.now = now
        self.expired_count = 0  # reservations that expired as the transaction began
        self._processes = processes
        self._owner_number: int | None = None

    def append_and_apply(self, kind: str, fields: Sequence[object]) -> int:
        """Append one record, apply it to the state, and return its position."""
        position = self.append(kind, fields)
        apply(self.state, Record(position, kind, list(fields)))
        return position

    def append(self, kind: str, fields: Sequence[object]) -> int:
        """Append one record that the caller applies, and return its position."""
        return self.tx.append(kind, list(fields))

    def stamp_fields(self, stamp: Stamp) -> list[object]:
        """Return a stamp as fields of a record."""
        drift = stamp.verified_day - stamp.day
        zone = self.zone_number(stamp.zone)
        return [stamp.segment, stamp.offset, stamp.day, drift, zone]

    def zone_number(self, zone: str | None) -> int:
        """Return the number of `zone` in this vault; record a new zone."""
        if zone not in self.state.zones:
            self.append_and_apply("time_zone", [zone])
        return self.state.zones.index(zone)

    def owner_number(self) -> int:
        """Return the number of the calling process in this vault; record a new one."""
        if self._owner_number is None:
            owner = self._processes.me(self.now.reading.boot_id)
            if owner not in self.state.owners:
                fields = [owner.boot_id, owner.pid, owner.started]
                self.append_and_apply("process", fields)
            self._owner_number = self.state.owners.index(owner)
        return self._owner_number

    def cap_subject_numbers(self, cap_subjects: Sequence[CapSubject]) -> list[int]:
        """Return the numbers of `cap_subjects` in this vault; record new ones.

        An item whose attributes changed is a new subject.
        """
        numbers = self.state.cap_subject_numbers
        new_subjects = [
            cap_subject
            for cap_subject in dict.fromkeys(cap_subjects)
            if cap_subject not in numbers
        ]
        contents = [list(cap_subject) for cap_subject in new_subjects]
        self.tx.append_all("cap_subject", contents)
        for cap_subject in new_subjects:
            self.state.intern(cap_subject)
        return [numbers[cap_subject] for cap_subject in cap_subjects]


class CapSession:
    """View that one engine has of one vault.

    Threads of one process take turns by a lock, processes by the vault's transactions.
    """

    def __init__(
        self, vault: Vault, clock: Clock, rules: Rules, processes: Processes
    ) -> None:
        self.vault = vault
        self.clock = clock
        self.processes = processes
        self.rules = rules
        self.unstored = UserBlocks()  # blocks that the vault has not stored yet
        self._state: CounterState | None = None
        self._checkpoint_position = 0
        self._lock = threading.RLock()
        self._pid = os.getpid()

    def use(self, rules: Rules) -> None:
        """Use `rules` from now on; the records stay and are counted again."""
        with self._locked():
            self.rules, self._state = rules, None

    @contextmanager
    def write(self, *, durable: bool, seconds: float) -> Iterator[WriteTransaction]:
        """Open a transaction that sees what all processes wrote; it is atomic."""
        with self._locked():
            try:
                with self.vault.transaction(durable=durable, seconds=seconds) as tx:
                    transaction = self._begin(tx)
                    yield transaction
                    # All records of this transaction are applied already.
                    transaction.state.position = tx.position
                    self._store_checkpoint_if_due(transaction)
            except BaseException:
                self._state = None  # it may contain what was rolled back
                raise

    def _store_checkpoint_if_due(self, transaction: WriteTransaction) -> None:
        """Store a checkpoint now and then, so that opening the vault stays quick."""
        state, now = transaction.state, transaction.now
        if state.position - self._checkpoint_position >= CHECKPOINT_EVERY:
            content = checkpoint.packed(state, (now.ms(FULL), now.ms(VERIFIED)))
            transaction.tx.put(checkpoint.CELL, content)
            self._checkpoint_position = state.position

    @contextmanager
    def read(self) -> Iterator[tuple[CounterState, Instant]]:
        """Open the state as it is now; nothing is written."""
        with self._locked(), self.vault.snapshot() as view:
            try:
                state = self._caught_up_state(view)
                now = self._instant(state, self.clock.reading())
                self._close_expired(state, now)
            except BaseException:
                self._state = None
                raise
            yield state, now

    def recorded_state(self) -> CounterState:
        """Return the state after all records, without closing expired holds."""
        with self._locked(), self.vault.snapshot() as view:
            try:
                return self._caught_up_state(view)
            except BaseException:
                self._state = None
                raise

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._pid != os.getpid():
            # This is a forked child. Another thread of the parent may have held the
            # lock, or may have been changing the state, as it forked.
            self._lock = threading.RLock()
            self._pid = os.getpid()
            self._state = None
        with self._lock:
            yield

    def _begin(self, tx: VaultTransaction) -> WriteTransaction:
        state = self._caught_up_state(tx)
        reading = self.clock.reading()
        if not state.timeline.joins(reading):
            _open_segment(tx, state, state.timeline.next_segment(reading))
        state.timeline = state.timeline.ticked(reading)
        # The note holds the last reading without a record for each transaction.
        tx.leave_note(json.dumps([reading.mono_ms, reading.wall_ms]).encode())
        now = self._instant(state, reading)
        transaction = WriteTransaction(tx, state, now, self.processes)
        self._close_expired(state, transaction.now)
        _write_closes(transaction)
        return transaction

    def anchor(self, stamp: TimeAnchor) -> None:
        """Correct canonical time by a trusted stamp.

        Raises InvalidInput (ANCHOR_CONFLICT) if the stamp cannot be true.
        """
        # No stamp that the operator controls may move the timeline of the ledger.
        timelines = TIMELINES if stamp.independent else (FULL, VERIFIED)
        with self.write(durable=True, seconds=BUSY_SECONDS) as transaction:
            state, reading = transaction.state, transaction.now.reading
            now = state.timeline.moment(reading)
            moves = [
                move
                for timeline in timelines
                for move in state.timeline.correction(
                    now, stamp.at_ms, stamp.uncertainty_ms, stamp.kind, timeline
                )
            ]
            exact = stamp.kind == "exact"
            rows = [[move.timeline, move.first, move.ms] for move in moves]
            transaction.append_and_apply("time_anchor", [exact, rows])
            if exact:
                segment = state.timeline.stamped_segment(reading)
                _open_segment(transaction.tx, state, segment)

    def _caught_up_state(self, view: VaultTransaction) -> CounterState:
        """Return the state after all records that `view` sees."""
        state = self._state
        end = view.position
        if state is None or state.stale or state.position > end:
            state = self._state = self._initial_state(view)
        state.load_hold = partial(_hold_from_records, view, state)
        position_before = state.position
        if position_before < end:
            for record in view.read(after=position_before, kinds=KINDS, tastes=False):
                apply(state, record)
                removes_counted = record.kind in REMOVAL_KINDS and position_before > 0
                state.stale = state.stale or removes_counted
        if state.stale:
            state = self._state = self._rebuilt_state(state, view)
        state.position = end
        state.index()
        state.user_blocks.merge(self.unstored)
        note = view.note
        if note:
            last_mono_ms, last_wall_ms = json.loads(note)
            state.timeline = replace(
                state.timeline, last_mono_ms=last_mono_ms, last_wall_ms=last_wall_ms
            )
        return state

    def _initial_state(self, view: VaultTransaction) -> CounterState:
        """Return the last checkpoint if it was made with these rules, else no count."""
        content = view.cell(checkpoint.CELL)
        state = None if content is None else checkpoint.unpacked(content, self.rules)
        self._checkpoint_position = 0 if state is None else state.position
        return state or CounterState(self.rules)

    def _rebuilt_state(
        self, stale_state: CounterState, view: VaultTransaction
    ) -> CounterState:
        """Return a state with all records counted again on the corrected timeline."""
        state = CounterState(self.rules)
        state.timeline = stale_state.timeline
        state.timeline_is_final = True
        for record in view.read(kinds=KINDS, tastes=False):
            apply(state, record)
        state.timeline_is_final = False
        return state

    def _instant(self, state: CounterState, reading: ClockReading) -> Instant:
        """Return the place of `reading` in canonical time.

        If its boot has no segment yet, use the segment that the next write will open.
        """
        timeline = state.timeline
        if not timeline.joins(reading):
            timeline = timeline.opened(timeline.next_segment(reading))
        moment = timeline.moment(reading)
        zone = reading.zone or "UTC"
        full_ms = timeline.at(moment, FULL)
        verified_ms = timeline.at(moment, VERIFIED)
        day = date_of(full_ms, zone)
        verified_day = day if full_ms == verified_ms else date_of(verified_ms, zone)
        stamp = Stamp(moment.segment, moment.offset, day, verified_day, reading.zone)
        return Instant(stamp, timeline, reading)

    def _close_expired(self, state: CounterState, now: Instant) -> None:
        """Close expired holds.

        A hold is dropped if its process still runs, because that process would have
        confirmed it. Otherwise it is presumed to have been seen.
        """
        state.add_due_fatigue(now.ms(VERIFIED))
        boot_id = now.reading.boot_id
        is_alive = cache(lambda owner: self.processes.alive(owner, boot_id))
        for hold in state.expired_holds(now.ms(VERIFIED)):
            outcome = self._outcome(hold, is_alive)
            presumed = outcome == "presumed"
            expiry = self._expiry_stamp(state, hold) if presumed else NO_STAMP
            state.close(hold, outcome, expiry.day, expiry.verified_day)
            state.unwritten_closes.append((hold, outcome, expiry))

    @staticmethod
    def _outcome(hold: Hold, is_alive: Callable[[Owner], bool]) -> Outcome:
        has_full_evidence = hold.level >= PRESUMED - 1
        if has_full_evidence or is_alive(hold.owner):
            return "dropped"
        return "presumed"

    @staticmethod
    def _expiry_stamp(state: CounterState, hold: Hold) -> Stamp:
        expiry = hold.stamp._replace(offset=hold.stamp.offset + hold.ttl_ms)
        zone = expiry.zone or "UTC"
        day = date_of(state.canonical_ms(expiry, FULL), zone)
        verified_day = date_of(state.canonical_ms(expiry, VERIFIED), zone)
        return expiry._replace(day=day, verified_day=verified_day)

    def rule_instants(
        self, state: CounterState, now: Instant, ahead_ms: int = 0
    ) -> tuple[RuleInstant, RuleInstant]:
        """Return the moment `ahead_ms` from `now` on `FULL` and on `VERIFIED`."""
        zone = now.reading.zone
        segments = now.timeline.segments
        full, verified = (
            state.instant(now.ms(timeline) + ahead_ms, timeline, zone, segments)
            for timeline in (FULL, VERIFIED)
        )
        return full, verified


def _hold_from_records(
    view: VaultTransaction, state: CounterState, hold_id: HoldId
) -> Hold | None:
    """Return a hold too old for the state, from the records up to its position."""
    position, _ = hold_id
    decision = next(view.read(after=position - 1, tastes=False), None)
    if decision is None or (decision.position, decision.kind) != (position, "decision"):
        return None
    past_state = CounterState(Rules())
    for record in view.read(kinds=KINDS, tastes=False):
        if record.position > state.position:
            break
        apply(past_state, record)
    return past_state.holds_by_id.get(hold_id)


def _open_segment(tx: VaultTransaction, state: CounterState, segment: Segment) -> None:
    fields = [
        segment.boot_id,
        segment.mono0_ms,
        *segment.base,
        segment.gap[FULL],
        segment.after_stamp,
    ]
    position = tx.append("segment", fields)
    apply(state, Record(position, "segment", fields))


def _write_closes(transaction: WriteTransaction) -> None:
    """Append a `close` record for the holds that expired and have none yet."""
    state = transaction.state
    rows = [
        [*hold.id, OUTCOME_CODES[outcome], expiry.day, expiry.verified_day - expiry.day]
        for hold, outcome, expiry in state.unwritten_closes
    ]
    transaction.expired_count = len(rows)
    state.unwritten_closes = []
    if rows:
        transaction.append("close", [rows])

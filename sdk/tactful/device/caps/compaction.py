"""Compaction: old impressions become daily totals, so that the vault stays small."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from tactful.device.caps.counting.apply_records import KINDS, apply
from tactful.device.caps.counting.counter_state import CounterState
from tactful.device.caps.counting.reservations import Hold, hold_id
from tactful.device.caps.counting.rule_counters import lookback_ms
from tactful.device.caps.rules.model import Rules
from tactful.device.caps.session import WriteTransaction
from tactful.device.caps.timeline.civil_time import day_start
from tactful.device.caps.timeline.segments import FULL
from tactful.device.events import StoredEvent
from tactful.device.vault import Record

MS_PER_DAY = 86_400_000
FACT_HORIZON_MS = 90 * MS_PER_DAY
MARGIN_MS = 7 * MS_PER_DAY  # beyond the longest window


class DailyTotal(NamedTuple):
    """Key of one total: impressions of one item in one way on one day."""

    cap_subject_number: int
    surface: str
    subject: str
    level: int
    segment: int
    day: int
    verified_day: int
    zone_number: int


def horizon_ms(rules: Rules) -> int:
    """Return the age from which on impressions are compacted.

    No window of `rules` can include an impression of this age.
    """
    lookbacks = (lookback_ms(rule) or 0 for rule in rules.rules)
    return max(FACT_HORIZON_MS, MARGIN_MS + max(lookbacks, default=0))


def compact(transaction: WriteTransaction, rules: Rules) -> int:
    """Replace old decisions and their impressions by totals; return the records erased.

    All impressions of a day count as if they happened at its last instant. Decisions
    with a reaction stay.
    """
    state = CounterState(Rules())
    records = list(transaction.tx.read(kinds=KINDS, tastes=False))
    for record in records:
        apply(state, record)
    before_ms = transaction.now.ms(FULL) - horizon_ms(rules)
    old = _old_decisions(state, records, before_ms)
    erased = [record.position for record in records if _belongs_to(record, old)]
    if not erased:
        return 0
    impressions = (
        hold for hold in state.holds_by_id.values() if hold.id[0] in old and hold.level
    )
    totals = Counter(_total_key(state, hold) for hold in impressions)
    rows = [[*_total_row(state, total), count] for total, count in totals.items()]
    transaction.tx.erase(erased)
    transaction.tx.append("daily_totals", [rows])
    # Makes every process count again, so that none counts an impression and its total.
    transaction.tx.append("removal", {})
    return len(erased)


def _old_decisions(
    state: CounterState, records: Iterable[Record], before_ms: int
) -> set[int]:
    """Return the positions of decisions that ended before `before_ms`.

    Decisions with reactions, with later reports, with open holds or with counted
    opportunities are excluded.
    """
    ends: dict[int, float] = {}
    for hold in state.holds_by_id.values():
        end_ms: float = math.inf
        if hold.closed:
            end_ms = state.canonical_ms(hold.stamp, FULL) + hold.ttl_ms
        ends[hold.id[0]] = max(ends.get(hold.id[0], 0), end_ms)
    for record in records:
        if record.kind == "decision" and _opportunities(record):
            ends[record.position] = math.inf
        elif record.kind == "event":
            position = _decision_of(record)
            if position in ends:
                ends[position] = max(ends[position], _event_end_ms(record))
    return {position for position, end_ms in ends.items() if end_ms < before_ms}


def _event_end_ms(record: Record) -> float:
    """Return the time of an impression; infinity for reactions, which must stay."""
    event = StoredEvent.from_fields(record.fields)
    return event.at_ms if event.kind == "impression" else math.inf


def _belongs_to(record: Record, decisions: set[int]) -> bool:
    """Return True if `record` concerns nothing but `decisions`."""
    if record.kind == "close":
        rows = record.fields[0]
        return isinstance(rows, list) and {row[0] for row in rows} <= decisions
    if record.kind == "event":
        return _decision_of(record) in decisions
    return record.kind == "decision" and record.position in decisions


def _decision_of(record: Record) -> int:
    """Return the position of the decision that an event names; 0 for none."""
    event = StoredEvent.from_fields(record.fields)
    id_of_hold = hold_id(event.reservation_id or "")
    return id_of_hold[0] if id_of_hold else 0


def _opportunities(record: Record) -> object:
    """Return the opportunities of every-nth rules in a `decision` record."""
    return record.fields[-1]


def _total_key(state: CounterState, hold: Hold) -> DailyTotal:
    stamp = hold.shown_at or hold.stamp
    return DailyTotal(
        state.cap_subject_numbers[hold.cap_subject],
        hold.surface,
        hold.subject,
        hold.level,
        stamp.segment,
        stamp.day,
        stamp.verified_day,
        state.zones.index(stamp.zone),
    )


def _total_row(state: CounterState, total: DailyTotal) -> list[object]:
    zone = state.zones[total.zone_number] or "UTC"
    last_instant = day_start(total.day + 1, zone) - 1
    segment_start = state.timeline.segments[total.segment].base[FULL]
    offset = max(last_instant - segment_start, 0)
    return [*total, offset]

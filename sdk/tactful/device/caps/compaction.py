"""Old shows become daily totals: lifetime limits go on counting, and the vault stays small."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from tactful.device.caps.counting.apply_records import KINDS, apply
from tactful.device.caps.counting.counter_state import CounterState
from tactful.device.caps.counting.reservations import Hold, hold_id
from tactful.device.caps.counting.rule_counters import span_of
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
    """What is counted together: shows of one thing in one way on one day."""

    thing: int
    surface: str
    subject: str
    level: int
    segment: int
    day: int
    verified_day: int
    zone: int


def horizon_ms(rules: Rules) -> int:
    """How old a show must be to be folded: no window may still look at it."""
    spans = (span_of(rule) or 0 for rule in rules.rules)
    return max(FACT_HORIZON_MS, MARGIN_MS + max(spans, default=0))


def fold_away(writing: WriteTransaction, rules: Rules) -> int:
    """Replace decisions older than the horizon, and their shows, by totals; how many records went.

    A day counts as if all its shows had been in its last instant. What somebody reacted to stays.
    """
    past, records = (
        CounterState(Rules()),
        list(writing.tx.read(kinds=KINDS, tastes=False)),
    )
    for record in records:
        apply(past, record)
    old = _old(past, records, writing.now.ms(FULL) - horizon_ms(rules))
    gone = [record.position for record in records if _is_of(record, old)]
    shows = (hold for hold in past.shows.values() if hold.id[0] in old and hold.level)
    tallies = Counter(_tally(past, hold) for hold in shows)
    if gone:
        writing.tx.erase(gone)
        writing.tx.append(
            "total", {"f": [[*_row(past, tally), n] for tally, n in tallies.items()]}
        )
        writing.tx.append(
            "undone", {}
        )  # so that no process counts a show and its total
    return len(gone)


def _old(past: CounterState, records: Iterable[Record], before: int) -> set[int]:
    """Positions of decisions that ended before, with nothing but shows, told before too."""
    ends: dict[int, float] = {}
    for hold in past.shows.values():
        end = past.at(hold.stamp, FULL) + hold.ttl_ms if hold.closed else math.inf
        ends[hold.id[0]] = max(ends.get(hold.id[0], 0), end)
    for record in records:
        if (
            record.kind == "decision" and _fields(record)[-1]
        ):  # it counted opportunities
            ends[record.position] = math.inf
        elif record.kind == "event" and (position := _decided(record)) in ends:
            event = StoredEvent.from_body(record.body)
            end = event.at_ms if event.kind == "impression" else math.inf
            ends[position] = max(ends[position], end)
    return {position for position, end in ends.items() if end < before}


def _is_of(record: Record, decisions: set[int]) -> bool:
    """Whether `record` tells of nothing but these decisions."""
    if record.kind == "close":
        rows = _fields(record)[0]
        return isinstance(rows, list) and {row[0] for row in rows} <= decisions
    if record.kind == "event":
        return _decided(record) in decisions
    return record.kind == "decision" and record.position in decisions


def _decided(record: Record) -> int:
    """The position of the decision that an event names; 0 for none."""
    name = hold_id(StoredEvent.from_body(record.body).reservation_id or "")
    return name[0] if name else 0


def _fields(record: Record) -> list[object]:
    fields = record.body["f"]
    return fields if isinstance(fields, list) else []


def _tally(past: CounterState, hold: Hold) -> DailyTotal:
    stamp = hold.seen or hold.stamp
    return DailyTotal(
        past.thing_numbers[hold.thing],
        hold.surface,
        hold.subject,
        hold.level,
        stamp.segment,
        stamp.day,
        stamp.verified_day,
        past.zones.index(stamp.zone),
    )


def _row(past: CounterState, tally: DailyTotal) -> list[object]:
    zone = past.zones[tally.zone] or "UTC"
    last = day_start(tally.day + 1, zone) - 1
    offset = max(last - past.timeline.segments[tally.segment].base[FULL], 0)
    return [*tally, offset]

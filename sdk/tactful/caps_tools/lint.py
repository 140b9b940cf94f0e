"""What is odd about a set of rules: limits that never bite, and limits that let nothing through."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from tactful.device.caps.rules.model import (
    W_MAX,
    Calendar,
    Cooldown,
    Decay,
    EveryNth,
    Lifetime,
    Rule,
    Rules,
    Session,
    Sliding,
)
from tactful.device.caps.rules.subject import CLASSES
from tactful.device.caps.timeline.civil_time import WEEKDAYS

MS_PER_DAY = 86_400_000
HORIZON_MS = (
    90 * MS_PER_DAY
)  # facts are kept this long unless a window needs them longer
MINUTES_PER_DAY = 1440
Kind = Literal[
    "unreachable",
    "shadowed",
    "starving",
    "contradictory",
    "horizon",
    "unbounded",
    "hold",
    "never",
]


@dataclass(frozen=True, slots=True)
class Remark:
    """One oddity: what kind, which rule, in a sentence; a note is harmless, perhaps intended."""

    kind: Kind
    rule_id: str
    text: str
    is_note: bool = False


def lint(rules: Rules) -> tuple[Remark, ...]:
    """Every oddity of `rules`, rule by rule, then quiet hours."""
    found = [r for rule in rules.rules for check in _CHECKS for r in check(rules, rule)]
    return (*found, *_never_loud(rules))


def covers(rules: Rules, wide: Rule, narrow: Rule) -> bool:
    """Whether `wide` always refuses before `narrow` does: it counts at least as much."""
    return (
        all(
            narrow.match.get(a, frozenset()) and narrow.match[a] <= v
            for a, v in wide.match.items()
        )
        and set(wide.key) - {"app"} <= set(narrow.key)
        and (wide.partition == "device" or wide.partition == narrow.partition)
        and rules.timeline(wide) >= rules.timeline(narrow)
        and wide.weights == narrow.weights
        and wide.min_level <= narrow.min_level
        and wide.exempt in (None, narrow.exempt)
        and set(narrow.headroom) <= set(wide.headroom)
    )


def _unreachable(rules: Rules, rule: Rule) -> Iterator[Remark]:
    if rule.limit is None and isinstance(
        rule.window, Sliding | Calendar | Session | Lifetime
    ):
        yield Remark(
            "unreachable", rule.id, "its limit is null, so it never refuses anything"
        )
    if unknown := sorted(rule.match.get("class", frozenset()) - set(CLASSES)):
        yield Remark("unreachable", rule.id, f"no item has the class {unknown[0]!r}")
    for other in rules.rules:
        if other is not rule and covers(rules, other, rule) and _spaced(other, rule):
            yield Remark(
                "unreachable", rule.id, f"the pause of {other.id!r} never lets it fill"
            )


def _spaced(pause: Rule, rule: Rule) -> bool:
    """Whether at most `limit` shows fit into the window of `rule` with such pauses between."""
    match pause.window, rule.window, rule.limit:
        case Cooldown(pause_ms), Sliding(ms), int(limit):
            return limit >= math.ceil(ms / pause_ms) > 1
        case _:
            return False


def _shadowed(rules: Rules, rule: Rule) -> Iterator[Remark]:
    for number, other in enumerate(rules.rules):
        if (
            other is rule
            or not covers(rules, other, rule)
            or not _stricter(other, rule)
        ):
            continue
        twins = covers(rules, rule, other) and _stricter(rule, other)
        if not twins or number < rules.rules.index(rule):
            yield Remark("shadowed", rule.id, f"{other.id!r} always refuses first")


def _stricter(one: Rule, other: Rule) -> bool:
    """Whether the window and limit of `one` leave no more than those of `other`."""
    if isinstance(one.window, Decay) and isinstance(other.window, Decay):
        same = one.window.half_life_ms == other.window.half_life_ms
        return same and one.window.budget <= other.window.budget
    if isinstance(one.window, EveryNth) or isinstance(other.window, EveryNth):
        return one.window == other.window
    most, least = _limit(one), _limit(other)
    return (
        most is not None and least is not None and most <= least and _longer(one, other)
    )


def _limit(rule: Rule) -> int | None:
    return rule.weights.asked if isinstance(rule.window, Cooldown) else rule.limit


def _longer(one: Rule, other: Rule) -> bool:
    match one.window, other.window:
        case Lifetime(), Sliding() | Cooldown() | Calendar() | Session() | Lifetime():
            return True
        case Sliding(long) | Cooldown(long), Sliding(short) | Cooldown(short):
            return long >= short
        case Calendar() as long, Calendar() as short:
            same = (long.unit, long.zone, long.week_start) == (
                short.unit,
                short.zone,
                short.week_start,
            )
            return same and long.n >= short.n
        case Session(long), Session(short):
            return long >= short
        case _:
            return False


def _starving(_: Rules, rule: Rule) -> Iterator[Remark]:
    if isinstance(rule.window, Decay) and rule.window.budget <= W_MAX:
        text = (
            f"its budget leaves no room for one show ({W_MAX}), so it refuses for good"
        )
        yield Remark("starving", rule.id, text)
    if rule.limit and rule.weights.asked > rule.limit:
        text = f"one show weighs {rule.weights.asked} of {rule.limit}, so it refuses everything"
        yield Remark("starving", rule.id, text)
    for room in rule.headroom:
        if rule.limit and rule.limit - room.slots < rule.weights.asked and room.rank:
            text = (
                f"all places are kept for {room.for_class}; other items never get one"
            )
            yield Remark("starving", rule.id, text)
    if rule.exempt and rule.exempt.limit < rule.weights.asked:
        yield Remark(
            "starving", rule.id, "the quota of its exemption lets nothing pass"
        )


def _contradictory(rules: Rules, rule: Rule) -> Iterator[Remark]:
    for other in rules.rules:
        if other.limit == 0 and rule.limit != 0 and _speaks_of(other, rule):
            if rule.exempt or rule.headroom:
                text = f"it favours a class, but {other.id!r} (limit 0) forbids all it matches"
                yield Remark("contradictory", rule.id, text)
            else:
                text = f"{other.id!r} (limit 0) forbids all it matches"
                yield Remark("unreachable", rule.id, text)
        if other is not rule and _month_end(other, rule) and covers(rules, other, rule):
            text = f"inside a month {other.id!r} is used up first; it bites in weeks across two"
            yield Remark("contradictory", rule.id, text)


def _speaks_of(never: Rule, rule: Rule) -> bool:
    return all(a in rule.match and rule.match[a] <= v for a, v in never.match.items())


def _month_end(month: Rule, week: Rule) -> bool:
    match month.window, week.window:
        case Calendar("month", n=1), Calendar("week" | "day", n=1):
            return (month.limit or math.inf) <= (week.limit or 0)
        case _:
            return False


def _beyond_horizon(_: Rules, rule: Rule) -> Iterator[Remark]:
    match rule.window:
        case Sliding(ms) | Cooldown(ms) if ms > HORIZON_MS:
            days = ms // MS_PER_DAY
        case Calendar(unit, n) if {"day": 1, "week": 7, "month": 31}[unit] * n > 90:
            days = {"day": 1, "week": 7, "month": 31}[unit] * n
        case _:
            return
    yield Remark(
        "horizon", rule.id, f"it looks back {days} days, longer than the usual 90"
    )


def _unbounded(_: Rules, rule: Rule) -> Iterator[Remark]:
    wide = {"item", "creative", "family"} & set(rule.key)
    if isinstance(rule.window, Lifetime) and wide:
        text = f"it keeps a count for every {sorted(wide)[0]} ever shown"
        yield Remark("unbounded", rule.id, text, is_note=True)


def _free_holds(_: Rules, rule: Rule) -> Iterator[Remark]:
    if rule.weights.reservation == 0 and rule.weights.impression:
        text = "holds weigh nothing, so several open ones can exceed the limit"
        yield Remark("hold", rule.id, text)


def _zero(_: Rules, rule: Rule) -> Iterator[Remark]:
    if rule.limit == 0:
        yield Remark(
            "never", rule.id, "a limit of 0 is never, not unlimited", is_note=True
        )


_CHECKS: tuple[Callable[[Rules, Rule], Iterator[Remark]], ...] = (
    _unreachable,
    _shadowed,
    _starving,
    _contradictory,
    _beyond_horizon,
    _unbounded,
    _free_holds,
    _zero,
)


def _never_loud(rules: Rules) -> Iterator[Remark]:
    """Surfaces that are quiet every minute of every week."""
    names = {name for quiet in rules.quiet_hours for name in quiet.surfaces}
    for name in sorted(names):
        minutes = set(_quiet_minutes(rules, name))
        if len(minutes) == 7 * MINUTES_PER_DAY:
            ids = ", ".join(q.id for q in rules.quiet_hours if name in q.surfaces)
            yield Remark("starving", ids, f"together they keep {name!r} quiet all week")


def _quiet_minutes(rules: Rules, surface: str) -> Iterator[int]:
    """The minutes of a week, from Monday on, in which `surface` is quiet."""
    for quiet in rules.quiet_hours:
        if surface not in quiet.surfaces:
            continue
        length = (quiet.end - quiet.start) % MINUTES_PER_DAY
        for day in quiet.days:
            first = WEEKDAYS.index(day) * MINUTES_PER_DAY + quiet.start
            yield from (m % (7 * MINUTES_PER_DAY) for m in range(first, first + length))

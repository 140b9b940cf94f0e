"""Lint for rules: limits that never deny, and limits that deny everything."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
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
# Impressions are kept this long, unless a window needs them longer.
HORIZON_DAYS = 90
HORIZON_MS = HORIZON_DAYS * MS_PER_DAY
UNIT_DAYS = {"day": 1, "week": 7, "month": 31}
MINUTES_PER_DAY = 1440
MINUTES_PER_WEEK = 7 * MINUTES_PER_DAY
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
    """One finding about a rule; a note is harmless and may be intended."""

    kind: Kind
    rule_id: str
    text: str
    is_note: bool = False


def lint(rules: Rules) -> tuple[Remark, ...]:
    """Return all remarks on `rules`, rule by rule, then on quiet hours."""
    remarks: list[Remark] = []
    for rule in rules.rules:
        for check in _CHECKS:
            remarks += check(rules, rule)
    return (*remarks, *_always_quiet(rules))


def covers(rules: Rules, wide: Rule, narrow: Rule) -> bool:
    """Return True if `wide` counts, for the same items, every event of `narrow`.

    Then `wide` denies before `narrow`, if its limit is not higher.
    """
    return (
        _matches_all_of(wide, narrow)
        and set(wide.key) - {"app"} <= set(narrow.key)
        and (wide.partition == "device" or wide.partition == narrow.partition)
        and rules.timeline(wide) >= rules.timeline(narrow)
        and wide.weights == narrow.weights
        and wide.min_level <= narrow.min_level
        and wide.exempt in (None, narrow.exempt)
        and set(narrow.headroom) <= set(wide.headroom)
    )


def _matches_all_of(wide: Rule, narrow: Rule) -> bool:
    """Return True if `wide` matches every item that `narrow` matches."""
    return all(
        narrow.match.get(attribute, frozenset()) and narrow.match[attribute] <= values
        for attribute, values in wide.match.items()
    )


def _unreachable(rules: Rules, rule: Rule) -> Iterator[Remark]:
    """Yield remarks if the rule can never deny anything."""
    has_limit = isinstance(rule.window, Sliding | Calendar | Session | Lifetime)
    if rule.limit is None and has_limit:
        text = "its limit is null, so it never refuses anything"
        yield Remark("unreachable", rule.id, text)
    if unknown := sorted(rule.match.get("class", frozenset()) - set(CLASSES)):
        yield Remark("unreachable", rule.id, f"no item has the class {unknown[0]!r}")
    for other in rules.rules:
        if other is rule or not covers(rules, other, rule):
            continue
        if _spaces_out(other, rule):
            text = f"the pause of {other.id!r} never lets it fill"
            yield Remark("unreachable", rule.id, text)


def _spaces_out(pause: Rule, rule: Rule) -> bool:
    """Return True if the pauses let at most `limit` impressions into the window."""
    match pause.window, rule.window, rule.limit:
        case Cooldown(pause_ms), Sliding(ms), int(limit):
            return limit >= math.ceil(ms / pause_ms) > 1
        case _:
            return False


def _shadowed(rules: Rules, rule: Rule) -> Iterator[Remark]:
    """Yield a remark for each rule that always denies before this one."""
    for number, other in enumerate(rules.rules):
        if other is rule or not _shadows(rules, other, rule):
            continue
        # Of two rules that shadow each other, only the later one gets a remark.
        mutual = _shadows(rules, rule, other)
        if not mutual or number < rules.rules.index(rule):
            yield Remark("shadowed", rule.id, f"{other.id!r} always refuses first")


def _shadows(rules: Rules, rule: Rule, other: Rule) -> bool:
    return covers(rules, rule, other) and _is_stricter(rule, other)


def _is_stricter(rule: Rule, other: Rule) -> bool:
    """Return True if window and limit of `rule` allow no more than those of `other`."""
    window, other_window = rule.window, other.window
    if isinstance(window, Decay) and isinstance(other_window, Decay):
        same_half_life = window.half_life_ms == other_window.half_life_ms
        return same_half_life and window.budget <= other_window.budget
    if isinstance(window, EveryNth) or isinstance(other_window, EveryNth):
        return window == other_window
    limit, other_limit = _limit(rule), _limit(other)
    if limit is None or other_limit is None or limit > other_limit:
        return False
    return _is_longer(rule, other)


def _limit(rule: Rule) -> int | None:
    """Return the limit of `rule`; a cool-down is a limit of one impression."""
    if isinstance(rule.window, Cooldown):
        return rule.weights.grant_weight
    return rule.limit


def _is_longer(rule: Rule, other: Rule) -> bool:
    """Return True if the window of `rule` is at least as long as that of `other`."""
    match rule.window, other.window:
        case Lifetime(), Sliding() | Cooldown() | Calendar() | Session() | Lifetime():
            return True
        case Sliding(long) | Cooldown(long), Sliding(short) | Cooldown(short):
            return long >= short
        case Calendar() as long, Calendar() as short:
            return long.n >= short.n and long == replace(short, n=long.n)
        case Session(long), Session(short):
            return long >= short
        case _:
            return False


def _starving(_: Rules, rule: Rule) -> Iterator[Remark]:
    """Yield remarks if the rule denies every item, or every item of a class."""
    grant_weight = rule.weights.grant_weight
    if isinstance(rule.window, Decay) and rule.window.budget <= W_MAX:
        text = (
            f"its budget leaves no room for one show ({W_MAX}), so it refuses for good"
        )
        yield Remark("starving", rule.id, text)
    if rule.limit and grant_weight > rule.limit:
        text = (
            f"one show weighs {grant_weight} of {rule.limit}, so it refuses everything"
        )
        yield Remark("starving", rule.id, text)
    for headroom in rule.headroom:
        if not rule.limit or not headroom.rank:
            continue
        if rule.limit - headroom.slots < grant_weight:
            text = (
                f"all places are kept for {headroom.for_class}; "
                "other items never get one"
            )
            yield Remark("starving", rule.id, text)
    if rule.exempt and rule.exempt.limit < grant_weight:
        text = "the quota of its exemption lets nothing pass"
        yield Remark("starving", rule.id, text)


def _contradictory(rules: Rules, rule: Rule) -> Iterator[Remark]:
    """Yield a remark for each rule that makes a part of this one useless."""
    for other in rules.rules:
        if rule.limit != 0 and _forbids_all_of(other, rule):
            yield _forbidden(rule, other)
        if other is rule or not covers(rules, other, rule):
            continue
        if _month_fills_first(other, rule):
            text = (
                f"inside a month {other.id!r} is used up first; "
                "it bites in weeks across two"
            )
            yield Remark("contradictory", rule.id, text)


def _forbidden(rule: Rule, other: Rule) -> Remark:
    """Return the remark on a rule of which `other` forbids everything."""
    if rule.exempt or rule.headroom:
        text = f"it favours a class, but {other.id!r} (limit 0) forbids all it matches"
        return Remark("contradictory", rule.id, text)
    text = f"{other.id!r} (limit 0) forbids all it matches"
    return Remark("unreachable", rule.id, text)


def _forbids_all_of(other: Rule, rule: Rule) -> bool:
    """Return True if `other` has limit 0 and matches all that `rule` matches."""
    if other.limit != 0:
        return False
    return all(
        attribute in rule.match and rule.match[attribute] <= values
        for attribute, values in other.match.items()
    )


def _month_fills_first(month: Rule, week: Rule) -> bool:
    """Return True if a monthly limit is no higher than a weekly or daily one."""
    match month.window, week.window:
        case Calendar("month", n=1), Calendar("week" | "day", n=1):
            return (month.limit or math.inf) <= (week.limit or 0)
        case _:
            return False


def _beyond_horizon(_: Rules, rule: Rule) -> Iterator[Remark]:
    """Yield a remark if the window is longer than impressions are usually kept."""
    match rule.window:
        case Sliding(ms) | Cooldown(ms):
            is_beyond = ms > HORIZON_MS
            days = ms // MS_PER_DAY
        case Calendar(unit, n):
            days = UNIT_DAYS[unit] * n
            is_beyond = days > HORIZON_DAYS
        case _:
            return
    if is_beyond:
        text = f"it looks back {days} days, longer than the usual 90"
        yield Remark("horizon", rule.id, text)


def _unbounded(_: Rules, rule: Rule) -> Iterator[Remark]:
    """Yield a note if the rule stores one counter for each item ever shown."""
    many_values = {"item", "creative", "family"} & set(rule.key)
    if isinstance(rule.window, Lifetime) and many_values:
        text = f"it keeps a count for every {min(many_values)} ever shown"
        yield Remark("unbounded", rule.id, text, is_note=True)


def _free_holds(_: Rules, rule: Rule) -> Iterator[Remark]:
    """Yield a remark if open reservations do not count."""
    if rule.weights.reservation == 0 and rule.weights.impression:
        text = "holds weigh nothing, so several open ones can exceed the limit"
        yield Remark("hold", rule.id, text)


def _zero(_: Rules, rule: Rule) -> Iterator[Remark]:
    """Yield a note if the limit is 0."""
    if rule.limit == 0:
        text = "a limit of 0 is never, not unlimited"
        yield Remark("never", rule.id, text, is_note=True)


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


def _always_quiet(rules: Rules) -> Iterator[Remark]:
    """Yield remarks on surfaces that are quiet every minute of every week."""
    names = {name for quiet in rules.quiet_hours for name in quiet.surfaces}
    for name in sorted(names):
        minutes = set(_quiet_minutes(rules, name))
        if len(minutes) == MINUTES_PER_WEEK:
            ids = ", ".join(
                quiet.id for quiet in rules.quiet_hours if name in quiet.surfaces
            )
            yield Remark("starving", ids, f"together they keep {name!r} quiet all week")


def _quiet_minutes(rules: Rules, surface: str) -> Iterator[int]:
    """Yield the minutes of a week, from Monday on, in which `surface` is quiet."""
    for quiet in rules.quiet_hours:
        if surface not in quiet.surfaces:
            continue
        length = (quiet.end - quiet.start) % MINUTES_PER_DAY
        for day in quiet.days:
            first = WEEKDAYS.index(day) * MINUTES_PER_DAY + quiet.start
            for minute in range(first, first + length):
                yield minute % MINUTES_PER_WEEK

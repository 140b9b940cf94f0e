"""Days, weeks and months as people count them, in any zone and across clock changes.

A day starts at the first instant that carries its date. Instants are unix milliseconds; dates are
day numbers since 1970-01-01.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Literal

from tactful.device.clock import MS_PER_DAY, zone_named

Unit = Literal["day", "week", "month"]
Days = tuple[int, int]  # first and last day number

EPOCH = date(1970, 1, 1).toordinal()
FIRST_MS, LAST_MS = 0, 4_133_980_800_000  # 2101-01-01; clocks beyond are not believed
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")


@lru_cache(maxsize=4096)
def day_start(day: int, zone: str) -> int:
    """The first instant whose date in `zone` is `day` or later."""
    local = zone_named(zone) or UTC
    midnight = datetime.combine(date.fromordinal(day + EPOCH), time(0))
    early, late = sorted(
        _instant(midnight.replace(fold=fold), local) for fold in (0, 1)
    )
    if _shown(early, local) == midnight:
        return early
    return _first(early - 1, late, local, day)


def date_of(instant: int, zone: str) -> int:
    """The day that `instant` belongs to; an hour repeated over midnight stays in the later day."""
    day = _naive_date(instant, zone)
    return day + 1 if day_start(day + 1, zone) <= instant else day


@lru_cache(maxsize=1024)
def unit_days(day: int, unit: Unit, n: int, week_start: str) -> Days:
    """The `n` whole units that end with the one `day` lies in."""
    if unit == "day":
        return day - n + 1, day
    if unit == "week":
        first = (
            day - (day + 3 - WEEKDAYS.index(week_start)) % 7
        )  # 1970-01-01 was a Thursday
        return first - 7 * (n - 1), first + 6
    today = date.fromordinal(day + EPOCH)
    month = today.year * 12 + today.month - 1
    return _month_start(month - n + 1), _month_start(month + 1) - 1


def minutes_of_day(instant: int, zone: str) -> int:
    """What the clock on the wall shows in `zone`, in minutes since midnight."""
    shown = _shown(instant, zone_named(zone) or UTC)
    return shown.hour * 60 + shown.minute


def _month_start(month: int) -> int:
    return date(month // 12, month % 12 + 1, 1).toordinal() - EPOCH


def _naive_date(instant: int, zone: str) -> int:
    return _shown(instant, zone_named(zone) or UTC).toordinal() - EPOCH


def _shown(instant: int, zone: tzinfo) -> datetime:
    utc = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=instant)
    return utc.astimezone(zone).replace(tzinfo=None, fold=0)


def _instant(shown: datetime, zone: tzinfo) -> int:
    aware = shown.replace(tzinfo=zone)
    return round((aware - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * 1000)


def _first(before: int, after: int, zone: tzinfo, day: int) -> int:
    """Midnight is skipped here: the first instant in (before, after] that shows `day` or later."""
    while after - before > 1:
        middle = (before + after) // 2
        reached = _shown(middle, zone).toordinal() - EPOCH >= day
        before, after = (before, middle) if reached else (middle, after)
    return after


__all__ = [
    "MS_PER_DAY",
    "Days",
    "Unit",
    "date_of",
    "day_start",
    "minutes_of_day",
    "unit_days",
]

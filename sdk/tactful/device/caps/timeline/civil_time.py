"""Calendar days, weeks and months in any time zone, across clock changes.

A day starts at the first instant that carries its date. Instants are unix milliseconds;
dates are day numbers since 1970-01-01.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from typing import Literal

from tactful.device.clock import MS_PER_DAY, zone_named

Unit = Literal["day", "week", "month"]
Days = tuple[int, int]  # first and last day number

UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EPOCH = date(1970, 1, 1).toordinal()
# Wall clocks outside this range (1970 to 2101-01-01) are not believed.
FIRST_MS, LAST_MS = 0, 4_133_980_800_000
WEEKDAYS = ("MO", "TU", "WE", "TH", "FR", "SA", "SU")
EPOCH_WEEKDAY = WEEKDAYS.index("TH")  # 1970-01-01 was a Thursday


@lru_cache(maxsize=4096)
def day_start(day: int, zone: str) -> int:
    """Return the first instant whose date in `zone` is `day` or later."""
    zone_info = zone_named(zone) or UTC
    midnight = datetime.combine(date.fromordinal(day + EPOCH), time(0))
    # Where a clock change repeats or skips midnight, the two folds give two instants.
    candidates = [_instant(midnight.replace(fold=fold), zone_info) for fold in (0, 1)]
    earlier, later = sorted(candidates)
    if _local_time(earlier, zone_info) == midnight:
        return earlier
    return _first_instant_of(earlier - 1, later, zone_info, day)


def date_of(instant: int, zone: str) -> int:
    """Return the day number of `instant` in `zone`.

    If the hour around midnight is repeated, it stays in the later day.
    """
    day = _naive_date(instant, zone)
    return day + 1 if day_start(day + 1, zone) <= instant else day


def unit_days(day: int, unit: Unit, n: int, week_start: str) -> Days:
    """Return the first and last day of the `n` units up to the one of `day`."""
    if unit == "day":
        return day - n + 1, day
    if unit == "week":
        days_into_week = (day + EPOCH_WEEKDAY - WEEKDAYS.index(week_start)) % 7
        first = day - days_into_week
        return first - 7 * (n - 1), first + 6
    local_date = date.fromordinal(day + EPOCH)
    month = local_date.year * 12 + local_date.month - 1
    return _month_start(month - n + 1), _month_start(month + 1) - 1


def minutes_of_day(instant: int, zone: str) -> int:
    """Return the wall clock time of `instant` in `zone`, in minutes since midnight."""
    local_time = _local_time(instant, zone_named(zone) or UTC)
    return local_time.hour * 60 + local_time.minute


def _month_start(month: int) -> int:
    return date(month // 12, month % 12 + 1, 1).toordinal() - EPOCH


def _naive_date(instant: int, zone: str) -> int:
    return _local_time(instant, zone_named(zone) or UTC).toordinal() - EPOCH


def _local_time(instant: int, zone: tzinfo) -> datetime:
    utc = UNIX_EPOCH + timedelta(milliseconds=instant)
    return utc.astimezone(zone).replace(tzinfo=None, fold=0)


def _instant(local_time: datetime, zone: tzinfo) -> int:
    aware = local_time.replace(tzinfo=zone)
    return round((aware - UNIX_EPOCH).total_seconds() * 1000)


def _first_instant_of(before: int, after: int, zone: tzinfo, day: int) -> int:
    """Return the first instant in (before, after] whose date is `day` or later.

    Needed where a clock change skips midnight; a binary search finds the change.
    """
    while after - before > 1:
        middle = (before + after) // 2
        if _local_time(middle, zone).toordinal() - EPOCH >= day:
            after = middle
        else:
            before = middle
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

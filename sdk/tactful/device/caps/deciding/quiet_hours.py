"""Quiet hours: hours without interruptions, and when they end."""

from __future__ import annotations

from tactful.device.caps.rules.model import QuietHours
from tactful.device.caps.timeline.civil_time import (
    EPOCH_WEEKDAY,
    WEEKDAYS,
    date_of,
    minutes_of_day,
)

MS_PER_MINUTE = 60_000
MINUTES_AHEAD = 8 * 24 * 60  # quiet hours end within a week


def is_quiet(quiet: QuietHours, instant: int, zone: str) -> bool:
    """Return True if the local time in `zone` is quiet.

    An hour that a clock change repeats is quiet both times.
    """
    minute = minutes_of_day(instant, zone)
    day = date_of(instant, zone)
    if quiet.start < quiet.end:
        return quiet.start <= minute < quiet.end and _weekday(day) in quiet.days
    # The hours span midnight; the part after it belongs to the day before.
    if minute >= quiet.start and _weekday(day) in quiet.days:
        return True
    return minute < quiet.end and _weekday(day - 1) in quiet.days


def quiet_wait_ms(quiet: QuietHours, instant: int, zone: str) -> int:
    """Return the milliseconds until the quiet hours end; 0 if it is not quiet.

    Each minute is checked, because a clock change may skip the end of the hours.
    """
    if not is_quiet(quiet, instant, zone):
        return 0
    minute_start = instant - instant % MS_PER_MINUTE
    for _ in range(MINUTES_AHEAD):
        minute_start += MS_PER_MINUTE
        if not is_quiet(quiet, minute_start, zone):
            break
    return minute_start - instant


def _weekday(day: int) -> str:
    return WEEKDAYS[(day + EPOCH_WEEKDAY) % 7]

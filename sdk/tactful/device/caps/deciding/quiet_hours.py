"""Hours without interruption: whether now is quiet, and when it ends."""

from __future__ import annotations

from tactful.device.caps.rules.model import QuietHours
from tactful.device.caps.timeline.civil_time import WEEKDAYS, date_of, minutes_of_day

MS_PER_MINUTE = 60_000
MINUTES_AHEAD = 8 * 24 * 60  # quiet hours end within a week


def is_quiet(quiet: QuietHours, instant: int, zone: str) -> bool:
    """Whether clocks in `zone` show a quiet minute; an hour shown twice is quiet both times."""
    minute, day = minutes_of_day(instant, zone), date_of(instant, zone)
    if quiet.start < quiet.end:
        return quiet.start <= minute < quiet.end and _weekday(day) in quiet.days
    evening = minute >= quiet.start and _weekday(day) in quiet.days
    return evening or (minute < quiet.end and _weekday(day - 1) in quiet.days)


def quiet_wait_ms(quiet: QuietHours, instant: int, zone: str) -> int:
    """How long it stays quiet; 0 if it is not. The end is a minute that clocks really show."""
    if not is_quiet(quiet, instant, zone):
        return 0
    edge = instant - instant % MS_PER_MINUTE
    for _ in range(MINUTES_AHEAD):
        edge += MS_PER_MINUTE
        if not is_quiet(quiet, edge, zone):
            return edge - instant
    return edge - instant


def _weekday(day: int) -> str:
    return WEEKDAYS[(day + 3) % 7]  # 1970-01-01 was a Thursday

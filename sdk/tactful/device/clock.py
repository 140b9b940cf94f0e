"""Clocks: the only module that reads the time from the operating system."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Protocol
from zoneinfo import ZoneInfo

MS_PER_DAY = 86_400_000
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_LOCALTIME = Path("/etc/localtime")


@dataclass(frozen=True, kw_only=True, slots=True)
class ClockReading:
    """One reading of all clocks of the device.

    `mono_ms` runs during suspend and cannot be set, but restarts at boot. `wall_ms` is
    the wall clock, which the person may set (unix milliseconds). `boot_id` is None if
    the system identifies no boots; `zone` is None if it is unknown.
    """

    mono_ms: int
    wall_ms: int
    boot_id: str | None = None
    zone: str | None = None

    @property
    def wall(self) -> datetime:
        """The wall clock in UTC, limited to the years 1970 to 9999."""
        seconds = min(max(self.wall_ms, 0), 253_402_300_799_000) / 1000
        return datetime.fromtimestamp(seconds, UTC)


class Clock(Protocol):
    """A source of clock readings."""

    def reading(self) -> ClockReading:
        """Return the time now, on every clock at once."""


class SystemClock:
    """The clocks of this device.

    On Linux and Android the monotonic clock includes suspended time.
    """

    def reading(self) -> ClockReading:
        """Return the time now, on every clock at once."""
        return ClockReading(
            mono_ms=_monotonic_ns() // 1_000_000,
            wall_ms=time.time_ns() // 1_000_000,
            boot_id=_boot_id(),
            zone=local_zone(),
        )


class ManualClock:
    """A clock that moves only through its methods, for tests and simulations."""

    def __init__(
        self,
        wall: datetime = datetime(2026, 3, 2, 9, tzinfo=UTC),
        *,
        zone: str | None = "UTC",
        mono_ms: int = 1_000_000,
    ) -> None:
        self.wall_ms = round(wall.timestamp() * 1000)
        self.mono_ms = mono_ms
        self.zone = zone
        self.boot = 1

    def reading(self) -> ClockReading:
        """Return the time as it was set."""
        return ClockReading(
            mono_ms=self.mono_ms,
            wall_ms=self.wall_ms,
            boot_id=f"boot-{self.boot}",
            zone=self.zone,
        )

    def advance(self, ms: int) -> None:
        """Advance all clocks by `ms` milliseconds."""
        self.mono_ms += ms
        self.wall_ms += ms

    def push_wall(self, ms: int) -> None:
        """Change the wall clock alone by `ms`, as a person can."""
        self.wall_ms += ms

    def reboot(self, off_ms: int = 0, *, pushed_ms: int = 0) -> None:
        """Restart after `off_ms`, with the wall clock changed by `pushed_ms`."""
        self.boot += 1
        self.mono_ms = 5_000  # a boot takes some seconds
        self.wall_ms += off_ms + pushed_ms


@cache
def zone_named(name: str) -> ZoneInfo | None:
    """Return the time zone called `name`, None if there is none."""
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return None


def local_zone() -> str | None:
    """Return the IANA name of the device's time zone, None if it is unknown."""
    for name in (os.environ.get("TZ", "").removeprefix(":"), _linked_zone()):
        if name and zone_named(name):
            return name
    return None


def _linked_zone() -> str:
    try:
        return os.readlink(_LOCALTIME).partition("zoneinfo/")[2]
    except OSError:
        return ""


def _monotonic_ns() -> int:
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)
    return time.monotonic_ns()


@cache
def _boot_id() -> str | None:
    try:
        return _BOOT_ID.read_text().strip()
    except OSError:
        return None

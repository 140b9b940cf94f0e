"""Time is read in one place."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tactful.device.clock import (
    ClockReading,
    ManualClock,
    SystemClock,
    local_zone,
    zone_named,
)

DIRECT = re.compile(
    r"\btime\.(time|monotonic|perf_counter|clock_gettime)|\bimport time\b|from time import"
    r"|\.(now|utcnow|today)\(\s*(UTC|timezone\.utc)?\s*\)|time_ns\("
)


def test_nothing_else_on_the_device_asks_the_operating_system_for_the_time(root: Path):
    device = root / "sdk" / "tactful" / "device"
    guilty = [
        f"{file.relative_to(device)}:{number}"
        for file in sorted(device.rglob("*.py"))
        if file.name != "clock.py"
        for number, line in enumerate(file.read_text().splitlines(), 1)
        if DIRECT.search(line)
    ]
    assert guilty == []


def test_the_system_clock_runs_on():
    first, second = SystemClock().reading(), SystemClock().reading()

    assert second.mono_ms >= first.mono_ms > 0
    assert first.boot_id == second.boot_id
    assert first.wall.tzinfo is UTC


def test_a_wall_clock_out_of_range_still_reads():
    for wall_ms in (-1, 10**18):
        assert ClockReading(mono_ms=0, wall_ms=wall_ms).wall.year in (1970, 9999)


def test_the_zone_comes_from_the_environment_if_it_is_one(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    assert local_zone() == "Pacific/Auckland"
    monkeypatch.setenv("TZ", "Nowhere/Land")
    assert local_zone() != "Nowhere/Land"
    assert zone_named("Nowhere/Land") is None
    assert zone_named("../../etc/passwd") is None


def test_a_manual_clock_moves_only_when_told():
    clock = ManualClock(datetime(2026, 1, 1, tzinfo=UTC))
    before = clock.reading()
    clock.advance(5)
    clock.push_wall(100)

    after = clock.reading()
    assert (after.mono_ms - before.mono_ms, after.wall_ms - before.wall_ms) == (5, 105)
    clock.reboot(1000, pushed_ms=-50)
    assert clock.reading().boot_id != after.boot_id
    assert clock.reading().wall_ms - after.wall_ms == 950

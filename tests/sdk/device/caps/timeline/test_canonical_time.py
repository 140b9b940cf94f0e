"""The probes of the clock: lives with a wrong clock, and days that have no 24 hours."""

import random
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import partial
from itertools import pairwise

import pytest
from cap_device import DAY, HOUR, ITEMS, Device, rules, sliding

from tactful.device.caps import TimeAnchor
from tactful.device.caps.counting import rule_counters
from tactful.device.caps.counting.rule_counters import (
    Calendar,
    CountedEvent,
    RuleInstant,
)
from tactful.device.caps.timeline.civil_time import EPOCH, date_of, day_start
from tactful.device.clock import ManualClock
from tactful.errors import InvalidInput

ONE_A_DAY = rules(sliding(DAY, 1))
ONE = ITEMS[:1]
RUNS, OPENS = 25, 40
ZONES = (
    "UTC", "Pacific/Auckland", "Pacific/Kiritimati", "Australia/Lord_Howe", "America/New_York",
    "Pacific/Pago_Pago", "Europe/Berlin", "Africa/Cairo", "Asia/Kolkata", "Antarctica/Troll",
)  # fmt: skip


def life(
    seed: int,
    *,
    surface: str,
    running: bool = False,
    off: bool = False,
    stamps: float = 0.0,
) -> list[int]:
    """True times of all shows in one life; the clock is set while `running`, while `off`."""
    chance = random.Random(seed)
    device = Device(rules(sliding(DAY, 1, match={"surface": [surface]})))
    start_ms = device.clock.wall_ms
    for _ in range(OPENS):
        if chance.random() < stamps:
            true_ms = start_ms + device.true_ms
            device.engine.clock.anchor(TimeAnchor(at_ms=true_ms, uncertainty_ms=1000))
        if device.decide(surface, 1, ONE).picks:
            device.engine.confirm(device.names[-1])
        if running:
            device.clock.push_wall(chance.choice((-30, -1, 1, 2, 30)) * DAY)
        if chance.random() < 0.5:
            device.wait(chance.randint(1, 20) * HOUR)
        else:
            device.off(
                chance.randint(1, 20) * HOUR, chance.randint(0, 3) * DAY if off else 0
            )
    return [at for at, *_ in device.grants]


def violations(live: Callable[[int], list[int]]) -> int:
    """How many lives show twice within 24 true hours."""
    return sum(
        any(late - early < DAY for early, late in pairwise(shows))
        for shows in map(live, range(RUNS))
    )


def naive(seed: int) -> list[int]:
    """The same life under `now - last < window` on the wall clock."""
    chance, clock, true_ms, shows = random.Random(seed), ManualClock(), 0, []
    last_wall = -(1 << 60)
    for _ in range(OPENS):
        if clock.wall_ms - last_wall >= DAY:
            shows.append(true_ms)
            last_wall = clock.wall_ms
        clock.push_wall(chance.choice((-30, -1, 1, 2, 30)) * DAY)
        hours = chance.randint(1, 20)
        clock.advance(hours * HOUR)
        true_ms += hours * HOUR
    return shows


def test_a_clock_set_while_running_buys_nothing():
    def set_while_running(seed: int) -> list[int]:
        chance = random.Random(seed)
        device = Device(ONE_A_DAY)
        for _ in range(OPENS):
            if device.decide("home", 1, ONE).picks:
                device.engine.confirm(device.names[-1])
            device.clock.push_wall(chance.choice((-30, -1, 1, 2, 30)) * DAY)
            device.wait(chance.randint(1, 20) * HOUR)
        return [at for at, *_ in device.grants]

    assert violations(naive) > RUNS // 2
    assert violations(set_while_running) == 0


def test_a_clock_set_while_off_buys_a_show_on_ordinary_surfaces_alone():
    assert violations(partial(life, surface="home", off=True)) > RUNS // 2
    assert violations(partial(life, surface="push", off=True)) == 0


def test_trusted_stamps_never_buy_a_show_where_it_interrupts():
    assert violations(partial(life, surface="push", off=True, stamps=0.25)) == 0
    assert violations(partial(life, surface="push", stamps=0.25)) == 0


def test_an_honest_device_shows_as_often_as_the_day_allows():
    shows = [len(life(seed, surface="home")) for seed in range(RUNS)]
    stamped = [len(life(seed, surface="push", stamps=0.25)) for seed in range(RUNS)]
    unproved = [len(life(seed, surface="push")) for seed in range(RUNS)]

    assert violations(partial(life, surface="home")) == 0
    assert (
        sum(shows) > sum(stamped) > sum(unproved)
    )  # what it costs to believe no clock


def test_a_stamp_from_before_verified_time_is_refused_and_changes_nothing():
    device = Device(ONE_A_DAY)
    true_ms = device.clock.wall_ms
    device.decide("push", 1, ONE)
    device.engine.clock.anchor(TimeAnchor(at_ms=true_ms, uncertainty_ms=0))
    device.wait(HOUR)
    before = device.answers()

    with pytest.raises(InvalidInput, match="ANCHOR_CONFLICT"):
        device.engine.clock.anchor(TimeAnchor(at_ms=true_ms - DAY, uncertainty_ms=0))
    assert device.answers() == before


@pytest.mark.parametrize("year", [1969, 2150])
def test_a_clock_outside_1970_to_2100_gives_no_credit_and_frees_nothing(year: int):
    device = Device(ONE_A_DAY)
    device.engine.confirm(device.decide("home", 1, ONE).picks[0].reservation_id)
    device.off(HOUR)
    device.clock.wall_ms = round(datetime(year, 6, 1, tzinfo=UTC).timestamp() * 1000)

    assert device.decide("home", 1, ONE).denials[0].reason_code == "R0"
    device.wait(DAY)
    assert device.decide("home", 1, ONE).picks


def trip(seed: int) -> tuple[list[tuple[int, str]], list[tuple[int, str, bool]]]:
    """Shows (instant, zone) of one 20-day journey, and what each try was answered."""
    chance = random.Random(seed)
    device = Device(rules({"window": {"kind": "calendar", "unit": "day"}, "limit": 1}))
    shows, tries = [], []
    for _ in range(50):
        device.clock.zone = chance.choice(ZONES)
        granted = bool(device.decide("home", 1, ONE).picks)
        tries.append((device.clock.wall_ms, device.clock.zone, granted))
        if granted:
            device.engine.confirm(device.names[-1])
            shows.append((device.clock.wall_ms, device.clock.zone))
        device.wait(chance.randint(1, 18) * HOUR)
    return shows, tries


def early_releases() -> int:
    """Journeys on which a show stopped counting before its own local day was over."""
    found = 0
    for seed in range(RUNS):
        shows, tries = trip(seed)
        found += any(
            granted and at > then and date_of(at, zone) == date_of(then, zone)
            for then, zone in shows
            for at, _, granted in tries
        )
    return found


def test_no_journey_releases_a_show_before_its_own_day_is_over():
    assert early_releases() == 0


def test_by_the_zone_of_now_alone_most_journeys_would(monkeypatch: pytest.MonkeyPatch):
    def only_here(
        entries: list[CountedEvent], window: Calendar, now: RuleInstant
    ) -> list[CountedEvent]:
        zone = now.zone or "UTC"
        return [e for e in entries if date_of(e.at, zone) == date_of(now.ms, zone)]

    monkeypatch.setattr(rule_counters, "in_calendar", only_here)

    assert early_releases() > RUNS // 2


def test_whoever_may_pick_any_zone_at_any_time_gains_one_show_at_most():
    device = Device(rules({"window": {"kind": "calendar", "unit": "day"}, "limit": 1}))
    days = 4
    for _ in range(days * 24):
        for zone in ZONES:
            device.clock.zone = zone
            if device.decide("home", 1, ONE).picks:
                device.engine.confirm(device.names[-1])
        device.wait(HOUR)

    assert len(device.grants) <= days + 1


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("Pacific/Auckland", date(2026, 9, 27), 23),
        ("Pacific/Auckland", date(2026, 4, 5), 25),
        ("Australia/Lord_Howe", date(2026, 10, 4), 23.5),
        ("Australia/Lord_Howe", date(2026, 4, 5), 24.5),
        ("Antarctica/Troll", date(2026, 3, 29), 22),
        ("Pacific/Kiritimati", date(2026, 3, 29), 24),
        ("Pacific/Apia", date(2011, 12, 30), 0),  # never was
        ("Africa/Cairo", date(2026, 4, 24), 23),  # midnight itself is skipped
    ],
)
def test_a_day_is_as_long_as_its_clocks_say(zone: str, day: date, hours: float):
    number = day.toordinal() - EPOCH

    assert day_start(number + 1, zone) - day_start(number, zone) == hours * HOUR


@pytest.mark.parametrize("zone", ZONES)
def test_every_instant_belongs_to_the_day_that_started_last(zone: str):
    chance = random.Random(zone)
    for _ in range(200):
        instant = chance.randint(0, 4_000_000_000_000)
        day = date_of(instant, zone)
        assert day_start(day, zone) <= instant < day_start(day + 1, zone)


def test_a_wrong_zone_and_back_frees_nothing():
    device = Device(rules({"window": {"kind": "calendar", "unit": "day"}, "limit": 1}))
    device.engine.confirm(device.decide("home", 1, ONE).picks[0].reservation_id)
    for zone in ("Pacific/Kiritimati", None, "Pacific/Pago_Pago", "UTC"):
        device.clock.zone = zone
        assert not device.decide("home", 1, ONE).picks

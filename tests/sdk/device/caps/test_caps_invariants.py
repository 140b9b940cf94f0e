"""The ten invariants of caps; each one breaks as soon as what protects it is taken out."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from cap_device import DAY, HOUR, ITEMS, Device, Step, answer, rules, sliding, steps
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from tactful.device.caps import Rules
from tactful.device.caps.counting import apply_records, rule_counters
from tactful.device.caps.counting.counter_state import CounterState
from tactful.device.caps.counting.reservations import Hold, Stamp
from tactful.device.caps.counting.rule_counters import (
    CountedEvent,
    RuleCounters,
    RuleInstant,
)
from tactful.device.caps.deciding.explain_denial import DenialExplainer
from tactful.device.caps.deciding.remaining import RemainingAllowance
from tactful.device.caps.rules.subject import Key
from tactful.device.caps.session import CapSession
from tactful.device.caps.timeline.segments import FULL, Moment, Segment, Timeline
from tactful.device.clock import ClockReading
from tactful.device.events import StoredEvent

LAWS = settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    report_multiple_bugs=False,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)
ZONES = (
    "UTC",
    "Pacific/Auckland",
    "Pacific/Pago_Pago",
    "Europe/Berlin",
    "America/New_York",
)
TWO_A_DAY = rules(sliding(DAY, 2), {"window": {"kind": "cooldown", "ms": HOUR}})


def broken(law: Callable[[], None]) -> None:
    """The law finds a counterexample."""
    with pytest.raises(AssertionError):
        law()


# INV-1


BOUGHT: list[Step] = [
    ("decide", 1, 0),
    ("off", 60, 600),
    ("decide", 1, 0),
]  # 100 hours pushed


@LAWS
@given(schedule=steps("off", "off", "off", "push"))
@example(BOUGHT)
def no_grant_exceeds_its_limit_in_true_time(schedule: list[Step]) -> None:
    device = Device(rules(sliding(DAY, 1)))
    for step in schedule:
        device.do(step)
        device.show_all()
    loud = [(at, item) for at, item, surface in device.grants if surface == "push"]
    for at, item in loud:
        within = [1 for then, other in loud if other == item and at - DAY < then <= at]
        assert len(within) <= 1


def test_no_clock_or_restart_buys_a_second_show_a_day():
    no_grant_exceeds_its_limit_in_true_time()


def test_without_counting_a_second_show_is_bought(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(RemainingAllowance, "fits", lambda *_: True)

    broken(no_grant_exceeds_its_limit_in_true_time)


def test_believing_the_wall_clock_while_off_a_second_show_is_bought(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(Timeline, "next_segment", _believing(Timeline.next_segment))

    broken(no_grant_exceeds_its_limit_in_true_time)


def _believing(
    honest: Callable[[Timeline, ClockReading], Segment],
) -> Callable[[Timeline, ClockReading], Segment]:
    def gullible(timeline: Timeline, reading: ClockReading) -> Segment:
        segment = honest(timeline, reading)
        full, _, budget = segment.base
        return Segment(
            segment.boot_id, segment.mono0_ms, (full, full, budget), segment.gap
        )

    return gullible


# INV-2


@LAWS
@given(schedule=steps("off"), other=st.integers(0, 3))
def an_edit_and_its_undoing_change_nothing(schedule: list[Step], other: int) -> None:
    device = Device(TWO_A_DAY)
    for step in schedule:
        device.do(step)
    before = device.answers()
    device.engine.use(
        rules(sliding(DAY, other), {"window": {"kind": "lifetime"}, "limit": other})
    )
    device.answers()
    device.engine.use(TWO_A_DAY)

    assert device.answers() == before


def test_an_edit_and_its_undoing_change_nothing():
    an_edit_and_its_undoing_change_nothing()


def test_without_facts_behind_the_rules_an_edit_is_a_licence_to_repeat(
    monkeypatch: pytest.MonkeyPatch,
):
    def amnesic(session: CapSession, edited: Rules) -> None:
        state = CounterState(edited)
        state.position = session.vault.position
        session.rules, session._state = edited, state

    monkeypatch.setattr(CapSession, "use", amnesic)

    broken(an_edit_and_its_undoing_change_nothing)


# INV-3


@LAWS
@given(schedule=steps("push"))
def the_wall_clock_changes_no_answer_in_a_running_boot(schedule: list[Step]) -> None:
    pushed, still = Device(TWO_A_DAY), Device(TWO_A_DAY)
    for step in schedule:
        pushed.do(step)
        if step[0] != "push":
            still.do(step)
        assert pushed.answers() == still.answers()


def test_the_wall_clock_changes_no_answer_in_a_running_boot():
    the_wall_clock_changes_no_answer_in_a_running_boot()


def test_counting_by_the_wall_clock_it_would(monkeypatch: pytest.MonkeyPatch):
    def by_the_wall(timeline: Timeline, reading: ClockReading) -> Moment:
        last = len(timeline.segments) - 1
        return Moment(last, reading.wall_ms - timeline.segments[0].base[FULL])

    monkeypatch.setattr(Timeline, "moment", by_the_wall)

    broken(the_wall_clock_changes_no_answer_in_a_running_boot)


@LAWS
@given(schedule=steps("off"), pushed_ms=st.integers(-400, 400))
def a_clock_set_while_off_changes_no_answer_where_it_interrupts(
    schedule: list[Step], pushed_ms: int
) -> None:
    loud = rules(sliding(DAY, 2, match={"surface": ["push"]}))
    pushed, still = Device(loud), Device(loud)
    for step in schedule:
        if step[0] == "off":
            still.off(step[1] * 60_000)
            pushed.off(step[1] * 60_000, pushed_ms * HOUR)
        else:
            still.do(step)
            pushed.do(step)
        assert pushed.answers() == still.answers()


def test_a_clock_set_while_off_changes_no_answer_where_it_interrupts():
    a_clock_set_while_off_changes_no_answer_where_it_interrupts()


def test_giving_credit_for_time_off_it_would(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Timeline, "next_segment", _believing(Timeline.next_segment))

    broken(a_clock_set_while_off_changes_no_answer_where_it_interrupts)


# INV-4


@LAWS
@given(schedule=steps(), again=st.integers(0, 1000))
def a_confirm_told_twice_or_late_counts_once(schedule: list[Step], again: int) -> None:
    drawn = rules(sliding(DAY, 5, min_evidence="rendered"), sliding(DAY, 5))
    once, twice = Device(drawn), Device(drawn)
    for step in schedule:
        once.do(step)
        twice.do(step)
        if step[0] == "confirm":
            for level in range(3):
                once.do(("confirm", step[1], level))
                twice.do(("confirm", step[1], level))
            twice.do(("confirm", step[1], again))
    assert once.answers() == twice.answers()
    granted = [item for _, item, _ in once.grants if item == "a"]
    assert sum(
        room.used for room in once.engine.explanations.headroom(ITEMS[0], "home")
    ) <= 2 * len(granted)


def test_a_confirm_told_twice_or_late_counts_once():
    a_confirm_told_twice_or_late_counts_once()


def test_without_a_memory_of_what_was_told_it_counts_again(
    monkeypatch: pytest.MonkeyPatch,
):
    honest = CounterState.raise_level

    def forgetful(state: CounterState, hold: Hold, level: int, stamp: Stamp) -> None:
        hold.level = 0
        honest(state, hold, level, stamp)

    monkeypatch.setattr(CounterState, "raise_level", forgetful)

    broken(a_confirm_told_twice_or_late_counts_once)


# INV-5


@LAWS
@given(
    travels=st.lists(
        st.tuples(st.sampled_from(ZONES), st.integers(0, 30)), max_size=12
    ),
    here=st.sampled_from(ZONES),
)
def travel_never_lowers_a_count_below_the_dates_of_the_shows_themselves(
    travels: list[tuple[str, int]], here: str
) -> None:
    device = Device(rules({"window": {"kind": "calendar", "unit": "day"}, "limit": 50}))
    shown: list[tuple[datetime, str]] = []
    for zone, hours in travels:
        device.clock.zone = zone
        device.engine.confirm(device.decide("home").picks[0].reservation_id)
        shown.append((device.clock.reading().wall, zone))
        device.wait(hours * HOUR)
    device.clock.zone = here

    now = device.clock.reading().wall
    still_today = [at for at, zone in shown if _date(at, zone) == _date(now, zone)]
    assert device.engine.explanations.headroom(ITEMS[0], "home")[0].used >= len(
        still_today
    )


def _date(at: datetime, zone: str) -> object:
    return at.astimezone(ZoneInfo(zone)).date()


def test_travel_never_lowers_a_count_below_the_dates_of_the_shows_themselves():
    travel_never_lowers_a_count_below_the_dates_of_the_shows_themselves()


def test_by_the_zone_of_now_alone_it_would(monkeypatch: pytest.MonkeyPatch):
    def only_here(
        entries: list[CountedEvent], window: rule_counters.Calendar, now: RuleInstant
    ) -> Iterator[CountedEvent]:
        zone = now.zone or "UTC"
        today = rule_counters.date_of(now.ms, zone)
        return (e for e in entries if rule_counters.date_of(e.at, zone) == today)

    monkeypatch.setattr(rule_counters, "in_calendar", only_here)

    broken(travel_never_lowers_a_count_below_the_dates_of_the_shows_themselves)


# INV-6


@LAWS
@given(schedule=steps("off"))
def a_denial_names_the_first_millisecond_that_is_free(schedule: list[Step]) -> None:
    device = Device(TWO_A_DAY)
    for step in schedule:
        device.do(step)
        device.show_all()
    for item in ITEMS:
        waits = [d.wait_ms for d in device.engine.explanations.why_not(item, "home")]
        if waits:
            longest = max(wait for wait in waits if wait is not None)
            assert (
                device.engine.explanations.simulate(item, "home", ahead_ms=longest - 1)
                != ()
            )
            assert (
                device.engine.explanations.simulate(item, "home", ahead_ms=longest)
                == ()
            )


def test_a_denial_names_the_first_millisecond_that_is_free():
    a_denial_names_the_first_millisecond_that_is_free()


def test_a_wait_for_the_whole_window_would_be_no_exact_time(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(
        DenialExplainer,
        "_sliding_wait_ms",
        lambda self, counters, key, window_ms, excess: window_ms,
    )

    broken(a_denial_names_the_first_millisecond_that_is_free)


# INV-7


@LAWS
@given(schedule=steps(), limits=st.lists(st.integers(0, 5), min_size=1, max_size=4))
def an_update_never_loosens_what_the_person_set(
    schedule: list[Step], limits: list[int]
) -> None:
    own = rules(sliding(DAY, 1, id="mine", author="user"))
    device = Device(TWO_A_DAY.with_user(own))
    for step, limit in zip(schedule, limits * 25, strict=False):
        device.do(step)
        device.engine.use(
            rules(sliding(DAY, limit), sliding(DAY, 9, id="more")).with_user(own)
        )
        device.show_all()
    for at, item, _ in device.grants:
        within = [
            1
            for then, other, _ in device.grants
            if item == other and at - DAY < then <= at
        ]
        assert len(within) <= 1


def test_an_update_never_loosens_what_the_person_set():
    an_update_never_loosens_what_the_person_set()


def test_if_updates_replaced_the_persons_rules_they_would(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(Rules, "with_user", lambda self, own: self)

    broken(an_update_never_loosens_what_the_person_set)


# INV-8


@LAWS
@given(schedule=steps("off"), surface=st.sampled_from(("home", "push")))
def what_was_seen_before_a_crash_is_counted_after_it(
    schedule: list[Step], surface: str
) -> None:
    device = Device(rules({"window": {"kind": "lifetime"}, "limit": 99}))
    for step in schedule:
        device.do(step)
    before = device.engine.explanations.headroom(ITEMS[0], surface)[0].used
    device.decide(surface)  # drawn, seen, and then the process dies
    device.die()
    for hours in (0, 1, 30, 90):
        device.wait(hours * HOUR)
        assert device.engine.explanations.headroom(ITEMS[0], surface)[
            0
        ].used > before - _open(device)


def _open(device: Device) -> int:
    return 0 if device.names else 1


def test_what_was_seen_before_a_crash_is_counted_after_it():
    what_was_seen_before_a_crash_is_counted_after_it()


def test_if_a_time_limit_forgave_a_crash_it_would_be_free(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(CapSession, "_outcome", lambda *_: "dropped")

    broken(what_was_seen_before_a_crash_is_counted_after_it)


def test_every_hold_of_a_living_process_ends_with_its_time():
    device = Device(rules(sliding(DAY, 1)))
    device.decide("home")
    device.wait(119_999)
    assert device.engine.explanations.headroom(ITEMS[0], "home")[0].used == 1

    device.wait(1)
    assert device.engine.explanations.headroom(ITEMS[0], "home")[0].used == 0


# INV-9


@LAWS
@given(schedule=steps("off", "push"), deaths=st.lists(st.integers(0, 24), max_size=3))
def a_process_that_starts_anew_answers_as_the_old_one_did(
    schedule: list[Step], deaths: list[int]
) -> None:
    device = Device(rules(sliding(DAY, 3), {"window": {"kind": "decay", "half_life_ms": DAY,
                                                       "budget": 4.0}}))  # fmt: skip
    for number, step in enumerate(schedule):
        device.do(step)
        device.engine.maintenance.expire()
        if number in deaths:
            device.processes.pid += 1
        told = device.answers()
        device.engine = device.started()
        assert device.answers() == told


def test_a_process_that_starts_anew_answers_as_the_old_one_did():
    a_process_that_starts_anew_answers_as_the_old_one_did()


def test_without_a_record_of_what_ended_it_would_not(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delitem(dict_of_readers(), "close")

    broken(a_process_that_starts_anew_answers_as_the_old_one_did)


def dict_of_readers() -> dict[str, object]:
    readers = apply_records._READERS
    assert isinstance(readers, dict)
    return readers


def test_two_devices_that_live_alike_answer_alike():
    def life() -> list[object]:
        device = Device(TWO_A_DAY)
        found = [device.decide("home", 2) for _ in range(4)]
        return [[(p.slot, p.item.id) for p in d.picks] + [answer(x) for x in d.denials]
                for d in found]  # fmt: skip

    assert life() == life()


# INV-10


@LAWS
@given(schedule=steps())
def an_explanation_counts_what_the_vault_holds(schedule: list[Step]) -> None:
    device = Device(rules(sliding(3 * DAY, 2)))
    for step in schedule:
        device.do(step)
    device.wait(2 * DAY)  # every hold is over
    device.engine.maintenance.expire()
    for item in ITEMS:
        assert device.engine.explanations.headroom(item, "home")[0].used == _recount(
            device, item.id
        )


def _recount(device: Device, item_id: str) -> int:
    """Viewable shows of the last three days, straight from the records, each show once."""
    seen: dict[str | None, datetime] = {}
    for record in device.vault.read(kinds=["event"]):
        event = StoredEvent.from_fields(record.fields)
        if event.item_id == item_id and event.evidence in ("viewable", "attended"):
            seen.setdefault(
                event.reservation_id, _instant(event.mono_ms, device, event.segment)
            )
    now = _instant(
        device.engine.clock.moment().offset,
        device,
        device.engine.clock.moment().segment,
    )
    return sum(at > now - timedelta(days=3) for at in seen.values())


def _instant(offset: int, device: Device, segment: int) -> datetime:
    """On the timeline without credit for time off, from the segments as they were written."""
    bases = [r.fields for r in device.vault.read(kinds=["segment"])]
    base = bases[segment]
    assert isinstance(base, list)
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=base[3] + offset)


def test_an_explanation_counts_what_the_vault_holds():
    an_explanation_counts_what_the_vault_holds()


def test_counting_everything_twice_it_would_not(monkeypatch: pytest.MonkeyPatch):
    honest = RuleCounters.add_event

    def twice(
        counters: RuleCounters, key: Key, stamp: Stamp, at: int, weight: int, rank: int
    ) -> None:
        honest(counters, key, stamp, at, 2 * weight, rank)

    monkeypatch.setattr(RuleCounters, "add_event", twice)

    broken(an_explanation_counts_what_the_vault_holds)

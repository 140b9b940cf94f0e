"""A clock that was set wrongly takes nothing from the person, and stops nothing."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.device.events import Event
from tactful.device.personalizer import Personalizer
from tactful.testing import FrozenClock, small_device

DAY_MS = 86_400_000
YEARS_MS = 365 * DAY_MS


def state(device: Personalizer) -> tuple[object, ...]:
    return (
        device.explain.interests(),
        tuple(device.rights.events()),
        [i.item.id for i in device.explain.preview(5)],
    )


@given(
    pushes=st.lists(st.integers(-80 * YEARS_MS, 500 * YEARS_MS), min_size=1, max_size=4)
)
def test_no_clock_that_is_set_erases_or_fades_what_is_known(pushes: list[int]) -> None:
    clock = FrozenClock()
    with small_device(clock=clock) as device:
        device.observe(Event(kind="like", item_id="item-3"))
        known = state(device)
        for push in pushes:
            clock.push_wall(push)
            assert device.rights.purge_expired() == 0
            assert state(device) == known


@pytest.mark.parametrize("years", [-56, 70, 300])
def test_what_happens_under_a_wrong_clock_is_remembered(years: int) -> None:
    """No signal's declaration has ended only because a clock says so."""
    clock = FrozenClock()
    with small_device(clock=clock) as device:
        device.recommend(1)
        clock.push_wall(years * YEARS_MS)
        device.observe(Event(kind="like", item_id="item-3"))
        assert device.explain.interests()


def test_what_was_learnt_before_the_first_true_time_counts() -> None:
    """A device without a battery behind its clock starts in 1970, until it hears the time."""
    clock = FrozenClock(datetime(1970, 1, 1, tzinfo=UTC))
    with small_device(clock=clock) as device:
        device.observe(Event(kind="like", item_id="item-3"))
        clock.push_wall(56 * YEARS_MS)

        assert device.rights.purge_expired() == 0
        assert device.explain.interests()[0].usable


def test_time_that_passes_still_fades_and_ends_what_is_kept() -> None:
    clock = FrozenClock()
    with small_device(clock=clock) as device:
        device.observe(Event(kind="view", item_id="item-3"))
        before = device.explain.interests()[0].strength
        clock.advance(14 * DAY_MS)
        assert device.explain.interests()[0].strength == pytest.approx(before / 2)
        clock.advance(3 * YEARS_MS)
        assert device.rights.purge_expired() > 0
        assert not list(device.rights.events())

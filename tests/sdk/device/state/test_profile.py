"""The profile is a fold: in pieces or at once, it is the same; old tastes fade."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.device.events import StoredEvent
from tactful.device.state.profile import DAY_MS, EVENT_WEIGHTS, Profile

events = st.lists(
    st.builds(
        StoredEvent,
        kind=st.sampled_from(
            ["view", "click", "like", "dislike", "purchase", "rating", "search"]
        ),
        at_ms=st.integers(0, 400 * DAY_MS),
        purpose=st.sampled_from(["local_profile", "essential"]),
        item_id=st.sampled_from([None, "a", "b", "c"]),
        value=st.floats(0, 5),
    ),
    max_size=20,
)


def event(kind: str, day: float, item_id: str = "a", **more: object) -> StoredEvent:
    return StoredEvent(
        kind=kind,
        at_ms=int(day * DAY_MS),
        purpose="local_profile",
        item_id=item_id,
        **more,
    )


@given(history=events, cut=st.integers(0, 20))
def test_folding_in_pieces_is_folding_at_once(
    history: list[StoredEvent], cut: int
) -> None:
    at_once = Profile().after(history)

    assert Profile().after(history[:cut]).after(history[cut:]) == at_once


@given(history=events)
def test_what_was_kept_for_repetition_limits_is_never_in_the_profile(
    history: list[StoredEvent],
) -> None:
    shared = [one for one in history if one.purpose != "essential"]

    assert Profile().after(history) == Profile().after(shared)


@pytest.mark.parametrize("kind", ["view", "click", "like", "purchase"])
def test_a_signal_is_halved_after_its_own_half_life(kind: str) -> None:
    belief = Profile().after([event(kind, day=0)]).beliefs["a"]

    later = int(EVENT_WEIGHTS[kind].half_life_days * DAY_MS)
    assert belief.at(later) == pytest.approx(EVENT_WEIGHTS[kind].weight / 2)


def test_a_dislike_outweighs_a_like_and_the_item_leaves_the_likes() -> None:
    liked = Profile().after([event("like", day=1)])

    assert liked.likes(DAY_MS) == {"a": pytest.approx(2.0)}
    assert liked.after([event("dislike", day=2)]).likes(2 * DAY_MS) == {}


def test_a_late_event_neither_fails_nor_counts_more_than_a_fresh_one() -> None:
    late = Profile().after([event("like", day=50), event("like", day=10)])

    assert late.beliefs["a"].at(50 * DAY_MS) <= 4.0


def test_a_rating_counts_by_its_distance_from_neutral() -> None:
    rated = Profile().after(
        [event("rating", 0, value=5.0), event("rating", 0, "b", value=1.0)]
    )

    assert rated.likes(0) == {"a": pytest.approx(2.0)}


def test_each_belief_names_the_dates_behind_it() -> None:
    belief = (
        Profile().after([event("click", day=1), event("purchase", day=3)]).beliefs["a"]
    )

    assert belief.dates == (("click", DAY_MS), ("purchase", 3 * DAY_MS))
    assert (belief.purchases, belief.events) == ((3 * DAY_MS,), 2)

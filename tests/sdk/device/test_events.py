"""Events are checked at the door and survive the vault unchanged."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.device.events import EVIDENCE, KINDS, PURPOSES, SCOPES, Event, StoredEvent
from tactful.errors import InvalidInput, VaultDamaged

texts = st.text(min_size=1, max_size=20)
stored = st.builds(
    StoredEvent,
    kind=st.sampled_from(KINDS),
    at_ms=st.integers(0, 2**43),
    purpose=st.sampled_from(PURPOSES) | texts,
    item_id=st.none() | texts,
    reservation_id=st.none() | texts,
    evidence=st.none() | st.sampled_from(EVIDENCE),
    value=st.none() | st.floats(allow_nan=False, allow_infinity=False),
    scope=st.none() | st.sampled_from(SCOPES),
    surface=st.none() | texts,
    segment=st.integers(0, 99),
    mono_ms=st.integers(0, 2**40),
    day=st.integers(0, 50000),
    verified_day=st.integers(0, 50000),
    zone=st.integers(0, 9),
    late=st.booleans(),
    subject=st.just("") | texts,
)


@given(event=stored)
def test_a_stored_event_survives_its_body(event: StoredEvent):
    assert StoredEvent.from_fields(json.loads(json.dumps(event.to_fields()))) == event


def test_an_unknown_kind_lists_the_known_ones():
    with pytest.raises(InvalidInput, match="click") as refused:
        Event(kind="stare", item_id="aja")
    assert refused.value.field == "event.kind"


@pytest.mark.parametrize(
    ("fields", "named"),
    [
        ({"kind": "rating", "item_id": "a", "value": 6}, "event.value"),
        ({"kind": "rating", "item_id": "a"}, "event.value"),
        ({"kind": "dwell", "item_id": "a", "value": math.nan}, "event.value"),
        ({"kind": "like"}, "event.item_id"),
        ({"kind": "impression", "item_id": "a"}, "event.reservation_id"),
        (
            {"kind": "impression", "reservation_id": "1.0", "evidence": "felt"},
            "event.evidence",
        ),
        ({"kind": "hide", "item_id": "a", "scope": "planet"}, "event.scope"),
        ({"kind": "like", "item_id": ""}, "event.item_id"),
        ({"kind": "like", "item_id": "x" * 300}, "event.item_id"),
        ({"kind": "like", "item_id": 7}, "event.item_id"),
    ],
)
def test_an_event_that_makes_no_sense_is_refused(fields: dict[str, object], named: str):
    with pytest.raises(InvalidInput) as refused:
        Event(**fields)
    assert refused.value.field == named


def test_two_events_have_two_ids():
    assert Event(kind="search").event_id != Event(kind="search").event_id


@pytest.mark.parametrize("fields", [{}, [], "text", [0] * 6, [0] * 18])
def test_a_record_without_the_fields_of_an_event_is_damage(fields: object):
    with pytest.raises(VaultDamaged):
        StoredEvent.from_fields(fields)

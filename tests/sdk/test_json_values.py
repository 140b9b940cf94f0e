"""Results of the public API convert to JSON, with stable names and codes."""

import json
from datetime import UTC, datetime
from enum import StrEnum
from fractions import Fraction

import pytest

from tactful import Denial, Disclosure, Event, Reason, ReasonCode
from tactful.json_values import json_value
from tactful.testing import small_device


class Colour(StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (True, True),
        (Colour.RED, "red"),
        (datetime(2026, 3, 1, 12, tzinfo=UTC), "2026-03-01T12:00:00+00:00"),
        (Fraction(1, 3), "1/3"),
        ({"b": (1, 2)}, {"b": [1, 2]}),
        (frozenset({"b", "a"}), ["a", "b"]),
        (Reason(ReasonCode.NEW), {"code": "new", "item_id": None, "title": ""}),
    ],
)
def test_values_become_json_values(value, expected) -> None:
    assert json_value(value) == expected


@pytest.mark.parametrize("value", [b"bytes", object(), Reason])
def test_a_value_without_json_form_is_a_type_error(value) -> None:
    with pytest.raises(TypeError, match="has no JSON value"):
        json_value(value)


def test_every_result_of_a_device_converts_to_json() -> None:
    with small_device() as me:
        me.observe(Event(kind="like", item_id="item-1"))
        picks = me.recommend(3)
        for pick in picks:
            me.observe(pick.impression())
        results = [
            picks,
            picks[0],
            me.explain.why_not("item-1"),
            me.explain.preview(2)[0],
            me.explain.interests()[0],
            me.explain.trace(picks.decision_id, "item-1"),
            me.explain.replay(picks.decision_id),
            me.explain.metrics(),
            me.rights.data_report()[0],
        ]

        documents = [result.to_json() for result in results]

    assert json.loads(json.dumps(documents)) == documents
    assert list(documents[1]) == [
        "item",
        "rank",
        "score",
        "source",
        "reasons",
        "is_standard",
        "reservation_id",
        "expires_at",
    ]
    assert documents[1]["item"]["id"] == picks[0].item.id


def test_a_denial_and_a_disclosure_keep_their_field_names() -> None:
    denial = Denial("item-1", "NOT_INTERESTED", rule_id="mute")
    disclosure = Disclosure(
        task_id="t",
        report_id="r",
        purpose="share_dp_updates",
        at=1,
        recipient="https://leader.example",
        size=10,
        sha256="00",
        meaning="which items are liked",
        report=7,
        consent="c",
    )

    assert denial.to_json()["reason_code"] == "NOT_INTERESTED"
    assert disclosure.to_json()["accepted"] is False


def test_codes_of_reasons_never_change() -> None:
    assert {code.name: code.value for code in ReasonCode} == {
        "BECAUSE_YOU_LIKED": "because_you_liked",
        "YOUR_TASTE": "your_taste",
        "DUE_AGAIN": "due_again",
        "NEW": "new",
        "EXPLORATION": "exploration",
        "POPULAR": "popular",
        "CHOSEN": "chosen",
        "NOTICE": "notice",
        "STANDARD": "standard",
        "NOTHING_KNOWN": "nothing_known",
    }

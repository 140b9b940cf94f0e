"""Nobody waits for ever: what could be shown and got no slot for days goes before its equals."""

import json

import pytest
from cap_device import DAY, HOUR, Device, sliding

from tactful.device.caps import Rules
from tactful.device.catalog import Item
from tactful.errors import InvalidInput

LOUD = Item(id="loud", title="", item_class="promo")
QUIET = Item(id="quiet", title="")
OTHER = Item(id="other", title="")
URGENT = Item(id="urgent", title="", item_class="high")
WAITS = {"schema": 1, "starvation_days": 3, "rules": []}


def shown(device: Device, *items: Item) -> list[str]:
    return [pick.item.id for pick in device.decide("home", items=items).picks]


def test_what_waited_too_long_goes_first_once_and_then_waits_again() -> None:
    device = Device(Rules.parse(WAITS))
    assert shown(device, LOUD, QUIET) == ["loud"]
    device.wait(3 * DAY - HOUR)
    assert shown(device, LOUD, QUIET) == ["loud"]
    device.wait(HOUR)

    assert [shown(device, LOUD, QUIET)[0] for _ in range(3)] == [
        "quiet",
        "loud",
        "loud",
    ]


def test_without_a_bound_the_apps_order_stands() -> None:
    device = Device(Rules())
    for _ in range(10):
        assert shown(device, LOUD, QUIET) == ["loud"]
        device.wait(DAY)


def test_a_better_class_still_goes_first_and_the_longest_wait_before_others() -> None:
    device = Device(Rules.parse(WAITS))
    shown(device, LOUD, OTHER)
    device.wait(HOUR)
    shown(device, LOUD, QUIET, OTHER)
    device.wait(4 * DAY)

    decision = device.decide("home", k=3, items=(LOUD, QUIET, OTHER, URGENT))
    assert [pick.item.id for pick in decision.picks] == ["urgent", "other", "quiet"]
    assert decision.starving == ()


def test_it_never_goes_over_its_caps() -> None:
    limited = {
        "id": "r",
        "key": ["app"],
        "match": {"tag": ["x"]},
        "reason_code": "R",
        **sliding(DAY, 0),
    }
    device = Device(Rules.parse({**WAITS, "rules": [limited]}))
    capped = Item(id="capped", title="", tags=("x",))
    for _ in range(6):
        assert "capped" not in shown(device, LOUD, capped)
        device.wait(DAY)


def test_who_still_waits_is_named() -> None:
    device = Device(Rules.parse(WAITS))
    device.decide("home", k=1, items=(LOUD, QUIET, OTHER))
    device.wait(4 * DAY)
    decision = device.decide("home", k=1, items=(LOUD, QUIET, OTHER))

    assert [pick.item.id for pick in decision.picks] == ["quiet"]
    assert decision.starving == ("other",)


def test_waiting_goes_on_over_a_restart() -> None:
    device = Device(Rules.parse(WAITS))
    shown(device, LOUD, QUIET)
    device.die()
    device.wait(4 * DAY)

    assert shown(device, LOUD, QUIET) == ["quiet"]


@pytest.mark.parametrize("days", [0, -1, "a", 4000])
def test_a_bound_that_is_none_is_named_with_its_field(days: object) -> None:
    with pytest.raises(InvalidInput, match="starvation_days"):
        Rules.from_text(json.dumps({**WAITS, "starvation_days": days}))

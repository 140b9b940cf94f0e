"""What the person sets holds at once, in every process, and the app cannot loosen it."""

from datetime import UTC, datetime

import pytest

from tactful.device.consent import Consent
from tactful.device.events import Event
from tactful.device.personalizer import Personalizer
from tactful.device.settings import Settings
from tactful.errors import InvalidInput
from tactful.testing import FIXED_KEY, LOCAL, FrozenClock, small_catalog, small_device

DAY_MS = 86_400_000
LAX = {
    "schema": 1,
    "rules": [
        {
            "id": "day",
            "key": ["item"],
            "window": {"kind": "sliding", "ms": DAY_MS},
            "limit": 9,
            "reason_code": "DAY",
        }
    ],
}


def shows(device, item_id: str, rounds: int) -> int:
    """How often an item was shown in `rounds` lists of the whole catalog."""
    seen = 0
    for _ in range(rounds):
        for pick in device.recommend(len(device.catalog)):
            seen += pick.item.id == item_id
            device.observe(pick.impression())
    return seen


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_an_own_limit_tightens_what_the_app_allows(limit: int) -> None:
    with small_device(small_catalog(4), Settings(path=None, caps=LAX)) as device:
        device.controls.set_weekly_limit(limit)

        assert shows(device, "item-1", 5) == limit
        assert limit == 0 or "OWN_LIMIT" in str(
            device.explain.why_not("item-1").denials
        )


def test_an_own_limit_never_loosens_what_the_app_set() -> None:
    with small_device(small_catalog(4), Settings(path=None, caps=LAX)) as device:
        device.controls.set_weekly_limit(50)

        assert shows(device, "item-1", 12) == 9


def test_an_own_limit_holds_after_a_start_with_other_rules_and_in_another_process(
    tmp_path,
) -> None:
    def opened(caps=LAX) -> Personalizer:
        settings = Settings(path=str(tmp_path / "taste.db"), caps=caps)
        choices = {"key": FIXED_KEY, "consent": LOCAL, "clock": FrozenClock()}
        return Personalizer(small_catalog(4), settings, **choices)

    with opened() as running, opened() as page:
        page.controls.set_weekly_limit(1)
        assert shows(running, "item-1", 3) == 1
    with opened({"schema": 1, "rules": []}) as again:
        assert shows(again, "item-1", 3) == 0
        again.controls.set_weekly_limit(None)
        assert again.controls.limits is None
        assert shows(again, "item-1", 3) == 3


def test_a_limit_that_cannot_be_is_refused_and_the_old_one_stays() -> None:
    with small_device() as device:
        device.controls.set_weekly_limit(2)
        with pytest.raises(InvalidInput, match="shows"):
            device.controls.set_weekly_limit(-1)
        with pytest.raises(InvalidInput, match="rules"):
            device.controls.set_limits({"schema": 1, "rules": [{"id": "x"}]})
        with pytest.raises(InvalidInput, match="author"):
            device.controls.set_limits(LAX)
        assert device.controls.limits["rules"][0]["limit"] == 2


def test_what_is_muted_is_not_shown_until_it_is_taken_back() -> None:
    with small_device(small_catalog(10)) as device:
        device.controls.mute("category", "kind-1")
        device.observe(Event(kind="hide", item_id="item-2"))
        assert sorted(device.controls.muted) == [
            ("category", "kind-1"),
            ("item", "item-2"),
        ]
        shown = {pick.item.id for pick in device.recommend(10)}
        assert shown == {f"item-{n}" for n in (0, 3, 4, 5, 7, 8, 9)}

        device.controls.unmute("category", "kind-1")
        device.controls.unmute("item", "item-2")
        assert device.controls.muted == []


def test_while_paused_nothing_is_learnt_and_limits_go_on() -> None:
    with small_device(small_catalog(4), Settings(path=None, caps=LAX)) as device:
        device.observe(Event(kind="like", item_id="item-0"))
        device.controls.set_paused(True)
        device.observe(Event(kind="like", item_id="item-1"))
        assert shows(device, "item-3", 12) == 9
        assert set(device.status.profile.beliefs) == {"item-0"}

        device.controls.set_paused(False)
        device.observe(Event(kind="like", item_id="item-2"))
        assert set(device.status.profile.beliefs) == {"item-0", "item-2"}


def test_pausing_asks_for_no_other_consent() -> None:
    with small_device(consent=Consent()) as device:
        device.controls.set_paused(True)
        device.controls.set_balance(0.0)
        assert device.status.paused
        with pytest.raises(InvalidInput, match="balance"):
            device.controls.set_balance(1.5)


def test_what_a_person_says_is_used_up_comes_back_when_it_is_due() -> None:
    clock = FrozenClock()
    choices = {"key": FIXED_KEY, "consent": LOCAL, "clock": clock}
    with Personalizer(small_catalog(3), Settings(path=None), **choices) as device:
        device.observe(Event(kind="purchase", item_id="item-0"))
        clock.advance(40 * DAY_MS)
        assert "item-0" not in [item.item.id for item in device.explain.preview(3)]

        device.controls.set_replenishable("item-0", True)
        assert "item-0" in [item.item.id for item in device.explain.preview(3)]
        device.controls.set_replenishable("item-0", False)
        assert "item-0" not in [item.item.id for item in device.explain.preview(3)]


OWN = {
    "id": "no-more-tea",
    "author": "user",
    "key": ["category"],
    "match": {"category": ["kind-1"]},
    "window": {"kind": "lifetime"},
    "limit": 0,
    "reason_code": "OWN",
}
PUSH = {
    "schema": 1,
    "surfaces": {"home": {}, "push": {"interruptive": True}},
    "rules": [],
}


def test_a_weekly_limit_leaves_every_other_limit_of_ones_own() -> None:
    """Else a page with one number would loosen what the person set elsewhere."""
    with small_device() as device:
        device.controls.set_limits({"schema": 1, "rules": [OWN]})
        for shows in (3, 5, None):
            device.controls.set_weekly_limit(shows)
            assert OWN in device.controls.limits["rules"]
            assert len(device.controls.limits["rules"]) == 1 + (shows is not None)
        assert device.explain.why_not("item-1").denials


def test_a_quiet_night_holds_back_what_comes_unasked_until_it_is_taken_back() -> None:
    clock = FrozenClock(datetime(2026, 3, 2, 23, tzinfo=UTC))
    with small_device(settings=Settings(path=None, caps=PUSH), clock=clock) as device:
        device.controls.set_weekly_limit(None, quiet_at_night=True)

        assert not device.recommend(1, surface="push")
        assert device.recommend(1, surface="home")
        device.controls.set_weekly_limit(None)
        assert device.recommend(1, surface="push")


def test_a_page_that_does_not_know_the_apps_rules_keeps_a_quiet_night(tmp_path) -> None:
    def opened(caps: dict[str, object] | None) -> Personalizer:
        settings = Settings(path=str(tmp_path / "taste.db"), caps=caps)
        return Personalizer(small_catalog(4), settings, key=FIXED_KEY, consent=LOCAL)

    with opened(PUSH) as device:
        device.controls.set_weekly_limit(2, quiet_at_night=True)
    with opened(None) as page:
        page.controls.set_weekly_limit(1)
        assert page.controls.limits["quiet_hours"]

"""`why_not` is true: what it holds back is in no list, all else is, and it ends when it says."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st

from tactful import Catalog, Event, Item, ListPolicy, Personalizer, Settings
from tactful.device.caps.cap_explanations import CapExplanations
from tactful.device.clock import ManualClock
from tactful.testing import FIXED_KEY, LOCAL

HOUR = 3_600_000
ITEMS = 8
CATALOG = Catalog(
    Item(id=f"i{n}", title=f"T{n}", category=f"c{n % 3}", brand=f"b{n % 2}")
    for n in range(ITEMS)
)
CAPS = {
    "schema": 1,
    "rules": [
        {
            "id": name,
            "key": [key],
            "window": {"kind": "sliding", "ms": hours * HOUR},
            "limit": limit,
            "reason_code": name.upper(),
        }
        for name, key, hours, limit in (
            ("once", "item", 24, 1),
            ("week", "item", 24 * 7, 3),
            ("kind", "category", 6, 2),
        )
    ],
}
steps = st.lists(
    st.one_of(
        st.tuples(st.just("show"), st.integers(1, 4)),
        st.tuples(st.just("wait"), st.integers(1, 30)),
        st.tuples(
            st.sampled_from(
                ["like", "dislike", "purchase", "dismiss", "hide", "report"]
            ),
            st.integers(0, ITEMS - 1),
        ),
    ),
    max_size=6,
)


def live(me: Personalizer, clock: ManualClock, told: list[tuple[str, int]]) -> None:
    for kind, number in told:
        if kind == "show":
            for pick in me.recommend(number):
                me.observe(pick.impression())
        elif kind == "wait":
            clock.advance(number * HOUR)
        else:
            me.observe(Event(kind=kind, item_id=f"i{number}"))


def check(told: list[tuple[str, int]]) -> None:
    clock = ManualClock()
    settings = Settings(path=None, caps=CAPS, list_policy=ListPolicy(places={}))
    with Personalizer(
        CATALOG, settings, key=FIXED_KEY, consent=LOCAL, clock=clock
    ) as me:
        live(me, clock, told)
        shown = {item.item.id for item in me.explain.preview(ITEMS)}
        for item in CATALOG:
            why = me.explain.why_not(item.id)
            alone = me.recommend(1, exclude=others(item.id))
            for pick in alone:
                me.release(pick)
            free = not why.denials and why.place is not None
            assert ([pick.item.id for pick in alone] == [item.id]) == free
            assert (item.id in shown) == free
            waits = [denial.wait_ms for denial in why.denials]
            if why.place is not None and waits and None not in waits:
                later = timedelta(milliseconds=max(waits))
                assert item.id in {
                    one.item.id for one in me.explain.preview(ITEMS, ahead=later)
                }


def others(item_id: str) -> list[str]:
    return [item.id for item in CATALOG if item.id != item_id]


@given(told=steps)
@budget(max_examples=40)
def test_what_why_not_says_is_what_lists_do(told: list[tuple[str, int]]) -> None:
    check(told)


def test_if_it_kept_a_limit_to_itself_it_would_be_found_out(monkeypatch) -> None:
    monkeypatch.setattr(CapExplanations, "why_not", lambda *_: ())

    with pytest.raises(AssertionError):
        check([("show", 3)])

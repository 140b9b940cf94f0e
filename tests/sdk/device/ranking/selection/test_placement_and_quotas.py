"""Quotas yield in their order, and the house's rules hold whatever limits refuse."""

from math import ceil

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_world import CATALOG, ITEMS, SHELF, STANDING, context, histories, numbers

from tactful.device.list_policy import ListPolicy, PlacementRules
from tactful.device.ranking.pipeline import Ranking, rank
from tactful.device.ranking.selection.diversity import diversify
from tactful.device.ranking.selection.placement_rules import place_items
from tactful.device.ranking.selection.quotas import RELAXED_FIRST, Quota, QuotaTracker
from tactful.errors import InvalidInput

ids = st.integers(0, ITEMS + 5).map(lambda n: f"i{n:02}")  # some are of no item
marks = st.one_of(
    st.tuples(st.just("category"), st.integers(0, 5).map(lambda n: f"c{n}")),
    st.tuples(st.just("brand"), st.integers(0, 6).map(lambda n: f"b{n}")),
    st.tuples(st.just("id"), ids),
)
rules = st.builds(
    PlacementRules,
    pins=st.dictionaries(st.integers(0, 12), ids, max_size=3),
    notices=st.lists(ids, max_size=2, unique=True).map(tuple),
    standard_share=st.sampled_from([0.0, 0.2, 0.5, 1.0]),
    apart=st.lists(st.tuples(marks, marks), max_size=2).map(tuple),
    never=st.lists(marks, max_size=2).map(tuple),
)


def granted(ranking: Ranking, refused: set[int], length: int) -> list[int]:
    """What is shown when limits refuse `refused`: the walk of `decide`, then the arrangement."""
    found: list[int] = []
    for number in ranking.line():
        if len(found) == length:
            break
        if number not in refused:
            found.append(number)
    return ranking.placed_list.arranged(found)


@given(
    house=rules,
    likes=histories,
    balance=st.sampled_from([0.0, 0.5, 1.0]),
    refused=st.sets(numbers, max_size=40),
    length=st.integers(0, 12),
)
def test_no_list_breaks_a_house_rule_whatever_limits_refuse(
    house: PlacementRules,
    likes: dict[int, float],
    balance: float,
    refused: set[int],
    length: int,
) -> None:
    ranking = rank(
        context(likes, balance, list_policy=ListPolicy(), rules=house), length=length
    )
    shown = granted(ranking, refused, length)
    items = [CATALOG.items[number] for number in shown]

    assert len(set(shown)) == len(shown)
    assert not any(SHELF.has_value(*mark)[shown].any() for mark in house.never)
    assert not any(
        house.parts(one, other)
        for place, one in enumerate(items)
        for other in items[:place]
    )
    for number, place in ranking.placed_list.fixed.items():
        if number not in refused and place < len(shown):
            assert shown[place] == number


@given(likes=histories, refused=st.sets(numbers, max_size=30), share=st.floats(0, 1))
def test_the_standard_share_holds_whatever_limits_refuse(
    likes: dict[int, float], refused: set[int], share: float
) -> None:
    house = PlacementRules(standard_share=share)
    ranking = rank(context(likes, 1.0, rules=house), length=10)
    shown = granted(ranking, refused, 10)

    open_standard = [int(n) for n in STANDING.order if int(n) not in refused]
    reach = open_standard[
        : 10 + len(refused)
    ]  # each refused one is replaced by a later one
    assert sum(number in reach for number in shown) >= ceil(share * 10)


def test_without_the_promise_a_personal_list_has_less_of_the_standard() -> None:
    likes = {50: 9.0, 51: 9.0, 52: 9.0}
    first = set(STANDING.order[:10].tolist())

    free, bound = (
        rank(context(likes, 1.0, rules=PlacementRules(standard_share=share)), length=10)
        for share in (0.0, 0.5)
    )
    counts = [len(first.intersection(one.placed_list.numbers)) for one in (free, bound)]
    assert counts[0] < 5 <= counts[1]


def test_pins_stand_where_they_are_pinned_and_notices_are_there() -> None:
    house = PlacementRules(pins={0: "i41", 3: "i07"}, notices=("i59",))

    for balance in (0.0, 1.0):
        listed = rank(
            context({3: 1.0}, balance, rules=house), length=10
        ).placed_list.numbers
        assert (listed[0], listed[3], listed[9]) == (41, 7, 59)


def test_of_two_that_may_not_meet_the_pinned_one_stays() -> None:
    house = PlacementRules(
        pins={4: "i01"}, apart=((("category", "c1"), ("brand", "b3")),)
    )
    listed = rank(context({}, 0, rules=house), length=12).placed_list.numbers

    assert listed[4] == 1
    assert not any(CATALOG.items[n].brand == "b3" for n in listed if n != 1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"standard_share": 1.5},
        {"pins": {-1: "i00"}},
        {"never": (("colour", "red"),)},
        {"apart": ((("brand", "a"), ("colour", "red")),)},
    ],
)
def test_rules_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        PlacementRules(**wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {"objective": "best"},
        {"most": {"colour": 2}},
        {"most": {"brand": 0}},
        {"places": {"fresh": 2.0}},
        {"surfaces": {"home": -0.1}},
    ],
)
def test_list_policies_that_make_no_sense_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        ListPolicy(**wrong)


@given(
    most=st.dictionaries(st.sampled_from(["category", "brand"]), st.integers(1, 4)),
    likes=histories,
    balance=st.floats(0, 1),
    length=st.integers(1, 12),
)
def test_a_quota_holds_unless_it_is_reported_to_have_yielded(
    most: dict[str, int], likes: dict[int, float], balance: float, length: int
) -> None:
    ranking = rank(
        context(likes, balance, list_policy=ListPolicy(most=most, places={})),
        length=length,
    )
    listed = list(ranking.placed_list.numbers)
    yielded = {name for place, name in ranking.relaxed if place < length}

    for name, limit in most.items():
        counts = np.bincount(SHELF.labels(name)[listed])
        assert name in yielded or counts.max() <= limit


@given(
    limits=st.dictionaries(
        st.sampled_from(RELAXED_FIRST), st.integers(1, 3), min_size=2
    )
)
def test_quotas_yield_in_the_fixed_order(limits: dict[str, int]) -> None:
    pool = np.arange(20)
    quotas = [
        Quota(name, np.arange(20, dtype=np.int32) // (2 + place), limit)
        for place, (name, limit) in enumerate(limits.items())
    ]
    choice = QuotaTracker(quotas, pool)
    diversify(
        SHELF, pool, np.linspace(1, 0, 20), depth=20, diversity=0.0, tracker=choice
    )

    order = [RELAXED_FIRST.index(name) for _, name in choice.relaxed]
    assert order == sorted(order)
    places = [place for place, _ in choice.relaxed]
    assert places == sorted(places)


def test_variants_of_one_offer_are_one_family_even_if_nobody_says_so() -> None:
    from tactful.device.catalog import Catalog, Item
    from tactful.device.ranking.scoring.catalog_scores import (
        CatalogArrays,
        ItemPopularity,
    )

    titles = ["Red mug, 300 ml", "RED MUG 300ml", "Blue mug", "Red mug 300 ml!"]
    catalog = Catalog(Item(id=f"m{n}", title=title) for n, title in enumerate(titles))
    one = context(
        {},
        0,
        standing=ItemPopularity(CatalogArrays(catalog), None),
        list_policy=ListPolicy(),
    )

    assert rank(one, length=2).placed_list.numbers == (0, 2)
    assert dict(map(reversed, rank(one, length=4).relaxed)) == {"family": 2}


def test_the_table_gives_what_is_owed_its_place_at_the_end() -> None:
    from tactful.device.ranking.selection.placement_rules import ReservedPlaces
    from tactful.device.ranking.values import Source

    order = list(range(20))
    house = place_items(
        PlacementRules(),
        CATALOG.items,
        order,
        [ReservedPlaces(Source.FRESH, 2, [15, 3, 16])],
        required={},
        length=5,
    )

    assert house.numbers == (0, 1, 2, 3, 15)
    assert house.sources[15] is Source.FRESH
    assert house.sources[3] is Source.PERSONAL  # it would have been there anyway


@given(house=rules, likes=histories, refused=st.sets(numbers, max_size=40))
def test_a_notice_is_in_every_list_that_may_hold_it(
    house: PlacementRules, likes: dict[int, float], refused: set[int]
) -> None:
    ranking = rank(
        context(likes, 0.5, list_policy=ListPolicy(), rules=house), length=10
    )
    shown = [CATALOG.items[number].id for number in granted(ranking, refused, 10)]
    before = [CATALOG[item_id] for item_id in house.pins.values() if item_id in CATALOG]

    for item_id in house.notices:
        if item_id not in CATALOG:
            continue
        item, number = CATALOG[item_id], CATALOG.number(item_id)
        banned = any(SHELF.has_value(*mark)[number] for mark in house.never)
        parted = any(house.parts(item, other) for other in before if other != item)
        assert item_id in shown or banned or parted or number in refused
        before.append(item)

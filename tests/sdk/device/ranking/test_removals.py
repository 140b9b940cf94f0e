"""Each defence is needed: with it the law holds, and once it is taken out the law is broken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
from small_world import CATALOG, MODEL, SHELF, STANDING, context, made_model

from tactful.device.catalog import Catalog, Item
from tactful.device.clock import ManualClock
from tactful.device.events import Event
from tactful.device.list_policy import ListPolicy, PlacementRules
from tactful.device.personalizer import Personalizer
from tactful.device.ranking import list_builder
from tactful.device.ranking.candidates import gather
from tactful.device.ranking.explanations import reasons
from tactful.device.ranking.pipeline import Ranking, rank
from tactful.device.ranking.scoring import adjustments, taste
from tactful.device.ranking.scoring.catalog_scores import ItemPopularity
from tactful.device.ranking.scoring.list_context import ListContext
from tactful.device.ranking.selection import near_duplicates, reserved_places
from tactful.device.ranking.selection.near_duplicates import standing
from tactful.device.ranking.selection.placement_rules import _Table
from tactful.device.ranking.selection.quotas import QuotaTracker
from tactful.device.ranking.values import Source
from tactful.device.settings import Settings
from tactful.device.state import profile
from tactful.device.state.profile import ActivitySession
from tactful.testing import FIXED_KEY, LOCAL

LIKES = {3: 4.0, 8: 2.0}
NO_CAPS: dict[str, object] = {"schema": 1, "rules": []}
Law = Callable[[], bool]


def device(catalog: Catalog = CATALOG, **choices: object) -> Personalizer:
    chosen: dict[str, object] = {
        "caps": NO_CAPS,
        "balance": 1.0,
        "diversity": 0.0,
        **choices,
    }
    model = made_model(len(catalog)) if len(catalog) == len(CATALOG) else None
    clock = ManualClock()
    settings = Settings(path=None, **chosen)
    return Personalizer(
        catalog, settings, key=FIXED_KEY, consent=LOCAL, clock=clock, model=model
    )


def ids(me: Personalizer, count: int = 10, **asked: object) -> list[str]:
    return [pick.item.id for pick in me.recommend(count, **asked)]


def numbers(made: Ranking) -> tuple[int, ...]:
    return made.placed_list.numbers


def everyones_list_is_everyones() -> bool:
    one = rank(context(LIKES, 0.0, wear={0: 5.0}, withheld=frozenset({1})), length=8)
    return numbers(one) == numbers(rank(context({}, 0.0), length=8))


def what_is_in_no_list_is_in_none() -> bool:
    rules = PlacementRules(never=(("category", "c1"),))
    return all(
        n % 6 != 1 for n in numbers(rank(context(LIKES, 0.5, rules=rules), length=10))
    )


def two_that_may_not_meet_do_not() -> bool:
    rules = PlacementRules(apart=((("category", "c0"), ("category", "c1")),))
    kinds = {n % 6 for n in numbers(rank(context({}, 0.0, rules=rules), length=10))}
    return not {0, 1} <= kinds


def a_quota_yields_only_if_it_says_so() -> bool:
    list_policy = ListPolicy(most={"brand": 1}, places={})
    asked = replace(
        context({}, 0.0, list_policy=list_policy),
        excluded=frozenset({"i01", "i02", "i03"}),
    )
    made = rank(asked, length=6)
    return len({n % 7 for n in numbers(made)}) == 6 or bool(made.relaxed)


def what_is_owed_comes_in() -> bool:
    rules = PlacementRules(standard_share=0.5)
    made = numbers(rank(context(LIKES, 1.0, 0.0, rules=rules), length=10))
    return len(set(made) & set(STANDING.order[:10].tolist())) >= 5


def best_sellers_keep_to_their_share() -> bool:
    made = numbers(rank(context({59: 3.0, 58: 3.0, 57: 3.0}, 0.1, 0.0), length=10))
    head = int((STANDING.best_sellers[list(made)] == 0).sum())
    return head <= int(np.ceil((1 / 5 + 0.3) * 10))


def popularity_weighs_a_little_less() -> bool:
    scored = rank(context({}, 0.0, 0.0), length=10).scored
    return bool(abs(scored.final - scored.balanced).max() > 1e-3)


def what_is_worn_stands_lower() -> bool:
    best = numbers(rank(context(LIKES, 0.6, 0.0), length=10))[0]
    worn = rank(context(LIKES, 0.6, 0.0, wear={best: 3.0}), length=10)
    return numbers(worn)[0] != best


def scores_lie_on_the_grid() -> bool:
    final = rank(context(LIKES, 0.37), length=10).scored.final * adjustments.GRID
    return bool((final == np.rint(final)).all())


def a_cited_reason_is_one_without_which_the_item_falls() -> bool:
    made = rank(context({n: 1.0 + n for n in range(5)}, 0.8), length=10)
    return all(reasons.citations_hold(made, numbers(made)))


def near_duplicates_are_one_family() -> bool:
    rows = np.random.default_rng(1).standard_normal((60, 16)).astype(np.float32)
    rows[42] = rows[0]  # of one category and brand
    model = replace(MODEL, basis=rows, scale=np.ones(16, dtype=np.float32))
    return 42 in np.flatnonzero(standing(SHELF, model).shelf.family == 0)


def nothing_is_derived_from_what_is_sensitive() -> bool:
    catalog = Catalog(
        Item(id=f"i{n}", title=f"T{n}", category=f"c{n % 3}") for n in range(12)
    )
    with device(catalog, list_policy=ListPolicy(places={}, sensitive=("c1",))) as me:
        before = me.explain.preview(6)
        me.observe(Event(kind="like", item_id="i10"))
        return before == me.explain.preview(6)


def one_passing_look_is_no_interest() -> bool:
    with device(list_policy=ListPolicy(places={})) as me:
        before = me.explain.preview(9)
        me.observe(Event(kind="dwell", item_id="i55", value=90.0))
        return before == me.explain.preview(9)


def what_one_has_is_not_offered() -> bool:
    with device() as me:
        best = ids(me)[0]
        me.observe(Event(kind="purchase", item_id=best))
        return best not in ids(me, 60)


def what_is_disliked_is_not_offered() -> bool:
    with device() as me:
        best = ids(me)[0]
        me.observe(Event(kind="dislike", item_id=best))
        return best not in ids(me, 60)


def trials_end_with_the_sitting() -> bool:
    places = {"exploration": 0.2}
    with device(list_policy=ListPolicy(places=places, trials=2, fatigue=0)) as me:
        me.observe(Event(kind="like", item_id="i50"))
        tried = 0
        for _ in range(4):
            picks = me.recommend(10)
            tried += sum(pick.source is Source.EXPLORATION for pick in picks)
            for pick in picks:
                me.observe(pick.impression())
        return tried <= 2


def what_is_new_is_lifted_only_a_few_times() -> bool:
    new = datetime.fromtimestamp(ManualClock().reading().wall_ms // 1000, UTC).date()
    items = [Item(id=f"i{n}", title=f"T{n}", since=date(2000, 1, 1)) for n in range(40)]
    catalog = Catalog(
        [*items, Item(id="new", title="New", since=new - timedelta(days=1))]
    )
    with device(
        catalog, list_policy=ListPolicy(places={"fresh": 0.1}, most={}, fatigue=0)
    ) as me:
        me.observe(Event(kind="like", item_id="i3"))
        lifted = 0
        for _ in range(6):
            picks = me.recommend(10)
            lifted += any(pick.item.id == "new" for pick in picks)
            for pick in picks:
                me.observe(pick.impression())
        return lifted <= gather.FRESH_SHOWS


def what_is_hidden_is_no_candidate() -> bool:
    """Else the list is varied around what limits refuse anyway."""
    with device() as me:
        me.observe(Event(kind="like", item_id="i01"))
        me.observe(Event(kind="hide", item_id="i00", scope="category", confirmed=True))
        return not any(denial.item_id for denial in me.recommend(10).denials)


def an_earlier_list_is_not_made_again_from_another_model() -> bool:
    one, other = (
        ItemPopularity(SHELF, made_model(seed=seed)).digest for seed in (7, 8)
    )
    return one != other


REMOVALS: list[tuple[Law, object, str, object]] = [
    (everyones_list_is_everyones, ListContext, "without_person", lambda self: self),
    (
        what_is_in_no_list_is_in_none,
        ListContext,
        "eligible",
        lambda self: np.ones(60, dtype=np.bool_),
    ),
    (two_that_may_not_meet_do_not, PlacementRules, "parts", lambda *_: False),
    (a_quota_yields_only_if_it_says_so, QuotaTracker, "fits", lambda self, free: free),
    (what_is_owed_comes_in, _Table, "reserve", lambda *_: None),
    (best_sellers_keep_to_their_share, reserved_places, "HEAD_MARGIN", 1.0),
    (popularity_weighs_a_little_less, adjustments, "POPULARITY_WEIGHT", 0.0),
    (
        what_is_worn_stands_lower,
        adjustments,
        "fatigue_factor",
        lambda wear, _: np.ones(len(wear)),
    ),
    (scores_lie_on_the_grid, adjustments, "round_to_grid", lambda scores: scores),
    (near_duplicates_are_one_family, near_duplicates, "NEAR", 1.1),
    (
        nothing_is_derived_from_what_is_sensitive,
        ListPolicy,
        "concern",
        lambda *_: False,
    ),
    (one_passing_look_is_no_interest, profile, "LEAST_DAYS", 1),
    (what_one_has_is_not_offered, taste, "_bought", lambda *_: ((), frozenset())),
    (what_is_disliked_is_not_offered, taste, "WITHHELD", -99.0),
    (trials_end_with_the_sitting, ActivitySession, "at", lambda *_: 0),
    (what_is_new_is_lifted_only_a_few_times, reserved_places, "FRESH_SHOWS", 99),
    (
        what_is_hidden_is_no_candidate,
        list_builder.ListBuilder,
        "_hidden",
        lambda *_: frozenset(),
    ),
    (
        an_earlier_list_is_not_made_again_from_another_model,
        ItemPopularity,
        "digest",
        "same",
    ),
]


@pytest.mark.parametrize(
    ("law", "of", "name", "instead"),
    REMOVALS,
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_without_its_defence_a_law_is_broken(
    law: Law, of: object, name: str, instead: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert law()

    monkeypatch.setattr(of, name, instead)

    assert not law()

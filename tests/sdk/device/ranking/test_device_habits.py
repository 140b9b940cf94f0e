"""Second taps, sittings, days as evidence, families of one, models that age or are replaced."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from small_world import made_model

from tactful.device.catalog import Catalog, Item
from tactful.device.clock import ManualClock
from tactful.device.consent import Consent
from tactful.device.events import Event
from tactful.device.list_policy import ListPolicy
from tactful.device.personalizer import Personalizer
from tactful.device.ranking.list_builder import freshness
from tactful.device.ranking.list_metrics import rank_biased_overlap
from tactful.device.ranking.scoring.balance import most_personal
from tactful.device.ranking.values import Source
from tactful.device.settings import Aggregators, Settings
from tactful.device.state.profile import Belief
from tactful.errors import InvalidInput, TransportError
from tactful.protocol.documents.model_release import ModelRelease
from tactful.testing import FIXED_KEY, LOCAL, small_catalog

DAY = timedelta(days=1)
NO_CAPS: dict[str, object] = {"schema": 1, "rules": []}
ALL = Consent.to("local_profile", "local_personalization", "diagnostics")
FAMILY_ONCE: dict[str, object] = {
    "schema": 1,
    "rules": [
        {
            "id": "one-of-a-family",
            "key": ["family"],
            "window": {"kind": "sliding", "ms": 86_400_000},
            "limit": 1,
            "reason_code": "FAMILY",
        }
    ],
}
PAIR = Aggregators(
    model="shop",
    leader="http://127.0.0.1:9",
    helper="http://127.0.0.1:10",
    leader_key="A" * 43 + "=",
    helper_key="B" * 42 + "A=",
)


def device(
    catalog: Catalog | None = None,
    clock: ManualClock | None = None,
    *,
    path: Path | None = None,
    model_seed: int | None = None,
    consent: Consent = LOCAL,
    caps: dict[str, object] = NO_CAPS,
    **choices: object,
) -> Personalizer:
    catalog = small_catalog() if catalog is None else catalog
    choices.setdefault("list_policy", ListPolicy(places={}))
    return Personalizer(
        catalog,
        Settings(path=None if path is None else str(path), caps=caps, **choices),
        key=FIXED_KEY,
        consent=consent,
        clock=clock or ManualClock(),
        model=None if model_seed is None else made_model(len(catalog), model_seed),
    )


def test_a_whole_category_is_hidden_only_after_a_second_tap() -> None:
    with device() as me:
        item = me.recommend(1)[0].item
        with pytest.raises(InvalidInput, match=r"event\.confirmed: .*second tap"):
            me.observe(Event(kind="hide", item_id=item.id, scope="category"))
        assert any(pick.item.category == item.category for pick in me.recommend(20))

        me.observe(
            Event(kind="hide", item_id=item.id, scope="category", confirmed=True)
        )

        assert all(pick.item.category != item.category for pick in me.recommend(20))


def test_trials_end_with_the_sitting_and_begin_with_the_next() -> None:
    clock = ManualClock()
    catalog = Catalog(
        Item(id=f"i{n}", title=f"Item {n}", category=f"c{n % 9}", family=f"f{n}")
        for n in range(400)
    )
    list_policy = ListPolicy(places={"exploration": 0.2}, trials=3)
    with device(catalog, clock, list_policy=list_policy) as me:
        me.observe(Event(kind="like", item_id="i7"))
        tried = []
        for _ in range(6):
            picks = me.recommend(10)
            tried.append(sum(pick.source is Source.EXPLORATION for pick in picks))
            for pick in picks:
                me.observe(pick.impression())
            clock.advance(60_000)
        assert sum(tried) == 3
        assert tried[-1] == 0

        clock.advance(1_800_000)

        assert sum(pick.source is Source.EXPLORATION for pick in me.recommend(10)) == 2


def test_what_is_done_in_passing_counts_once_it_happened_on_two_days() -> None:
    clock = ManualClock()
    with device(clock=clock) as me:
        item_id = next(iter(me.catalog)).id
        for _ in range(3):
            me.observe(Event(kind="view", item_id=item_id))
        (one,) = (i for i in me.explain.interests() if i.scope == "item")
        assert (one.days, one.usable) == (1, False)

        clock.advance(86_400_000)
        me.observe(Event(kind="view", item_id=item_id))

        (one,) = (i for i in me.explain.interests() if i.scope == "item")
        assert (one.days, one.usable) == (2, True)


def test_what_was_acted_upon_counts_at_once() -> None:
    assert not Belief({14: (9.0, 0)}, (("view", 0),)).is_lasting
    assert Belief({180: (2.0, 0)}, (("like", 0),)).is_lasting


def test_items_without_a_family_are_not_limited_as_one() -> None:
    catalog = Catalog(Item(id=f"i{n}", title=f"Item {n}") for n in range(5))
    with device(catalog, caps=FAMILY_ONCE) as me:
        for pick in me.recommend(2):
            me.observe(pick.impression())

        assert len(me.recommend(3)) == 3


def test_variants_of_one_family_are_limited_as_one() -> None:
    catalog = Catalog(Item(id=f"i{n}", title=f"Item {n}", family="f") for n in range(5))
    with device(
        catalog, caps=FAMILY_ONCE, list_policy=ListPolicy(most={}, places={})
    ) as me:
        assert len(me.recommend(3)) == 1


def test_a_list_is_not_made_again_from_another_model(tmp_path: Path) -> None:
    path = tmp_path / "vault.db"
    with device(path=path, model_seed=1, consent=ALL) as me:
        me.observe(Event(kind="like", item_id=next(iter(me.catalog)).id))
        decision = me.recommend(5).decision_id
    with device(path=path, model_seed=1, consent=ALL) as same:
        assert same.explain.replay(decision).same
    with device(path=path, model_seed=2, consent=ALL) as other:
        with pytest.raises(InvalidInput, match="its model is no longer kept"):
            other.explain.replay(decision)
        with pytest.raises(InvalidInput, match="its model is no longer kept"):
            other.explain.trace(decision, next(iter(other.catalog)).id)


def test_an_old_model_shrinks_the_personal_share() -> None:
    release = ModelRelease.__new__(ModelRelease)
    object.__setattr__(release, "created", 0)
    object.__setattr__(release, "expires", 1000)
    ages = [500, 1000, 2000, 3000]

    fresh = [freshness(release, age) for age in ages]

    assert fresh == [1.0, 1.0, 0.5, 0.25]
    shares = [
        most_personal(app=0.6, surface=1, person=1, allowed=True, staleness=one)
        for one in fresh
    ]
    assert shares == [0.6, 0.6, 0.5, 0.25]


def test_a_refresh_is_due_at_once_and_then_by_the_schedule_with_a_delay_of_ones_own() -> (
    None
):
    clock = ManualClock()
    with device(clock=clock, aggregators=PAIR, refresh_hours=10.0) as me:
        now = datetime.fromtimestamp(clock.reading().wall_ms // 1000, UTC)
        assert me.sharing.refresh_due() == now

        with pytest.raises(TransportError):  # nobody answers there
            me.sharing.refresh()

        due = me.sharing.refresh_due()
        assert due is not None
        assert timedelta(hours=10) <= due - now <= timedelta(hours=12.5)
        assert due == me.sharing.refresh_due()


def test_a_device_that_shares_with_nobody_has_nothing_to_refresh() -> None:
    with device() as me:
        assert me.sharing.refresh_due() is None


def test_a_device_measures_its_own_lists_and_names_no_item() -> None:
    clock = ManualClock()
    with device(clock=clock, model_seed=1) as me:
        assert me.explain.metrics() is None
        me.observe(Event(kind="like", item_id=next(iter(me.catalog)).id))
        first, second = me.recommend(6), me.recommend(6)
        again = len({p.item.id for p in first} & {p.item.id for p in second})

        told = me.explain.metrics()

        assert told is not None
        assert (told.lists, told.fill, told.cap_hits) == (2, 1.0, 0.0)
        assert told.repeats_unwanted + told.repeats_wanted == again / 12
        assert told.coverage == (12 - again) / len(me.catalog)
        assert told.lift is not None
        assert all(
            value is None or isinstance(value, int | float)
            for value in vars(told).values()
        )


def test_wear_overlap_and_surprise_are_as_recounted_from_the_lists() -> None:
    clock = ManualClock()
    free = ListPolicy(most={}, places={}, fatigue=0)
    with device(clock=clock, model_seed=1, list_policy=free) as me:
        me.observe(Event(kind="like", item_id=next(iter(me.catalog)).id))
        first = me.recommend(6)
        for pick in first:
            me.observe(pick.impression())
        second, elsewhere = me.recommend(6), me.recommend(6, surface="elsewhere")
        told = me.explain.metrics()

        assert told is not None
        lists = [[pick.item.id for pick in one] for one in (first, second)]
        coded = [[hash(item_id) for item_id in one] for one in lists]
        both = len(set(lists[0]) & set(lists[1]))
        assert told.jaccard == both / (
            12 - both
        )  # lists of one surface alone are compared
        assert told.overlap == pytest.approx(rank_biased_overlap(*coded))
        shown = {pick.item.id for pick in first}
        again = sum(
            pick.item.id in shown for one in (second, elsewhere) for pick in one
        )
        assert told.fatigue == pytest.approx(again / 18)
        assert (told.faithfulness, told.unrepeated, told.relaxations) == (1.0, 1.0, 0.0)
        assert told.serendipity == 0.0  # nothing of it is liked yet
        for pick in first:
            me.observe(Event(kind="like", item_id=pick.item.id))
        after = me.explain.metrics()
        assert after is not None
        assert after.serendipity > 0
        assert after.long_tail == pytest.approx(1 - (after.head or 0.0))


def test_at_balance_zero_all_places_are_everyones() -> None:
    with device(model_seed=1, balance=0.0, diversity=0.0) as me:
        me.recommend(6)

        told = me.explain.metrics()

        assert told is not None
        assert told.standard == 1.0


def test_what_limits_refuse_is_counted() -> None:
    catalog = Catalog(Item(id=f"i{n}", title=f"Item {n}", family="f") for n in range(5))
    with device(
        catalog, caps=FAMILY_ONCE, list_policy=ListPolicy(most={}, places={})
    ) as me:
        me.recommend(3)

        told = me.explain.metrics()

        assert told is not None
        assert (told.fill, told.cap_hits) == (1 / 3, 4 / 5)

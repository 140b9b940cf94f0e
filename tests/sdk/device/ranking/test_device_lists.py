"""Lists on a device: feedback and its undoing, wanted repeats, trials, replay, what is not read."""

import os
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import settings as budget
from hypothesis import strategies as st
from small_world import made_model

from tactful.device.catalog import Catalog, Item
from tactful.device.clock import MS_PER_DAY, ManualClock
from tactful.device.consent import Consent
from tactful.device.events import TASTES, Event
from tactful.device.list_policy import ListPolicy, PlacementRules
from tactful.device.personalizer import Personalizer
from tactful.device.ranking.explanations.reasons import ReasonCode, Reasons
from tactful.device.ranking.pipeline import rank
from tactful.device.ranking.results import Missing
from tactful.device.ranking.scoring.catalog_scores import CatalogArrays, ItemPopularity
from tactful.device.ranking.scoring.list_context import ListContext
from tactful.device.ranking.scoring.taste import Taste
from tactful.device.ranking.values import Source
from tactful.device.settings import Settings
from tactful.device.vault.connections import Lines
from tactful.errors import InvalidInput, VaultError
from tactful.learning.model import Model
from tactful.testing import FIXED_KEY, LOCAL, small_catalog, small_device

NO_CAPS: dict[str, object] = {"schema": 1, "rules": []}
ALL = Consent.to("local_profile", "local_personalization", "diagnostics")
DAY = timedelta(days=1)


def device(
    catalog: Catalog | None = None,
    clock: ManualClock | None = None,
    *,
    path: Path | None = None,
    consent: Consent = LOCAL,
    caps: dict[str, object] | None = NO_CAPS,
    with_model: bool = False,
    **choices: object,
) -> Personalizer:
    choices.setdefault("list_policy", ListPolicy(places={}))
    catalog = small_catalog() if catalog is None else catalog
    settings = Settings(path=None if path is None else str(path), caps=caps, **choices)
    return Personalizer(
        catalog,
        settings,
        key=FIXED_KEY,
        consent=consent,
        clock=clock or ManualClock(),
        model=made_model(len(catalog)) if with_model else None,
    )


def ids(picks: object) -> list[str]:
    return [pick.item.id for pick in picks]


def kinds(me: Personalizer, n: int = 10) -> Counter[str]:
    return Counter(item.item.category for item in me.explain.preview(n))


# feedback


def test_a_like_shows_in_the_next_list_and_undo_takes_it_back() -> None:
    with device(balance=1.0) as me:
        before = me.explain.preview(10)
        liked = Event(kind="like", item_id="item-3")
        me.observe(liked)
        assert (
            kinds(me)["kind-3"]
            > Counter(item.item.category for item in before)["kind-3"]
        )

        me.controls.undo(liked.event_id)

        assert me.explain.preview(10) == before
        assert not me.status.profile.beliefs


def test_disliking_a_kind_thins_it_out_until_it_is_undone() -> None:
    with device(balance=1.0, diversity=0.0) as me:
        me.observe(Event(kind="like", item_id="item-0"))
        told = [Event(kind="dislike", item_id=f"item-{n}") for n in (8, 13, 18)]
        before = kinds(me, 20)["kind-3"]

        counts = []
        for event in told:
            me.observe(event)
            counts.append(kinds(me, 20)["kind-3"])
        assert counts == sorted(counts, reverse=True)
        assert counts[-1] == 0 < before

        for event in told:
            me.controls.undo(event.event_id)
        assert kinds(me, 20)["kind-3"] == before


@pytest.mark.parametrize("scope", ["category", "brand"])
def test_disliking_a_whole_scope_once_is_enough(scope: str) -> None:
    catalog = Catalog(
        Item(id=f"i{n}", title=f"Thing {n}", category=f"c{n % 3}", brand=f"b{n % 3}")
        for n in range(30)
    )
    with device(catalog, balance=1.0, diversity=0.0) as me:
        me.observe(Event(kind="like", item_id="i1"))
        me.observe(Event(kind="dislike", item_id="i0", scope=scope))

        listed = me.explain.preview(10)

        assert not any(
            getattr(one.item, scope) == getattr(catalog["i0"], scope) for one in listed
        )


def test_a_dislike_fades_and_a_liked_kind_comes_back() -> None:
    clock = ManualClock()
    with device(clock=clock, balance=1.0, diversity=0.0) as me:
        me.observe(Event(kind="dislike", item_id="item-0"))
        assert "item-0" not in [item.item.id for item in me.explain.preview(30)]

        clock.advance(500 * MS_PER_DAY)

        assert "item-0" in [item.item.id for item in me.explain.preview(30)]


@pytest.mark.parametrize("scope", ["item", "brand"])
def test_a_hide_holds_in_the_next_list_even_without_a_profile_and_can_be_undone(
    scope: str,
) -> None:
    catalog = Catalog(
        Item(id=f"i{n}", title=f"T{n}", brand=f"b{n % 2}") for n in range(12)
    )
    for consent in (LOCAL, Consent()):
        with device(catalog, consent=consent) as me:
            hide = Event(kind="hide", item_id="i0", scope=scope)
            me.observe(hide)
            shown = me.recommend(12)
            hidden = {"i0"} if scope == "item" else {f"i{n}" for n in range(0, 12, 2)}
            assert set(ids(shown)) == {item.id for item in catalog} - hidden
            assert set(shown.missing) == {Missing.CAPPED}
            for pick in shown:
                me.release(pick)

            me.controls.undo(hide.event_id)

            assert len(me.recommend(12)) == 12


def test_another_process_forgets_what_was_undone(tmp_path: Path) -> None:
    with (
        device(path=tmp_path / "v", balance=1.0) as one,
        device(path=tmp_path / "v") as other,
    ):
        events = [Event(kind=kind, item_id="item-3") for kind in ("like", "hide")]
        for event in events:
            one.observe(event)
        assert "item-3" in other.status.profile.beliefs
        assert "item-3" not in ids(other.recommend(30))

        for event in events:
            one.controls.undo(event.event_id)

        assert not other.status.profile.beliefs
        assert other.explain.why_not("item-3").denials == ()


def test_a_show_cannot_be_undone_nor_what_never_was() -> None:
    with device() as me:
        shown = me.recommend(1)[0].impression()
        me.observe(shown)

        for event_id in (shown.event_id, "never told"):
            with pytest.raises(InvalidInput):
                me.controls.undo(event_id)


def test_muting_an_interest_silences_it_and_boosting_lifts_it() -> None:
    with device(balance=1.0, diversity=0.0) as me:
        me.observe(Event(kind="like", item_id="item-3"))
        liked = kinds(me)
        me.controls.set_interest("category", "kind-3", 0.0)
        muted = kinds(me)
        me.controls.set_interest("category", "kind-4", 4.0)
        lifted = kinds(me)

        assert muted["kind-3"] < liked["kind-3"]
        assert lifted["kind-4"] > muted["kind-4"]
        with pytest.raises(InvalidInput):
            me.controls.set_interest("category", "kind-3", -1.0)


def test_each_interest_names_the_events_behind_it_and_weak_evidence_is_not_used() -> (
    None
):
    clock = ManualClock()
    with device(clock=clock, balance=1.0) as me:
        plain = me.explain.preview(10)
        me.observe(Event(kind="view", item_id="item-4"))
        assert [one.usable for one in me.explain.interests()] == [False, False]
        assert me.explain.preview(10) == plain

        clock.advance(MS_PER_DAY)
        me.observe(Event(kind="like", item_id="item-9"))
        first, *rest = me.explain.interests()

        assert (first.scope, first.value, first.usable) == ("category", "kind-4", True)
        newest, oldest = first.evidence
        assert (newest[0], newest[2]) == ("like", "item-9")
        assert (oldest[0], oldest[2]) == ("view", "item-4")
        assert newest[1] - oldest[1] == MS_PER_DAY
        me.controls.set_interest("category", "kind-4", 0.0)
        assert not me.explain.interests()[0].usable
        assert len(rest) == 2


# wanted repeats, freshness, trials


def shop(**more: object) -> Catalog:
    return Catalog(
        [
            Item(id="soap", title="Soap", category="bath", replenishable=True),
            Item(id="lamp", title="Lamp", category="home"),
            *(
                Item(id=f"i{n}", title=f"T{n}", category=f"c{n % 4}", **more)
                for n in range(40)
            ),
        ]
    )


def test_what_is_used_up_comes_back_when_it_is_due_and_not_before() -> None:
    clock = ManualClock()
    with device(
        shop(), clock, balance=1.0, list_policy=ListPolicy(places={"repeat_due": 0.1})
    ) as me:
        for item_id in ("soap", "lamp"):
            me.observe(Event(kind="purchase", item_id=item_id))
        assert not {"soap", "lamp"} & {item.item.id for item in me.explain.preview(42)}
        assert "already" in str(me.explain.why_not("lamp"))

        clock.advance(31 * MS_PER_DAY)
        picks = me.recommend(10)
        again = {pick.item.id: pick for pick in picks}

        assert "lamp" not in again
        assert again["soap"].source is Source.REPEAT_DUE
        assert str(again["soap"].reasons[0]) == "you may need it again"


def test_a_cycle_is_learnt_from_three_purchases() -> None:
    clock = ManualClock()
    with device(shop(), clock, balance=1.0) as me:
        for _ in range(3):
            me.observe(Event(kind="purchase", item_id="lamp"))
            clock.advance(10 * MS_PER_DAY)

        assert "lamp" in [item.item.id for item in me.explain.preview(10)]


def test_a_new_item_is_lifted_a_few_times_and_then_stands_on_its_own() -> None:
    clock = ManualClock()
    today = datetime.fromtimestamp(clock.wall_ms / 1000, UTC).date()
    catalog = Catalog(
        [*shop(), Item(id="new", title="New", category="c9", since=today)]
    )
    with device(
        catalog, clock, balance=1.0, list_policy=ListPolicy(places={"fresh": 0.1})
    ) as me:
        me.observe(Event(kind="like", item_id="i1"))
        for _ in range(3):
            lifted = {pick.item.id: pick for pick in me.recommend(10)}
            assert lifted["new"].reasons[0].code is ReasonCode.NEW
            me.observe(lifted["new"].impression())
            clock.advance(MS_PER_DAY // 24)

        assert "new" not in ids(me.recommend(10))


def test_an_old_item_or_one_of_tomorrow_is_not_new() -> None:
    clock = ManualClock()
    today = datetime.fromtimestamp(clock.wall_ms / 1000, UTC).date()
    for since in (today - 60 * DAY, today + DAY, date(1970, 1, 1)):
        catalog = Catalog([*shop(), Item(id="new", title="New", since=since)])
        with device(catalog, clock) as me:
            picks = me.recommend(10)
            assert Source.FRESH not in {pick.source for pick in picks}


def test_a_trial_is_labelled_and_limits_hold_for_it() -> None:
    with device(balance=1.0, list_policy=ListPolicy(places={"exploration": 0.1})) as me:
        me.observe(Event(kind="like", item_id="item-3"))
        [trial] = [p for p in me.recommend(10) if p.source is Source.EXPLORATION]
        assert str(trial.reasons[0]) == "trying something new"
        me.controls.mute("item", trial.item.id)

        assert trial.item.id not in ids(me.recommend(10))


def test_in_standard_mode_nothing_is_tried() -> None:
    with device() as me:
        me.observe(Event(kind="like", item_id="item-3"))

        picks = me.recommend(10, balance=0.0)

        assert {pick.source for pick in picks} == {Source.STANDARD}
        assert all(pick.is_standard for pick in picks)


# sensitive things


def test_nothing_is_derived_from_sensitive_items() -> None:
    catalog = Catalog(
        [
            Item(id="pill", title="Pill", category="Health", brand="acme"),
            Item(
                id="rite", title="Rite", category="c0", brand="acme", tags=("religion",)
            ),
            *(
                Item(id=f"i{n}", title=f"T{n}", category=f"c{n % 4}", brand="acme")
                for n in range(9)
            ),
        ]
    )
    with device(catalog, balance=1.0) as me:
        before = me.explain.preview(11)
        for kind in sorted(TASTES | {"click"}):
            for item_id in ("pill", "rite"):
                value = 5.0 if kind == "rating" else None
                me.observe(Event(kind=kind, item_id=item_id, value=value))

        assert not me.status.profile.beliefs
        assert me.explain.preview(11) == before


def test_what_becomes_sensitive_later_no_longer_counts(tmp_path: Path) -> None:
    with device(path=tmp_path / "v", balance=1.0) as me:
        plain = me.explain.preview(10)
        me.observe(Event(kind="like", item_id="item-3"))
        assert me.explain.preview(10) != plain
    list_policy = ListPolicy(sensitive=("kind-3",))
    with device(path=tmp_path / "v", balance=1.0, list_policy=list_policy) as me:
        assert me.explain.preview(10) == plain


# what is not read


def test_a_standard_list_reads_no_record_of_taste(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, made = tmp_path / "v", Lines.__init__
    with device(path=path) as me:
        for kind in sorted(TASTES):
            value = 5.0 if kind == "rating" else None
            me.observe(Event(kind=kind, item_id="item-3", value=value))

    def trapped(lines: Lines, place: Path | None) -> None:
        made(lines, place)
        lines.current().connection.set_authorizer(trap)

    def trap(action: int, table: str, column: str, *_: str) -> int:
        taste = action == sqlite3.SQLITE_READ and (table, column) == ("record", "taste")
        return sqlite3.SQLITE_DENY if taste else sqlite3.SQLITE_OK

    monkeypatch.setattr(Lines, "__init__", trapped)
    with device() as nobody:
        everyones = ids(nobody.recommend(10, balance=0.0))
    with device(path=path) as me:
        assert ids(me.recommend(10, balance=0.0)) == everyones
        me.controls.set_balance(0.0)
        for pick in me.recommend(10):
            me.observe(pick.impression())
        me.explain.why_not("item-3")
        me.explain.preview(10)
        me.controls.set_balance(1.0)
        with pytest.raises(VaultError):  # the trap can spring
            me.recommend(10)


@given(
    told=st.lists(
        st.tuples(st.sampled_from(["like", "dislike", "purchase"]), st.integers(0, 29)),
        max_size=6,
    )
)
@budget(max_examples=25)
def test_a_standard_list_is_everyones_order_less_what_limits_hold(
    told: list[tuple[str, int]],
) -> None:
    caps = {
        "schema": 1,
        "rules": [
            {
                "id": "once",
                "key": ["item"],
                "window": {"kind": "sliding", "ms": MS_PER_DAY},
                "limit": 1,
                "reason_code": "ONCE",
            }
        ],
    }
    standing = ItemPopularity(CatalogArrays(small_catalog()), made_model(30))
    line = rank(ListContext(standing, 0.0), length=10).line()
    everyones = [f"item-{number}" for number in line]
    with device(caps=caps, with_model=True) as me:
        for kind, number in told:
            me.observe(Event(kind=kind, item_id=f"item-{number}"))
        first = ids(me.recommend(10, balance=0.0))
        second = ids(me.recommend(10, balance=0.0))

    assert first == everyones[:10]
    assert second == [item_id for item_id in everyones if item_id not in first][:10]


# determinism


SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
from test_device_lists import ManualClock, ListPolicy, device
kept = {"path": sys.argv[2], "with_model": True, "caps": None}
with device(clock=ManualClock(), list_policy=ListPolicy(), **kept) as me:
    print([(p.item.id, p.score.hex(), p.reasons, p.source) for p in me.recommend(10)])
"""


def test_any_process_makes_the_same_list_byte_for_byte(tmp_path: Path) -> None:
    first = tmp_path / "first"
    first.mkdir()
    with device(path=first / "v", with_model=True, caps=None) as me:
        for n in (3, 8, 11):
            me.observe(Event(kind="like", item_id=f"item-{n}"))
    made = []
    for seed in ("1", "2"):
        path = Path(shutil.copytree(first, tmp_path / seed)) / "v"
        command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent), str(path)]
        hashed = {
            **os.environ,
            "PYTHONHASHSEED": seed,
            "PYTHONPATH": os.pathsep.join(sys.path),
        }
        made.append(
            subprocess.run(command, capture_output=True, check=True, env=hashed).stdout
        )

    assert made[0] == made[1]
    assert b"exploration" in made[0]


def test_an_earlier_list_is_made_again_whatever_happened_since(tmp_path: Path) -> None:
    clock = ManualClock()
    choices = {"path": tmp_path / "v", "consent": ALL, "with_model": True, "caps": None}
    with device(clock=clock, **choices) as me:
        me.observe(Event(kind="like", item_id="item-3"))
        first = me.recommend(10, exclude=["item-8"])
        for pick in first:
            me.observe(pick.impression())
        second = me.recommend(10)
        me.observe(Event(kind="dislike", item_id=first[0].item.id, scope="category"))
        me.controls.set_balance(0.1)
        clock.advance(5 * MS_PER_DAY)
        for picks in (first, second):
            again = me.explain.replay(picks.decision_id)
            assert again.same
            assert list(again.item_ids) == ids(picks)
        told = me.explain.trace(first.decision_id, first[2].item.id)
        assert (told.place, told.reasons) == (2, first[2].reasons)
        assert set(told.stages) == {"standard", "balance", "score"}
    with device(clock=clock, **choices) as me:
        assert me.explain.replay(first.decision_id).same
        with pytest.raises(InvalidInput):
            me.explain.replay("never")


def test_without_diagnostics_nothing_of_a_list_is_written_down() -> None:
    with device() as me:
        me.observe(Event(kind="like", item_id="item-3"))
        picks = me.recommend(5)

        assert me.explain.replay(picks.decision_id).same
        assert not [
            r for r in me.rights.export()["records"] if r["kind"] == "list_trace"
        ]


def test_traces_end_after_thirty_days_and_with_what_they_name() -> None:
    clock = ManualClock()
    with device(clock=clock, consent=ALL) as me:
        me.recommend(5)
        clock.advance(31 * MS_PER_DAY)
        me.rights.purge_expired()

        assert not [
            r for r in me.rights.export()["records"] if r["kind"] == "list_trace"
        ]


def test_looking_ahead_changes_nothing() -> None:
    with device(caps=None) as me:
        me.observe(Event(kind="like", item_id="item-3"))
        before = me.rights.export()

        me.explain.preview(10)
        me.explain.why_not("item-3")

        assert me.rights.export() == before


def test_looking_ahead_shows_what_limits_will_allow_then() -> None:
    caps = {
        "schema": 1,
        "rules": [
            {
                "id": "once",
                "key": ["item"],
                "window": {"kind": "sliding", "ms": MS_PER_DAY},
                "limit": 1,
                "reason_code": "ONCE",
            }
        ],
    }
    with device(caps=caps, consent=Consent()) as me:
        for pick in me.recommend(20):
            me.observe(pick.impression())

        assert len(me.explain.preview(30)) == 10
        assert len(me.explain.preview(30, ahead=timedelta(days=2))) == 30


# bad input and safe answers


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_list_longer_than_the_catalog_says_why_places_are_empty(count: int) -> None:
    with device(small_catalog(count)) as me:
        picks = me.recommend(5)

        assert len(picks) == count
        assert picks.missing == (Missing.EXHAUSTED,) * (5 - count)


def test_what_left_the_catalog_is_neither_offered_nor_an_error(tmp_path: Path) -> None:
    with device(path=tmp_path / "v", caps=None) as me:
        for kind in ("like", "purchase", "hide"):
            me.observe(Event(kind=kind, item_id="item-29"))
        shown = me.recommend(1)[0].impression()
    with device(small_catalog(20), path=tmp_path / "v", caps=None) as me:
        assert len(me.recommend(10)) == 10
        me.observe(shown)
        with pytest.raises(InvalidInput, match="not in the catalog"):
            me.observe(Event(kind="like", item_id="item-29"))


def test_a_shipped_model_must_be_whole_and_of_this_catalog() -> None:
    import numpy as np

    good = made_model(30)
    for name, wrong in (("basis", np.nan), ("popularity", np.inf), ("scale", np.nan)):
        arrays = {**good.arrays(), name: good.arrays()[name].copy()}
        arrays[name][0] = wrong
        columns = {**vars(good), name: arrays[name]}
        broken = type(good)(**{f: columns[f] for f in type(good).__dataclass_fields__})
        with pytest.raises(InvalidInput, match="model"):
            Personalizer(
                small_catalog(),
                Settings(path=None),
                key=FIXED_KEY,
                consent=LOCAL,
                model=broken,
            )
    with pytest.raises(InvalidInput, match="31 items"):
        Personalizer(
            small_catalog(),
            Settings(path=None),
            key=FIXED_KEY,
            consent=LOCAL,
            model=made_model(31),
        )


def test_bad_arguments_are_named() -> None:
    caps = {**NO_CAPS, "surfaces": {"home": {}}}
    with device(caps=caps) as me:
        with pytest.raises(InvalidInput, match="n:"):
            me.recommend(-1)
        with pytest.raises(InvalidInput, match="surface"):
            me.recommend(5, surface="cellar")
        with pytest.raises(InvalidInput, match="balance"):
            me.recommend(5, balance=2.0)
        assert len(me.recommend(0)) == 0


def test_a_surface_can_be_kept_standard() -> None:
    list_policy = ListPolicy(surfaces={"home": 0.0})
    with device(list_policy=list_policy, balance=1.0) as me:
        me.observe(Event(kind="like", item_id="item-3"))

        assert {pick.source for pick in me.recommend(10)} == {Source.STANDARD}


def test_house_rules_hold_on_a_device() -> None:
    brand = PlacementRules(
        pins={1: "item-29"}, notices=("item-28",), standard_share=0.5
    )
    with device(placement_rules=brand, balance=1.0) as me:
        me.observe(Event(kind="like", item_id="item-3"))
        picks = me.recommend(10)

        assert picks[1].item.id == "item-29"
        assert picks[1].reasons[0].code is ReasonCode.CHOSEN
        assert "item-28" in ids(picks)


def test_prices_and_texts_are_shown_as_the_catalog_has_them() -> None:
    catalog = small_catalog()
    with device(catalog, balance=1.0) as me:
        me.observe(Event(kind="like", item_id="item-3"))

        assert all(pick.item is catalog[pick.item.id] for pick in me.recommend(10))


def test_a_list_may_have_a_diversity_of_its_own_and_is_made_again_with_it() -> None:
    """So that the arm of an experiment can be shown without opening the device anew."""
    with small_device(consent=LOCAL.grant("diagnostics")) as me:
        for number in (0, 5, 10):
            me.observe(Event(kind="like", item_id=f"item-{number}"))
        own, usual = me.recommend(5, diversity=1.0), me.recommend(5)
        kinds = [len({pick.item.category for pick in picks}) for picks in (own, usual)]

        assert kinds[0] > kinds[1]
        assert me.explain.replay(own.decision_id).same
        me._core._lists._traces.clear()
        assert me.explain.replay(own.decision_id).same
        with pytest.raises(InvalidInput, match="diversity"):
            me.recommend(3, diversity="much")


def test_equal_scores_do_not_order_items_and_give_no_reason() -> None:
    """Likes that share nothing with other items say nothing about them."""
    catalog = Catalog(
        Item(id=f"T{n}", title=f"Title {n}", category=f"c{n}") for n in range(300)
    )
    with device(catalog, list_policy=ListPolicy(places={})) as me:
        for liked in ("T7", "T70", "T170"):
            me.observe(Event(kind="like", item_id=liked))
        picks = me.recommend(10)

    others = [pick for pick in picks if pick.item.id not in {"T7", "T70", "T170"}]
    # the app's own order, not that of ids as text (T0, T1, T10, T100, ...)
    assert [pick.item.id for pick in others] == [
        "T0",
        "T1",
        "T2",
        "T3",
        "T4",
        "T5",
        "T6",
    ]
    assert {reason.code for pick in others for reason in pick.reasons} == {
        ReasonCode.STANDARD
    }


def test_a_popularity_model_alone_gives_no_personal_reason() -> None:
    catalog = Catalog(
        Item(id=f"T{n}", title=f"Title {n}", category=f"c{n}") for n in range(60)
    )
    popularity = np.arange(60, 0, -1, dtype=np.float64) ** 2
    model = Model.of_popularity(popularity, np.ones(60), 1.0)
    taste = Taste(likes={9: 1.0}, known=1)
    worth = ItemPopularity(CatalogArrays(catalog), model)

    ranking = rank(
        ListContext(worth, 0.6, 0.0, ListPolicy(most={}, places={}), taste=taste),
        length=10,
    )

    reasons = Reasons(ranking, ranking.placed_list.numbers)
    codes = {
        r.code for n in ranking.placed_list.numbers if n != 9 for r in reasons.of(n)
    }
    assert codes == {ReasonCode.POPULAR}


twelve_kinds = st.lists(st.integers(0, 3), min_size=12, max_size=12)


@given(order=st.permutations(range(12)), kinds=twelve_kinds)
def test_a_renamed_item_stands_where_it_stood(
    order: list[int], kinds: list[int]
) -> None:
    """The order of ids decides nothing while no model is there."""

    def listed(names: list[str]) -> list[int]:
        items = [
            Item(id=name, title=f"Title {n}", category=f"c{kinds[n]}")
            for n, name in enumerate(names)
        ]
        context = ListContext(
            ItemPopularity(CatalogArrays(Catalog(items)), None),
            0.5,
            0.0,
            ListPolicy(most={}, places={}),
            taste=Taste(likes={0: 1.0}, known=1),
        )
        return list(rank(context, length=12).placed_list.numbers)

    assert listed([f"a{n:02}" for n in range(12)]) == listed(
        [f"b{n:02}" for n in order]
    )


@pytest.mark.parametrize("others", [80, 3000])
@pytest.mark.parametrize("balance", [0.0, 1.0])
def test_a_large_family_takes_no_more_places_than_its_quota(
    others: int, balance: float
) -> None:
    """Forty, or four thousand, variants fill the top of the order; other items are there."""
    variants = [
        Item(id=f"v{n}", title=f"Variant {n}", category="shirts", family="shirt")
        for n in range(others // 2)
    ]
    rest = [
        Item(id=f"o{n}", title=f"Other {n}", category=f"c{n % 20}")
        for n in range(others)
    ]
    with device(
        Catalog([*variants, *rest]),
        list_policy=ListPolicy(most={"category": 3}),
        balance=balance,
    ) as me:
        me.observe(Event(kind="like", item_id="v3"))
        picks = me.recommend(10)

    assert len(picks) == 10
    assert picks.relaxed == ()
    assert Counter(pick.item.category for pick in picks)["shirts"] <= 3

"""What an app hands in wrongly is refused at once, by field, and the vault never hears of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tactful import (
    Aggregators,
    Catalog,
    Consent,
    Event,
    Item,
    KeyFile,
    ListPolicy,
    Personalizer,
    PlacementRules,
    Settings,
)
from tactful.device import checks as doors
from tactful.device.consent import ConsentNotice, Restrictions
from tactful.device.rights.erasure import ErasureScope
from tactful.errors import InvalidInput
from tactful.testing import FIXED_KEY, LOCAL, small_catalog, small_device

HALF = "\ud83d"  # half a letter: no file can hold it
NOW = datetime.now(UTC)
JUNK = (
    "3",
    None,
    True,
    HALF,
    [3],
    {"a": 1},
    b"x",
    float("nan"),
    float("inf"),
    10**400,
    object(),
)


@pytest.fixture(scope="module")
def me() -> Iterator[Personalizer]:
    with small_device() as device:
        device.observe(Event(kind="like", item_id="item-3"))
        yield device


def opened(**parts: object) -> Personalizer:
    usual = {"key": FIXED_KEY, "consent": LOCAL}
    catalog, chosen = (
        parts.pop("catalog", small_catalog()),
        parts.pop("settings", Settings(path=None)),
    )
    return Personalizer(catalog, chosen, **{**usual, **parts})


OPENED = [
    ("catalog", [Item(id="a", title="A")]),
    ("catalog", None),
    ("settings", "taste.db"),
    ("key", "taste.key"),
    ("key", bytes(32)),
    ("consent", True),
    ("consent", "local_profile"),
    ("restrictions", {"gpc": True}),
    ("event_schema", {}),
    ("clock", NOW),
    ("transport", "https://leader.example"),
    ("rollback_anchor", "no_backup/anchor"),
]


@pytest.mark.parametrize(("part", "wrong"), OPENED)
def test_a_device_is_not_opened_with_a_wrong_part(part: str, wrong: object) -> None:
    with pytest.raises(InvalidInput, match=f"^{part}: .*; ") as refused:
        opened(**{part: wrong})
    assert "x00" not in str(refused.value)  # a key is not repeated


ASKED: dict[str, Callable[[Personalizer], object]] = {
    "event": lambda me: me.observe({"kind": "like"}),
    "pick": lambda me: me.release("1.0"),
    "n": lambda me: me.recommend(10**9),
    "n ": lambda me: me.recommend(True),
    "surface": lambda me: me.recommend(3, surface=HALF),
    "surface ": lambda me: me.recommend(3, surface="x" * 257),
    "exclude": lambda me: me.recommend(3, exclude=3),
    "scope": lambda me: me.rights.erase({"items": ["item-3"]}),
    "consent": lambda me: me.agree(True),
    "notice": lambda me: me.agree(LOCAL, "the text"),
    "ahead": lambda me: me.explain.preview(3, ahead=5),
    "ahead ": lambda me: me.explain.preview(3, ahead=timedelta.max),
    "item_id": lambda me: me.explain.why_not(3),
    "event_id": lambda me: me.controls.undo(HALF),
    "experiment": lambda me: me.experiments.variant("diverse"),
    "experiment ": lambda me: me.experiments.log_exposure(None),
    "experiment  ": lambda me: me.experiments.contribute({}),
    "balance": lambda me: me.controls.set_balance(True),
    "balance ": lambda me: me.controls.set_balance("1"),
    "factor": lambda me: me.controls.set_interest("brand", "x", "1"),
    "value": lambda me: me.controls.set_interest("brand", None, 1.0),
    "item_id ": lambda me: me.controls.set_replenishable(3, True),
    "used_up": lambda me: me.controls.set_replenishable("item-3", "no"),
    "paused": lambda me: me.controls.set_paused("no"),
    "limits": lambda me: me.controls.set_limits({"schema": 1, "rules": [{"id": b"x"}]}),
    "shows": lambda me: me.controls.set_weekly_limit("3"),
    "value ": lambda me: me.controls.mute("brand", ""),
    "value  ": lambda me: me.controls.mute("brand", 3),
}


@pytest.mark.parametrize("field", ASKED)
def test_a_wrong_argument_is_named_and_nothing_is_recorded(
    me: Personalizer, field: str
) -> None:
    before = me.rights.export()["records"]

    with pytest.raises(InvalidInput, match=f"^{field.strip()}: .*; "):
        ASKED[field](me)

    assert me.rights.export()["records"] == before
    assert me.status.profile.beliefs


@pytest.mark.parametrize("setting", ["balance", "factor", "paused", "used_up", "shows"])
@given(st.sampled_from(JUNK) | st.floats() | st.text(max_size=3) | st.integers())
@settings(max_examples=30, deadline=None)
def test_whatever_is_set_the_vault_can_still_be_read(
    me: Personalizer, setting: str, told: object
) -> None:
    set_it = {
        "balance": me.controls.set_balance,
        "factor": lambda told: me.controls.set_interest("brand", "x", told),
        "paused": me.controls.set_paused,
        "used_up": lambda told: me.controls.set_replenishable("item-3", told),
        "shows": me.controls.set_weekly_limit,
    }

    with suppress(InvalidInput):
        set_it[setting](told)

    assert me.status.profile.beliefs
    assert me.rights.export()["records"]


MADE: list[tuple[str, Callable[..., object], dict[str, object]]] = [
    *(
        (f"settings.{name}", Settings, {"path": None, name: "x"})
        for name in ("balance", "delta")
    ),
    ("settings.path", Settings, {"path": 3}),
    ("settings.path", Settings, {"path": "a\0b"}),
    ("settings.balance", Settings, {"path": None, "balance": True}),
    ("settings.lifetime_epsilon", Settings, {"path": None, "lifetime_epsilon": None}),
    ("settings.trust_days", Settings, {"path": None, "trust_days": 1.5}),
    ("settings.min_batch_size", Settings, {"path": None, "min_batch_size": "many"}),
    ("settings.refresh_hours", Settings, {"path": None, "refresh_hours": 0}),
    ("settings.policy_version", Settings, {"path": None, "policy_version": 1}),
    ("settings.on_state_loss", Settings, {"path": None, "on_state_loss": "open"}),
    ("settings.list_policy", Settings, {"path": None, "list_policy": {}}),
    ("settings.placement_rules", Settings, {"path": None, "placement_rules": None}),
    ("settings.aggregators", Settings, {"path": None, "aggregators": {}}),
    (
        "settings.purpose_epsilon",
        Settings,
        {"path": None, "purpose_epsilon": {"experiments": 1.0}},
    ),
    ("settings.purpose_epsilon", Settings, {"path": None, "purpose_epsilon": [1.0]}),
    ("settings", Settings.from_file, {"path": None}),
    ("catalog", Catalog.from_file, {"path": 3}),
    ("catalog", Catalog, {"items": None}),
    ("item.id", Item, {"id": "x" * 257, "title": "A"}),
    ("item.id", Item, {"id": HALF, "title": "A"}),
    ("item 'a': title", Item, {"id": "a", "title": HALF}),
    ("item 'a': tags", Item, {"id": "a", "title": "A", "tags": None}),
    ("item 'a': priority", Item, {"id": "a", "title": "A", "priority": "high"}),
    ("item 'a': price", Item, {"id": "a", "title": "A", "price": True}),
    ("item 'a': replenishable", Item, {"id": "a", "title": "A", "replenishable": "no"}),
    ("item 'a': since", Item, {"id": "a", "title": "A", "since": NOW}),
    ("event.value", Event, {"kind": "dwell", "item_id": "a", "value": 10**400}),
    ("event.value", Event, {"kind": "dwell", "item_id": "a", "value": -1.0}),
    ("event.event_id", Event, {"kind": "like", "item_id": "a", "event_id": HALF}),
    ("event.confirmed", Event, {"kind": "like", "item_id": "a", "confirmed": "no"}),
    ("consent", Consent, {"granted": "local_profile"}),
    ("consent", Consent, {"granted": [["local_profile"]]}),
    ("restrictions.os", Restrictions, {"os": "no"}),
    ("restrictions.gpp", Restrictions, {"gpp": 3}),
    ("shown.text", ConsentNotice, {"text": None}),
    ("shown.valid_seconds", ConsentNotice, {"valid_seconds": "x"}),
    ("scope.items", ErasureScope, {"items": "item-3"}),
    ("scope.categories", ErasureScope, {"categories": 3}),
    ("scope.since, scope.until", ErasureScope, {"since": date(2026, 1, 1)}),
    ("scope.hides", ErasureScope, {"items": {"a"}, "hides": "no"}),
    ("list_policy.most.category", ListPolicy, {"most": {"category": "3"}}),
    ("list_policy.most", ListPolicy, {"most": 3}),
    ("list_policy.places.fresh", ListPolicy, {"places": {"fresh": "x"}}),
    ("list_policy.surfaces.home", ListPolicy, {"surfaces": {"home": 2}}),
    ("list_policy.sensitive", ListPolicy, {"sensitive": "health"}),
    ("list_policy.trials", ListPolicy, {"trials": 1.5}),
    ("list_policy.seed", ListPolicy, {"seed": 3}),
    ("list_policy.fatigue", ListPolicy, {"fatigue": None}),
    ("list_policy.objective", ListPolicy, {"objective": ["mmr"]}),
    ("placement_rules.pins", PlacementRules, {"pins": ["item-1"]}),
    ("placement_rules.pins", PlacementRules, {"pins": {"0": "item-1"}}),
    ("placement_rules.pins.0", PlacementRules, {"pins": {0: 3}}),
    ("placement_rules.notices", PlacementRules, {"notices": "item-1"}),
    ("placement_rules.standard_share", PlacementRules, {"standard_share": "x"}),
    ("placement_rules.apart", PlacementRules, {"apart": "xy"}),
    ("placement_rules.apart", PlacementRules, {"apart": (("brand", "a"),)}),
    ("placement_rules.never", PlacementRules, {"never": ("tag",)}),
    ("key file", KeyFile, {"path": None}),
]


@pytest.mark.parametrize(("field", "make", "told"), MADE)
def test_what_is_made_wrongly_is_named_by_field(
    field: str, make: Callable[..., object], told: dict[str, object]
) -> None:
    with pytest.raises(InvalidInput) as refused:
        make(**told)
    assert refused.value.field == field
    assert len(str(refused.value)) < 300


@pytest.mark.parametrize(
    "field",
    ["model", "leader", "helper", "publisher", "leader_key", "helper_key", "placement"],
)
@pytest.mark.parametrize("wrong", [3, "", b"x"])
def test_a_pair_of_another_type_is_named_by_field(field: str, wrong: object) -> None:
    key = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE="
    usual = {
        "model": "shop",
        "leader": "https://a.example",
        "helper": "https://b.example",
        "leader_key": key,
        "helper_key": key.replace("Q", "g"),
    }

    with pytest.raises(InvalidInput, match=f"^aggregators.{field}: "):
        Aggregators(**{**usual, field: wrong})


def test_a_letter_of_a_name_erases_nothing() -> None:
    """A text is a collection of its letters; taken for names it would erase what has no name."""
    with small_device() as me:
        for pick in me.recommend(5):
            me.observe(pick.impression())
        shows = len(list(me.rights.events()))
        with pytest.raises(InvalidInput, match=r"^scope\.items"):
            me.rights.erase(ErasureScope(items="item-1"))
        assert len(list(me.rights.events())) == shows


@pytest.mark.parametrize("scope", ["brand", "campaign", "surface"])
@pytest.mark.parametrize("kind", ["hide", "dislike", "like"])
def test_what_an_item_has_not_cannot_be_hidden_or_liked(kind: str, scope: str) -> None:
    with (
        small_device() as me,
        pytest.raises(InvalidInput, match=r"^event\.scope: .*; use|set"),
    ):
        me.observe(Event(kind=kind, item_id="item-1", scope=scope))


@pytest.mark.parametrize("name", ["", "no/such/folder/key", "README.md/key", "."])
def test_a_key_that_cannot_be_read_or_made_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / "README.md").write_text("a file")
    (tmp_path / "folder").mkdir(mode=0o700)
    path = tmp_path / (name if name not in ("", ".") else "folder")

    with pytest.raises(InvalidInput, match=r"^key file .*; "):
        opened(key=KeyFile(path))


@given(st.text(max_size=300) | st.sampled_from(JUNK))
@settings(deadline=None)
def test_an_item_that_a_catalog_takes_can_be_shown_and_told_of(told: object) -> None:
    """What the first door lets in, no later door refuses."""
    try:
        catalog = Catalog(
            [Item(id=told, title="A", brand="b", category=str(told).strip())]
        )
    except InvalidInput:
        return
    with small_device(catalog) as me:
        for kind in ("like", "hide"):
            me.observe(Event(kind=kind, item_id=told))
        [pick] = small_device(catalog).recommend(1)
        assert pick.impression().item_id == told
        assert told in {event.item_id for event in me.rights.events()}


@given(st.text())
def test_a_text_is_one_that_a_file_can_hold(told: str) -> None:
    fits = 0 < len(told) <= doors.MAX_TEXT
    try:
        doors.text("field", told)
    except InvalidInput:
        assert not fits
    else:
        assert told.encode().decode() == told

"""The app's choices for every list: list policy and placement rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import ClassVar, Literal, get_args

from tactful.device import checks
from tactful.device.catalog import Item

Objective = Literal["mmr", "xquad", "dpp", "calibration"]
Mark = tuple[str, str]  # an attribute of an item, and its value: ("brand", "acme")
ATTRIBUTES = ("id", "family", "category", "brand", "campaign", "tag")
QUOTAS = ("category", "brand", "family")
PLACES = ("repeat_due", "fresh", "exploration")
SENSITIVE = ("health", "religion", "politics", "sexuality", "ethnicity", "trade union")
STRICT: dict[str, object] = {"extra": "forbid", "strict": True}
MOST = 10**9  # of limits, places and trials


@dataclass(frozen=True, kw_only=True)
class ListPolicy:
    """The app's list policy.

    `objective` is that of diversity. `most` has the quotas: the most items of one
    category, brand or family in a list; by default one of a family. `places` has the
    share of a list for items that are due again (`repeat_due`), new (`fresh`) or never
    shown (`exploration`). `trials` is the most items of exploration per activity
    session, which ends after half an hour. They are drawn from `seed`, surface and day;
    an empty seed means a secret one of the vault, any other makes simulations
    repeatable. `surfaces` has the highest balance per surface, 0 to 1. `fatigue` is how
    many times one fresh show without a click halves a score; 0 is never. `sensitive`
    has the categories and tags from whose items nothing is derived.
    """

    objective: Objective = "mmr"
    most: Mapping[str, int] = field(default_factory=lambda: {"family": 1})
    places: Mapping[str, float] = field(
        default_factory=lambda: {"repeat_due": 0.2, "fresh": 0.1, "exploration": 0.1}
    )
    trials: int = 5
    seed: str = ""
    surfaces: Mapping[str, float] = field(default_factory=dict)
    fatigue: float = 1.0
    sensitive: tuple[str, ...] = SENSITIVE

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    def concern(self, item: Item) -> bool:
        """Return True if the item is sensitive: nothing may be derived from it."""
        if not item.tags:
            return item.category.casefold() in self.sensitive
        labels = (item.category, *item.tags)
        return any(label.casefold() in self.sensitive for label in labels)

    def __post_init__(self) -> None:
        """Raise InvalidInput for a wrong field; convert `sensitive` to lower case."""
        checks.one_of("list_policy.objective", self.objective, get_args(Objective))
        for name in ("most", "places", "surfaces"):
            checks.instance(
                f"list_policy.{name}", getattr(self, name), Mapping, "use a dict"
            )
        for name, limit in self.most.items():
            checks.one_of("list_policy.most", name, QUOTAS)
            checks.whole(f"list_policy.most.{name}", limit, 1, MOST, "use 1 or more")
        for name, share in self.places.items():
            checks.one_of("list_policy.places", name, PLACES)
            checks.number(
                f"list_policy.places.{name}", share, 0, 1, "use a share from 0 to 1"
            )
        for name, share in self.surfaces.items():
            checks.text("list_policy.surfaces", name)
            checks.number(f"list_policy.surfaces.{name}", share, 0, 1, "use 0 to 1")
        checks.whole("list_policy.trials", self.trials, 0, MOST, "use 0 or more")
        checks.text("list_policy.seed", self.seed, most=inf, empty=True)
        checks.number("list_policy.fatigue", self.fatigue, 0, 9, "use 0 to 9")
        checks.names("list_policy.sensitive", self.sensitive)
        lower_case = tuple(label.casefold() for label in self.sensitive)
        object.__setattr__(self, "sensitive", lower_case)


@dataclass(frozen=True, kw_only=True)
class PlacementRules:
    """The placement rules, which are the same for everyone.

    `pins` maps place (from 0) to item id. `notices` has ids of items that every list
    must hold. `standard_share` is the least share of each list for the first items of
    the standard list. A mark is an (attribute, value) pair. `apart` has pairs of marks
    whose items are never in one list; `never` has marks whose items are in no list.
    """

    pins: Mapping[int, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    standard_share: float = 0.0
    apart: tuple[tuple[Mark, Mark], ...] = ()
    never: tuple[Mark, ...] = ()

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    def __post_init__(self) -> None:
        """Raise InvalidInput for a wrong field."""
        checks.instance(
            "placement_rules.pins", self.pins, Mapping, "use a dict of place to item id"
        )
        for place, item_id in self.pins.items():
            checks.whole("placement_rules.pins", place, 0, MOST, "count places from 0")
            checks.text(f"placement_rules.pins.{place}", item_id)
        checks.names("placement_rules.notices", self.notices)
        checks.number(
            "placement_rules.standard_share", self.standard_share, 0, 1, "use 0 to 1"
        )
        for pair in self.apart:
            checks.require(
                len(pair) == 2,
                "placement_rules.apart",
                f"{pair!r} is not a pair",
                "use two marks",
            )
            for mark in pair:
                _require_mark("placement_rules.apart", mark)
        for mark in self.never:
            _require_mark("placement_rules.never", mark)

    def parts(self, one: Item, other: Item) -> bool:
        """Return True if the two items may never be in one list."""
        return any(
            (_has(one, a) and _has(other, b)) or (_has(one, b) and _has(other, a))
            for a, b in self.apart
        )


def _has(item: Item, mark: Mark) -> bool:
    """Return True if the item has the value of `mark`."""
    name, value = mark
    if name == "tag":
        return value in item.tags
    return bool(getattr(item, name) == value)


def _require_mark(field: str, mark: object) -> None:
    fits = isinstance(mark, Sequence) and not isinstance(mark, str) and len(mark) == 2
    fix = f'use ("brand", "acme"); the first is one of {", ".join(ATTRIBUTES)}'
    checks.require(fits, field, f"{checks.shown(mark)} is not a mark", fix)
    for part in mark if isinstance(mark, Sequence) else ():
        checks.text(field, part)
    has_attribute = isinstance(mark, Sequence) and mark[0] in ATTRIBUTES
    checks.require(has_attribute, field, f"{checks.shown(mark)} is not a mark", fix)

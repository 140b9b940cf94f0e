"""What an app wants of every list: variety, its limits, places for sources, the house's rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Literal, get_args

from tactful.device.catalog import Item
from tactful.errors import InvalidInput

Objective = Literal["mmr", "xquad", "dpp", "calibration"]
Mark = tuple[str, str]  # an attribute of an item, and its value: ("brand", "acme")
ATTRIBUTES = ("id", "family", "category", "brand", "campaign", "tag")
QUOTAS = ("category", "brand", "family")
PLACES = ("repeat_due", "fresh", "exploration")
SENSITIVE = ("health", "religion", "politics", "sexuality", "ethnicity", "trade union")
STRICT: dict[str, object] = {"extra": "forbid", "strict": True}


@dataclass(frozen=True, kw_only=True)
class Wishes:
    """`most`: how many items of one category, brand or family a list may hold (one of a family if
    nothing is said). `places`: the share of a list that goes to what is due again (repeat_due), new
    (fresh) or untried (exploration), `trials` the most untried items until the person goes away for
    half an hour, drawn from `seed`, surface and day; an empty seed is a secret of the vault's own,
    any other makes simulations repeatable. `surfaces`: how personal lists on a surface may be, 0 to
    1.

    `fatigue`: how many times a score is halved by one fresh show without a click; 0 is never.
    `sensitive`: categories and tags from whose items nothing is ever derived.
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
        """Whether the item is sensitive, so that nothing may be derived from it."""
        if not item.tags:
            return item.category.casefold() in self.sensitive
        return any(mark.casefold() in self.sensitive for mark in (item.category, *item.tags))

    def __post_init__(self) -> None:
        known = get_args(Objective)
        _require(self.objective in known, "objective", f"use one of {', '.join(known)}")
        _require(set(self.most) <= set(QUOTAS), "most", f"use {', '.join(QUOTAS)}")
        _require(all(most >= 1 for most in self.most.values()), "most", "use 1 or more")
        _require(set(self.places) <= set(PLACES), "places", f"use {', '.join(PLACES)}")
        for name in ("places", "surfaces"):
            shares = getattr(self, name).values()
            _require(all(0 <= share <= 1 for share in shares), name, "use shares from 0 to 1")
        _require(self.trials >= 0, "trials", "use 0 or more")
        _require(0 <= self.fatigue <= 9, "fatigue", "use 0 to 9")
        object.__setattr__(self, "sensitive", tuple(one.casefold() for one in self.sensitive))


@dataclass(frozen=True, kw_only=True)
class BrandRules:
    """`pins`: place (from 0) to item id. `notices`: ids of items that must be in every list.

    `standard_share`: at least this share of each list is what stands first for everyone.
    `apart`: pairs of marks whose items are never in one list; `never`: marks that are in none.
    """

    pins: Mapping[int, str] = field(default_factory=dict)
    notices: tuple[str, ...] = ()
    standard_share: float = 0.0
    apart: tuple[tuple[Mark, Mark], ...] = ()
    never: tuple[Mark, ...] = ()

    __pydantic_config__: ClassVar[dict[str, object]] = STRICT

    def __post_init__(self) -> None:
        _require(0 <= self.standard_share <= 1, "standard_share", "use 0 to 1")
        _require(all(place >= 0 for place in self.pins), "pins", "count places from 0")
        marks = (*(mark for pair in self.apart for mark in pair), *self.never)
        known = all(name in ATTRIBUTES for name, _ in marks)
        _require(known, "apart, never", f"use marks of {', '.join(ATTRIBUTES)}")

    def parts(self, one: Item, other: Item) -> bool:
        """Whether the two are never in one list."""
        return any(
            (_has(one, a) and _has(other, b)) or (_has(one, b) and _has(other, a))
            for a, b in self.apart
        )


def _has(item: Item, mark: Mark) -> bool:
    name, value = mark
    return value in item.tags if name == "tag" else bool(getattr(item, name) == value)


def _require(holds: bool, name: str, fix: str) -> None:
    if not holds:
        raise InvalidInput(f"settings: {name}", "it is unknown or out of range", fix)

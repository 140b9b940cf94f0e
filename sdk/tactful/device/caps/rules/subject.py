"""What can be shown, as a rule sees it: a bundle of attributes, and the keys they give."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import NamedTuple, Protocol

CLASSES = ("promo", "normal", "high", "critical")  # lowest first
ATTRIBUTES = (
    "item",
    "family",
    "creative",
    "campaign",
    "category",
    "brand",
    "surface",
    "channel",
    "tag",
    "class",
)
NONE = "none"  # the value of an attribute that is missing

Key = tuple[str, ...]
SINGLE = {
    "item": 0,
    "family": 1,
    "creative": 2,
    "campaign": 3,
    "brand": 5,
    "channel": 6,
}
"""Where a thing has those of its attributes that are one text."""


class Showable(Protocol):
    """Whatever the app can show; a catalog's item is one."""

    @property
    def id(self) -> str:
        """Its name."""

    @property
    def family(self) -> str:
        """What it is a variant of."""

    @property
    def creative(self) -> str:
        """The picture or text used."""

    @property
    def campaign(self) -> str:
        """The campaign it belongs to."""

    @property
    def category(self) -> str | tuple[str, ...]:
        """One or more categories."""

    @property
    def brand(self) -> str:
        """Whose it is."""

    @property
    def channel(self) -> str:
        """The way it reaches the person."""

    @property
    def tags(self) -> tuple[str, ...]:
        """Free marks."""

    @property
    def item_class(self) -> str:
        """Its importance: promo, normal, high or critical."""

    @property
    def priority(self) -> int:
        """Its importance inside the class; higher goes first."""

    @property
    def replenishable(self) -> bool:
        """Whether it is welcome again when used up."""


class CapSubject(NamedTuple):
    """The attributes of one item, as they are recorded with each show."""

    item: str
    family: str = ""
    creative: str = ""
    campaign: str = ""
    categories: tuple[str, ...] = ()
    brand: str = ""
    channel: str = ""
    tags: tuple[str, ...] = ()
    item_class: str = "normal"
    priority: int = 0
    replenishable: bool = False

    @classmethod
    def of(cls, item: Showable) -> CapSubject:
        """The attributes of `item`."""
        category = item.category
        categories = (category,) if isinstance(category, str) else tuple(category)
        return cls(
            item.id,
            item.family,
            item.creative,
            item.campaign,
            tuple([name for name in categories if name]),
            item.brand,
            item.channel,
            tuple(item.tags),
            item.item_class,
            item.priority,
            item.replenishable,
        )

    @classmethod
    def from_fields(cls, fields: Sequence[object]) -> CapSubject:
        """The thing of a record body."""
        item, family, creative, campaign, categories, brand, channel, tags, *rest = (
            fields
        )
        item_class, priority, replenishable = rest
        return cls(
            str(item),
            str(family),
            str(creative),
            str(campaign),
            texts(categories),
            str(brand),
            str(channel),
            texts(tags),
            str(item_class),
            priority if isinstance(priority, int) else 0,
            bool(replenishable),
        )

    @property
    def rank(self) -> int:
        """The place of the class, 0 (promo) to 3 (critical)."""
        return CLASSES.index(self.item_class) if self.item_class in CLASSES else 0

    def values(self, attribute: str, surface: str) -> tuple[str, ...]:
        """Every value of `attribute`; empty if it is missing."""
        if attribute.startswith("tag:"):
            return (attribute[4:],) if attribute[4:] in self.tags else ()
        return tuple(value for value in self._all(attribute, surface) if value)

    def _all(self, attribute: str, surface: str) -> tuple[str, ...]:
        match attribute:
            case "surface":
                return (surface,)
            case "category":
                return self.categories
            case "tag":
                return self.tags
            case "class":
                return (self.item_class,)
            case "app":
                return ("app",)
            case "item":
                return (self.item,)
            case "family":
                return (
                    self.family or self.item,
                )  # what has no variants is a family of its own
            case "creative":
                return (self.creative,)
            case "campaign":
                return (self.campaign,)
            case "brand":
                return (self.brand,)
            case _:
                return (self.channel,)


def keys_of(
    thing: CapSubject, surface: str, attributes: tuple[str, ...], whose: Key = ()
) -> tuple[Key, ...]:
    """One key for every combination of values, after `whose`; a missing one has the value `none`.

    A missing family is the item itself, so that strangers are not limited as variants of one thing.
    """
    if len(attributes) == 1:  # nearly always
        name = attributes[0]
        if name in SINGLE:
            found = thing[SINGLE[name]] or (thing.item if name == "family" else "")
            return ((*whose, str(found or NONE)),)
        if name == "app":
            return ((*whose, name),)
        if name == "category" and len(thing.categories) == 1 and thing.categories[0]:
            return ((*whose, *thing.categories),)
        alone = thing.values(name, surface) or (NONE,)
        return tuple(sorted((*whose, value) for value in set(alone)))
    values = [
        tuple(dict.fromkeys(thing.values(a, surface))) or (NONE,) for a in attributes
    ]
    return tuple(sorted((*whose, *key) for key in product(*values)))


def texts(values: object) -> tuple[str, ...]:
    """A list of a record body as texts."""
    return (
        tuple(str(value) for value in values)
        if isinstance(values, list | tuple)
        else ()
    )

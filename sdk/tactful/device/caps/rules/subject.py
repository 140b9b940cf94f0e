"""Subjects of frequency cap rules: the attributes of an item and the keys they give."""

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
SINGLE_VALUE_FIELDS = {
    "item": 0,
    "family": 1,
    "creative": 2,
    "campaign": 3,
    "brand": 5,
    "channel": 6,
}
"""Positions in `CapSubject` of the attributes that have exactly one value."""


class Showable(Protocol):
    """Anything that the app can show, for example an item of a catalog."""

    @property
    def id(self) -> str:
        """The item id."""

    @property
    def family(self) -> str:
        """The family of variants that the item belongs to."""

    @property
    def creative(self) -> str:
        """The picture or text used."""

    @property
    def campaign(self) -> str:
        """The campaign that the item belongs to."""

    @property
    def category(self) -> str | tuple[str, ...]:
        """One or more categories."""

    @property
    def brand(self) -> str:
        """The brand of the item."""

    @property
    def channel(self) -> str:
        """The channel by which the item reaches the person."""

    @property
    def tags(self) -> tuple[str, ...]:
        """Free labels."""

    @property
    def item_class(self) -> str:
        """The importance of the item: promo, normal, high or critical."""

    @property
    def priority(self) -> int:
        """The importance inside the class; higher goes first."""

    @property
    def replenishable(self) -> bool:
        """True if the person may want the item again after a conversion."""


class CapSubject(NamedTuple):
    """The attributes of one item, as they are recorded with each impression."""

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
        """Return the attributes of `item`."""
        category = item.category
        if isinstance(category, str):
            categories: tuple[str, ...] = (category,) if category else ()
        else:
            categories = tuple(filter(None, category))
        return cls(
            item.id,
            item.family,
            item.creative,
            item.campaign,
            categories,
            item.brand,
            item.channel,
            tuple(item.tags),
            item.item_class,
            item.priority,
            item.replenishable,
        )

    @classmethod
    def from_fields(cls, fields: Sequence[object]) -> CapSubject:
        """Return the subject stored in the fields of a `cap_subject` record."""
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
        """The rank of the class, 0 (promo) to 3 (critical)."""
        return CLASSES.index(self.item_class) if self.item_class in CLASSES else 0

    def values(self, attribute: str, surface: str) -> tuple[str, ...]:
        """Return every value of `attribute`; empty if it is missing."""
        if attribute.startswith("tag:"):
            tag = attribute.removeprefix("tag:")
            return (tag,) if tag in self.tags else ()
        return tuple(value for value in self._raw_values(attribute, surface) if value)

    def _raw_values(self, attribute: str, surface: str) -> tuple[str, ...]:
        """Return the values of `attribute` with empty ones."""
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
                # An item without a family is a family of its own.
                return (self.family or self.item,)
            case "creative":
                return (self.creative,)
            case "campaign":
                return (self.campaign,)
            case "brand":
                return (self.brand,)
            case _:
                return (self.channel,)


def keys_of(
    cap_subject: CapSubject,
    surface: str,
    attributes: tuple[str, ...],
    prefix: Key = (),
) -> tuple[Key, ...]:
    """Return one key for each combination of attribute values, sorted.

    Every key starts with `prefix`. A missing attribute has the value `none`. A missing
    family is the item itself, so that unrelated items are not limited as variants.
    """
    if len(attributes) == 1:
        return _single_attribute_keys(cap_subject, surface, attributes[0], prefix)
    values_by_attribute = [
        tuple(dict.fromkeys(cap_subject.values(attribute, surface))) or (NONE,)
        for attribute in attributes
    ]
    return tuple(sorted((*prefix, *key) for key in product(*values_by_attribute)))


def _single_attribute_keys(
    cap_subject: CapSubject, surface: str, attribute: str, prefix: Key
) -> tuple[Key, ...]:
    """Return the keys of a rule with one attribute, the most frequent case.

    The common attributes are read directly; `CapSubject.values` would be slower.
    """
    if attribute in SINGLE_VALUE_FIELDS:
        value = cap_subject[SINGLE_VALUE_FIELDS[attribute]]
        if not value and attribute == "family":
            value = cap_subject.item
        return ((*prefix, str(value or NONE)),)
    if attribute == "app":
        return ((*prefix, attribute),)
    categories = cap_subject.categories
    if attribute == "category" and len(categories) == 1 and categories[0]:
        return ((*prefix, *categories),)
    values = set(cap_subject.values(attribute, surface) or (NONE,))
    return tuple(sorted((*prefix, value) for value in values))


def texts(values: object) -> tuple[str, ...]:
    """Return a list of a record body as a tuple of strings; empty if it is no list."""
    if not isinstance(values, list | tuple):
        return ()
    return tuple(str(value) for value in values)

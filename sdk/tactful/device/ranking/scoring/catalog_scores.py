"""Base scores of items: standard (the same for everyone) and personal."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from copy import copy
from datetime import date
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tactful.device.catalog import Catalog, Item
from tactful.device.ranking.values import Floats, Ints, Labels
from tactful.learning.model import Model, ModelSection

SAME_CATEGORY = 0.7  # similarity of two items of one category, in [0, 1]
SAME_BRAND = 0.3  # similarity of two items of one brand; both add up
SCOPES = ("item", "family", "campaign", "category", "brand")
HEAD_MASS = 0.5  # share of all popularity that the best-sellers take together
DAY_ZERO = date(1970, 1, 1).toordinal()


class CatalogArrays:
    """The columns of a catalog as arrays, so that scoring 100,000 items is fast.

    A *label* is a whole number that stands for one value of a scope; -1 stands for an
    item without a value.
    """

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._value_labels: dict[str, Labels] = {}  # per scope: a label for each value

    def labels(self, scope: str) -> Labels:
        """Return the label of each item in `scope`; -1 where it has no value."""
        if scope == "item":
            return np.arange(len(self.catalog), dtype=np.int32)
        if scope not in SCOPES:
            return np.full(len(self.catalog), -1, dtype=np.int32)
        labels: Labels = getattr(self, scope)
        return labels

    def label(self, scope: str, value: str) -> int:
        """Return the label of one value in `scope`; -1 if no item has it."""
        if scope == "item":
            return self.catalog.number(value) if value in self.catalog else -1
        self.labels(scope)  # fills `_value_labels`
        value_labels = self._value_labels.get(scope)
        if value_labels is None:
            return -1
        values = self.catalog.items.columns[scope].values
        return int(value_labels[values.index(value)]) if value in values else -1

    def has_value(self, attribute: str, value: str) -> NDArray[np.bool_]:
        """Return which items have `value`, shape (items,).

        `attribute` is a scope, "id" or "tag".
        """
        if attribute == "tag":
            return self._has_tag(value)
        scope = "item" if attribute == "id" else attribute
        label = self.label(scope, value)
        has_label: NDArray[np.bool_] = (self.labels(scope) == label) & (label >= 0)
        return has_label

    def _has_tag(self, tag: str) -> NDArray[np.bool_]:
        tag_sets = self.catalog.items.columns["tags"].values
        contains = [isinstance(tags, tuple) and tag in tags for tags in tag_sets]
        has_tag: NDArray[np.bool_] = np.array(contains, dtype=np.bool_)
        return has_tag[self._codes("tags")]

    @cached_property
    def category(self) -> Labels:
        """The category label of each item; -1 where it has none."""
        return self._labels("category")

    @cached_property
    def brand(self) -> Labels:
        """The brand label of each item; -1 where it has none."""
        return self._labels("brand")

    @cached_property
    def family(self) -> Labels:
        """The family label of each item.

        Items that declare no family share one if their brand and title agree.
        """
        labels = self._labels("family")
        first_free = int(labels.max(initial=-1)) + 1
        wording_labels: dict[str, int] = {}
        for number in np.flatnonzero(labels < 0).tolist():
            wording = _wording(self.catalog.items[number])
            next_label = first_free + len(wording_labels)
            labels[number] = wording_labels.setdefault(wording, next_label)
        return labels

    @cached_property
    def declares_family(self) -> NDArray[np.bool_]:
        """The items that declare a family, shape (items,)."""
        return self._labels("family") >= 0

    def with_families(self, families: Labels) -> CatalogArrays:
        """Return the same arrays with other family labels."""
        other = copy(self)
        other.__dict__["family"] = families
        return other

    @cached_property
    def campaign(self) -> Labels:
        """The campaign label of each item; -1 where it has none."""
        return self._labels("campaign")

    @cached_property
    def first_day(self) -> Labels:
        """The day (since 1970) on which each item joined the catalog; -1 if unknown."""
        values = self.catalog.items.columns["since"].values
        days = [_days_since_1970(value) for value in values]
        return np.array(days, dtype=np.int32)[self._codes("since")]

    @cached_property
    def tie_rank(self) -> Labels:
        """The rank of each item by id, which breaks ties alike on every device."""
        ranks = np.empty(len(self.catalog), dtype=np.int32)
        ranks[self.by_id] = np.arange(len(ranks))
        return ranks

    @property
    def by_id(self) -> Labels:
        """All item numbers, sorted by item id."""
        return np.frombuffer(self.catalog.by_id, dtype=np.int32)

    def matching(self, condition: Callable[[Item], bool]) -> NDArray[np.bool_]:
        """Return which items fulfil `condition`, shape (items,).

        `condition` may depend on category and tags only: it is evaluated once for each
        combination of both.
        """
        pairs = np.stack([self._codes("category"), self._codes("tags")])
        _, examples, pair_of_item = np.unique(
            pairs, axis=1, return_index=True, return_inverse=True
        )
        items = self.catalog.items
        fulfils = [condition(items[number]) for number in examples.tolist()]
        return np.array(fulfils, dtype=np.bool_)[pair_of_item.ravel()]

    def category_mix(self, numbers: Ints) -> Floats:
        """Return the share of each category among items, shape (categories,)."""
        categories = self.category[numbers]
        label_count = max(int(self.category.max(initial=-1)) + 1, 1)
        counts = np.bincount(categories[categories >= 0], minlength=label_count)
        return counts / max(int(counts.sum()), 1)

    def similarity(self, number: int, others: Ints) -> Floats:
        """Return the similarity of one item to each of `others`, in [0, 1].

        Items of one family have similarity 1.
        """
        similarity = np.zeros(len(others))
        for labels, weight in self._weighted_labels():
            if labels[number] >= 0:
                similarity += weight * (labels[others] == labels[number])
        similarity[self.family[others] == self.family[number]] = 1.0
        return similarity

    def similarities(self, numbers: Ints) -> Floats:
        """Return the similarity of each pair of items, shape (count, count)."""
        similarity = np.zeros((len(numbers), len(numbers)))
        for labels, weight in self._weighted_labels():
            selected = labels[numbers]
            is_same = (selected[:, None] == selected) & (selected >= 0)
            similarity += weight * is_same
        families = self.family[numbers]
        similarity[families[:, None] == families] = 1.0
        return similarity

    def _weighted_labels(self) -> tuple[tuple[Labels, float], ...]:
        """Return the labels that make items similar, each with its weight."""
        return (self.category, SAME_CATEGORY), (self.brand, SAME_BRAND)

    def _labels(self, scope: str) -> Labels:
        """Return the label of each item in one scope; -1 for an empty value."""
        values = self.catalog.items.columns[scope].values
        has_name = np.array([bool(value) for value in values], dtype=np.bool_)
        labels = np.where(has_name, np.cumsum(has_name) - 1, -1).astype(np.int32)
        self._value_labels[scope] = labels
        return labels[self._codes(scope)]

    def _codes(self, attribute: str) -> Labels:
        """Return the index of each item's value among the column's distinct values."""
        codes = self.catalog.items.columns[attribute].codes
        if not codes:
            return np.zeros(len(self.catalog), dtype=np.int32)
        return np.frombuffer(codes, dtype=np.int32)


def _days_since_1970(value: object) -> int:
    return value.toordinal() - DAY_ZERO if isinstance(value, date) else -1


class ItemPopularity:
    """The standard scores and the standard order, computed once per model."""

    def __init__(self, shelf: CatalogArrays, model: Model | None) -> None:
        self.shelf, self.model = shelf, model
        self.scores = _standard_scores(shelf, model)

    @cached_property
    def digest(self) -> str:
        """A hash of the model, empty without one; a replay needs the same model."""
        if self.model is None:
            return ""
        digest = hashlib.sha256()
        for array in self.model.arrays().values():
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
        return digest.hexdigest()[:16]

    @cached_property
    def order(self) -> Labels:
        """All item numbers in the standard order, ties by id.

        Without a model this is the order of the catalog.
        """
        if self.model is None:
            return np.arange(len(self.scores), dtype=np.int32)
        return np.lexsort((self.shelf.tie_rank, -self.scores)).astype(np.int32)

    @cached_property
    def place(self) -> Labels:
        """The place of each item in `order`, from 0."""
        places = np.empty(len(self.order), dtype=np.int32)
        places[self.order] = np.arange(len(self.order))
        return places

    @cached_property
    def popularity(self) -> NDArray[np.float32] | None:
        """The popularity of each item; None without a model."""
        return None if self.model is None else self.model.popularity

    @cached_property
    def best_sellers(self) -> Labels:
        """Label 0 for the fewest items that take half of all popularity, else -1."""
        labels = np.full(len(self.shelf.catalog), -1, dtype=np.int32)
        if self.popularity is not None:
            by_popularity = np.argsort(-self.popularity, kind="stable")
            mass = np.cumsum(self.popularity[by_popularity], dtype=np.float64)
            count = int(np.searchsorted(mass, HEAD_MASS * mass[-1])) + 1
            labels[by_popularity[:count]] = 0
        return labels

    def personal(self, likes: Mapping[int, float]) -> Floats:
        """Return the personal score of every item.

        `likes` maps item number to strength > 0. A personal model computes the scores;
        without one they are the similarity to liked items.
        """
        return LikedItems(self, likes).all_scores()


class LikedItems:
    """The likes of one person, prepared to score all items or some of them."""

    def __init__(self, standing: ItemPopularity, likes: Mapping[int, float]) -> None:
        self.numbers, self.strengths = columns(likes)
        self._shelf = standing.shelf
        self._model: Model | None = None
        if standing.model is not None and len(standing.model.head):
            self._model = standing.model
        self._model_taste = (
            None if self._model is None else self._model.taste(self.numbers)
        )

    def all_scores(self) -> Floats:
        """Return the personal score of every item."""
        section = None if self._model is None else self._model.everything
        scores: Floats = self._scores(section, None, self.strengths[None])[0]
        return scores

    def scorer(self, numbers: Ints) -> Callable[[Floats], Floats]:
        """Return a function that scores the items `numbers` for several people.

        It takes the strength of each like, shape (people, likes), 0 for a like that is
        left out, and returns scores of shape (people, items).
        """
        section = None if self._model is None else self._model.part(numbers)
        return lambda strengths: self._scores(section, numbers, strengths)

    def _scores(
        self, section: ModelSection | None, numbers: Ints | None, strengths: Floats
    ) -> Floats:
        if section is None or self._model_taste is None:
            rows = [
                _shared_strength(self._shelf, self.numbers, row, numbers)
                for row in strengths
            ]
            return np.array(rows)
        return section.personal(self._model_taste(_saturating(strengths)))


class ItemAmounts(Mapping[int, float]):
    """Amounts by item number, stored as two columns; indexed only on first lookup."""

    def __init__(self, numbers: Ints, amounts: Floats) -> None:
        self.columns = numbers, amounts

    @cached_property
    def _by_number(self) -> dict[int, float]:
        numbers, amounts = self.columns
        return dict(zip(numbers.tolist(), amounts.tolist(), strict=True))

    def __getitem__(self, number: int) -> float:
        return self._by_number[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self._by_number)

    def __len__(self) -> int:
        return len(self.columns[0])


def columns(amounts: Mapping[int, float]) -> tuple[Ints, Floats]:
    """Return the item numbers and the amounts of a mapping as two arrays."""
    if isinstance(amounts, ItemAmounts):
        return amounts.columns
    count = len(amounts)
    numbers = np.fromiter(amounts, dtype=np.int64, count=count)
    return numbers, np.fromiter(amounts.values(), dtype=np.float64, count=count)


def _saturating(strengths: Floats) -> Floats:
    """Return weights below 1: ten clicks do not count ten times as much as one."""
    return strengths / (1 + strengths)


def _standard_scores(shelf: CatalogArrays, model: Model | None) -> Floats:
    """Return the standard score of each item; all 0 without a model."""
    if model is None:
        return np.zeros(len(shelf.catalog))
    return model.standard()


def _shared_strength(
    shelf: CatalogArrays, liked: Ints, strengths: Floats, numbers: Ints | None
) -> Floats:
    """Return the strength of likes that share a category, brand or family with items.

    The shape is (items,): those of `numbers`, or all items if it is None.
    """
    selected = slice(None) if numbers is None else numbers
    weighted_labels = (
        (shelf.category, SAME_CATEGORY),
        (shelf.brand, SAME_BRAND),
        (shelf.family, 1.0),
    )
    scores = np.zeros(len(shelf.category[selected]))
    for labels, weight in weighted_labels:
        has_label = labels[liked] >= 0
        liked_labels = labels[liked[has_label]]
        # One entry more than labels: label -1 reads the last entry, which is always 0.
        size = int(labels.max(initial=-1)) + 2
        sums = np.bincount(liked_labels, strengths[has_label], minlength=size)
        scores += weight * sums[labels[selected]]
    return scores


def _wording(item: Item) -> str:
    """Return brand and title without case, punctuation and spaces.

    Variants of one offer agree in it.
    """
    letters = "".join(letter for letter in item.title.casefold() if letter.isalnum())
    return f"\0{item.brand}\0{letters or item.id}"

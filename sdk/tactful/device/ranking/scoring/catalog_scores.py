"""How good each item is: for everyone (standard) and for this person (personal)."""

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

SAME_CATEGORY, SAME_BRAND = 0.7, 0.3  # what two items share, as a similarity in [0, 1]
SCOPES = ("item", "family", "campaign", "category", "brand")
HEAD_MASS = (
    0.5  # the best-sellers are the fewest items that take this share of all popularity
)
DAY_ZERO = date(1970, 1, 1).toordinal()


class CatalogArrays:
    """A catalog in columns, made once: what scoring reads of 100,000 items must be arrays."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._kinds: dict[str, Labels] = {}  # for each value of a scope its label
        self._known: dict[tuple[str, str], int] = {}
        self._tagged: dict[str, NDArray[np.bool_]] = {}

    def labels(self, scope: str) -> Labels:
        """What each item is in one scope, as a whole number; -1 where it is nothing."""
        if scope == "item":
            return np.arange(len(self.catalog), dtype=np.int32)
        if scope not in SCOPES:
            return np.full(len(self.catalog), -1, dtype=np.int32)
        column: Labels = getattr(self, scope)
        return column

    def label(self, scope: str, value: str) -> int:
        """The whole number of one value in a scope; -1 if no item has it."""
        if scope == "item":
            return self.catalog.number(value) if value in self.catalog else -1
        if (scope, value) not in self._known:
            self._known[scope, value] = self._found(scope, value)
        return self._known[scope, value]

    def having(self, name: str, value: str) -> NDArray[np.bool_]:
        """Which items have this value of this attribute (a scope, "id" or "tag")."""
        if name != "tag":
            scope = "item" if name == "id" else name
            label = self.label(scope, value)
            shared: NDArray[np.bool_] = (self.labels(scope) == label) & (label >= 0)
            return shared
        if value not in self._tagged:
            column = self.catalog.items.columns["tags"]
            tagged = [
                isinstance(tags, tuple) and value in tags for tags in column.values
            ]
            self._tagged[value] = np.array(tagged, dtype=np.bool_)[self._codes("tags")]
        return self._tagged[value]

    @cached_property
    def category(self) -> Labels:
        """Each item's category as a whole number; -1 where it has none."""
        return self._labels("category")

    @cached_property
    def brand(self) -> Labels:
        """Each item's brand as a whole number; -1 where it has none."""
        return self._labels("brand")

    @cached_property
    def family(self) -> Labels:
        """Each item's family; one that names none joins those of the same brand and title."""
        labels, catalog = self._labels("family"), self.catalog
        known: dict[str, int] = {}
        first = int(labels.max(initial=-1)) + 1
        for number in np.flatnonzero(labels < 0).tolist():
            wording = _wording(catalog.items[number])
            labels[number] = known.setdefault(wording, first + len(known))
        return labels

    @cached_property
    def declares_family(self) -> NDArray[np.bool_]:
        """Which items name their family, shape (items,)."""
        return self._labels("family") >= 0

    def with_families(self, families: Labels) -> CatalogArrays:
        """The same shelf with other families."""
        other = copy(self)
        other.__dict__["family"] = families
        return other

    @cached_property
    def campaign(self) -> Labels:
        """Each item's campaign as a whole number; -1 where it has none."""
        return self._labels("campaign")

    @cached_property
    def first_day(self) -> Labels:
        """The day (since 1970) on which each item joined the catalog; -1 where it is not told."""
        values = self.catalog.items.columns["since"].values
        days = [v.toordinal() - DAY_ZERO if isinstance(v, date) else -1 for v in values]
        return np.array(days, dtype=np.int32)[self._codes("since")]

    @cached_property
    def tie_rank(self) -> Labels:
        """Each item's place in the order of ids: ties are broken by it, on every device alike."""
        ranks = np.empty(len(self.catalog), dtype=np.int32)
        ranks[self.by_id] = np.arange(len(ranks))
        return ranks

    @property
    def by_id(self) -> Labels:
        """All items in the order of ids."""
        return np.frombuffer(self.catalog.by_id, dtype=np.int32)

    def those(self, asked: Callable[[Item], bool]) -> NDArray[np.bool_]:
        """The items of which `asked` holds, which may look at category and tags alone."""
        pairs = np.stack([self._codes("category"), self._codes("tags")])
        _, firsts, which = np.unique(
            pairs, axis=1, return_index=True, return_inverse=True
        )
        answers = [asked(self.catalog.items[number]) for number in firsts.tolist()]
        return np.array(answers, dtype=np.bool_)[which.ravel()]

    def category_mix(self, numbers: Ints) -> Floats:
        """The share of each category among the items `numbers`, shape (categories,)."""
        categories = self.category[numbers]
        count = max(int(self.category.max(initial=-1)) + 1, 1)
        counts = np.bincount(categories[categories >= 0], minlength=count)
        return counts / max(int(counts.sum()), 1)

    def similarity(self, number: int, others: Ints) -> Floats:
        """How alike item `number` is to each of `others`, in [0, 1]: 1 within a family."""
        alike = np.zeros(len(others))
        for column, weight in (
            (self.category, SAME_CATEGORY),
            (self.brand, SAME_BRAND),
        ):
            if column[number] >= 0:
                alike += weight * (column[others] == column[number])
        alike[self.family[others] == self.family[number]] = 1.0
        return alike

    def similarities(self, numbers: Ints) -> Floats:
        """How alike each two of these items are, shape (count, count), as `similarity` has it."""
        alike = np.zeros((len(numbers), len(numbers)))
        for column, weight in (
            (self.category, SAME_CATEGORY),
            (self.brand, SAME_BRAND),
        ):
            kinds = column[numbers]
            alike += weight * ((kinds[:, None] == kinds) & (kinds >= 0))
        families = self.family[numbers]
        alike[families[:, None] == families] = 1.0
        return alike

    def _labels(self, scope: str) -> Labels:
        """The values of one scope as whole numbers; -1 for none."""
        values = self.catalog.items.columns[scope].values
        named = np.array([bool(value) for value in values], dtype=np.bool_)
        kinds = np.where(named, np.cumsum(named) - 1, -1).astype(np.int32)
        self._kinds[scope] = kinds
        return kinds[self._codes(scope)]

    def _found(self, scope: str, value: str) -> int:
        self.labels(scope)
        kinds = self._kinds.get(scope)
        values = [] if kinds is None else self.catalog.items.columns[scope].values
        return (
            -1
            if kinds is None or value not in values
            else int(kinds[values.index(value)])
        )

    def _codes(self, name: str) -> Labels:
        codes = self.catalog.items.columns[name].codes
        if not codes:
            return np.zeros(len(self.catalog), dtype=np.int32)
        return np.frombuffer(codes, dtype=np.int32)


class ItemPopularity:
    """What a shelf and a model are worth to everyone: made once for each model."""

    def __init__(self, shelf: CatalogArrays, model: Model | None) -> None:
        self.shelf, self.model = shelf, model
        self.scores = _standard_scores(shelf, model)

    @cached_property
    def digest(self) -> str:
        """A name for the model by what is in it: only with the same a list is made again."""
        digest = hashlib.sha256()
        for array in () if self.model is None else self.model.arrays().values():
            digest.update(np.ascontiguousarray(array).view(np.uint8).data)
        return "" if self.model is None else digest.hexdigest()[:16]

    @cached_property
    def order(self) -> Labels:
        """All items, best first for everyone, ties by id; without a model as the app lists them."""
        if self.model is None:
            return np.arange(len(self.scores), dtype=np.int32)
        return np.lexsort((self.shelf.tie_rank, -self.scores)).astype(np.int32)

    @cached_property
    def place(self) -> Labels:
        """Each item's place in `order`, from 0."""
        places = np.empty(len(self.order), dtype=np.int32)
        places[self.order] = np.arange(len(self.order))
        return places

    @cached_property
    def popularity(self) -> NDArray[np.float32] | None:
        """How popular each item is with everyone; None where that is not known."""
        return None if self.model is None else self.model.popularity

    @cached_property
    def best_sellers(self) -> Labels:
        """0 for the fewest items that take half of all popularity, -1 for the others."""
        labels = np.full(len(self.shelf.catalog), -1, dtype=np.int32)
        if self.popularity is not None:
            best = np.argsort(-self.popularity, kind="stable")
            mass = np.cumsum(self.popularity[best], dtype=np.float64)
            labels[best[: int(np.searchsorted(mass, HEAD_MASS * mass[-1])) + 1]] = 0
        return labels

    def personal(self, likes: Mapping[int, float]) -> Floats:
        """The score of every item for a person who likes these (item number to strength > 0).

        With a personal model it is the model's; without one, closeness to what is liked.
        """
        return LikedItems(self, likes).everywhere()


class LikedItems:
    """What one person likes, as a standing reads it: once, for all items and for any of them."""

    def __init__(self, standing: ItemPopularity, likes: Mapping[int, float]) -> None:
        self.numbers, self.strengths = columns(likes)
        self._shelf, model = standing.shelf, standing.model
        self._model = None if model is None or not len(model.head) else model
        self._leanings = (
            None if self._model is None else self._model.taste(self.numbers)
        )

    def everywhere(self) -> Floats:
        """The score of every item."""
        part = None if self._model is None else self._model.everything
        scores: Floats = self._scores(part, None, self.strengths[None])[0]
        return scores

    def of(self, numbers: Ints) -> Callable[[Floats], Floats]:
        """The same of the items `numbers` alone, for several people who like the same.

        Told how strongly (people, liked), 0 for not at all, it answers (people, items).
        """
        part = None if self._model is None else self._model.part(numbers)
        return lambda strengths: self._scores(part, numbers, strengths)

    def _scores(
        self, part: ModelSection | None, numbers: Ints | None, strengths: Floats
    ) -> Floats:
        if part is None or self._leanings is None:
            close = [
                _closeness(self._shelf, self.numbers, one, numbers) for one in strengths
            ]
            return np.array(close)
        return part.personal(self._leanings(_trust(strengths)))


class ItemAmounts(Mapping[int, float]):
    """Amounts by item number as two columns: to be looked up only where somebody does."""

    def __init__(self, numbers: Ints, amounts: Floats) -> None:
        self.columns = numbers, amounts

    @cached_property
    def _found(self) -> dict[int, float]:
        numbers, amounts = self.columns
        return dict(zip(numbers.tolist(), amounts.tolist(), strict=True))

    def __getitem__(self, number: int) -> float:
        return self._found[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self._found)

    def __len__(self) -> int:
        return len(self.columns[0])


def columns(likes: Mapping[int, float]) -> tuple[Ints, Floats]:
    """Item numbers, and how much of something each has."""
    if isinstance(likes, ItemAmounts):
        return likes.columns
    liked = np.fromiter(likes, dtype=np.int64, count=len(likes))
    return liked, np.fromiter(likes.values(), dtype=np.float64, count=len(likes))


def _trust(strengths: Floats) -> Floats:
    """How much each like counts: ten clicks do not say ten times as much as one."""
    return strengths / (1 + strengths)


def _standard_scores(shelf: CatalogArrays, model: Model | None) -> Floats:
    """The score that is the same for everyone: released popularity, else equal for all items."""
    if model is None:
        return np.zeros(len(shelf.catalog))
    return model.standard()


def _closeness(
    shelf: CatalogArrays, liked: Ints, strengths: Floats, numbers: Ints | None
) -> Floats:
    """How much strength lies on what each item shares with what is liked."""
    places = slice(None) if numbers is None else numbers
    columns = (
        (shelf.category, SAME_CATEGORY),
        (shelf.brand, SAME_BRAND),
        (shelf.family, 1.0),
    )
    scores = np.zeros(len(shelf.category[places]))
    for column, weight in columns:
        known = column[liked] >= 0
        size = int(column.max(initial=-1)) + 2
        shared = np.bincount(column[liked[known]], strengths[known], minlength=size)
        scores += (
            weight * shared[column[places]]
        )  # label -1 is the last place, always 0
    return scores


def _wording(item: Item) -> str:
    """Brand and title without case, signs and spaces: variants of one offer agree in it."""
    words = "".join(sign for sign in item.title.casefold() if sign.isalnum())
    return f"\0{item.brand}\0{words or item.id}"

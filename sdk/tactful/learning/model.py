"""The global model: popularity and item-to-item weights, and how a device scores items."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.integer]
_ALL = slice(None)


@dataclass(frozen=True, eq=False)
class Model:
    """Popularity h and weights w of all n items, and the weights between head items.

    The weights between two head items are V S V^T times the `gain` of the second item,
    plus the `closeness` of the first item to its `neighbours`. With an empty head it is
    a popularity model, whose personal score is the standard one.

    - `popularity`, `weights`: shape (n,), above 0.
    - `head`: item numbers, shape (n_h,).
    - `basis`: V, shape (n_h, k); `scale`: S, shape (k,), at least 0.
    - `gain`: shape (n_h,), at least 0.
    - `neighbours`: rows of the head, shape (n_h, M); `closeness`: shape (n_h, M).
    - `popularity_share`: the weight of popularity in a personal score.
    """

    popularity: Singles
    weights: Singles
    head: NDArray[np.int32]
    basis: Singles
    scale: Singles
    gain: Singles
    neighbours: NDArray[np.int32]
    closeness: Singles
    popularity_share: float

    @classmethod
    def of_popularity(
        cls,
        popularity: NDArray[np.floating],
        weights: NDArray[np.floating],
        share: float,
    ) -> Model:
        """Return the model without a head."""
        empty = np.empty((0, 0), dtype=np.float32)
        return cls(
            popularity=popularity.astype(np.float32),
            weights=weights.astype(np.float32),
            head=np.empty(0, dtype=np.int32),
            basis=empty,
            scale=np.empty(0, dtype=np.float32),
            gain=np.empty(0, dtype=np.float32),
            neighbours=empty.astype(np.int32),
            closeness=empty,
            popularity_share=share,
        )

    def popular(self) -> Model:
        """Return the popularity model with the same popularity."""
        return Model.of_popularity(self.popularity, self.weights, self.popularity_share)

    def standard(self) -> Floats:
        """Return the score that is the same for everyone, shape (n,)."""
        return self._standard.copy()

    def personal(self, items: Ints, weights: Floats | None = None) -> Floats:
        """Return the score for a person with these distinct item numbers, shape (n,).

        It is (pi q + z B) / w, with B as in the class (docs/spec/learning.md 6, 15). An
        item outside the head gets the standard score, and so does everything for a
        person without an item in the head. `weights` say how strongly each item is
        liked; they multiply w.
        """
        strengths = np.ones(len(items)) if weights is None else weights
        leanings = self.taste(items)(strengths[None])
        scores: Floats = self.everything.personal(leanings)[0]
        return scores

    def taste(self, items: Ints) -> Callable[[Floats], list[Leaning]]:
        """Return a function that gives the leaning of people with these items.

        It takes weights, shape (people, items), and returns one leaning per person.
        Items outside the head, or with weight 0, have no effect.
        """
        numbers = np.asarray(items, dtype=np.int64)
        self._check(numbers)
        in_head = np.flatnonzero(self.rows[numbers] >= 0)
        rows = self.rows[numbers[in_head]]
        item_weights = self.weights[numbers[in_head]]
        basis = self.basis[rows].astype(np.float64)

        def leanings(weights: Floats) -> list[Leaning]:
            histories = item_weights * weights[:, in_head]
            norms = np.sqrt(np.square(histories).sum(axis=1, keepdims=True))
            histories /= np.where(norms > 0, norms, 1.0)
            result = []
            for history in histories:
                direction = (history @ basis * self.scale).astype(np.float32)
                result.append(Leaning(direction, self._pulls(rows, history)))
            return result

        return leanings

    def part(self, numbers: Ints) -> ModelSection:
        """Return the section that scores only the items `numbers`."""
        rows = self.rows[numbers]
        is_in_head = rows >= 0
        places = _ALL if is_in_head.all() else np.flatnonzero(is_in_head)
        rows = rows[places]
        return ModelSection(
            self._standard[numbers],
            places,
            rows,
            self.basis.take(rows, axis=0),
            self._direction_weights[rows],
            self._inverse_weights[rows],
        )

    @property
    def kind(self) -> str:
        """Either "personal" or, with an empty head, "popularity"."""
        return "personal" if len(self.head) else "popularity"

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """Return the model as named arrays for its file, which `from_arrays` reads."""
        return {
            "popularity": self.popularity,
            "weights": self.weights,
            "head": self.head,
            "basis": self.basis,
            "scale": self.scale,
            "gain": self.gain,
            "neighbours": self.neighbours,
            "closeness": self.closeness,
            "mix": np.array([self.popularity_share]),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[np.generic]]) -> Model:
        """Return the model in `arrays`.

        Raise InvalidInput if shapes or values do not fit together.
        """
        popularity, weights, head, basis = read_columns(arrays)
        scale = named(arrays, "scale", 1).astype(np.float32, copy=False)
        gain = named(arrays, "gain", 1).astype(np.float32, copy=False)
        neighbours = named(arrays, "neighbours", 2).astype(np.int32, copy=False)
        closeness = named(arrays, "closeness", 2).astype(np.float32, copy=False)
        mix = named(arrays, "mix", 1).astype(np.float64)
        has_shapes = (
            len(gain) == len(neighbours) == len(head)
            and neighbours.shape == closeness.shape
            and len(scale) == basis.shape[1]
            and len(mix) == 1
        )
        has_rows = not neighbours.size or (
            neighbours.min() >= 0 and neighbours.max() < len(head)
        )
        is_finite = all(
            np.isfinite(array).all() for array in (mix, scale, gain, closeness)
        )
        if not (has_shapes and has_rows and is_finite and mix[0] > 0):
            raise InvalidInput(
                "model", "its parts do not fit together", "fetch it again"
            )
        return cls(
            popularity,
            weights,
            head,
            basis,
            scale,
            gain,
            neighbours,
            closeness,
            float(mix[0]),
        )

    @cached_property
    def rows(self) -> NDArray[np.int64]:
        """The row of each item in the basis, -1 outside the head, shape (n,)."""
        return head_rows(self.head, len(self.weights))

    def _pulls(self, rows: NDArray[np.int64], history: Floats) -> Floats | None:
        """Return what the person's items add to their neighbours, shape (n_h,)."""
        if not self.neighbours.size:
            return None
        amounts = history[:, None] * self.closeness[rows]
        neighbour_rows = self.neighbours[rows].reshape(-1)
        sums = np.bincount(neighbour_rows, amounts.reshape(-1), len(self.head))
        pulls: Floats = sums.astype(np.float64)
        return pulls

    @cached_property
    def everything(self) -> ModelSection:
        """The section that scores all items."""
        has_all_items = len(self.head) == len(self.weights)
        is_in_order = has_all_items and bool((np.diff(self.head) == 1).all())
        return ModelSection(
            self._standard,
            _ALL if is_in_order else self.head,
            _ALL,
            self.basis,
            self._direction_weights,
            self._inverse_weights,
        )

    @cached_property
    def _standard(self) -> Floats:
        popularity = self.popularity.astype(np.float64)
        norm = np.sqrt(np.square(self.weights * popularity).sum())
        scores: Floats = self.popularity_share * popularity / norm
        return scores

    @cached_property
    def _direction_weights(self) -> Singles:
        """The factor that turns V S V^T z into a score, for each head item."""
        weights: Singles = self.gain * self._inverse_weights
        return weights

    @cached_property
    def _inverse_weights(self) -> Singles:
        """1 / w for each head item."""
        inverse: Singles = np.float32(1) / self.weights[self.head]
        return inverse

    def _check(self, items: NDArray[np.int64]) -> None:
        if len(items) and not (items.min() >= 0 and items.max() < len(self.weights)):
            raise InvalidInput(
                "items", "a number is not in the catalog", "use catalog numbers"
            )


class Leaning(NamedTuple):
    """The taste of one person in terms of a model.

    `direction` is S V^T z, shape (k,); `pulls` are the sums that the neighbours of the
    person's items get, shape (n_h,).
    """

    direction: Singles
    pulls: Floats | None


@dataclass(frozen=True, eq=False)
class ModelSection:
    """Some items of a model.

    `standard` has their standard scores. `places` are the places of head items among
    them, and `rows` the rows of the same items in the head. `basis`,
    `direction_weights` and `inverse_weights` belong to these rows.
    """

    standard: Floats
    places: NDArray[np.integer] | slice
    rows: NDArray[np.int64] | slice
    basis: Singles
    direction_weights: Singles
    inverse_weights: Singles

    def personal(self, leanings: Sequence[Leaning]) -> Floats:
        """Return the personal scores for each leaning, shape (leanings, items)."""
        scores = np.tile(self.standard, (len(leanings), 1))
        for row, leaning in zip(scores, leanings, strict=True):
            row[self.places] += self._personal_part(leaning)
        return scores

    def _personal_part(self, leaning: Leaning) -> NDArray[np.floating]:
        """Return what the leaning adds to the scores of head items."""
        directed = (self.basis @ leaning.direction) * self.direction_weights
        if leaning.pulls is None:
            return directed
        return directed + leaning.pulls[self.rows] * self.inverse_weights


def head_rows(head: NDArray[np.int32], n: int) -> NDArray[np.int64]:
    """Return the row of each of `n` items in the head, -1 for items outside it."""
    rows = np.full(n, -1, dtype=np.int64)
    rows[head] = np.arange(len(head))
    return rows


def read_columns(
    arrays: Mapping[str, NDArray[np.generic]],
) -> tuple[Singles, Singles, NDArray[np.int32], Singles]:
    """Return popularity, weights, head and basis; check shapes and values."""
    popularity = _positive(arrays, "popularity")
    weights = _positive(arrays, "weights")
    head = named(arrays, "head", 1).astype(np.int32, copy=False)
    basis = named(arrays, "basis", 2).astype(np.float32, copy=False)
    numbers = np.unique(head)
    has_items = not len(head) or (numbers[0] >= 0 and numbers[-1] < len(weights))
    has_shapes = len(popularity) == len(weights) and len(head) == len(basis)
    is_distinct = len(numbers) == len(head)
    if not (has_shapes and is_distinct and has_items and np.isfinite(basis).all()):
        raise InvalidInput("model", "its arrays do not fit together", "fetch it again")
    return popularity, weights, head, basis


def named(
    arrays: Mapping[str, NDArray[np.generic]], name: str, axes: int
) -> NDArray[np.generic]:
    """Return an array by name; raise InvalidInput if it is missing or has other axes."""
    array = arrays.get(name)
    if array is None or array.ndim != axes or array.dtype.kind not in "fi":
        raise InvalidInput(
            f"model.{name}", "it is missing or has the wrong shape", "fetch it again"
        )
    return array


def _positive(arrays: Mapping[str, NDArray[np.generic]], name: str) -> Singles:
    column = named(arrays, name, 1).astype(np.float32, copy=False)
    if not (len(column) and np.isfinite(column).all() and (column > 0).all()):
        raise InvalidInput(f"model.{name}", "a value is not above 0", "fetch it again")
    return column

"""What everyone shares: popularity and a small basis, and how a device scores items with them."""

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
_EVERY = slice(None)


@dataclass(frozen=True, eq=False)
class Model:
    """Popularity h and weights w of all n items; how the head's items go together.

    Two items go together by directions, V S V^T times the `gain` of the second, and by what the
    first says of its `neighbours` alone. With an empty head it is a popularity model, whose
    personal score is the standard one.
    """

    popularity: Singles  # (n,), above 0
    weights: Singles  # (n,), above 0
    head: NDArray[np.int32]  # (n_h,), item numbers
    basis: Singles  # (n_h, k), V
    scale: Singles  # (k,), S, at least 0
    gain: Singles  # (n_h,), at least 0
    neighbours: NDArray[np.int32]  # (n_h, M), rows of the head
    closeness: Singles  # (n_h, M)
    popularity_share: float

    @classmethod
    def of_popularity(
        cls,
        popularity: NDArray[np.floating],
        weights: NDArray[np.floating],
        share: float,
    ) -> Model:
        """The model without a head."""
        nothing = np.empty((0, 0), dtype=np.float32)
        return cls(
            popularity=popularity.astype(np.float32),
            weights=weights.astype(np.float32),
            head=np.empty(0, dtype=np.int32),
            basis=nothing,
            scale=np.empty(0, dtype=np.float32),
            gain=np.empty(0, dtype=np.float32),
            neighbours=nothing.astype(np.int32),
            closeness=nothing,
            popularity_share=share,
        )

    def popular(self) -> Model:
        """Its popularity alone."""
        return Model.of_popularity(self.popularity, self.weights, self.popularity_share)

    def standard(self) -> Floats:
        """The score that is the same for everyone, shape (n,): popularity up to a constant."""
        return self._standard.copy()

    def personal(self, items: Ints, weights: Floats | None = None) -> Floats:
        """The score for a person with these distinct item numbers, shape (n,).

        It is (pi q + z B) / w with B as the class has it (design/learning.md 6, 15); an item
        outside the head, or a person without one inside it, gets the standard score. `weights`,
        if given, tell how strongly each item is liked; they multiply w.
        """
        liked = np.ones(len(items)) if weights is None else weights
        scores: Floats = self.everything.personal(self.taste(items)(liked[None]))[0]
        return scores

    def taste(self, items: Ints) -> Callable[[Floats], list[Leaning]]:
        """Says where people with these items lean: told weights (people, items), one for each.

        What has no weight, or lies outside the head, says nothing.
        """
        mine = np.asarray(items, dtype=np.int64)
        self._check(mine)
        there = np.flatnonzero(self.rows[mine] >= 0)
        rows, known = self.rows[mine[there]], self.weights[mine[there]]
        basis = self.basis[rows].astype(np.float64)

        def leanings(weights: Floats) -> list[Leaning]:
            history = known * weights[:, there]
            lengths = np.sqrt(np.square(history).sum(axis=1, keepdims=True))
            history /= np.where(lengths > 0, lengths, 1.0)
            directions = [
                (one @ basis * self.scale).astype(np.float32) for one in history
            ]
            pulls = [self._pulls(rows, one) for one in history]
            return [Leaning(*both) for both in zip(directions, pulls, strict=True)]

        return leanings

    def part(self, numbers: Ints) -> ModelSection:
        """What scores the items `numbers` alone, for many tastes."""
        rows = self.rows[numbers]
        inside = rows >= 0
        places = _EVERY if inside.all() else np.flatnonzero(inside)
        rows = rows[places]
        basis = self.basis.take(rows, axis=0)
        mixed, lift = self._mixed[rows], self._lift[rows]
        return ModelSection(self._standard[numbers], places, rows, basis, mixed, lift)

    @property
    def kind(self) -> str:
        """Either "personal" or, with an empty head, "popularity"."""
        return "personal" if len(self.head) else "popularity"

    def arrays(self) -> dict[str, NDArray[np.generic]]:
        """The model as named arrays for its file; `from_arrays` reads them back unchanged."""
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
        """The model in `arrays`; raises InvalidInput if shapes or values do not fit together."""
        popularity, weights, head, basis = read_columns(arrays)
        scale = named(arrays, "scale", 1).astype(np.float32, copy=False)
        gain = named(arrays, "gain", 1).astype(np.float32, copy=False)
        neighbours = named(arrays, "neighbours", 2).astype(np.int32, copy=False)
        closeness = named(arrays, "closeness", 2).astype(np.float32, copy=False)
        mix = named(arrays, "mix", 1).astype(np.float64)
        fits = (
            len(gain) == len(neighbours) == len(head)
            and neighbours.shape == closeness.shape
        )
        fits = fits and len(scale) == basis.shape[1]
        inside = not neighbours.size or (
            neighbours.min() >= 0 and neighbours.max() < len(head)
        )
        finite = all(np.isfinite(one).all() for one in (mix, scale, gain, closeness))
        if not (fits and inside and finite and len(mix) == 1 and mix[0] > 0):
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
        """Each item's row in the basis, -1 outside the head, shape (n,)."""
        return head_rows(self.head, len(self.weights))

    def _pulls(self, rows: NDArray[np.int64], history: Floats) -> Floats | None:
        """What the person's items say of their neighbours, shape (n_h,)."""
        if not self.neighbours.size:
            return None
        said = history[:, None] * self.closeness[rows]
        places = self.neighbours[rows].reshape(-1)
        pulls: Floats = np.bincount(places, said.reshape(-1), len(self.head)).astype(
            np.float64
        )
        return pulls

    @cached_property
    def everything(self) -> ModelSection:
        """What scores all items."""
        whole = len(self.head) == len(self.weights) and bool(
            (np.diff(self.head) == 1).all()
        )
        places = _EVERY if whole else self.head
        return ModelSection(
            self._standard, places, _EVERY, self.basis, self._mixed, self._lift
        )

    @cached_property
    def _standard(self) -> Floats:
        popularity = self.popularity.astype(np.float64)
        direction = self.weights * popularity
        scores: Floats = (
            self.popularity_share * popularity / np.sqrt(np.square(direction).sum())
        )
        return scores

    @cached_property
    def _mixed(self) -> Singles:
        """What turns V S V^T z into a score, per item of the head."""
        mixed: Singles = self.gain * self._lift
        return mixed

    @cached_property
    def _lift(self) -> Singles:
        """1 / w, per item of the head."""
        lift: Singles = np.float32(1) / self.weights[self.head]
        return lift

    def _check(self, items: NDArray[np.int64]) -> None:
        if len(items) and not (items.min() >= 0 and items.max() < len(self.weights)):
            raise InvalidInput(
                "items", "a number is not in the catalog", "use catalog numbers"
            )


class Leaning(NamedTuple):
    """One person's taste: S V^T z, shape (k,), and the sum of what the neighbours get, (n_h,)."""

    direction: Singles
    pulls: Floats | None


@dataclass(frozen=True, eq=False)
class ModelSection:
    """Some items of a model: their standard scores, and the rows of those in the head."""

    standard: Floats
    places: NDArray[np.integer] | slice  # of the items in the head, among these
    rows: NDArray[np.int64] | slice  # of the same items in the head
    basis: Singles
    mixed: Singles
    lift: Singles

    def personal(self, leanings: Sequence[Leaning]) -> Floats:
        """Their scores for each taste, as `Model.personal` has them, shape (tastes, items)."""
        scores = np.tile(self.standard, (len(leanings), 1))
        for row, leaning in zip(scores, leanings, strict=True):
            row[self.places] += self._own(leaning)
        return scores

    def _own(self, leaning: Leaning) -> NDArray[np.floating]:
        """What taste adds to the scores of those in the head."""
        directed = (self.basis @ leaning.direction) * self.mixed
        pulls = leaning.pulls
        return directed if pulls is None else directed + pulls[self.rows] * self.lift


def head_rows(head: NDArray[np.int32], n: int) -> NDArray[np.int64]:
    """Where each of n items stands in the head, -1 where it does not."""
    rows = np.full(n, -1, dtype=np.int64)
    rows[head] = np.arange(len(head))
    return rows


def read_columns(
    arrays: Mapping[str, NDArray[np.generic]],
) -> tuple[Singles, Singles, NDArray[np.int32], Singles]:
    """Popularity, weights, head and basis, checked in shape and value."""
    popularity, weights = _positive(arrays, "popularity"), _positive(arrays, "weights")
    head = named(arrays, "head", 1).astype(np.int32, copy=False)
    basis = named(arrays, "basis", 2).astype(np.float32, copy=False)
    numbers = np.unique(head)
    inside = not len(head) or (numbers[0] >= 0 and numbers[-1] < len(weights))
    fits = len(popularity) == len(weights) and len(numbers) == len(head) == len(basis)
    if not (fits and inside and np.isfinite(basis).all()):
        raise InvalidInput("model", "its arrays do not fit together", "fetch it again")
    return popularity, weights, head, basis


def named(
    arrays: Mapping[str, NDArray[np.generic]], name: str, axes: int
) -> NDArray[np.generic]:
    """The array of this name; raises InvalidInput if it is absent or has other axes."""
    array = arrays.get(name)
    if array is None or array.ndim != axes or array.dtype.kind not in "fi":
        raise InvalidInput(
            f"model.{name}", "it is missing or misshapen", "fetch it again"
        )
    return array


def _positive(arrays: Mapping[str, NDArray[np.generic]], name: str) -> Singles:
    column = named(arrays, name, 1).astype(np.float32, copy=False)
    if not (len(column) and np.isfinite(column).all() and (column > 0).all()):
        raise InvalidInput(f"model.{name}", "a value is not above 0", "fetch it again")
    return column

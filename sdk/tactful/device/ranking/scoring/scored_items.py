"""Items with their scores for one context: standard and personal mixed, corrected, worn, leant."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tactful.device.ranking.scoring import adjustments
from tactful.device.ranking.scoring.adjustments import GRID
from tactful.device.ranking.scoring.balance import mix, normalised_rank
from tactful.device.ranking.scoring.catalog_scores import columns
from tactful.device.ranking.scoring.list_context import ListContext
from tactful.device.ranking.values import Floats, Ints, best, falling

SPREAD = (
    1 << 28
)  # more than there are items: their places fit between two steps of the grid


class Candidates:
    """The items that are weighed for one list, and all that does not change with what is liked.

    `numbers` stand in the standard order, so that a stable sort breaks ties by it.
    """

    def __init__(self, context: ListContext, numbers: Ints) -> None:
        standing = context.standing
        self.context = context
        self.numbers = standing.order[np.sort(standing.place[numbers])].astype(np.int64)
        self.places = np.full(len(standing.shelf.catalog), -1, dtype=np.int32)
        self.places[self.numbers] = np.arange(
            len(self.numbers)
        )  # -1: it is not weighed
        self.standard = normalised_rank(standing.scores[self.numbers])
        popularity = (
            None if standing.popularity is None else standing.popularity[self.numbers]
        )
        self._favour = adjustments.favour(popularity)
        self.lean = adjustments.lean(
            standing.shelf, self.numbers, context.taste.leanings
        )
        shown, wear = columns(context.taste.wear)
        self.worn = np.zeros(len(self.places))  # of all items
        self.worn[shown] = wear
        self._left = adjustments.left(
            self.worn[self.numbers], context.list_policy.fatigue
        )
        self._personal = context.liking.of(self.numbers)

    @cached_property
    def everyone(self) -> Scored:
        """Scored for nobody in particular."""
        corrected = adjustments.correct_popularity(self.standard, self._favour)
        return Scored(self, self.standard, adjustments.gridded(corrected))

    def scored(self) -> Scored:
        """Scored for the person of the context."""
        balanced = self.standard
        strengths = self.context.liking.strengths
        if self.context.balance and len(strengths):
            balanced = self._mixed(strengths[None])[0]
        return Scored(self, balanced, self._final(balanced))

    def without(self, left_out: Sequence[int]) -> Floats:
        """The final scores once each of `left_out` is not liked any more, shape (those, items)."""
        liking = self.context.liking
        others = liking.numbers != np.array(left_out, dtype=np.int64)[:, None]
        return self._final(self._mixed(liking.strengths * others))

    def shared_ranks(self, final: Floats, numbers: Sequence[int]) -> Floats:
        """Return the mean place, from 0, of each of `numbers` among equal scores.

        `final` has the shape (people, items), the answer (people, numbers). All items stand above
        one that is not among them. Only a real difference between scores changes such a rank, so
        reasons are tested with it.
        """
        padded = np.full((len(final), len(self.numbers) + 1), -np.inf)
        padded[:, :-1] = final
        own = padded[:, self.places[list(numbers)], None]  # at place -1 stands -inf
        above = np.count_nonzero(final[:, None, :] > own, axis=-1)
        equal = np.count_nonzero(final[:, None, :] == own, axis=-1)
        shared: Floats = above + np.maximum(equal - 1, 0) / 2
        return shared

    def ranks(self, final: Floats, numbers: Sequence[int]) -> Ints:
        """How many items stand above each of `numbers`, shape (people, numbers).

        All stand above one that is not among them. `final` is of shape (people, items), on the
        grid.
        """
        last = len(self.numbers)
        keys = np.zeros(
            (len(final), last + 1)
        )  # in whole numbers, so that no two are equal
        keys[:, :last] = final * (GRID * SPREAD) + np.arange(last, 0, -1)
        mine = keys[:, self.places[list(numbers)]]  # at place -1 stands the last of all
        above = keys[:, None, :last] > mine[:, :, None]
        counts: Ints = np.add.reduce(above, axis=-1, dtype=np.int32)
        return counts

    def _mixed(self, strengths: Floats) -> Floats:
        """Standard and personal in one, of several people.

        Who likes nothing, or nothing that tells items apart, has the standard.
        """
        scores = self._personal(strengths)
        personal = [normalised_rank(one) for one in scores]
        mixed = mix(self.standard, np.array(personal), self.context.balance)
        says_nothing = ~strengths.any(axis=1)
        if scores.size:
            says_nothing |= scores.min(axis=1) == scores.max(axis=1)
        mixed[says_nothing] = self.standard
        return mixed

    def _final(self, balanced: Floats) -> Floats:
        corrected = adjustments.correct_popularity(balanced, self._favour)
        return adjustments.gridded(adjustments.leant(corrected, self.lean) * self._left)


@dataclass(frozen=True, eq=False)
class Scored:
    """The scores of the items of a field, in [0, 1], the final ones on a fixed grid."""

    field: Candidates
    balanced: Floats  # after standard and personal were mixed
    final: Floats  # after popularity, leanings and wear

    @property
    def numbers(self) -> Ints:
        """The item numbers, in the standard order."""
        return self.field.numbers

    @property
    def context(self) -> ListContext:
        """What they were scored for."""
        return self.field.context

    @cached_property
    def best_first(self) -> Ints:
        """The item numbers, best first, ties in the standard order."""
        return self.numbers[falling(self.final)]

    def best(self, count: int) -> tuple[Ints, Floats]:
        """The best `count` item numbers, best first, and their final scores."""
        places = best(self.final, count)
        scores = self.final[places]
        order = falling(scores)
        return self.numbers[places[order]], scores[order]

    def score(self, number: int) -> float:
        """The final score of one item; 0 if it is not among them."""
        place = int(self.field.places[number])
        return 0.0 if place < 0 else float(self.final[place])

    def gains(self, numbers: Sequence[int]) -> list[float]:
        """How much higher each of `numbers` stands for the person than for everyone, in [0, 1].

        0 for what is not among the items, and in a standard list.
        """
        places, balance = self.field.places[list(numbers)], self.context.balance
        if not balance:
            return [0.0] * len(numbers)
        more = np.append((self.balanced - self.field.standard) / balance, 0.0)
        gained: list[float] = np.clip(more[places], 0.0, 1.0).tolist()
        return gained

    def shared_ranks(self, numbers: Sequence[int]) -> list[float]:
        """Return the mean place, from 0, of each of `numbers` among equal scores."""
        shared: list[float] = self.field.shared_ranks(self.final[None], numbers)[
            0
        ].tolist()
        return shared

    def ranks(self, numbers: Sequence[int]) -> list[int]:
        """How many items stand above each of `numbers`; all above one that is not among them."""
        above: list[int] = self.field.ranks(self.final[None], numbers)[0].tolist()
        return above

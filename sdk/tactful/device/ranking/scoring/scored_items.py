"""Scores of items for one context: standard and personal, mixed and adjusted."""

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
from tactful.device.ranking.values import Floats, Ints, descending_order, top_places

SPREAD = 1 << 28  # above the number of items, whose places lie between two grid steps


class Candidates:
    """The items that are scored for one list, and all values that no like changes.

    `numbers` has the items in the standard order, so that a stable sort breaks ties by
    it. `places` has the place of each catalog item in `numbers`; -1 for other items.
    """

    def __init__(self, context: ListContext, numbers: Ints) -> None:
        standing = context.standing
        taste = context.taste
        self.context = context
        standard_places = np.sort(standing.place[numbers])
        self.numbers = standing.order[standard_places].astype(np.int64)
        self.places = np.full(len(standing.shelf.catalog), -1, dtype=np.int32)
        self.places[self.numbers] = np.arange(len(self.numbers))
        self.standard = normalised_rank(standing.scores[self.numbers])
        popularity = standing.popularity
        if popularity is not None:
            popularity = popularity[self.numbers]
        self._log_popularity = adjustments.log_popularity(popularity)
        self.lean = adjustments.total_leaning(
            standing.shelf, self.numbers, taste.leanings
        )
        shown_numbers, wear = columns(taste.wear)
        self.worn = np.zeros(len(self.places))  # of all items of the catalog
        self.worn[shown_numbers] = wear
        fatigue = context.list_policy.fatigue
        self._fatigue_factor = adjustments.fatigue_factor(
            self.worn[self.numbers], fatigue
        )
        self._personal_scores = context.liked_items.scorer(self.numbers)

    @cached_property
    def everyone(self) -> Scored:
        """The scores for the standard list."""
        corrected = adjustments.correct_popularity(self.standard, self._log_popularity)
        return Scored(self, self.standard, adjustments.round_to_grid(corrected))

    def scored(self) -> Scored:
        """Return the scores for the person of the context."""
        balanced = self.standard
        strengths = self.context.liked_items.strengths
        if self.context.balance and len(strengths):
            balanced = self._mixed(strengths[None])[0]
        return Scored(self, balanced, self._final(balanced))

    def without(self, left_out: Sequence[int]) -> Floats:
        """Return the final scores without each one of the likes `left_out`.

        The shape is (len(left_out), items).
        """
        liked_items = self.context.liked_items
        removed = np.array(left_out, dtype=np.int64)[:, None]
        is_remaining = liked_items.numbers != removed
        return self._final(self._mixed(liked_items.strengths * is_remaining))

    def shared_ranks(self, final: Floats, numbers: Sequence[int]) -> Floats:
        """Return the mean place, from 0, of each of `numbers` among equal scores.

        `final` has the shape (people, items), the result (people, numbers). All items
        rank above one that is not a candidate. Only a real difference between scores
        changes such a rank, so reasons are tested with it.
        """
        padded = np.full((len(final), len(self.numbers) + 1), -np.inf)
        padded[:, :-1] = final
        # Place -1 is the padding: the score of an item that is not a candidate.
        item_scores = padded[:, self.places[list(numbers)], None]
        above = np.count_nonzero(final[:, None, :] > item_scores, axis=-1)
        equal = np.count_nonzero(final[:, None, :] == item_scores, axis=-1)
        shared: Floats = above + np.maximum(equal - 1, 0) / 2
        return shared

    def ranks(self, final: Floats, numbers: Sequence[int]) -> Ints:
        """Return how many items rank above each of `numbers`, shape (people, numbers).

        All items rank above one that is not a candidate. `final` has the shape
        (people, items) and lies on the grid.
        """
        last = len(self.numbers)
        # Whole numbers that combine score and standard place, so that no two are equal.
        keys = np.zeros((len(final), last + 1))
        keys[:, :last] = final * (GRID * SPREAD) + np.arange(last, 0, -1)
        # Place -1 is the key 0: that of an item that is not a candidate.
        item_keys = keys[:, self.places[list(numbers)]]
        above = keys[:, None, :last] > item_keys[:, :, None]
        counts: Ints = np.add.reduce(above, axis=-1, dtype=np.int32)
        return counts

    def _mixed(self, strengths: Floats) -> Floats:
        """Return standard and personal scores mixed, shape (people, items).

        A person without likes, or whose likes do not distinguish the items, gets the
        standard scores.
        """
        scores = self._personal_scores(strengths)
        personal = np.array([normalised_rank(row) for row in scores])
        mixed = mix(self.standard, personal, self.context.balance)
        is_uninformed = ~strengths.any(axis=1)
        if scores.size:
            is_uninformed |= scores.min(axis=1) == scores.max(axis=1)
        mixed[is_uninformed] = self.standard
        return mixed

    def _final(self, balanced: Floats) -> Floats:
        """Return `balanced` after popularity, leanings and fatigue, on the grid."""
        corrected = adjustments.correct_popularity(balanced, self._log_popularity)
        leaned = adjustments.apply_leaning(corrected, self.lean)
        return adjustments.round_to_grid(leaned * self._fatigue_factor)


@dataclass(frozen=True, eq=False)
class Scored:
    """The scores of the candidates of one list, in [0, 1].

    `balanced` are the scores after standard and personal were mixed; `final` are those
    after popularity, leanings and fatigue, on a fixed grid.
    """

    field: Candidates
    balanced: Floats
    final: Floats

    @property
    def numbers(self) -> Ints:
        """The item numbers, in the standard order."""
        return self.field.numbers

    @property
    def context(self) -> ListContext:
        """The context that the items were scored for."""
        return self.field.context

    @cached_property
    def best_first(self) -> Ints:
        """The item numbers, best first, ties in the standard order."""
        return self.numbers[descending_order(self.final)]

    def best(self, count: int) -> tuple[Ints, Floats]:
        """Return the best `count` item numbers, best first, and their final scores."""
        places = top_places(self.final, count)
        scores = self.final[places]
        order = descending_order(scores)
        return self.numbers[places[order]], scores[order]

    def score(self, number: int) -> float:
        """Return the final score of one item; 0 if it is not a candidate."""
        place = int(self.field.places[number])
        return 0.0 if place < 0 else float(self.final[place])

    def gains(self, numbers: Sequence[int]) -> list[float]:
        """Return how much the personal score exceeds the standard one, in [0, 1].

        There is one value for each of `numbers`: 0 for an item that is not a candidate,
        and for all items of a standard list.
        """
        balance = self.context.balance
        if not balance:
            return [0.0] * len(numbers)
        places = self.field.places[list(numbers)]
        differences = (self.balanced - self.field.standard) / balance
        padded = np.append(differences, 0.0)  # place -1: not a candidate
        gains: list[float] = np.clip(padded[places], 0.0, 1.0).tolist()
        return gains

    def shared_ranks(self, numbers: Sequence[int]) -> list[float]:
        """Return the mean place, from 0, of each of `numbers` among equal scores."""
        shared = self.field.shared_ranks(self.final[None], numbers)
        ranks: list[float] = shared[0].tolist()
        return ranks

    def ranks(self, numbers: Sequence[int]) -> list[int]:
        """Return how many items rank above each of `numbers`.

        All rank above one that is not a candidate.
        """
        ranks: list[int] = self.field.ranks(self.final[None], numbers)[0].tolist()
        return ranks

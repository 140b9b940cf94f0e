"""Array types, item sources and score orders that all parts of ranking share."""

from __future__ import annotations

from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Labels = NDArray[np.int32]

SAMPLE_STEP = 16  # every 16th score is sampled to estimate where the top scores begin
SAMPLE_MARGIN = 1.3  # times the wanted count, so that the estimate is rarely too high


class Source(StrEnum):
    """The stage of ranking that put an item into a list."""

    PERSONAL = "personal"
    REPEAT_DUE = "repeat_due"
    FRESH = "fresh"
    STANDARD = "standard"
    EXPLORATION = "exploration"
    PINNED = "pinned"
    NOTICE = "notice"


def descending_order(scores: Floats | Labels) -> Ints:
    """Return the places of `scores`, highest first; equal scores keep their order."""
    # The default sort is faster but may swap equal scores: use it only without ties.
    order = np.argsort(-scores)
    ordered = scores[order]
    has_ties = np.count_nonzero(ordered[1:] == ordered[:-1])
    return np.argsort(-scores, kind="stable") if has_ties else order


def top_places(scores: Floats, count: int) -> Ints:
    """Return the places of the `count` highest scores, in rising order of place.

    Of equal scores the earlier places win.
    """
    if not 0 < count < len(scores):
        return np.arange(min(count, len(scores)))
    high_places = _high_places(scores, count)
    high_scores = scores[high_places]
    split = len(high_scores) - count
    lowest = np.partition(high_scores, split)[split]
    is_chosen = high_scores > lowest
    ties = np.flatnonzero(high_scores == lowest)
    missing = count - int(np.count_nonzero(is_chosen))
    is_chosen[ties[:missing]] = True
    places: Ints = high_places[is_chosen]
    return places


def _high_places(scores: Floats, count: int) -> Ints:
    """Return a superset of the places of the `count` highest scores.

    A sample of the scores gives a threshold. If too few scores reach it, all places
    are returned.
    """
    sample = scores[::SAMPLE_STEP]
    sampled_count = 2 + int(SAMPLE_MARGIN * count) // SAMPLE_STEP
    split = len(sample) - min(len(sample), sampled_count)
    threshold = np.partition(sample, split)[split]
    places = np.flatnonzero(scores >= threshold)
    return places if len(places) >= count else np.arange(len(scores))

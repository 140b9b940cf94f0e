"""Diversity: each next item is chosen for its score and for what it adds to the list.

There are four objectives on one scale: relevance and variety both lie in [0, 1], and
`diversity` is the weight of variety. At 0 every objective keeps the order of the
scores.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from tactful.device.list_policy import Objective
from tactful.device.ranking.scoring.adjustments import rescale
from tactful.device.ranking.scoring.catalog_scores import CatalogArrays
from tactful.device.ranking.selection.quotas import QuotaTracker
from tactful.device.ranking.values import Floats, Ints

POOL_FACTOR = 4  # the pool has this many times the list's length; lower items are weak
SMOOTHING = 0.01  # of the target mix, so that the divergence is finite (Steck 2018)

MIX_OBJECTIVES: Collection[Objective] = ("xquad", "calibration")

Variety = Callable[[int | None], Floats]
"""Takes the pool place of the item just chosen (None at first); returns what each pool
item would add to the variety of the list."""


def diversify(
    shelf: CatalogArrays,
    candidates: Ints,
    scores: Floats,
    *,
    depth: int,
    diversity: float,
    objective: Objective = "mmr",
    mix: Floats | None = None,
    tracker: QuotaTracker | None = None,
) -> Ints:
    """Return `candidates` with the first `depth` by the objective, the others by score.

    `candidates` come best first with their `scores`, which are rescaled to [0, 1].
    `mix` is the wanted share of each category (the person's, or the population's) for
    xquad and calibration. `tracker` enforces the quotas.
    """
    if not len(candidates) or (diversity == 0 and tracker is None):
        return candidates
    if mix is None:
        is_needed = objective in MIX_OBJECTIVES
        mix = shelf.category_mix(candidates) if is_needed else np.zeros(0)
    make_variety = VARIETIES[objective] if diversity else _no_variety
    relevance = rescale(scores)
    variety = make_variety(shelf, candidates, relevance, mix)
    depth = min(depth, len(candidates))
    order = _greedy(relevance, variety, depth, diversity, tracker)
    return np.concatenate([candidates[order], np.delete(candidates, order)])


def _greedy(
    relevance: Floats,
    variety: Variety,
    depth: int,
    diversity: float,
    tracker: QuotaTracker | None,
) -> list[int]:
    """Return the pool places of `depth` items, each with the highest gain."""
    is_free = np.ones(len(relevance), dtype=bool)
    order = list[int]()
    weighted_relevance = (1 - diversity) * relevance
    last: int | None = None
    for _ in range(depth):
        gain = variety(last) * diversity
        gain += weighted_relevance
        is_allowed = is_free if tracker is None else tracker.fits(is_free)
        np.copyto(gain, -np.inf, where=~is_allowed)
        last = int(gain.argmax())
        order.append(last)
        is_free[last] = False
        if tracker is not None:
            tracker.take(last)
    return order


def _no_variety(
    shelf: CatalogArrays, pool: Ints, scores: Floats, mix: Floats
) -> Variety:
    """Return a variety of 0 for every item, which keeps the order of the scores."""
    zeros = np.zeros(len(pool))
    return lambda last: zeros


def _mmr(shelf: CatalogArrays, pool: Ints, scores: Floats, mix: Floats) -> Variety:
    """Return the distance to the closest listed item (Carbonell, Goldstein 1998)."""
    highest = np.zeros(len(pool))  # similarity to any item of the list
    similarities = shelf.similarities(pool)

    def variety(last: int | None) -> Floats:
        if last is not None:
            np.maximum(highest, similarities[last], out=highest)
        return 1 - highest

    return variety


def _xquad(shelf: CatalogArrays, pool: Ints, scores: Floats, mix: Floats) -> Variety:
    """Return the wanted share of an item's category that is not yet covered.

    Source: Santos et al. 2010. Shares are relative to the most wanted category, so that
    they lie on the common scale.
    """
    categories = shelf.category[pool]
    uncovered = mix / mix.max(initial=1e-12)

    def variety(last: int | None) -> Floats:
        if last is not None and categories[last] >= 0:
            uncovered[categories[last]] *= 1 - scores[last]
        return np.where(categories >= 0, uncovered[categories], 0.0)

    return variety


def _calibration(
    shelf: CatalogArrays, pool: Ints, scores: Floats, mix: Floats
) -> Variety:
    """Return how close the list's mix of categories comes to the wanted one: exp(-KL).

    Source: Steck 2018. At each step the values of the categories are rescaled to
    [0, 1], so that they lie on the common scale.
    """
    categories = shelf.category[pool]
    counts = np.zeros(len(mix))
    present = [int(label) for label in np.unique(categories) if label >= 0]

    def variety(last: int | None) -> Floats:
        if last is not None and categories[last] >= 0:
            counts[categories[last]] += 1
        closeness = np.zeros(len(mix))
        for category in present:
            closeness[category] = _mix_closeness(mix, counts, category)
        return np.where(categories >= 0, rescale(closeness)[categories], 0.0)

    return variety


def _mix_closeness(mix: Floats, counts: Floats, added: int) -> float:
    """Return exp(-KL) of the wanted `mix` and the list with one item more."""
    listed = counts.copy()
    listed[added] += 1
    smoothed = (1 - SMOOTHING) * listed / listed.sum() + SMOOTHING * mix
    is_wanted = mix > 0
    wanted = mix[is_wanted]
    divergence = (wanted * np.log(wanted / smoothed[is_wanted])).sum()
    return float(np.exp(-divergence))


def _dpp(shelf: CatalogArrays, pool: Ints, scores: Floats, mix: Floats) -> Variety:
    """Return what an item adds to the volume spanned by the list, in [0, 1].

    Source: Chen et al. 2018 (greedy MAP inference). The kernel is the similarity alone;
    relevance is added separately, on the common scale.
    """
    rows: list[Floats] = []  # of the incremental Cholesky decomposition
    residuals = np.ones(len(pool))

    def variety(last: int | None) -> Floats:
        if last is not None:
            similarity = shelf.similarity(int(pool[last]), pool)
            similarity[last] = 1.0
            coefficients = np.array([row[last] for row in rows])
            projected = coefficients @ np.array(rows) if rows else 0.0
            norm = np.sqrt(max(residuals[last], 1e-9))
            new_row = (similarity - projected) / norm
            rows.append(new_row)
            np.maximum(residuals - new_row**2, 0.0, out=residuals)
        return residuals

    return variety


VARIETIES: Mapping[
    Objective, Callable[[CatalogArrays, Ints, Floats, Floats], Variety]
] = {
    "mmr": _mmr,
    "xquad": _xquad,
    "dpp": _dpp,
    "calibration": _calibration,
}

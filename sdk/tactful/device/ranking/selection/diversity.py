"""Variety: each next item is chosen for its score and for what it adds to those above it.

Four objectives on one scale: relevance and variety both lie in [0, 1], and `diversity` says how
much variety weighs; at 0 each of them keeps the order of the scores.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import numpy as np

from tactful.device.list_policy import Objective
from tactful.device.ranking.scoring.adjustments import unit
from tactful.device.ranking.scoring.catalog_scores import CatalogArrays
from tactful.device.ranking.selection.quotas import QuotaTracker
from tactful.device.ranking.values import Floats, Ints

POOL = 4  # variety is sought among this many times the length; below, an item is too weak to lift
SMOOTHING = 0.01  # of the wanted mix, so that the divergence is finite (Steck 2018)

OF_A_MIX: Collection[Objective] = ("xquad", "calibration")

Variety = Callable[[int | None], Floats]
"""Told the place of the item just chosen (None at first), says what each pool item would add."""


def diversify(
    shelf: CatalogArrays,
    candidates: Ints,
    scores: Floats,
    *,
    depth: int,
    diversity: float,
    objective: Objective = "mmr",
    mix: Floats | None = None,
    choice: QuotaTracker | None = None,
) -> Ints:
    """The `candidates` re-ordered: the first `depth` by the objective, the others by score.

    `candidates` come best first with their `scores`, which are stretched to [0, 1] here; `mix` is
    the wanted share of each category (the person's, or the population's), needed by xquad and
    calibration; `choice` counts what fits among the candidates.
    """
    if not len(candidates) or (diversity == 0 and choice is None):
        return candidates
    if mix is None:
        mix = shelf.category_mix(candidates) if objective in OF_A_MIX else np.zeros(0)
    made = VARIETIES[objective] if diversity else _none
    relevance = unit(scores)
    variety = made(shelf, candidates, relevance, mix)
    order = _greedy(relevance, variety, min(depth, len(candidates)), diversity, choice)
    return np.concatenate([candidates[order], np.delete(candidates, order)])


def _greedy(
    relevance: Floats,
    variety: Variety,
    depth: int,
    diversity: float,
    choice: QuotaTracker | None,
) -> list[int]:
    free = np.ones(len(relevance), dtype=bool)
    order, kept = list[int](), (1 - diversity) * relevance
    last: int | None = None
    for _ in range(depth):
        gain = variety(last) * diversity
        gain += kept
        np.copyto(gain, -np.inf, where=~(free if choice is None else choice.fits(free)))
        last = int(gain.argmax())
        order.append(last)
        free[last] = False
        if choice is not None:
            choice.take(last)
    return order


def _none(shelf: CatalogArrays, pool: Ints, scores: Floats, mix: Floats) -> Variety:
    """Nothing adds variety: the order of the scores."""
    nothing = np.zeros(len(pool))
    return lambda last: nothing


def _mmr(shelf: CatalogArrays, pool: Ints, scores: Floats, mix: Floats) -> Variety:
    """Distance to the nearest item above (Carbonell and Goldstein 1998)."""
    nearest, alike = np.zeros(len(pool)), shelf.similarities(pool)

    def variety(last: int | None) -> Floats:
        if last is not None:
            np.maximum(nearest, alike[last], out=nearest)
        return 1 - nearest

    return variety


def _xquad(shelf: CatalogArrays, pool: Ints, scores: Floats, mix: Floats) -> Variety:
    """The wanted share of the own category that no item above covers yet (Santos et al. 2010).

    It is counted in shares of the most wanted category, to lie on the common scale.
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
    """How near the list's mix of categories comes to the wanted one: exp(-KL) (Steck 2018).

    At each step it is stretched over what the categories would add, to lie on the common scale.
    """
    categories = shelf.category[pool]
    counts = np.zeros(len(mix))
    present = [int(kind) for kind in np.unique(categories) if kind >= 0]

    def variety(last: int | None) -> Floats:
        if last is not None and categories[last] >= 0:
            counts[categories[last]] += 1
        nearness = np.zeros(len(mix))
        for kind in present:
            nearness[kind] = _nearness(mix, counts, kind)
        return np.where(categories >= 0, unit(nearness)[categories], 0.0)

    return variety


def _nearness(mix: Floats, counts: Floats, added: int) -> float:
    listed = counts.copy()
    listed[added] += 1
    smoothed = (1 - SMOOTHING) * listed / listed.sum() + SMOOTHING * mix
    wanted = mix > 0
    return float(np.exp(-(mix[wanted] * np.log(mix[wanted] / smoothed[wanted])).sum()))


def _dpp(shelf: CatalogArrays, pool: Ints, scores: Floats, mix: Floats) -> Variety:
    """What the item adds to the volume spanned by those above, in [0, 1] (Chen et al. 2018).

    The kernel is the similarity alone; relevance enters beside it, on the common scale.
    """
    rows: list[Floats] = []
    left = np.ones(len(pool))

    def variety(last: int | None) -> Floats:
        if last is not None:
            alike = shelf.similarity(int(pool[last]), pool)
            alike[last] = 1.0
            known = np.array([row[last] for row in rows])
            projected = known @ np.array(rows) if rows else 0.0
            row = (alike - projected) / np.sqrt(max(left[last], 1e-9))
            rows.append(row)
            np.maximum(left - row**2, 0.0, out=left)
        return left

    return variety


VARIETIES: Mapping[
    Objective, Callable[[CatalogArrays, Ints, Floats, Floats], Variety]
] = {
    "mmr": _mmr,
    "xquad": _xquad,
    "dpp": _dpp,
    "calibration": _calibration,
}

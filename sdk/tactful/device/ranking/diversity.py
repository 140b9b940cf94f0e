"""Variety: each next item is chosen for its score and for what it adds to those above it.

Four objectives on one scale: relevance and variety both lie in [0, 1], and `diversity` says how
much variety weighs; at 0 each of them keeps the order of the scores.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

import numpy as np

from tactful.device.ranking.scoring import Floats, Ints, Shelf

Objective = Literal["mmr", "xquad", "dpp", "calibration"]
POOL = 4  # variety is sought among this many times the depth; below, an item is too weak to lift
SMOOTHING = 0.01  # of the wanted mix, so that the divergence is finite (Steck 2018)

Variety = Callable[[int | None], Floats]
"""Told the place of the item just chosen (None at first), says what each pool item would add."""


def diversify(
    shelf: Shelf,
    candidates: Ints,
    scores: Floats,
    *,
    depth: int,
    diversity: float,
    objective: Objective = "mmr",
    mix: Floats | None = None,
) -> Ints:
    """The `candidates` re-ordered: the first `depth` by the objective, the others by score.

    `candidates` come best first with their `scores` in [0, 1]; `mix` is the wanted share of each
    category (the person's, or the population's), needed by xquad and calibration.
    """
    if diversity == 0 or not len(candidates):
        return candidates
    pool, rest = np.split(candidates, [POOL * depth])
    wanted = shelf.category_mix(pool) if mix is None else mix
    variety = VARIETIES[objective](shelf, pool, scores[: len(pool)], wanted)
    order = _greedy(scores[: len(pool)], variety, min(depth, len(pool)), diversity)
    return np.concatenate([pool[order], np.delete(pool, order), rest])


def _greedy(relevance: Floats, variety: Variety, depth: int, diversity: float) -> list[int]:
    chosen = np.zeros(len(relevance), dtype=bool)
    order: list[int] = []
    for _ in range(depth):
        added = variety(order[-1] if order else None)
        gain = (1 - diversity) * relevance + diversity * added
        order.append(int(np.argmax(np.where(chosen, -np.inf, gain))))
        chosen[order[-1]] = True
    return order


def _mmr(shelf: Shelf, pool: Ints, scores: Floats, mix: Floats) -> Variety:
    """Distance to the nearest item above (Carbonell and Goldstein 1998)."""
    nearest = np.zeros(len(pool))

    def variety(last: int | None) -> Floats:
        if last is not None:
            np.maximum(nearest, shelf.similarity(int(pool[last]), pool), out=nearest)
        return 1 - nearest

    return variety


def _xquad(shelf: Shelf, pool: Ints, scores: Floats, mix: Floats) -> Variety:
    """The wanted share of the own category that no item above covers yet (Santos et al. 2010)."""
    categories = shelf.category[pool]
    uncovered = mix.copy()

    def variety(last: int | None) -> Floats:
        if last is not None and categories[last] >= 0:
            uncovered[categories[last]] *= 1 - scores[last]
        return np.where(categories >= 0, uncovered[categories], 0.0)

    return variety


def _calibration(shelf: Shelf, pool: Ints, scores: Floats, mix: Floats) -> Variety:
    """How near the list's mix of categories comes to the wanted one: exp(-KL) (Steck 2018)."""
    categories = shelf.category[pool]
    counts = np.zeros(len(mix))

    def variety(last: int | None) -> Floats:
        if last is not None and categories[last] >= 0:
            counts[categories[last]] += 1
        nearness = np.array([_nearness(mix, counts, kind) for kind in range(len(mix))])
        return np.where(categories >= 0, nearness[categories], 0.0)

    return variety


def _nearness(mix: Floats, counts: Floats, added: int) -> float:
    listed = counts.copy()
    listed[added] += 1
    smoothed = (1 - SMOOTHING) * listed / listed.sum() + SMOOTHING * mix
    wanted = mix > 0
    return float(np.exp(-(mix[wanted] * np.log(mix[wanted] / smoothed[wanted])).sum()))


def _dpp(shelf: Shelf, pool: Ints, scores: Floats, mix: Floats) -> Variety:
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


VARIETIES: Mapping[Objective, Callable[[Shelf, Ints, Floats, Floats], Variety]] = {
    "mmr": _mmr,
    "xquad": _xquad,
    "dpp": _dpp,
    "calibration": _calibration,
}

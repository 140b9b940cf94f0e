"""One knob between the standard and the personal list; the most restrictive voice wins."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tactful.device.ranking.scoring import Floats, Ints, Labels, falling

EVIDENCE_HALF = 2.0  # known items at which the personal list may have half its full share


def most_personal(
    *, app: float, surface: float, person: float, allowed: bool, staleness: float
) -> float:
    """How personal a list may be, in [0, 1], before the evidence is looked at; 0 is standard.

    `allowed` is the consent to personalise, `staleness` 1 for a fresh model and falling towards 0
    as it ages.
    """
    return min(app, surface, person, 1.0 if allowed else 0.0, staleness)


def by_evidence(known: int) -> float:
    """How personal a list may be for someone of whom `known` items are known."""
    return known / (known + EVIDENCE_HALF)


def mix(standard: Floats, personal: Floats, balance: float) -> Floats:
    """Two scores in [0, 1] on one scale, mixed by `balance`.

    With fixed sides each pair of items swaps at most once as `balance` grows, so the distance
    from the standard order never shrinks.
    """
    return (1 - balance) * standard + balance * personal


def normalised_rank(scores: Floats | Labels) -> Floats:
    """1 for the best item down to 0 for the last; of equal scores the earlier stands above."""
    return ranked(falling(scores))


def ranked(order: Ints | Labels) -> Floats:
    """1 for the place that `order` has first, down to 0 for the last."""
    ranks = np.empty(len(order))
    ranks[order] = _steps(len(order))
    return ranks


@lru_cache(maxsize=8)
def _steps(count: int) -> Floats:
    return np.linspace(1.0, 0.0, count) if count > 1 else np.ones(count)

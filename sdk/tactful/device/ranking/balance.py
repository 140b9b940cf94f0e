"""One knob between the standard and the personal list; the most restrictive voice wins."""

from __future__ import annotations

import numpy as np

from tactful.device.ranking.scoring import Floats, Ints

EVIDENCE_HALF = 2.0  # liked items at which the personal list may have half its full share


def effective_balance(
    *, app: float, person: float, allowed: bool, liked: int, staleness: float
) -> float:
    """How personal the list may be, in [0, 1]: 0 is the standard list for everyone.

    `allowed` is the consent to personalise, `liked` the number of liked items, `staleness` 1 for
    a fresh model and falling towards 0 as it ages.
    """
    evidence = liked / (liked + EVIDENCE_HALF)
    return min(app, person, 1.0 if allowed else 0.0, evidence, staleness)


def mix(standard: Floats, personal: Floats, balance: float, tie_rank: Ints) -> Floats:
    """Scores in [0, 1]: both sides as ranks within the list, mixed by `balance`.

    With fixed sides each pair of items swaps at most once as `balance` grows, so the distance
    from the standard order never shrinks.
    """
    if balance == 0:
        return normalised_rank(standard, tie_rank)
    return (1 - balance) * normalised_rank(standard, tie_rank) + balance * normalised_rank(
        personal, tie_rank
    )


def normalised_rank(scores: Floats, tie_rank: Ints) -> Floats:
    """1 for the best item down to 0 for the last; equal scores stand in the order of ids."""
    order = np.lexsort((tie_rank, -scores))
    ranks = np.empty(len(scores))
    ranks[order] = np.linspace(1.0, 0.0, len(scores)) if len(scores) > 1 else 1.0
    return ranks

"""One knob between the standard and the personal list; the most restrictive voice wins."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from tactful.device.ranking.values import Floats, Ints, Labels, falling

EVIDENCE_HALF = (
    2.0  # known items at which the personal list may have half its full share
)


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
    """Return 1 for the highest score down to 0 for the lowest, shape (items,).

    Equal scores share the mean of their ranks: a tie says nothing about which item is better.
    """
    order = falling(scores)
    steps, ordered = _steps(len(order)), scores[order]
    is_first = np.ones(len(order), dtype=np.bool_)  # of a group of equal scores
    is_first[1:] = ordered[1:] != ordered[:-1]
    ranks = np.empty(len(order))
    ranks[order] = steps if is_first.all() else _shared(steps, np.flatnonzero(is_first))
    return ranks


def _shared(steps: Floats, firsts: Ints) -> Floats:
    """Return `steps` with the mean of each group; `firsts` are the places where groups begin."""
    ends = np.append(firsts[1:], len(steps))
    means = (steps[firsts] + steps[ends - 1]) / 2  # steps are equally far apart
    return np.repeat(means, ends - firsts)


@lru_cache(maxsize=8)
def _steps(count: int) -> Floats:
    return np.linspace(1.0, 0.0, count) if count > 1 else np.ones(count)

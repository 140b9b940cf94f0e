"""The balance between the standard and the personal list, and mixed scores.

The effective balance is the lowest of several limits: the app, the surface, the person,
consent, the age of the model, and how much is known about the person.
"""

from __future__ import annotations

import numpy as np

from tactful.device.ranking.values import Floats, Ints, Labels, descending_order

EVIDENCE_HALF = 2.0  # known items at which the balance may reach 1/2


def most_personal(
    *, app: float, surface: float, person: float, allowed: bool, staleness: float
) -> float:
    """Return the highest balance that is allowed, in [0, 1]; 0 is the standard list.

    `allowed` is the consent to personalization. `staleness` is 1 for a fresh model and
    falls towards 0 with its age. Evidence is a further limit: see `by_evidence`.
    """
    return min(app, surface, person, 1.0 if allowed else 0.0, staleness)


def by_evidence(known: int) -> float:
    """Return the highest balance for a person about whom `known` items are known."""
    return known / (known + EVIDENCE_HALF)


def mix(standard: Floats, personal: Floats, balance: float) -> Floats:
    """Return the scores mixed by `balance`; both are in [0, 1] on one scale.

    With fixed scores each pair of items swaps at most once as `balance` grows, so the
    distance from the standard order never shrinks.
    """
    return (1 - balance) * standard + balance * personal


def normalised_rank(scores: Floats | Labels) -> Floats:
    """Return 1 for the highest score down to 0 for the lowest, shape (items,).

    Equal scores share the mean of their ranks: a tie does not say which item is better.
    """
    order = descending_order(scores)
    steps = _steps(len(order))
    ordered = scores[order]
    is_first = np.ones(len(order), dtype=np.bool_)  # of a group of equal scores
    is_first[1:] = ordered[1:] != ordered[:-1]
    if not is_first.all():
        steps = _group_means(steps, np.flatnonzero(is_first))
    ranks = np.empty(len(order))
    ranks[order] = steps
    return ranks


def _group_means(steps: Floats, starts: Ints) -> Floats:
    """Return `steps` with the mean of each group.

    Groups begin at the places `starts`.
    """
    ends = np.append(starts[1:], len(steps))
    means = (steps[starts] + steps[ends - 1]) / 2  # steps are evenly spaced
    return np.repeat(means, ends - starts)


def _steps(count: int) -> Floats:
    """Return `count` evenly spaced values from 1 down to 0."""
    return np.linspace(1.0, 0.0, count) if count > 1 else np.ones(count)

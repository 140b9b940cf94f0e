"""What attacks that were run say: lower bounds on epsilon, each with what it assumes.

Steinke, Nasr, Jagielski 2023 (Theorem 5.2); Mahloujifar, Melis, Chaudhuri 2024; the Gaussian
bound inverts a noncentral t (design/privacy.md 4.2).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tactful.audit.statistics.distributions import (
    NORMAL,
    Floats,
    binomial_upper,
    bisect,
    clopper_pearson,
    quantile,
)
from tactful.errors import InvalidInput
from tactful.privacy.accountant import epsilon_for

GUESS_PARTS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
MOST_EPSILON, MOST_MU = 100.0, 40.0


def one_run(
    canaries: int, guesses: int, right: int, alpha: float, delta: float
) -> float:
    """The epsilon that `right` of `guesses` about `canaries` coins refute; assumes nothing."""
    _checked(canaries, guesses, right)

    def refuted(epsilon: float) -> bool:
        chance = 1 / (1 + math.exp(-epsilon))
        tails = binomial_upper(guesses, chance)
        worst = 0.0
        if delta and right:
            steps = np.arange(1, right + 1)
            worst = float(np.max((tails[right - steps] - tails[right]) / steps))
        return float(tails[right]) + 2 * canaries * delta * worst <= alpha

    return bisect(refuted, 0.0, MOST_EPSILON) if refuted(0.0) else 0.0


def one_run_fdp(
    canaries: int, guesses: int, right: int, alpha: float, delta: float
) -> float:
    """The same for a Gaussian trade-off curve: tighter; assumes that the curve is Gaussian."""
    _checked(canaries, guesses, right)

    def refuted(mu: float) -> bool:
        return not _plausible(mu, canaries, guesses, right, alpha)

    if not refuted(1e-6):
        return 0.0
    return epsilon_for(bisect(refuted, 1e-6, MOST_MU), delta)


def _plausible(
    mu: float, canaries: int, guesses: int, right: int, alpha: float
) -> bool:
    hit, miss = alpha * right / canaries, alpha * (guesses - right) / canaries
    for left in range(right - 1, -1, -1):
        bound = NORMAL.cdf(quantile(hit) - mu) if hit > 0 else 0.0
        fresh = max(miss, bound)
        hit += left / (guesses - left) * (fresh - miss)
        miss = fresh
        if hit + miss > guesses / canaries or hit >= 1:
            return hit + miss <= guesses / canaries
    return hit + miss <= guesses / canaries


def gaussian(inside: Floats, outside: Floats, alpha: float) -> float:
    """The mu that scores of canaries in and out of the sum refute; assumes Gaussian scores.

    The difference of means over the pooled deviation follows a noncentral t.
    """
    if min(len(inside), len(outside)) < 10:
        raise InvalidInput("scores", "fewer than 10 on a side", "use more canaries")
    freedom = len(inside) + len(outside) - 2
    squares = float(np.square(inside - inside.mean()).sum())
    squares += float(np.square(outside - outside.mean()).sum())
    scale = 1 / math.sqrt(1 / len(inside) + 1 / len(outside))
    if squares == 0:
        raise InvalidInput("scores", "they do not vary", "send noise")
    statistic = (
        float(inside.mean() - outside.mean()) / math.sqrt(squares / freedom) * scale
    )
    roots, weights = _chi(freedom)

    def refuted(mu: float) -> bool:
        above = 1 - np.array(
            [NORMAL.cdf(statistic * root - mu * scale) for root in roots]
        )
        return float(above @ weights) <= alpha

    return bisect(refuted, 0.0, MOST_MU, 40) if refuted(0.0) else 0.0


def _chi(freedom: int) -> tuple[Floats, Floats]:
    """Points and weights of sqrt(chi2/freedom): all but 1e-15 of it."""
    spread = 8.5 / math.sqrt(2 * freedom)
    roots = np.linspace(max(1 - spread, 1e-6), 1 + spread, 101)
    logs = (freedom - 1) * np.log(roots) - freedom * (np.square(roots) - 1) / 2
    weights = np.exp(logs - logs.max())
    return roots, weights / weights.sum()


@dataclass(frozen=True)
class Rates:
    """Hits of an attack in each of two worlds of `runs` runs."""

    true_positives: int
    false_positives: int
    runs: int

    def epsilon(self, alpha: float, delta: float) -> float:
        """The epsilon they refute; assumes nothing."""
        high_rate, low_rate = self._bounds(alpha)
        if high_rate - delta <= 0:
            return 0.0
        return max(math.log((high_rate - delta) / max(low_rate, 1e-300)), 0.0)

    def mu(self, alpha: float) -> float:
        """The Gaussian mu they refute."""
        high_rate, low_rate = self._bounds(alpha)
        return max(quantile(high_rate) - quantile(low_rate), 0.0)

    def _bounds(self, alpha: float) -> tuple[float, float]:
        hits = clopper_pearson(self.true_positives, self.runs, alpha / 2)[0]
        return hits, clopper_pearson(self.false_positives, self.runs, alpha / 2)[1]


def guesses(scores: Floats, coins: Floats, part: float) -> tuple[int, int]:
    """(guesses, right ones) if the most and the least likely `part` of canaries are guessed."""
    count = max(1, round(len(scores) * part / 2))
    order = np.argsort(scores)
    right = int(coins[order[-count:]].sum() + (1 - coins[order[:count]]).sum())
    return 2 * count, right


def best_one_run(
    scores: Floats, coins: Floats, alpha: float, delta: float
) -> tuple[float, float]:
    """(epsilon, epsilon under a Gaussian curve), the best of the fixed parts, at alpha/7 each."""
    found = [(0.0, 0.0)]
    for part in GUESS_PARTS:
        count, right = guesses(scores, coins, part)
        asked = (
            len(scores),
            min(count, len(scores)),
            right,
            alpha / len(GUESS_PARTS),
            delta,
        )
        found.append((one_run(*asked), one_run_fdp(*asked)))
    return max(one for one, _ in found), max(two for _, two in found)


def _checked(canaries: int, guesses: int, right: int) -> None:
    if not 0 <= right <= guesses <= canaries or canaries < 1:
        raise InvalidInput(
            "guesses",
            f"{right} of {guesses} of {canaries} cannot be",
            "count each canary once",
        )

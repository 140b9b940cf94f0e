"""Lower bounds on epsilon from attacks, each with its assumption.

A bound inverts a test: it is the largest epsilon (or mu) that the outcome of an attack
refutes at level alpha. If the true epsilon is not refuted with probability 1 - alpha,
the bound is below it with that probability.

Sources: Steinke, Nasr, Jagielski 2023 (Theorem 5.2); Mahloujifar, Melis, Chaudhuri
2024; the Gaussian bound inverts a noncentral t (docs/spec/privacy.md 4.2).
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

# Parts of the canaries for which the attacker guesses; fixed before the scores.
GUESS_PARTS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.7, 1.0)
MOST_EPSILON, MOST_MU = 100.0, 40.0


def one_run(
    canaries: int, guesses: int, right: int, alpha: float, delta: float
) -> float:
    """Return the largest epsilon that a one-run attack refutes; without assumptions.

    `right` of `guesses` about the coins of `canaries` were right.
    """
    _require_possible(canaries, guesses, right)

    # With independent coins and epsilon-DP, a guess is right with probability at most
    # e^eps / (1 + e^eps), whatever the outcome of the others. So the number of right
    # guesses is stochastically below a binomial. With delta, the tail is larger by at
    # most 2 m delta times the largest gain per guess that is shifted (Theorem 5.2).
    def is_refuted(epsilon: float) -> bool:
        chance = 1 / (1 + math.exp(-epsilon))
        tails = binomial_upper(guesses, chance)
        largest_gain = 0.0
        if delta and right:
            steps = np.arange(1, right + 1)
            gains = (tails[right - steps] - tails[right]) / steps
            largest_gain = float(np.max(gains))
        return float(tails[right]) + 2 * canaries * delta * largest_gain <= alpha

    return bisect(is_refuted, 0.0, MOST_EPSILON) if is_refuted(0.0) else 0.0


def one_run_fdp(
    canaries: int, guesses: int, right: int, alpha: float, delta: float
) -> float:
    """Return the same for a Gaussian trade-off curve.

    Tighter than `one_run`; assumes that the trade-off curve is Gaussian.
    """
    _require_possible(canaries, guesses, right)

    def is_refuted(mu: float) -> bool:
        return not _is_plausible(mu, canaries, guesses, right, alpha)

    if not is_refuted(1e-6):
        return 0.0
    return epsilon_for(bisect(is_refuted, 1e-6, MOST_MU), delta)


def _is_plausible(
    mu: float, canaries: int, guesses: int, right: int, alpha: float
) -> bool:
    """Return True if mu-GDP allows `right` of `guesses` with probability `alpha`.

    The recursion of Mahloujifar, Melis and Chaudhuri. It starts from the event of at
    least `right` right guesses with probability `alpha` and goes down by one guess in
    each step. For each event it bounds the mass of right and of wrong guesses from
    below: the trade-off curve says how little wrong mass can go with the right mass. If
    both masses exceed all guesses, the start is impossible.
    """
    most_mass = guesses / canaries
    right_mass = alpha * right / canaries
    wrong_mass = alpha * (guesses - right) / canaries
    for count in range(right - 1, -1, -1):
        least_wrong = 0.0
        if right_mass > 0:
            least_wrong = NORMAL.cdf(quantile(right_mass) - mu)
        new_wrong_mass = max(wrong_mass, least_wrong)
        right_mass += count / (guesses - count) * (new_wrong_mass - wrong_mass)
        wrong_mass = new_wrong_mass
        if right_mass + wrong_mass > most_mass or right_mass >= 1:
            break
    return right_mass + wrong_mass <= most_mass


def gaussian(inside: Floats, outside: Floats, alpha: float) -> float:
    """Return the largest mu that canary scores refute; assumes Gaussian scores.

    `inside` are the scores of canaries that were sent, `outside` those of the others.
    """
    if min(len(inside), len(outside)) < 10:
        raise InvalidInput(
            "scores", "fewer than 10 on one side of the coin", "use more canaries"
        )
    freedom = len(inside) + len(outside) - 2
    squares = float(np.square(inside - inside.mean()).sum())
    squares += float(np.square(outside - outside.mean()).sum())
    scale = 1 / math.sqrt(1 / len(inside) + 1 / len(outside))
    if squares == 0:
        raise InvalidInput(
            "scores", "they do not vary", "score canaries in a noisy sum"
        )
    mean_difference = float(inside.mean() - outside.mean())
    statistic = mean_difference / math.sqrt(squares / freedom) * scale
    roots, weights = _chi_grid(freedom)

    # The statistic is (Z + mu scale) / root, where Z is standard normal and root is
    # sqrt(chi2 / freedom): a noncentral t. Its upper tail is the mean over root of the
    # tail of Z, and it rises with mu. So a mu is refuted if its tail is at most alpha.
    def is_refuted(mu: float) -> bool:
        cdf = np.array([NORMAL.cdf(statistic * root - mu * scale) for root in roots])
        return float((1 - cdf) @ weights) <= alpha

    return bisect(is_refuted, 0.0, MOST_MU, 40) if is_refuted(0.0) else 0.0


def _chi_grid(freedom: int) -> tuple[Floats, Floats]:
    """Return points and weights of sqrt(chi2/freedom); all but 1e-15 of its mass."""
    spread = 8.5 / math.sqrt(2 * freedom)
    roots = np.linspace(max(1 - spread, 1e-6), 1 + spread, 101)
    logs = (freedom - 1) * np.log(roots) - freedom * (np.square(roots) - 1) / 2
    weights = np.exp(logs - logs.max())
    return roots, weights / weights.sum()


@dataclass(frozen=True)
class Rates:
    """Positive answers of an attack on two neighbouring inputs, `runs` times each."""

    true_positives: int
    false_positives: int
    runs: int

    def epsilon(self, alpha: float, delta: float) -> float:
        """Return the largest epsilon that the rates refute; without assumptions.

        (epsilon, delta)-DP implies TPR <= e^epsilon FPR + delta for every attack.
        """
        high_rate, low_rate = self._bounds(alpha)
        if high_rate - delta <= 0:
            return 0.0
        return max(math.log((high_rate - delta) / max(low_rate, 1e-300)), 0.0)

    def mu(self, alpha: float) -> float:
        """Return the largest mu of Gaussian DP that the rates refute."""
        high_rate, low_rate = self._bounds(alpha)
        return max(quantile(high_rate) - quantile(low_rate), 0.0)

    def _bounds(self, alpha: float) -> tuple[float, float]:
        """Return a lower bound of the TPR and an upper bound of the FPR.

        Each holds at alpha / 2, so by the union bound both hold at alpha.
        """
        low_tpr, _ = clopper_pearson(self.true_positives, self.runs, alpha / 2)
        _, high_fpr = clopper_pearson(self.false_positives, self.runs, alpha / 2)
        return low_tpr, high_fpr


def guesses(scores: Floats, coins: Floats, part: float) -> tuple[int, int]:
    """Return (guesses, right guesses) of the best attack on a `part` of the canaries.

    The attack guesses "sent" for the highest scores and "not sent" for the lowest.
    """
    count = max(1, round(len(scores) * part / 2))
    order = np.argsort(scores)
    right = int(coins[order[-count:]].sum() + (1 - coins[order[:count]]).sum())
    return 2 * count, right


def best_one_run(
    scores: Floats, coins: Floats, alpha: float, delta: float
) -> tuple[float, float]:
    """Return the best bounds of `one_run` and `one_run_fdp` over GUESS_PARTS.

    Each part is tested at alpha / 7, so by the union bound all hold at alpha.
    """
    part_alpha = alpha / len(GUESS_PARTS)
    canaries = len(scores)
    best, best_fdp = 0.0, 0.0
    for part in GUESS_PARTS:
        count, right = guesses(scores, coins, part)
        count = min(count, canaries)
        bound = one_run(canaries, count, right, part_alpha, delta)
        bound_fdp = one_run_fdp(canaries, count, right, part_alpha, delta)
        best, best_fdp = max(best, bound), max(best_fdp, bound_fdp)
    return best, best_fdp


def _require_possible(canaries: int, guesses: int, right: int) -> None:
    if not 0 <= right <= guesses <= canaries or canaries < 1:
        raise InvalidInput(
            "guesses",
            f"{right} right of {guesses} about {canaries} canaries is impossible",
            "count each canary once",
        )

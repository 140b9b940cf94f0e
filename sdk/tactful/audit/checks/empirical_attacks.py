"""Checks D: attacks on the running pair, as lower bounds on epsilon.

A canary is a known vector that is sent or not, by a secret coin. The attack guesses the
coin from a score of the canary in the noisy sum.
"""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction

import numpy as np

from tactful.audit.evidence.audit_case import (
    AuditCase,
    Check,
    CheckOutcome,
    EvidenceMissing,
    require,
)
from tactful.audit.finding import EvidenceClass
from tactful.audit.statistics.distributions import (
    Floats,
    binomial_upper,
    quantile,
    upper_tail,
)
from tactful.audit.statistics.epsilon_bounds import best_one_run, gaussian
from tactful.errors import InvalidInput
from tactful.privacy.accountant import epsilon_for, mu_from_rho
from tactful.privacy.mechanism import read_fraction
from tactful.protocol.documents.evidence import Canaries

# Three estimators share the false-alarm rate of D1.
ALPHA = 0.001 / 3
# The wealth at which a bet refutes the claim: 1 / false-alarm rate.
REFUTING_WEALTH = 1 / 0.0005
# The part of the wealth that is bet on each coin.
BET = 0.5
MEMBERSHIP_ALPHA = 5e-5
# Edges of the integral of D3, in probability; close together where the tail is small.
PROBABILITY_GRID = (
    *np.geomspace(1e-7, 1e-3, 60).tolist(),
    *np.linspace(0.0, 1.0, 601)[1:-1].tolist(),
)
LEAST_CANARIES = 100
# D3 tests the low bits of sums with at least this many numbers, at this many sigmas.
LEAST_SUM, LOW_BIT_SIGMAS = 64, 5


def bound_epsilon_by_canaries(case: AuditCase) -> CheckOutcome:
    """D1: three lower bounds on epsilon from canaries are not above the claim.

    The canaries go through the real client and pair. Each bound has its own assumption,
    see `epsilon_bounds`.
    """
    runs = _canary_runs(case)
    alpha = ALPHA / len(runs)
    figures: dict[str, float] = {}
    for run in runs:
        delta, claimed = run.delta, _claimed_epsilon(run)
        scores, coins = _opened(run)
        one_run, fdp = best_one_run(scores, coins, alpha, delta)
        mu = gaussian(scores[coins == 1], scores[coins == 0], alpha)
        bounds = {
            "one_run": one_run,
            "fdp": fdp,
            "gaussian": epsilon_for(mu, delta) if mu > 0 else 0.0,
            "claimed": claimed,
        }
        figures = {
            name: max(value, figures.get(name, 0.0)) for name, value in bounds.items()
        }
        for name in ("one_run", "fdp", "gaussian"):
            require(
                figures[name] <= claimed,
                f"epsilon: {claimed:.3f} is claimed, but the bound {name} shows at "
                f"least {figures[name]:.3f}",
            )
        if len(scores) < LEAST_CANARIES:
            return CheckOutcome(
                None,
                f"canaries: {len(scores)} are too few; use {LEAST_CANARIES} or more",
                figures,
            )
    bounds_text = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
    return CheckOutcome(
        True, f"{bounds_text}; {len(runs[0].scores)} canaries, alpha 0.001", figures
    )


def bet_against_claim(case: AuditCase) -> CheckOutcome:
    """D2: the wealth of a bet against the claim stays low, at any time.

    Under (epsilon, delta)-DP, a guess is right with probability at most
    s = e^eps/(1+e^eps) + delta, whatever happened before. So no bet gains in
    expectation, and the wealth is a nonnegative supermartingale that starts at 1. By
    Ville's inequality (1939) it ever reaches 1/alpha with probability at most alpha.
    Therefore it may be tested after every batch, without a correction.
    """
    wealth, highest, count = 1.0, 1.0, 0
    # Each coin may be bet on only once, so repeated runs are dropped.
    distinct_runs = {run.commitment: run for run in _canary_runs(case)}
    for run in distinct_runs.values():
        scores, coins = _opened(run)
        right_chance = 1 / (1 + math.exp(-_claimed_epsilon(run))) + run.delta
        median = float(np.median(scores))
        for score, coin in zip(scores, coins, strict=True):
            is_right = (score > median) == bool(coin)
            wealth *= 1 + BET * (float(is_right) - right_chance)
            highest = max(highest, wealth)
            count += 1
    require(
        highest < REFUTING_WEALTH,
        f"epsilon: a bet against the claim grew from 1 to {highest:.3g}",
    )
    return CheckOutcome(
        True,
        f"{count:,} bets, wealth at most {highest:.2f} from 1",
        {"wealth": highest},
    )


def check_membership_inference(case: AuditCase) -> CheckOutcome:
    """D3: canaries that were sent are not recognized more often than the claim allows.

    The attack recognizes scores above all scores of canaries that were not sent, so it
    has no false positive. The lowest bits of released sums must also be even.
    """
    highest_rate, least_p = 0.0, 1.0
    for run in _canary_runs(case):
        scores, coins = _opened(run)
        inside, outside = scores[coins == 1], scores[coins == 0]
        if min(len(inside), len(outside)) < 1:
            raise InvalidInput(
                "canaries.scores", "all coins are equal", "use more canaries"
            )
        hits = int((inside > outside.max()).sum())
        p = _hits_p(hits, len(inside), len(outside), mu_from_rho(_rho(run)))
        require(
            p >= MEMBERSHIP_ALPHA,
            f"epsilon: {hits} of {len(inside)} canaries were recognized without a "
            f"false positive, more than the claim allows (p {p:.1e})",
        )
        highest_rate = max(highest_rate, hits / len(inside))
        least_p = min(least_p, p)
    for batch_sum in case.evidence.sums.values():
        if batch_sum.dtype == np.int64 and batch_sum.size >= LEAST_SUM:
            set_share = float((batch_sum.astype(np.int64) & 1).mean())
            limit = LOW_BIT_SIGMAS * 0.5 / math.sqrt(batch_sum.size)
            require(
                abs(set_share - 0.5) < limit,
                f"sum of a batch: {set_share:.3f} of its lowest bits are set, not half",
            )
    return CheckOutcome(
        True,
        f"{highest_rate:.2%} of canaries score above all that were not sent "
        f"(p {least_p:.2g}); low bits are even",
    )


def _hits_p(hits: int, inside: int, outside: int, mu: float) -> float:
    """Return an upper bound on P(at least `hits` of `inside` above all of `outside`).

    It assumes Gaussian scores that are `mu` apart, the worst case of the claim. Given
    the highest score outside, each score inside exceeds it independently. The mean over
    this highest score is a sum over cells of its law. Each cell is taken at its lower
    end, where hits are most likely, so the result is never too small.
    """
    total, lower_edge = 0.0, 0.0
    for upper_edge in (*PROBABILITY_GRID, 1.0):
        tail = 1.0
        if lower_edge > 0:
            # The maximum of n scores is below x with probability Phi(x)^n.
            highest_outside = quantile(lower_edge ** (1 / outside))
            hit_chance = upper_tail(highest_outside - mu)
            tail = float(binomial_upper(inside, hit_chance)[hits])
        total += (upper_edge - lower_edge) * tail
        lower_edge = upper_edge
    return min(total, 1.0)


def _canary_runs(case: AuditCase) -> tuple[Canaries, ...]:
    if not case.evidence.documents.canaries:
        raise EvidenceMissing("canaries")
    return case.evidence.documents.canaries


def _rho(run: Canaries) -> Fraction:
    return read_fraction("canaries.rho", run.rho)


def _claimed_epsilon(run: Canaries) -> float:
    return epsilon_for(mu_from_rho(_rho(run)), run.delta)


def _opened(run: Canaries) -> tuple[Floats, Floats]:
    """Return (scores, coins), after a check that the coins match their commitment."""
    try:
        opened = bytes.fromhex(run.opened)
    except ValueError as wrong:
        raise InvalidInput(
            "canaries.opened", "it is not hex", "open the commitment"
        ) from wrong
    require(
        hashlib.sha256(opened).hexdigest() == run.commitment,
        "canaries.opened: the coins are not those of the commitment before the run",
    )
    scores = np.array(run.scores)
    if not np.isfinite(scores).all():
        raise InvalidInput(
            "canaries.scores", "one is not a finite number", "score every canary"
        )
    return scores, run.coins()


CHECKS = (
    Check(
        id="D1",
        claim="canaries do not refute epsilon",
        evidence_class=EvidenceClass.NOT_REFUTED,
        run=bound_epsilon_by_canaries,
        hazards=(1,),
    ),
    Check(
        id="D2",
        claim="a bet against the claim does not grow, at any time",
        evidence_class=EvidenceClass.NOT_REFUTED,
        run=bet_against_claim,
        slow=True,
    ),
    Check(
        id="D3",
        claim="membership is recognized no better than the claim allows",
        evidence_class=EvidenceClass.NOT_REFUTED,
        run=check_membership_inference,
        slow=True,
    ),
)

"""D: what attacks on the running pair could tell, as lower bounds on epsilon."""

from __future__ import annotations

import hashlib
import math
from fractions import Fraction

import numpy as np

from tactful.audit.evidence.audit_case import (
    AuditCase,
    Check,
    CheckOutcome,
    NotShown,
    require,
)
from tactful.audit.finding import EvidenceClass
from tactful.audit.statistics.distributions import (
    Floats,
    binomial_upper,
    quantile,
    upper_tail,
)
from tactful.audit.statistics.epsilon_bounds import best_one_run, gaussian, guesses
from tactful.errors import InvalidInput
from tactful.privacy.accountant import epsilon_for, mu_from_rho
from tactful.privacy.mechanism import read_fraction
from tactful.protocol.documents.evidence import Canaries

ALPHA = 0.001 / 3  # three estimators share the false alarms of D1
WEALTH = (
    1 / 0.0005
)  # an e-process this rich refutes; it may be looked at after every batch
MEMBERSHIP_ALPHA = 5e-5
STEPS = (
    *np.geomspace(1e-7, 1e-3, 60).tolist(),
    *np.linspace(0.0, 1.0, 601)[1:-1].tolist(),
)
BET = 0.5
FEWEST = 100


def canaries(case: AuditCase) -> CheckOutcome:
    """D1: canaries through the real client and pair; three bounds, each with its assumption."""
    figures: dict[str, float] = {}
    for one in _shown(case):
        claimed = _claimed(one)
        scores, coins = _opened(one)
        alpha = ALPHA / len(_shown(case))
        one_run, fdp = best_one_run(scores, coins, alpha, one.delta)
        bound = gaussian(scores[coins == 1], scores[coins == 0], alpha)
        normal = epsilon_for(bound, one.delta) if bound > 0 else 0.0
        found = {"one_run": one_run, "fdp": fdp, "gaussian": normal, "claimed": claimed}
        figures = {
            name: max(value, figures.get(name, 0.0)) for name, value in found.items()
        }
        for name in ("one_run", "fdp", "gaussian"):
            require(
                figures[name] <= claimed,
                f"{name}: epsilon is at least {figures[name]:.3f}, {claimed:.3f} is claimed",
            )
        if len(scores) < FEWEST:
            return CheckOutcome(None, f"{len(scores)} canaries say little", figures)
    told = ", ".join(f"{name} {value:.3f}" for name, value in figures.items())
    return CheckOutcome(
        True, f"{told}; {len(_shown(case)[0].scores)} canaries, alpha 0.001", figures
    )


def anytime(case: AuditCase) -> CheckOutcome:
    """D2: a bet against the claim over all batches, valid whenever it is looked at.

    Under (epsilon, delta) a guess is right with chance at most s = e^eps/(1+e^eps) + delta,
    whatever came before; the wealth of betting on more is a supermartingale (Ville 1939).
    """
    wealth, count = 1.0, 0
    richest = wealth
    for one in {
        each.commitment: each for each in _shown(case)
    }.values():  # each coin is bet on once
        scores, coins = _opened(one)
        chance = 1 / (1 + math.exp(-_claimed(one))) + one.delta
        middle = float(np.median(scores))
        for score, coin in zip(scores, coins, strict=True):
            right = (score > middle) == bool(coin)
            wealth *= 1 + BET * (float(right) - chance)
            richest, count = max(richest, wealth), count + 1
    require(richest < WEALTH, f"a bet against the claim grew to {richest:.3g}")
    return CheckOutcome(
        True, f"{count:,} bets, at most {richest:.2f} for 1", {"wealth": richest}
    )


def membership(case: AuditCase) -> CheckOutcome:
    """D3: telling who took part at few false alarms, against what the claim allows; low bits."""
    worst, least = 0.0, 1.0
    for one in _shown(case):
        scores, coins = _opened(one)
        inside, outside = scores[coins == 1], scores[coins == 0]
        if min(len(inside), len(outside)) < 1:
            raise InvalidInput(
                "canaries.scores", "one side is empty", "use more canaries"
            )
        hits = int((inside > outside.max()).sum())
        p = _so_many(hits, len(inside), len(outside), mu_from_rho(_rho(one)))
        require(
            p >= MEMBERSHIP_ALPHA,
            f"{hits} of {len(inside)} found at no false alarm, allowed with p {p:.1e}",
        )
        worst, least = max(worst, hits / len(inside)), min(least, p)
    for total in case.evidence.sums.values():
        if total.dtype == np.int64 and total.size >= 64:
            share, limit = (
                float((total.astype(np.int64) & 1).mean()),
                5 * 0.5 / math.sqrt(total.size),
            )
            require(
                abs(share - 0.5) < limit, f"{share:.3f} of a sum's lowest bits are set"
            )
    told = f"{worst:.2%} found above every canary that was not sent (p {least:.2g})"
    return CheckOutcome(True, f"{told}; low bits are even")


def _so_many(hits: int, inside: int, outside: int, mu: float) -> float:
    """P(at least so many of `inside` above all of `outside`), if the claim's curve is met.

    The highest score outside is averaged over steps of its law, each taken at its lower end, so
    that the probability is never too small; each one inside passes it alone.
    """
    found, before = 0.0, 0.0
    for edge in (*STEPS, 1.0):
        tail = 1.0
        if before > 0:
            chance = upper_tail(quantile(before ** (1 / outside)) - mu)
            tail = float(binomial_upper(inside, chance)[hits])
        found, before = found + (edge - before) * tail, edge
    return min(found, 1.0)


def _shown(case: AuditCase) -> tuple[Canaries, ...]:
    if not case.evidence.documents.canaries:
        raise NotShown("no canaries were shown")
    return case.evidence.documents.canaries


def _rho(one: Canaries) -> Fraction:
    return read_fraction("canaries.rho", one.rho)


def _claimed(one: Canaries) -> float:
    return epsilon_for(mu_from_rho(_rho(one)), one.delta)


def _opened(one: Canaries) -> tuple[Floats, Floats]:
    """(scores, coins), once the coins are those that were committed to."""
    try:
        opened = bytes.fromhex(one.opened)
    except ValueError as wrong:
        raise InvalidInput(
            "canaries.opened", "not hex", "open the commitment"
        ) from wrong
    require(
        hashlib.sha256(opened).hexdigest() == one.commitment,
        "the coins are not those that were committed to before the run",
    )
    scores = np.array(one.scores)
    if not np.isfinite(scores).all():
        raise InvalidInput("canaries.scores", "one is no number", "score every canary")
    return scores, one.coins()


def accuracy(scores: Floats, coins: Floats, part: float) -> float:
    """How often the best attack on a part of the canaries guesses right."""
    count, right = guesses(scores, coins, part)
    return right / count


CHECKS = (
    Check(
        id="D1",
        claim="canaries do not refute epsilon",
        ground=EvidenceClass.NOT_REFUTED,
        run=canaries,
        hazards=(1,),
    ),
    Check(
        id="D2",
        claim="no bet against the claim grows, whenever it is looked at",
        ground=EvidenceClass.NOT_REFUTED,
        run=anytime,
        slow=True,
    ),
    Check(
        id="D3",
        claim="membership is told no better than the claim allows",
        ground=EvidenceClass.NOT_REFUTED,
        run=membership,
        slow=True,
    ),
)

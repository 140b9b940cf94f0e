"""How a training spends its budget: chosen from public numbers only.

The first round counts items; what it releases is public too, and settles the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple, TypeVar

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful.learning import gate
from tactful.learning.popularity import FLOOR, GAMMA

Floats = NDArray[np.float64]
Kind = Literal["popularity", "subspace", "gram", "trial"]
Value = TypeVar("Value", int, float)

FACTOR_ONCE = 1.02  # rounding to 14 levels lengthens a vector by this much (privacy.md 1.1)
FACTOR_PAIR = 1.445  # and both halves add the full noise: sqrt(2) times as much
SHARE_GRID = 1 << 20  # shares are rounded down to it, so that their exact sum is at most 1


@dataclass(frozen=True)
class Plan:
    """The rounds of one training: their kinds, and the parts of mu^2 they spend, sum at most 1.

    Without `kinds` the rounds after the first are of a subspace.
    `users` are expected, `budget` is mu over how much the noise is inflated, `described` says
    whether the catalog's words are at hand, `most` bounds what a device uploads in all rounds, in
    numbers. `gamma` and `floor` weigh items. A subspace has `head` and `rank`, `omega` whitens,
    `beta` and `popularity_share` mix the personal and the popular score, `rho` shrinks. Pairs of
    items have `head` and `ridge`.
    """

    items: int
    head: int
    rank: int
    shares: tuple[float, ...]
    kinds: tuple[Kind, ...] = ()
    users: int = 1
    budget: float = 1.0
    described: bool = False
    most: int = 0
    gamma: float = GAMMA
    omega: float = 0.0
    beta: float = 0.7
    popularity_share: float = 0.2
    floor: float = FLOOR
    rho: float = 0.1
    ridge: float = 1.0

    @property
    def rounds(self) -> int:
        """How many reports a device makes in the whole training."""
        return len(self.shares)

    def kind(self, round_: int) -> Kind:
        """What is summed in this round."""
        if self.kinds:
            return self.kinds[round_]
        return "subspace" if round_ else "popularity"

    def length(self, round_: int) -> int:
        """The entries of a measurement of this round, before padding."""
        lengths = {
            "popularity": self.items,
            "subspace": self.head * self.rank,
            "gram": self.head * (self.head - 1) // 2,
            "trial": len(MIXES),
        }
        return lengths[self.kind(round_)]

    @property
    def snr(self) -> float:
        """mu N / (f sqrt(n))."""
        return gate.signal_to_noise(self.items, self.users, self.budget, 1.0)


class Rule(NamedTuple):
    """What an SNR below `below` gets; see design/learning.md 5 for the columns."""

    below: float
    rank: int
    head: int
    split: tuple[int, ...]
    gamma: float
    omega: float
    beta: float


MOST_PADDING = 0.25  # of a measurement

# Chosen on validation people of four data sets. Heads are powers of two: other lengths are padded.
RULES = (
    Rule(25, 16, 256, (1, 2), 0.25, 0.0, 0.7),
    Rule(60, 14, 512, (1, 1, 2), 0.25, 1.0, 0.7),
    Rule(100, 16, 512, (1, 1, 2), 0.25, 1.0, 0.7),
    Rule(math.inf, 32, 1024, (1, 1, 2), 0.5, 1.0, 1.5),
)
POPULARITY_SHARES = ((12.0, 0.40), (40.0, 0.15), (100.0, 0.10), (math.inf, 0.05))  # by SNR

LONG = 7.5  # mean of sqrt(m) from which on a subspace is learned, not pairs
SECOND_COUNT = 0.35  # of the budget, where pairs say little but words may say much
TRIAL_SHARES = ((25.0, 0.10), (math.inf, 0.04))  # by SNR
MOST_NUMBERS = ((60.0, 25_000), (math.inf, 150_000))  # that a device uploads, by SNR
STANDING = 6.0  # times the noise: what an item of the head has of the diagonal
LEAST_HEAD, LEAST_PAIRS = 32, 20_000
RIDGE_UNIT = 30.0
RIDGES = ((0.3, 3.0), (1.0, 3.0))  # without and with words
MIXES = (0.02, 0.1, 0.5)  # shares of popularity that are tried on people


def choose_plan(
    items: int,
    users: int,
    mu: float,
    factor: float,
    *,
    described: bool = False,
    most: int | None = None,
) -> Plan:
    """The plan for `items` (n), `users` expected (N), the budget `mu` and the noise `factor` (f).

    If the gate is closed and nothing is `described` by words, all of the budget goes to popularity.
    Else the rounds after the first are those of pairs until `settled`. `most` is how many numbers a
    device uploads at most in all rounds, by the rule if None. Raises InvalidInput for a number
    that is not above 0.
    """
    numbers = {"items": items, "users": users, "mu": mu, "factor": factor}
    for field, value in ({**numbers, "most": most} if most is not None else numbers).items():
        if not (math.isfinite(value) and value > 0):
            raise InvalidInput(field, f"{value!r} is not above 0", "use a number above 0")
    snr = gate.signal_to_noise(items, users, mu, factor)
    if items < 2 or not (described or gate.is_worth_it(snr)):
        return popularity_plan(items)
    plan = Plan(
        items=items,
        head=min(items, LEAST_HEAD),
        rank=0,
        shares=(),
        users=users,
        budget=mu / factor,
        described=described,
        most=max(_by(MOST_NUMBERS, snr), items + LEAST_PAIRS) if most is None else most,
        popularity_share=MIXES[0],
    )
    return _spending(plan, ("popularity", "gram", "trial"))


def popularity_plan(items: int) -> Plan:
    """The plan that spends everything on one noisy count per item."""
    return Plan(items=items, head=0, rank=0, shares=(1.0,))


def settled(plan: Plan, popularity: Floats, mean_root: float) -> Plan:
    """The plan once popularity is released: what else is asked, and about which head.

    `mean_root` is the mean of sqrt(m) over people, as the noisy counts tell it.
    """
    signal = plan.snr * max(mean_root, 0.0)
    if signal < gate.LEAST_SIGNAL and not plan.described:
        return _spending(plan, ("popularity", "popularity"))
    if not plan.described and mean_root >= LONG:
        return _subspace_plan(plan)
    least, most = RIDGES[plan.described]
    ridge = min(max(mean_root**2 / RIDGE_UNIT, least), most)
    kinds: tuple[Kind, ...] = ("popularity", "gram", "trial")
    if signal < gate.SIGNAL:
        kinds = ("popularity", "popularity", "gram", "trial")
    plan = _spending(replace(plan, ridge=ridge), kinds)
    return replace(plan, head=_standing_head(plan, popularity))


def _spending(plan: Plan, kinds: tuple[Kind, ...]) -> Plan:
    """The plan with these rounds, each with its share."""
    first, trial = _by(POPULARITY_SHARES, plan.snr), _by(TRIAL_SHARES, plan.snr)
    if kinds == ("popularity", "popularity"):
        wanted: tuple[float, ...] = (first, 1 - first)
    elif kinds[1] == "popularity":
        second = min(SECOND_COUNT, 1 - first - 2 * trial)
        wanted = (first, second, 1 - first - second - trial, trial)
    else:
        wanted = (first, 1 - first - trial, trial)
    return replace(plan, kinds=kinds, shares=_shares(wanted))


def _standing_head(plan: Plan, popularity: Floats) -> int:
    """The most items whose own part of the diagonal stands out of the noise on each pair.

    They are as few as `most` allows, and at least 32.
    """
    share = plan.shares[plan.kinds.index("gram")]
    tau = 1 / (math.sqrt(2 * share) * plan.budget)
    weighted = np.sort((popularity / popularity.max() + plan.floor) ** -plan.gamma * popularity)
    weighted = weighted[::-1]
    stands = plan.users * weighted / np.cumsum(weighted) >= STANDING * tau
    standing = int(np.flatnonzero(stands).max(initial=-1)) + 1
    counted = plan.items * plan.kinds.count("popularity") + len(MIXES)
    allowed = _paired(max(plan.most - counted, 0))
    size = min(max(min(standing, allowed), LEAST_HEAD), plan.items)
    entries = max(size * (size - 1) // 2, 1)
    padded = 1 << (entries - 1).bit_length()
    return size if entries >= (1 - MOST_PADDING) * padded else _paired(padded // 2)


def _paired(entries: int) -> int:
    """The most items whose pairs are at most so many."""
    return (1 + math.isqrt(1 + 8 * entries)) // 2


def _subspace_plan(plan: Plan) -> Plan:
    rule = next(rule for rule in RULES if plan.snr < rule.below)
    rank = max(min(rule.rank, plan.items // 2), 1)
    first = _by(POPULARITY_SHARES, plan.snr)
    rest = [(1 - first) * part / sum(rule.split) for part in rule.split]
    shares = _shares((first, *rest))
    later: list[Kind] = ["subspace" for _ in rule.split]
    return replace(
        plan,
        kinds=("popularity", *later),
        shares=shares,
        head=_head(min(rule.head, plan.items), rank),
        rank=rank,
        gamma=rule.gamma,
        omega=rule.omega,
        beta=rule.beta,
        popularity_share=Plan.popularity_share,
    )


def _head(wanted: int, rank: int) -> int:
    """`wanted` items, or fewer where padding would waste more than a quarter of a measurement."""
    padded = 1 << (wanted * rank - 1).bit_length()
    fits = wanted * rank >= (1 - MOST_PADDING) * padded
    return wanted if fits else padded // 2 // rank


def _shares(wanted: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(math.floor(share * SHARE_GRID) / SHARE_GRID for share in wanted)


def _by(table: tuple[tuple[float, Value], ...], snr: float) -> Value:
    return next(value for below, value in table if snr < below)

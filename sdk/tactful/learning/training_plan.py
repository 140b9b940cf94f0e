"""How a training spends its budget: chosen from public numbers only.

The first round counts items; what it releases is public too, and settles the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful.learning import release_gate
from tactful.learning.popularity_estimate import FLOOR, GAMMA

Floats = NDArray[np.float64]
Kind = Literal["popularity", "subspace", "gram", "trial"]
Value = TypeVar("Value", int, float)

FACTOR_ONCE = (
    1.02  # rounding to 14 levels lengthens a vector by this much (privacy.md 1.1)
)
FACTOR_PAIR = 1.445  # and both halves add the full noise: sqrt(2) times as much
SHARE_GRID = (
    1 << 20
)  # shares are rounded down to it, so that their exact sum is at most 1


@dataclass(frozen=True)
class Plan:
    """The rounds of one training: their kinds, and the parts of mu^2 they spend, sum at most 1.

    Without `kinds` the rounds after the first are of a subspace.
    `users` are expected, `budget` is mu over how much the noise is inflated, `described` says
    whether the catalog's words are at hand, `most` bounds what a device uploads in all rounds, in
    numbers; `mean_root` is the mean of sqrt(m) over people, once it is counted. `gamma` and `floor`
    weigh items, `head` of which are learned about: a subspace in `rank` directions, or pairs, in a
    sketch if it has `buckets`. EASE has `ridge` and `popularity_share`.
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
    mean_root: float = 1.0
    gamma: float = GAMMA
    floor: float = FLOOR
    ridge: float = 1.0
    popularity_share: float = 0.02
    buckets: int = 0

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
            "gram": self.buckets or self.head * (self.head - 1) // 2,
            "trial": len(MIXES),
        }
        return lengths[self.kind(round_)]

    @property
    def snr(self) -> float:
        """mu N / (f sqrt(n))."""
        return release_gate.signal_to_noise(self.items, self.users, self.budget, 1.0)


MOST_PADDING = 0.3  # of a measurement

# Chosen on validation people of six data sets.
POPULARITY_SHARES = (
    (12.0, 0.40),
    (40.0, 0.15),
    (100.0, 0.10),
    (math.inf, 0.05),
)  # by SNR
SECOND_COUNT = 0.35  # of the budget, where pairs say little but words may say much
MOST_NUMBERS = ((60.0, 25_000), (math.inf, 150_000))  # that a device uploads, by SNR
LEAST_HEAD, LEAST_PAIRS = 32, 20_000

STANDING = (
    6.0  # times the noise: what an item of the head has of the diagonal, for pairs
)
RIDGE_UNIT = 30.0
RIDGES = ((0.3, 3.0), (1.0, 3.0))  # without and with words

CUT_OFF = 0.75  # of what people have of the items that stand out: if pairs are of less, a sketch
MOST_OF_ALL = (
    0.9  # of what people have at all: in a head that is not told pair by pair, at most
)

LONG, LOUD = (
    7.5,
    400.0,
)  # mean of sqrt(m) from which on a subspace is learned, and SNR up to which
LEAST_BUCKETS, CROWDS = (
    512,
    ((LONG, 16), (math.inf, 3)),
)  # pairs a bucket, by mean of sqrt(m)
STEPS = (1, 2, 4)  # how the rounds of a subspace share their budget
STEP_STANDING, STEP_HEAD = 5.0, 512  # as STANDING, and the head at least
STEP_RIDGE = 1.0
LEAST_RANK, MOST_RANKS = 12, ((120.0, 32), (math.inf, 48))  # by SNR

TRIAL_PEOPLE = (
    50.0  # so many times 1 / mu are asked where a gain of 0.02 is twice the noise
)
TRIAL_SHARES = (0.01, 0.10)  # at least and at most
HIDDEN = 0.04  # of what people have is kept out of what makes the model, for the trial
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
    for field, value in (
        {**numbers, "most": most} if most is not None else numbers
    ).items():
        if not (math.isfinite(value) and value > 0):
            raise InvalidInput(
                field, f"{value!r} is not above 0", "use a number above 0"
            )
    snr = release_gate.signal_to_noise(items, users, mu, factor)
    if items < 2 or not (described or release_gate.is_worth_it(snr)):
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
    )
    return _spending(plan, ("popularity", "gram", "trial"))


def popularity_plan(items: int) -> Plan:
    """The plan that spends everything on one noisy count per item."""
    return Plan(items=items, head=0, rank=0, shares=(1.0,))


def settled(plan: Plan, popularity: Floats, mean_root: float) -> Plan:
    """The plan once popularity is released: what else is asked, and about which head.

    `mean_root` is the mean of sqrt(m) over people, as the noisy counts tell it.
    """
    plan = replace(plan, mean_root=max(mean_root, 0.0))
    signal = plan.snr * plan.mean_root
    if signal < release_gate.LEAST_SIGNAL and not plan.described:
        return _spending(plan, ("popularity", "popularity"))
    kinds: tuple[Kind, ...] = ("popularity", "gram", "trial")
    if signal < release_gate.SIGNAL:
        kinds = ("popularity", "popularity", "gram", "trial")
    pairs = _spending(plan, kinds)
    weight = (
        np.cumsum(np.sort(popularity)[::-1]) / popularity.sum()
    )  # of the most popular
    most_of_all = int(np.searchsorted(weight, MOST_OF_ALL)) + 1
    if not plan.described and plan.mean_root >= LONG and plan.snr < LOUD:
        standing = min(_standing(pairs, popularity, STEP_STANDING), most_of_all)
        return _subspace_plan(plan, max(standing, STEP_HEAD))
    least, most = RIDGES[plan.described]
    pairs = replace(pairs, ridge=min(max(plan.mean_root**2 / RIDGE_UNIT, least), most))
    standing, allowed = _standing(pairs, popularity, STANDING), _paired(_left(pairs))
    if weight[min(allowed, standing) - 1] >= CUT_OFF * weight[standing - 1]:
        return replace(pairs, head=_gram_head(pairs, min(standing, allowed)))
    return _sketched(pairs, min(standing, most_of_all))


def _spending(plan: Plan, kinds: tuple[Kind, ...]) -> Plan:
    """The plan with these rounds, each with its share."""
    first, trial = _by(POPULARITY_SHARES, plan.snr), _trial_share(plan)
    if kinds == ("popularity", "popularity"):
        wanted: tuple[float, ...] = (first, 1 - first)
    elif kinds[1] == "popularity":
        second = min(SECOND_COUNT, 1 - first - 2 * trial)
        wanted = (first, second, 1 - first - second - trial, trial)
    elif kinds[1] == "subspace":
        rest = 1 - first - trial
        wanted = (first, *(rest * part / sum(STEPS) for part in STEPS), trial)
    else:
        wanted = (first, 1 - first - trial, trial)
    return replace(plan, kinds=kinds, shares=_shares(wanted))


def _trial_share(plan: Plan) -> float:
    """So much that a gain of 0.02, told as a share of 0.5, is twice the noise."""
    least, most = TRIAL_SHARES
    asked = plan.budget * plan.users * min(HIDDEN * plan.mean_root**2, 1.0)
    return min(max((TRIAL_PEOPLE / max(asked, TRIAL_PEOPLE)) ** 2, least), most)


def _standing(plan: Plan, popularity: Floats, times: float) -> int:
    """How many items have a part of the diagonal `times` the noise that each pair would have."""
    share = plan.shares[plan.kinds.index("gram")]
    tau = 1 / (math.sqrt(2 * share) * plan.budget)
    weighted = np.sort(
        (popularity / popularity.max() + plan.floor) ** -plan.gamma * popularity
    )
    weighted = weighted[::-1]
    stands = plan.users * weighted / np.cumsum(weighted) >= times * tau
    return int(np.flatnonzero(stands).max(initial=-1)) + 1


def _left(plan: Plan) -> int:
    """The numbers that an upload holds beside counts and the trial."""
    return max(plan.most - plan.items * plan.kinds.count("popularity") - len(MIXES), 0)


def _gram_head(plan: Plan, wanted: int) -> int:
    """So many items, or fewer where padding would waste too much of a measurement."""
    size = min(max(wanted, LEAST_HEAD), plan.items)
    entries = max(size * (size - 1) // 2, 1)
    padded = 1 << (entries - 1).bit_length()
    return size if entries >= (1 - MOST_PADDING) * padded else _paired(padded // 2)


def _sketched(plan: Plan, wanted: int) -> Plan:
    """So many items, if the buckets that an upload holds can tell their pairs apart."""
    buckets = max(1 << _left(plan).bit_length() >> 1, LEAST_BUCKETS)
    head = max(min(wanted, _paired(_by(CROWDS, plan.mean_root) * buckets)), LEAST_HEAD)
    if head * (head - 1) // 2 <= buckets:
        return replace(plan, head=_gram_head(plan, head))
    return replace(plan, head=head, buckets=buckets)


def _paired(entries: int) -> int:
    """The most items whose pairs are at most so many."""
    return (1 + math.isqrt(1 + 8 * entries)) // 2


def _subspace_plan(plan: Plan, wanted: int) -> Plan:
    """Steps of so many items, if an upload holds them, in as many directions as it holds."""
    later: list[Kind] = ["subspace" for _ in STEPS]
    plan = _spending(plan, ("popularity", *later, "trial"))
    numbers = _left(plan) // len(STEPS)
    head = max(min(wanted, plan.items, numbers // LEAST_RANK), 1)
    rank = max(min(numbers // head, _by(MOST_RANKS, plan.snr), plan.items // 2), 1)
    padded = 1 << (head * rank - 1).bit_length()
    if head * rank < (1 - MOST_PADDING) * padded:
        head = max(padded // 2 // rank, 1)
    return replace(plan, head=head, rank=rank, ridge=STEP_RIDGE)


def _shares(wanted: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(math.floor(share * SHARE_GRID) / SHARE_GRID for share in wanted)


def _by(table: tuple[tuple[float, Value], ...], snr: float) -> Value:
    return next(value for below, value in table if snr < below)

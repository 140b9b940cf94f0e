"""Training plans: how a training spends its budget, from public numbers only.

The first round counts items. What it releases is public too, and settles the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput
from tactful.learning.holdout_test import HIDDEN, MIXES
from tactful_aggregator.learning import release_gate
from tactful_aggregator.learning.popularity_estimate import FLOOR, GAMMA

Floats = NDArray[np.float64]
Kind = Literal["popularity", "subspace", "gram", "trial"]
Value = TypeVar("Value", int, float)

# Rounding to 14 levels lengthens a vector by this factor (docs/spec/privacy.md 1.1).
FACTOR_ONCE = 1.02
# Both aggregators add the full noise, which is sqrt(2) times as much.
FACTOR_PAIR = 1.445
# Shares are rounded down to this grid, so that their exact sum is at most 1.
SHARE_GRID = 1 << 20


@dataclass(frozen=True)
class Plan:
    """The rounds of one training: their kinds, and the parts of mu^2 that they spend.

    The parts (`shares`) sum to at most 1. Without `kinds`, the rounds after the first
    are of a subspace.

    - `users`: the expected number of people; `budget`: mu divided by the inflation of
      the noise; `described`: True if the words of the catalog are used.
    - `most`: the most numbers that a device uploads in all rounds.
    - `mean_root`: the mean of sqrt(m) over people with m items, once it is estimated.
    - `gamma`, `floor`: parameters of item weights.
    - `head`: the number of items in the head; `rank`: the directions of a subspace;
      `buckets`: of a sketch of pairs, 0 for none.
    - `ridge`, `popularity_share`: parameters of EASE.
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
        """The number of reports that a device makes in the whole training."""
        return len(self.shares)

    def kind(self, round_: int) -> Kind:
        """Return what is summed in a round."""
        if self.kinds:
            return self.kinds[round_]
        return "subspace" if round_ else "popularity"

    def length(self, round_: int) -> int:
        """Return the number of entries of a measurement, before padding."""
        lengths = {
            "popularity": self.items,
            "subspace": self.head * self.rank,
            "gram": self.buckets or self.head * (self.head - 1) // 2,
            "trial": len(MIXES),
        }
        return lengths[self.kind(round_)]

    @property
    def snr(self) -> float:
        """The signal-to-noise ratio mu N / (f sqrt(n))."""
        return release_gate.signal_to_noise(self.items, self.users, self.budget, 1.0)


MAX_PADDING = 0.3  # of a measurement

# The constants below were chosen on validation people of six data sets.
# Share of the first count, by SNR below.
POPULARITY_SHARES = ((12.0, 0.40), (40.0, 0.15), (100.0, 0.10), (math.inf, 0.05))
# Share of a second count, where pairs say little but words may say much.
SECOND_COUNT = 0.35
MAX_NUMBERS = ((60.0, 25_000), (math.inf, 150_000))  # of an upload, by SNR below
LEAST_HEAD, LEAST_PAIRS = 32, 20_000

# A head item has this many times the noise of a pair on the diagonal.
STANDING = 6.0
RIDGE_UNIT = 30.0
RIDGES = ((0.3, 3.0), (1.0, 3.0))  # least and most, without and with words

# If pairs cover less than this share of what stands out, a sketch is used instead.
CUT_OFF = 0.75
# A head that is not covered pair by pair has at most this share of all popularity.
MAX_POPULARITY = 0.9

# A subspace is used from this mean of sqrt(m) on, up to this SNR.
LONG, LOUD = 7.5, 400.0
LEAST_BUCKETS = 512
PAIRS_PER_BUCKET = ((LONG, 16), (math.inf, 3))  # by mean of sqrt(m) below
STEPS = (1, 2, 4)  # relative shares of the rounds of a subspace
STEP_STANDING, STEP_HEAD = 5.0, 512  # as STANDING; and the least head
STEP_RIDGE = 1.0
LEAST_RANK, MAX_RANKS = 12, ((120.0, 32), (math.inf, 48))  # by SNR below

# A holdout test asks this many times 1 / mu people for a gain of 0.02 at two sigma.
TRIAL_PEOPLE = 50.0
TRIAL_SHARES = (0.01, 0.10)  # least and most


def choose_plan(
    items: int,
    users: int,
    mu: float,
    factor: float,
    *,
    described: bool = False,
    most: int | None = None,
) -> Plan:
    """Return the plan for `items` (n), `users` (N), `mu` and the noise `factor` (f).

    If the release gate is closed and words do not describe the items, the whole budget
    goes to popularity. Otherwise the rounds after the first are those of pairs until
    `settled`. `most` is the most numbers that a device uploads in all rounds; None
    chooses it by SNR. Raise InvalidInput for a number that is not above 0.
    """
    numbers = {"items": items, "users": users, "mu": mu, "factor": factor}
    if most is not None:
        numbers["most"] = most
    for field, value in numbers.items():
        if not (math.isfinite(value) and value > 0):
            raise InvalidInput(
                field, f"{value!r} is not above 0", "use a number above 0"
            )
    snr = release_gate.signal_to_noise(items, users, mu, factor)
    if items < 2 or not (described or release_gate.is_worth_it(snr)):
        return popularity_plan(items)
    if most is None:
        most = max(_by(MAX_NUMBERS, snr), items + LEAST_PAIRS)
    plan = Plan(
        items=items,
        head=min(items, LEAST_HEAD),
        rank=0,
        shares=(),
        users=users,
        budget=mu / factor,
        described=described,
        most=most,
    )
    return _with_kinds(plan, ("popularity", "gram", "trial"))


def popularity_plan(items: int) -> Plan:
    """Return the plan that spends everything on one noisy count per item."""
    return Plan(items=items, head=0, rank=0, shares=(1.0,))


def settled(plan: Plan, popularity: Floats, mean_root: float) -> Plan:
    """Return the plan once popularity is released: later rounds and the head.

    `mean_root` is the mean of sqrt(m) over people, as the noisy counts estimate it.
    """
    plan = replace(plan, mean_root=max(mean_root, 0.0))
    signal = plan.snr * plan.mean_root
    if signal < release_gate.LEAST_SIGNAL and not plan.described:
        return _with_kinds(plan, ("popularity", "popularity"))
    kinds: tuple[Kind, ...] = ("popularity", "gram", "trial")
    if signal < release_gate.SIGNAL:
        kinds = ("popularity", "popularity", "gram", "trial")
    pairs_plan = _with_kinds(plan, kinds)
    # The share of popularity that the most popular items have together.
    shares = np.cumsum(np.sort(popularity)[::-1]) / popularity.sum()
    max_head = int(np.searchsorted(shares, MAX_POPULARITY)) + 1
    if not plan.described and plan.mean_root >= LONG and plan.snr < LOUD:
        standing = min(_standing(pairs_plan, popularity, STEP_STANDING), max_head)
        return _subspace_plan(plan, max(standing, STEP_HEAD))
    least, most = RIDGES[plan.described]
    ridge = min(max(plan.mean_root**2 / RIDGE_UNIT, least), most)
    pairs_plan = replace(pairs_plan, ridge=ridge)
    standing = _standing(pairs_plan, popularity, STANDING)
    allowed = _most_items(_remaining_numbers(pairs_plan))
    if shares[min(allowed, standing) - 1] >= CUT_OFF * shares[standing - 1]:
        head = _gram_head(pairs_plan, min(standing, allowed))
        return replace(pairs_plan, head=head)
    return _sketch_plan(pairs_plan, min(standing, max_head))


def _with_kinds(plan: Plan, kinds: tuple[Kind, ...]) -> Plan:
    """Return the plan with these rounds, each with its share."""
    first = _by(POPULARITY_SHARES, plan.snr)
    trial = _trial_share(plan)
    shares: tuple[float, ...]
    if kinds == ("popularity", "popularity"):
        shares = (first, 1 - first)
    elif kinds[1] == "popularity":
        second = min(SECOND_COUNT, 1 - first - 2 * trial)
        shares = (first, second, 1 - first - second - trial, trial)
    elif kinds[1] == "subspace":
        rest = 1 - first - trial
        shares = (first, *(rest * step / sum(STEPS) for step in STEPS), trial)
    else:
        shares = (first, 1 - first - trial, trial)
    return replace(plan, kinds=kinds, shares=_rounded(shares))


def _trial_share(plan: Plan) -> float:
    """Return the share with which a gain of 0.02 is twice the noise."""
    least, most = TRIAL_SHARES
    people = plan.budget * plan.users * min(HIDDEN * plan.mean_root**2, 1.0)
    return min(max((TRIAL_PEOPLE / max(people, TRIAL_PEOPLE)) ** 2, least), most)


def _standing(plan: Plan, popularity: Floats, times: float) -> int:
    """Return how many items have `times` the noise of a pair on the diagonal."""
    share = plan.shares[plan.kinds.index("gram")]
    tau = 1 / (math.sqrt(2 * share) * plan.budget)
    relative = popularity / popularity.max()
    weighted = np.sort((relative + plan.floor) ** -plan.gamma * popularity)[::-1]
    stands = plan.users * weighted / np.cumsum(weighted) >= times * tau
    return int(np.flatnonzero(stands).max(initial=-1)) + 1


def _remaining_numbers(plan: Plan) -> int:
    """Return the numbers of an upload besides counts and holdout test."""
    counts = plan.items * plan.kinds.count("popularity")
    return max(plan.most - counts - len(MIXES), 0)


def _gram_head(plan: Plan, head: int) -> int:
    """Return `head`, or fewer items if padding would waste too much."""
    size = min(max(head, LEAST_HEAD), plan.items)
    entries = max(size * (size - 1) // 2, 1)
    padded = 1 << (entries - 1).bit_length()
    if entries >= (1 - MAX_PADDING) * padded:
        return size
    return _most_items(padded // 2)


def _sketch_plan(plan: Plan, head: int) -> Plan:
    """Return the plan with `head` items, or as many as the buckets can tell apart."""
    buckets = max(1 << _remaining_numbers(plan).bit_length() >> 1, LEAST_BUCKETS)
    most = _most_items(_by(PAIRS_PER_BUCKET, plan.mean_root) * buckets)
    head = max(min(head, most), LEAST_HEAD)
    if head * (head - 1) // 2 <= buckets:
        return replace(plan, head=_gram_head(plan, head))
    return replace(plan, head=head, buckets=buckets)


def _most_items(pairs: int) -> int:
    """Return the most items that have at most this many pairs."""
    return (1 + math.isqrt(1 + 8 * pairs)) // 2


def _subspace_plan(plan: Plan, head: int) -> Plan:
    """Return the plan of a subspace with `head` items, as far as an upload permits."""
    steps: list[Kind] = ["subspace" for _ in STEPS]
    plan = _with_kinds(plan, ("popularity", *steps, "trial"))
    numbers = _remaining_numbers(plan) // len(STEPS)
    head = max(min(head, plan.items, numbers // LEAST_RANK), 1)
    max_rank = min(_by(MAX_RANKS, plan.snr), plan.items // 2)
    rank = max(min(numbers // head, max_rank), 1)
    padded = 1 << (head * rank - 1).bit_length()
    if head * rank < (1 - MAX_PADDING) * padded:
        head = max(padded // 2 // rank, 1)
    return replace(plan, head=head, rank=rank, ridge=STEP_RIDGE)


def _rounded(shares: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(math.floor(share * SHARE_GRID) / SHARE_GRID for share in shares)


def _by(table: tuple[tuple[float, Value], ...], number: float) -> Value:
    """Return the first value of `table` whose bound is above `number`."""
    return next(value for bound, value in table if number < bound)

"""How a training spends its budget: chosen from public numbers only, before any report."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

from tactful.errors import InvalidInput
from tactful.learning import gate

FACTOR_ONCE = 1.02  # rounding to 14 levels lengthens a vector by this much (privacy.md 1.1)
FACTOR_PAIR = 1.445  # and both halves add the full noise: sqrt(2) times as much
SHARE_GRID = 1 << 20  # shares are rounded down to it, so that their exact sum is at most 1


@dataclass(frozen=True)
class Plan:
    """The rounds of one training; `shares` are the parts of mu^2 of rounds 0..R, sum at most 1.

    With one share only popularity is learned. `gamma` and `floor` weigh items, `omega` whitens,
    `beta` and `popularity_share` mix the personal and the popular score, `rho` shrinks.
    """

    items: int
    head: int
    rank: int
    shares: tuple[float, ...]
    gamma: float = 0.25
    omega: float = 0.0
    beta: float = 0.7
    popularity_share: float = 0.2
    floor: float = 0.02
    rho: float = 0.1

    @property
    def rounds(self) -> int:
        """How many reports a device makes in the whole training."""
        return len(self.shares)

    def length(self, round_: int) -> int:
        """The entries of a measurement of this round, before padding."""
        return self.items if round_ == 0 else self.head * self.rank


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
    Rule(100, 16, 512, (1, 1, 2), 0.25, 1.0, 0.7),
    Rule(160, 32, 1024, (1, 1, 2), 0.5, 1.0, 1.5),
    Rule(400, 32, 2048, (1, 1, 2), 0.5, 1.0, 1.5),
    Rule(math.inf, 48, 2048, (1, 1, 1, 1), 0.5, 0.5, 1.5),
)
POPULARITY_SHARES = ((10.0, 0.30), (40.0, 0.15), (100.0, 0.10), (math.inf, 0.05))  # by SNR


def choose_plan(items: int, users: int, mu: float, factor: float) -> Plan:
    """The plan for `items` (n), `users` expected (N), the budget `mu` and the noise `factor` (f).

    If the gate is closed, all of the budget goes to popularity. Raises InvalidInput for a
    number that is not above 0.
    """
    for field, value in (("items", items), ("users", users), ("mu", mu), ("factor", factor)):
        if not (math.isfinite(value) and value > 0):
            raise InvalidInput(field, f"{value!r} is not above 0", "use a number above 0")
    snr = gate.signal_to_noise(items, users, mu, factor)
    if not gate.is_worth_it(snr) or items < 2:
        return popularity_plan(items)
    return _personal_plan(items, snr, next(rule for rule in RULES if snr < rule.below))


def popularity_plan(items: int) -> Plan:
    """The plan that spends everything on one noisy count per item."""
    return Plan(items=items, head=0, rank=0, shares=(1.0,))


def _personal_plan(items: int, snr: float, rule: Rule) -> Plan:
    rank = min(rule.rank, items // 2)
    first = next(share for below, share in POPULARITY_SHARES if snr < below)
    return Plan(
        items=items,
        head=_head(min(rule.head, items), rank),
        rank=rank,
        shares=_shares(first, rule.split),
        gamma=rule.gamma,
        omega=rule.omega,
        beta=rule.beta,
    )


def _head(wanted: int, rank: int) -> int:
    """`wanted` items, or fewer where padding would waste more than a quarter of a measurement."""
    padded = 1 << (wanted * rank - 1).bit_length()
    fits = wanted * rank >= (1 - MOST_PADDING) * padded
    return wanted if fits else padded // 2 // rank


def _shares(first: float, split: tuple[int, ...]) -> tuple[float, ...]:
    rest = [(1 - first) * part / sum(split) for part in split]
    return tuple(math.floor(share * SHARE_GRID) / SHARE_GRID for share in (first, *rest))

"""When a personal model is worth releasing: below these lines popularity is better."""

from __future__ import annotations

import math

LEAST_SNR = 12.0  # design/learning.md 5: ties at 9, wins from 12 on, on two data sets
SIGNAL = 100.0  # SNR times the mean of sqrt(m): below it popularity is counted twice
LEAST_SIGNAL = 50.0  # below it pairs without words say less than popularity

ONE_IN_A_THOUSAND = 3.3  # quantile of the Tracy-Widom law of order 1


def signal_to_noise(items: int, users: int, mu: float, factor: float) -> float:
    """mu N / (f sqrt(n)), from public numbers only; `factor` is how much the noise is inflated."""
    return mu * users / (factor * math.sqrt(items))


def is_worth_it(snr: float) -> bool:
    """True if a personal model can be expected to beat popularity."""
    return snr >= LEAST_SNR


def stands_out(largest: float, tau: float, head: int, rank: int) -> bool:
    """True if a singular value exceeds what noise alone gives but once in a thousand sums.

    The square of the largest one of noise is about (sqrt(n_h) + sqrt(k))^2 plus a Tracy-Widom
    variable (Johnstone 2001, Theorem 1.1), so the edge of design/learning.md 5 alone would let
    noise pass once in six sums.
    """
    edge = math.sqrt(head) + math.sqrt(rank)
    spread = edge * (1 / math.sqrt(head) + 1 / math.sqrt(rank)) ** (1 / 3)
    return largest > tau * math.sqrt(edge * edge + ONE_IN_A_THOUSAND * spread)

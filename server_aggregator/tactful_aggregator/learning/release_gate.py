"""The release gate: thresholds below which popularity serves people better."""

from __future__ import annotations

import math

# Signal-to-noise ratio from which the first version beat popularity on ml-1m-diffrec; on
# globo-news it lost at 14.5 and won at 26 (docs/spec/learning.md 5).
LEAST_SNR = 12.0
# SNR times the mean of sqrt(m), with m items of a person.
SIGNAL = 100.0  # below it popularity is counted twice
LEAST_SIGNAL = 50.0  # below it pairs without words say less than popularity

TRACY_WIDOM_QUANTILE = 3.3  # of order 1, at 0.999


def signal_to_noise(items: int, users: int, mu: float, factor: float) -> float:
    """Return mu N / (f sqrt(n)); `factor` (f) is how much the noise is inflated."""
    return mu * users / (factor * math.sqrt(items))


def is_worth_it(snr: float) -> bool:
    """Return True if a personal model can be expected to beat popularity."""
    return snr >= LEAST_SNR


def stands_out(largest: float, tau: float, head: int, rank: int) -> bool:
    """Return True if noise alone exceeds a singular value once in a thousand sums.

    The square of the largest singular value of noise is about (sqrt(n_h) + sqrt(k))^2
    plus a Tracy-Widom variable (Johnstone 2001, Theorem 1.1). The edge alone
    (docs/spec/learning.md 5) would let noise pass once in six sums.
    """
    edge = math.sqrt(head) + math.sqrt(rank)
    spread = edge * (1 / math.sqrt(head) + 1 / math.sqrt(rank)) ** (1 / 3)
    return largest > tau * math.sqrt(edge * edge + TRACY_WIDOM_QUANTILE * spread)

"""The privacy loss of any mechanism on a grid: composed by FFT, rounded against the claim.

Connect-the-dots (Doroshenko, Ghazi, Kamath, Kumar, Manurangsi 2022): masses on the grid whose
hockey-stick curve goes through the true one at every grid point and lies above it between them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput

Floats = NDArray[np.float64]
Curve = Callable[[Floats], Floats]  # epsilon >= 0 to delta

INTERVAL = 1e-4  # of the grid, in epsilon
TAIL = 1e-15  # mass that may be cut from an end, and is then counted as lost
REACH = 1e-17  # delta below which the curve of one step is not followed
MOST_POINTS = 1 << 24
ORDERS = np.geomspace(1e-3, 1e4, 60)  # of the moments that bound the tails


@dataclass(frozen=True, eq=False)
class PrivacyLoss:
    """Losses of one step: `masses[i]` at (`lowest` + i) * `interval`, `infinite` beyond all."""

    interval: float
    lowest: int
    masses: Floats
    infinite: float

    @classmethod
    def of_curves(
        cls, forth: Curve, back: Curve, interval: float = INTERVAL
    ) -> PrivacyLoss:
        """The loss of a pair (P, Q) from delta of (P, Q) and of (Q, P), both at epsilon >= 0.

        Losses below 0 come from `back`, so that no difference of two large numbers is taken.
        """
        positive, infinite = _dots(forth, interval)
        mirrored, _ = _dots(back, interval)
        grid = interval * np.arange(len(mirrored), 0, -1)
        negative = mirrored[::-1] * np.exp(-grid)
        zero = max(1.0 - infinite - positive.sum() - negative.sum(), 0.0)
        masses = np.concatenate([negative, [zero], positive])
        return cls(interval, -len(negative), masses, infinite)

    def epsilon(self, delta: float, count: int = 1) -> float:
        """The epsilon at `delta` of `count` such steps, adaptively chosen."""
        return epsilon_of([(self, count)], delta)

    def delta(self, epsilon: float) -> float:
        """The delta of this step alone at `epsilon`."""
        first = max(math.floor(epsilon / self.interval) + 1 - self.lowest, 0)
        losses = self.interval * (self.lowest + np.arange(first, len(self.masses)))
        kept = self.masses[first:] * -np.expm1(np.minimum(epsilon - losses, 0.0))
        return min(float(kept.sum()) + self.infinite, 1.0)

    @property
    def losses(self) -> Floats:
        """The losses that `masses` belong to."""
        return _grid(self.interval, self.lowest, len(self.masses))

    def log_moments(self, sign: int) -> Floats:
        """log E[e^(sign order loss)] over the finite losses, for each of ORDERS."""
        kept = self.masses > 0
        logs, losses = np.log(self.masses[kept]), sign * self.losses[kept]
        step = max(1, len(losses) // 4096)
        ends = np.arange(0, len(losses), step)  # joined, each at its own worst loss
        joined = np.logaddexp.reduceat(logs, ends)
        worst = np.maximum.reduceat(losses, ends)
        moments: Floats = np.logaddexp.reduce(joined + np.outer(ORDERS, worst), axis=1)
        return moments


Steps = Sequence[tuple[PrivacyLoss, int]]


def epsilon_of(steps: Steps, delta: float) -> float:
    """The epsilon at `delta` of all `steps` (a loss and how often), adaptively chosen.

    Raises InvalidInput if delta is below what cannot be bounded at any epsilon.
    """
    if not 0 < delta < 1:
        raise InvalidInput(
            "delta", f"{delta!r} is not in (0, 1)", "use 1e-6, or 1/(10 devices)"
        )
    whole = composed(steps)
    epsilon = _quantile(whole, delta)
    if epsilon is None:
        raise InvalidInput(
            "delta", f"{delta!r} is below the mass of unbounded loss", "raise delta"
        )
    return epsilon


def delta_of(steps: Steps, epsilon: float) -> float:
    """The delta at `epsilon` >= 0 of all `steps`."""
    return composed(steps).delta(epsilon)


def composed(steps: Steps) -> PrivacyLoss:
    """The loss of all `steps` together; what lies in the tails is counted as lost."""
    if not steps or any(count < 1 for _, count in steps):
        raise InvalidInput("steps", "there are none", "compose one step or more")
    if len(steps) == 1 and steps[0][1] == 1:
        return steps[0][0]
    if len({loss.interval for loss, _ in steps}) > 1:
        raise InvalidInput("steps", "their grids differ", "use one interval for all")
    first, last = _window(steps)
    size = 1 << (last - first).bit_length()
    finite, spectrum, lowest = 0.0, np.ones(size // 2 + 1, dtype=np.complex128), 0
    for loss, count in steps:
        folded = np.zeros(size)
        np.add.at(folded, np.arange(len(loss.masses)) % size, loss.masses)
        spectrum *= np.fft.rfft(folded) ** count
        finite += count * math.log1p(-loss.infinite)
        lowest += count * loss.lowest
    masses = np.roll(np.fft.irfft(spectrum, size), lowest - first)
    return PrivacyLoss(
        steps[0][0].interval,
        first,
        np.maximum(masses, 0.0),
        -math.expm1(finite) + 2 * TAIL,
    )


def _window(steps: Steps) -> tuple[int, int]:
    """The grid points between which all but TAIL of the composed mass lies, on each side."""
    interval = steps[0][0].interval
    ends = []
    for sign in (-1, 1):
        moments = sum(
            (count * loss.log_moments(sign) for loss, count in steps), np.zeros(1)
        )
        bound = float(np.min((moments - math.log(TAIL)) / ORDERS))
        places = (
            count * (loss.lowest if sign < 0 else loss.lowest + len(loss.masses) - 1)
            for loss, count in steps
        )
        ends.append(min(math.ceil(bound / interval), sign * sum(places)))
    first, last = -ends[0], ends[1]
    if last - first > MOST_POINTS:
        raise InvalidInput(
            "steps", f"epsilon spans {(last - first) * interval:.0f}", "add noise"
        )
    return first, max(last, first)


def _quantile(loss: PrivacyLoss, delta: float) -> float | None:
    """The least epsilon >= 0 whose delta is at most `delta`; None if there is none."""
    if loss.infinite > delta:
        return None
    low, high = -1, max(loss.lowest + len(loss.masses) - 1, 0)  # in grid points
    while high - low > 1:
        middle = (low + high) // 2
        if loss.delta(middle * loss.interval) <= delta:
            high = middle
        else:
            low = middle
    if high == 0:
        return 0.0
    # between two dots the delta is a - b e^epsilon
    left, right = loss.delta(low * loss.interval), loss.delta(high * loss.interval)
    part = 1.0 if left <= right else (left - delta) / (left - right)
    return low * loss.interval + math.log1p(part * math.expm1(loss.interval))


def _grid(interval: float, first: int, count: int) -> Floats:
    points: Floats = interval * np.arange(first, first + count, dtype=np.float64)
    return points


def _dots(curve: Curve, interval: float) -> tuple[Floats, float]:
    """Masses at interval, 2 interval, ... of the line through the curve's dots, and its end."""
    count = _length(curve, interval)
    deltas = np.maximum.accumulate(curve(_grid(interval, 0, count + 1))[::-1])[::-1]
    falls = -np.diff(deltas)
    masses = falls / -math.expm1(-interval)
    masses[:-1] -= falls[1:] / math.expm1(interval)
    return np.maximum(masses, 0.0), float(deltas[-1])


def _length(curve: Curve, interval: float) -> int:
    """How many dots it takes until nothing more is to be followed."""
    count = 1024
    while count < MOST_POINTS:
        ends = curve(np.array([interval * count / 2, interval * count]))
        if ends[1] < REACH or ends[0] == ends[1]:
            break
        count *= 2
    grid = np.arange(0, count + 1, max(1, count // 512))
    deltas = curve(_grid(interval * max(1, count // 512), 0, len(grid)))
    settled = int(np.argmax((deltas < REACH) | (deltas == deltas[-1])))
    return int(grid[settled]) if grid[settled] > 1 else count

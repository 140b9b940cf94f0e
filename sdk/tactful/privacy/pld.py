"""Privacy loss distributions (PLD) on a grid, rounded up and composed by FFT.

Discretization is connect-the-dots (Doroshenko, Ghazi, Kamath, Kumar, Manurangsi 2022):
the grid masses have a hockey-stick curve that equals the true curve at every grid
point. The true curve is convex in e^epsilon, so it lies below the chord between grid
points.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput

Floats = NDArray[np.float64]
Curve = Callable[[Floats], Floats]  # maps epsilons >= 0 to deltas

INTERVAL = 1e-4  # of the grid, in epsilon
# The mass that may be cut from each end; it is added to the mass of infinite loss.
TAIL = 1e-15
# The curve of one step is not followed below this delta.
LEAST_DELTA = 1e-17
MOST_POINTS = 1 << 24
ORDERS = np.geomspace(1e-3, 1e4, 60)  # of the moments that bound the tails


@dataclass(frozen=True, eq=False)
class PrivacyLoss:
    """Privacy loss distribution of one step.

    `masses[i]` is the probability of the loss (`lowest` + i) * `interval`, `infinite`
    that of an infinite loss.
    """

    interval: float
    lowest: int
    masses: Floats
    infinite: float

    @classmethod
    def of_curves(
        cls, forward: Curve, backward: Curve, interval: float = INTERVAL
    ) -> PrivacyLoss:
        """Return the loss of a pair (P, Q) from its hockey-stick curves.

        `forward` is the delta of (P, Q) and `backward` that of (Q, P), both for
        epsilon >= 0. Losses below 0 come from `backward`: P has mass m at loss -x
        where Q has mass m e^x. This avoids a difference of two large numbers.
        """
        positive, infinite = _connect_the_dots(forward, interval)
        mirrored, _ = _connect_the_dots(backward, interval)
        grid = interval * np.arange(len(mirrored), 0, -1)
        negative = mirrored[::-1] * np.exp(-grid)
        zero = max(1.0 - infinite - positive.sum() - negative.sum(), 0.0)
        masses = np.concatenate([negative, [zero], positive])
        return cls(interval, -len(negative), masses, infinite)

    def epsilon(self, delta: float, count: int = 1) -> float:
        """Return the epsilon at `delta` of `count` such steps, adaptively chosen."""
        return epsilon_of([(self, count)], delta)

    def delta(self, epsilon: float) -> float:
        """Return the delta of this step: E[max(0, 1 - e^(epsilon - loss))]."""
        first = max(math.floor(epsilon / self.interval) + 1 - self.lowest, 0)
        losses = self.interval * (self.lowest + np.arange(first, len(self.masses)))
        weighted = self.masses[first:] * -np.expm1(np.minimum(epsilon - losses, 0.0))
        return min(float(weighted.sum()) + self.infinite, 1.0)

    @property
    def losses(self) -> Floats:
        """The losses of `masses`, in the same order."""
        return _grid(self.interval, self.lowest, len(self.masses))

    def log_moments(self, sign: int) -> Floats:
        """Return log E[e^(sign order loss)] of the finite losses, for each of ORDERS.

        The result is an upper bound: neighbouring losses are merged into at most about
        4,096 groups, each at its largest loss.
        """
        positive = self.masses > 0
        log_masses = np.log(self.masses[positive])
        losses = sign * self.losses[positive]
        group_starts = np.arange(0, len(losses), max(1, len(losses) // 4096))
        group_masses = np.logaddexp.reduceat(log_masses, group_starts)
        group_losses = np.maximum.reduceat(losses, group_starts)
        exponents = group_masses + np.outer(ORDERS, group_losses)
        moments: Floats = np.logaddexp.reduce(exponents, axis=1)
        return moments


Steps = Sequence[tuple[PrivacyLoss, int]]


def epsilon_of(steps: Steps, delta: float) -> float:
    """Return the epsilon at `delta` of all `steps`, adaptively chosen.

    A step is a loss and the number of its repetitions. Raise InvalidInput if `delta` is
    below the mass of infinite loss, so that no epsilon is enough.
    """
    if not 0 < delta < 1:
        raise InvalidInput(
            "delta", f"{delta!r} is not in (0, 1)", "use 1e-6, or 1/(10 devices)"
        )
    epsilon = _least_epsilon(compose(steps), delta)
    if epsilon is None:
        raise InvalidInput(
            "delta", f"{delta!r} is below the mass of infinite loss", "raise delta"
        )
    return epsilon


def delta_of(steps: Steps, epsilon: float) -> float:
    """Return the delta at `epsilon` >= 0 of all `steps`."""
    return compose(steps).delta(epsilon)


def compose(steps: Steps) -> PrivacyLoss:
    """Return the loss of all `steps` together.

    The losses of independent steps add, so their distributions are convolved, by FFT.
    The mass of the cut tails is added to that of infinite loss.
    """
    if not steps or any(count < 1 for _, count in steps):
        raise InvalidInput(
            "steps", "a step has a count below 1, or there are none", "use 1 or more"
        )
    if len(steps) == 1 and steps[0][1] == 1:
        return steps[0][0]
    if len({loss.interval for loss, _ in steps}) > 1:
        raise InvalidInput("steps", "their grids differ", "use one interval for all")
    first, last = _window(steps)
    size = 1 << (last - first).bit_length()
    spectrum = np.ones(size // 2 + 1, dtype=np.complex128)
    log_finite, lowest = 0.0, 0
    for loss, count in steps:
        # The convolution is circular. Mass outside the window wraps around into it: at
        # most TAIL from each side, which `infinite` counts below.
        folded = np.zeros(size)
        np.add.at(folded, np.arange(len(loss.masses)) % size, loss.masses)
        spectrum *= np.fft.rfft(folded) ** count
        log_finite += count * math.log1p(-loss.infinite)
        lowest += count * loss.lowest
    masses = np.roll(np.fft.irfft(spectrum, size), lowest - first)
    return PrivacyLoss(
        interval=steps[0][0].interval,
        lowest=first,
        masses=np.maximum(masses, 0.0),
        infinite=-math.expm1(log_finite) + 2 * TAIL,
    )


def _window(steps: Steps) -> tuple[int, int]:
    """Return grid points with at most TAIL of the composed mass beyond on each side.

    By Chernoff's bound, P(loss > x) <= e^(-order x) E[e^(order loss)] for every order,
    and the moments of a sum of independent losses multiply.
    """
    interval = steps[0][0].interval
    ends = []
    for sign in (-1, 1):
        moments = np.zeros(1)
        extreme = 0
        for loss, count in steps:
            moments = moments + count * loss.log_moments(sign)
            edge = loss.lowest if sign < 0 else loss.lowest + len(loss.masses) - 1
            extreme += count * edge
        bound = float(np.min((moments - math.log(TAIL)) / ORDERS))
        ends.append(min(math.ceil(bound / interval), sign * extreme))
    first, last = -ends[0], ends[1]
    if last - first > MOST_POINTS:
        raise InvalidInput(
            "steps",
            f"their losses span {(last - first) * interval:.0f} in epsilon",
            "add noise, or compose fewer steps",
        )
    return first, max(last, first)


def _least_epsilon(loss: PrivacyLoss, delta: float) -> float | None:
    """Return the least epsilon >= 0 whose delta is at most `delta`, or None."""
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
    # Between two grid points delta is linear in e^epsilon, so the crossing is exact.
    low_delta = loss.delta(low * loss.interval)
    high_delta = loss.delta(high * loss.interval)
    part = 1.0
    if low_delta > high_delta:
        part = (low_delta - delta) / (low_delta - high_delta)
    return low * loss.interval + math.log1p(part * math.expm1(loss.interval))


def _grid(interval: float, first: int, count: int) -> Floats:
    points: Floats = interval * np.arange(first, first + count, dtype=np.float64)
    return points


def _connect_the_dots(curve: Curve, interval: float) -> tuple[Floats, float]:
    """Return masses at `interval`, 2 `interval`, ..., and the mass of infinite loss.

    The masses are those whose own hockey-stick curve goes through the dots of `curve`.
    """
    count = _point_count(curve, interval)
    # A hockey-stick curve never rises. Errors of rounding that let it rise are removed
    # upwards, against the claim.
    deltas = np.maximum.accumulate(curve(_grid(interval, 0, count + 1))[::-1])[::-1]
    falls = -np.diff(deltas)
    masses = falls / -math.expm1(-interval)
    masses[:-1] -= falls[1:] / math.expm1(interval)
    return np.maximum(masses, 0.0), float(deltas[-1])


def _point_count(curve: Curve, interval: float) -> int:
    """Return the number of grid points until the curve is negligible or constant."""
    count = 1024
    while count < MOST_POINTS:
        deltas = curve(np.array([interval * count / 2, interval * count]))
        if deltas[1] < LEAST_DELTA or deltas[0] == deltas[1]:
            break
        count *= 2
    # The doubling may go too far. A coarse grid of 512 points gives a smaller count.
    coarse_step = max(1, count // 512)
    coarse = np.arange(0, count + 1, coarse_step)
    deltas = curve(_grid(interval * coarse_step, 0, len(coarse)))
    is_settled = (deltas < LEAST_DELTA) | (deltas == deltas[-1])
    settled = int(coarse[int(np.argmax(is_settled))])
    return settled if settled > 1 else count

"""What these rounds cost, or what noise a budget needs: both ways, with a plot."""

from __future__ import annotations

import argparse
import math
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

from tactful.errors import InvalidInput
from tactful.privacy import pairs, rdp
from tactful.privacy.accountant import (
    epsilon_for,
    epsilon_from_rho,
    mu_for,
    mu_from_rho,
)
from tactful.privacy.rounding import norm_bound
from tactful_lab import plots

LEVELS, BOX = 14, 3  # as the aggregator opens rounds (design: secure aggregation, 6)
DENOMINATOR = 1 << 20  # of a multiplier, rounded up


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Rounds of `length` numbers from `cohort` devices, noise `multiplier` times what one moves.

    `multiplier` is sigma over the square root of Delta2, of one half's noise.
    """

    rounds: int
    cohort: int
    length: int
    multiplier: Fraction
    delta: float

    @property
    def rho(self) -> Fraction:
        """What a device that takes part in every round is charged."""
        return self.rho_after(self.rounds)

    def rho_after(self, rounds: int) -> Fraction:
        """What it has been charged after so many rounds."""
        return rounds / (2 * self.multiplier**2)

    @property
    def sigma(self) -> float:
        """The noise of one half, in levels."""
        padded = 1 << (self.length - 1).bit_length()
        return float(self.multiplier) * math.sqrt(norm_bound(LEVELS, BOX, padded))

    @property
    def error(self) -> float:
        """The noise of both halves on each number of the mean; a device's vector is at most 1."""
        padded = 1 << (self.length - 1).bit_length()
        per_unit = LEVELS * math.sqrt(padded) / (2 * BOX)
        return math.sqrt(2) * self.sigma / (per_unit * self.cohort)

    def lines(self) -> list[tuple[str, str]]:
        """What is read, and its value."""
        mu, rho = mu_from_rho(self.rho), self.rho
        gaussian = epsilon_for(mu, self.delta)
        grid = pairs.gaussian(mu_from_rho(self.rho_after(1)))
        return [
            ("epsilon, exact for rounded Gaussian noise (proved)", f"{gaussian:.4f}"),
            (
                "  the same on a grid (PLD)",
                f"{grid.epsilon(self.delta, self.rounds):.4f}",
            ),
            ("  from rho (proved for discrete Gaussian too)", _shown(rho, self.delta)),
            (
                "  Renyi orders (a ceiling)",
                f"{rdp.epsilon(rdp.gaussian(rho), self.delta):.4f}",
            ),
            ("  at delta 1e-5", f"{epsilon_for(mu, 1e-5):.4f}"),
            (
                "  if a device is replaced, not zeroed",
                f"{epsilon_for(2 * mu, self.delta):.4f}",
            ),
            ("delta", f"{self.delta:g}"),
            ("rho, as the ledger stores it", f"{float(rho):.8g}"),
            ("noise of one half, levels", f"{self.sigma:.1f}"),
            ("error of each number of the mean, longest vector 1", f"{self.error:.5f}"),
        ]


def for_epsilon(
    epsilon: float, *, rounds: int, cohort: int, length: int, delta: float
) -> Budget:
    """The least noise at which `rounds` rounds keep (epsilon, delta), rounded up."""
    mu = Fraction(mu_for(epsilon, delta))
    exact = rounds / mu**2  # the multiplier's square
    root = Fraction(math.isqrt(math.ceil(exact * DENOMINATOR**2)) + 1, DENOMINATOR)
    return Budget(
        rounds=rounds, cohort=cohort, length=length, multiplier=root, delta=delta
    )


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Offer `tactful-lab budget`."""
    told = "what epsilon for these rounds, this cohort, this noise; and the inverse"
    parser = subparsers.add_parser("budget", help=told, description=told)
    asked = parser.add_mutually_exclusive_group(required=True)
    asked.add_argument(
        "--noise", type=str, help="sigma over sensitivity of one half, such as 4"
    )
    asked.add_argument("--epsilon", type=float, help="of all rounds together")
    parser.add_argument("--rounds", type=int, default=3, help="default %(default)s")
    parser.add_argument("--cohort", type=int, default=3000, help="devices a round")
    parser.add_argument("--length", type=int, default=4096, help="numbers in a vector")
    parser.add_argument(
        "--delta", type=float, help="default 1e-6, or 1/(10 devices) if smaller"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE", help="write an SVG there")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """What `tactful-lab budget` does."""
    budget = _asked(options)
    for name, value in budget.lines():
        print(f"{name:55} {value:>12}")
    if options.plot is not None:
        options.plot.write_text(plot(budget))
        print(f"plot: {options.plot}")
    return 0


def plot(budget: Budget) -> str:
    """Epsilon against rounds, by every way of counting, as SVG."""
    rounds = sorted({max(1, round(budget.rounds * part / 12)) for part in range(1, 25)})
    rhos = [budget.rho_after(count) for count in rounds]
    curves = {
        "exact (GDP)": [epsilon_for(mu_from_rho(rho), budget.delta) for rho in rhos],
        "from rho": [epsilon_from_rho(rho, budget.delta) for rho in rhos],
        "Renyi": [rdp.epsilon(rdp.gaussian(rho), budget.delta) for rho in rhos],
    }
    return plots.curves(
        rounds,
        curves,
        label=f"epsilon at delta {budget.delta:g}",
        across="rounds",
        at=budget.rounds,
    )


def _asked(options: argparse.Namespace) -> Budget:
    for name in ("rounds", "cohort", "length"):
        if getattr(options, name) < 1:
            raise InvalidInput(
                f"--{name}", f"{getattr(options, name)} is below 1", "use 1 or more"
            )
    common = {name: getattr(options, name) for name in ("rounds", "cohort", "length")}
    ceiling = min(1e-6, 1 / (10 * options.cohort))
    delta = ceiling if options.delta is None else options.delta
    if not 0 < delta <= 1 / (10 * options.cohort):
        raise InvalidInput(
            "--delta", f"{delta!r} is not in (0, 1/(10 devices)]", "leave it out"
        )
    if options.epsilon is not None:
        return for_epsilon(options.epsilon, delta=delta, **common)
    return Budget(multiplier=_multiplier(options.noise), delta=delta, **common)


def _multiplier(text: str) -> Fraction:
    try:
        multiplier = Fraction(text)
    except (ValueError, ZeroDivisionError):
        multiplier = Fraction(0)
    if multiplier <= 0:
        raise InvalidInput(
            "--noise", f"{text!r} is not above 0", "use a number such as 4 or 7/2"
        )
    return multiplier


def _shown(rho: Fraction, delta: float) -> str:
    return f"{epsilon_from_rho(rho, delta):.4f}"

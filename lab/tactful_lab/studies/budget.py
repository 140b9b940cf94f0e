"""Privacy accounting: epsilon of rounds and noise, or the noise for an epsilon."""

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

LEVELS, BOX = 14, 3  # the encoding of rounds (docs/spec/aggregation.md 6)
DENOMINATOR = 1 << 20  # of a noise multiplier, which is rounded up


@dataclass(frozen=True, kw_only=True)
class Budget:
    """Rounds of `length` numbers from `cohort` devices, with Gaussian noise.

    `multiplier` is the noise of one aggregator over the sensitivity: sigma divided by
    the square root of Delta2.
    """

    rounds: int
    cohort: int
    length: int
    multiplier: Fraction
    delta: float

    @property
    def rho(self) -> Fraction:
        """The charge of a device that takes part in every round."""
        return self.rho_after(self.rounds)

    def rho_after(self, rounds: int) -> Fraction:
        """Return the charge of a device after `rounds` rounds."""
        return rounds / (2 * self.multiplier**2)

    @property
    def sigma(self) -> float:
        """The standard deviation of one aggregator's noise, in levels."""
        # The rotation of vectors needs a power of two.
        padded = 1 << (self.length - 1).bit_length()
        return float(self.multiplier) * math.sqrt(norm_bound(LEVELS, BOX, padded))

    @property
    def error(self) -> float:
        """The standard deviation of both aggregators' noise on each number of the mean.

        The unit is the greatest length of a device's vector.
        """
        padded = 1 << (self.length - 1).bit_length()
        per_unit = LEVELS * math.sqrt(padded) / (2 * BOX)
        return math.sqrt(2) * self.sigma / (per_unit * self.cohort)

    def lines(self) -> list[tuple[str, str]]:
        """Return the printed rows: name and value."""
        mu, rho = mu_from_rho(self.rho), self.rho
        gaussian = epsilon_for(mu, self.delta)
        grid = pairs.gaussian(mu_from_rho(self.rho_after(1)))
        return [
            ("epsilon, exact for rounded Gaussian noise (proved)", f"{gaussian:.4f}"),
            (
                "  privacy loss distribution on a grid (PLD)",
                f"{grid.epsilon(self.delta, self.rounds):.4f}",
            ),
            (
                "  from rho (zCDP; proved for discrete Gaussian too)",
                f"{epsilon_from_rho(rho, self.delta):.4f}",
            ),
            (
                "  from Renyi DP (an upper bound)",
                f"{rdp.epsilon(rdp.gaussian(rho), self.delta):.4f}",
            ),
            ("  at delta 1e-5", f"{epsilon_for(mu, 1e-5):.4f}"),
            (
                "  with replace-one adjacency instead of zero-out",
                f"{epsilon_for(2 * mu, self.delta):.4f}",
            ),
            ("delta", f"{self.delta:g}"),
            ("rho, as in the ledger of a device", f"{float(rho):.8g}"),
            ("noise sigma of one aggregator, in levels", f"{self.sigma:.1f}"),
            (
                "error of each number of the mean (vector length <= 1)",
                f"{self.error:.5f}",
            ),
        ]


def for_epsilon(
    epsilon: float, *, rounds: int, cohort: int, length: int, delta: float
) -> Budget:
    """Return the budget with the least noise for (epsilon, delta), rounded up."""
    mu = Fraction(mu_for(epsilon, delta))
    squared = rounds / mu**2
    # The integer square root rounds down, so 1 is added.
    numerator = math.isqrt(math.ceil(squared * DENOMINATOR**2)) + 1
    return Budget(
        rounds=rounds,
        cohort=cohort,
        length=length,
        multiplier=Fraction(numerator, DENOMINATOR),
        delta=delta,
    )


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `tactful-lab budget`."""
    summary = (
        "compute epsilon from the noise of a training, or the noise for an epsilon"
    )
    parser = subparsers.add_parser("budget", help=summary, description=summary)
    noise_or_epsilon = parser.add_mutually_exclusive_group(required=True)
    noise_or_epsilon.add_argument(
        "--noise",
        type=str,
        help="noise multiplier of one aggregator (sigma / sensitivity), such as 4",
    )
    noise_or_epsilon.add_argument(
        "--epsilon", type=float, help="epsilon of all rounds together"
    )
    parser.add_argument("--rounds", type=int, default=3, help="default: %(default)s")
    parser.add_argument(
        "--cohort", type=int, default=3000, help="devices per round; default: 3000"
    )
    parser.add_argument(
        "--length", type=int, default=4096, help="numbers per vector; default: 4096"
    )
    parser.add_argument(
        "--delta", type=float, help="default: 1e-6, or 1 / (10 * cohort) if smaller"
    )
    parser.add_argument(
        "--plot", type=Path, metavar="FILE", help="also write a plot as SVG"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run `tactful-lab budget` and return its exit status."""
    budget = _budget(options)
    for name, value in budget.lines():
        print(f"{name:55} {value:>12}")
    if options.plot is not None:
        options.plot.write_text(plot(budget))
        print(f"plot: {options.plot}")
    return 0


def plot(budget: Budget) -> str:
    """Return a plot of epsilon over rounds, a curve per accountant, as SVG."""
    # 24 points from 1/12 of the rounds to twice the rounds.
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


def _budget(options: argparse.Namespace) -> Budget:
    """Return the budget that `options` describe; raise InvalidInput if out of range."""
    for name in ("rounds", "cohort", "length"):
        if getattr(options, name) < 1:
            raise InvalidInput(
                f"--{name}", f"{getattr(options, name)} is below 1", "use 1 or more"
            )
    common = {name: getattr(options, name) for name in ("rounds", "cohort", "length")}
    greatest = 1 / (10 * options.cohort)
    delta = min(1e-6, greatest) if options.delta is None else options.delta
    if not 0 < delta <= greatest:
        raise InvalidInput(
            "--delta",
            f"{delta!r} is not in (0, 1 / (10 * cohort)]",
            "leave the option out for the default",
        )
    if options.epsilon is not None:
        return for_epsilon(options.epsilon, delta=delta, **common)
    return Budget(multiplier=_multiplier(options.noise), delta=delta, **common)


def _multiplier(text: str) -> Fraction:
    try:
        multiplier = Fraction(text)
    except (ValueError, ZeroDivisionError):
        multiplier = Fraction(0)  # refused below
    if multiplier <= 0:
        raise InvalidInput(
            "--noise", f"{text!r} is not above 0", "use a number such as 4 or 7/2"
        )
    return multiplier

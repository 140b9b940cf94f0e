"""What a device has spent, for a person to read: by purpose, last year, and since install."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from tactful.privacy.accountant import epsilon_for, mu_from_rho
from tactful.privacy.budget import Charge, Ledger, total

YEAR_SECONDS = 365 * 86_400


@dataclass(frozen=True, kw_only=True)
class Spent:
    """How many charges, their exact `rho`, and the epsilon that it reads as."""

    charges: int
    rho: Fraction
    epsilon: float


@dataclass(frozen=True, kw_only=True)
class Lifetime:
    """The whole cost so far, its parts, and the cap as epsilon; nothing here ever leaves."""

    whole: Spent
    year: Spent
    purposes: dict[str, Spent]
    tasks: dict[str, Spent]
    cap: float
    delta: float


def lifetime(ledger: Ledger, delta: float, now: int) -> Lifetime:
    """What `ledger` says at `now`, unix seconds of the ledger's own time."""
    charges = ledger.charges
    return Lifetime(
        whole=_spent(charges, delta),
        year=_spent((one for one in charges if one.time > now - YEAR_SECONDS), delta),
        purposes={
            purpose: _spent((one for one in charges if one.purpose == purpose), delta)
            for purpose in sorted({charge.purpose for charge in charges})
        },
        tasks={charge.task_id: _spent([charge], delta) for charge in charges},
        cap=epsilon_of(ledger.cap, delta),
        delta=delta,
    )


def epsilon_of(rho: Fraction, delta: float) -> float:
    """The epsilon that `rho` reads as at `delta`; nothing is nothing."""
    return epsilon_for(mu_from_rho(rho), delta) if rho else 0.0


def _spent(charges: Iterable[Charge], delta: float) -> Spent:
    kept = list(charges)
    rho = total(kept)
    return Spent(charges=len(kept), rho=rho, epsilon=epsilon_of(rho, delta))

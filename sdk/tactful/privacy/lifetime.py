"""What a device has spent, for a person to read: by purpose, last year, and since install."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from tactful.privacy.accountant import epsilon_for, epsilon_from_rho, mu_from_rho
from tactful.privacy.budget import Charge, Ledger, total

YEAR_SECONDS = 365 * 86_400


@dataclass(frozen=True, kw_only=True)
class Spent:
    """How many charges, their exact `rho`, and the epsilon that it reads as."""

    charges: int
    rho: Fraction
    epsilon: float


@dataclass(frozen=True, kw_only=True)
class LifetimeSpending:
    """The whole cost so far, its parts, and the cap as epsilon; nothing here ever leaves."""

    whole: Spent
    year: Spent
    purposes: dict[str, Spent]
    tasks: dict[str, Spent]
    cap: float
    delta: float


def lifetime(ledger: Ledger, delta: float, now: int) -> LifetimeSpending:
    """What `ledger` says at `now`, unix seconds of the ledger's own time."""
    charges = ledger.charges
    return LifetimeSpending(
        whole=_spent(charges, delta),
        year=_spent((one for one in charges if one.time > now - YEAR_SECONDS), delta),
        purposes={
            purpose: _spent((one for one in charges if one.purpose == purpose), delta)
            for purpose in sorted({charge.purpose for charge in charges})
        },
        tasks={charge.task_id: _spent([charge], delta) for charge in charges},
        cap=epsilon_of(ledger.cap, delta, gaussian=True),
        delta=delta,
    )


def epsilon_of(rho: Fraction, delta: float, *, gaussian: bool) -> float:
    """Return the epsilon that `rho` proves at `delta`; 0 for nothing.

    Only where all of it is `gaussian` is that the Gaussian's own curve; a Gaussian satisfies its
    rho too, so a mixture is converted from the sum.
    """
    if not rho:
        return 0.0
    return (
        epsilon_for(mu_from_rho(rho), delta)
        if gaussian
        else epsilon_from_rho(rho, delta)
    )


def spent_epsilons(charges: Iterable[Charge], delta: float) -> Iterator[float]:
    """Yield, after each charge, the epsilon of all charges so far."""
    rho, gaussian = Fraction(0), True
    for charge in charges:
        rho, gaussian = rho + charge.rho, gaussian and charge.is_gaussian
        yield epsilon_of(rho, delta, gaussian=gaussian)


def spent_epsilon(charges: Iterable[Charge], delta: float) -> float:
    """Return the epsilon of all `charges` together; 0 for none."""
    listed = list(charges)
    gaussian = all(charge.is_gaussian for charge in listed)
    return epsilon_of(total(listed), delta, gaussian=gaussian)


def _spent(charges: Iterable[Charge], delta: float) -> Spent:
    listed = list(charges)
    epsilon = spent_epsilon(listed, delta)
    return Spent(charges=len(listed), rho=total(listed), epsilon=epsilon)

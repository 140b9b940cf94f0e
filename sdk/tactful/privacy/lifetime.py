"""Privacy spending of a device, for the person: in total, by year, purpose and task."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction

from tactful.privacy.accountant import epsilon_for, epsilon_from_rho, mu_from_rho
from tactful.privacy.budget import Charge, Ledger, total

YEAR_SECONDS = 365 * 86_400


@dataclass(frozen=True, kw_only=True)
class Spending:
    """Number of charges, their exact `rho`, and the epsilon that follows from it."""

    charges: int
    rho: Fraction
    epsilon: float


@dataclass(frozen=True, kw_only=True)
class LifetimeSpending:
    """Spending since the SDK was installed; it never leaves the device.

    `whole` is the total, `year` the last 365 days; `purposes` and `tasks` are its
    parts. `cap` is the lifetime cap as an epsilon at `delta`.
    """

    whole: Spending
    year: Spending
    purposes: dict[str, Spending]
    tasks: dict[str, Spending]
    cap: float
    delta: float


def lifetime_spending(ledger: Ledger, delta: float, now: int) -> LifetimeSpending:
    """Return the spending of `ledger` at `now`, unix seconds of the ledger's time."""
    charges = ledger.charges
    year = (charge for charge in charges if charge.time > now - YEAR_SECONDS)
    charges_by_purpose: dict[str, list[Charge]] = {}
    for charge in charges:
        charges_by_purpose.setdefault(charge.purpose, []).append(charge)
    return LifetimeSpending(
        whole=_spending(charges, delta),
        year=_spending(year, delta),
        purposes={
            purpose: _spending(purpose_charges, delta)
            for purpose, purpose_charges in sorted(charges_by_purpose.items())
        },
        tasks={charge.task_id: _spending([charge], delta) for charge in charges},
        cap=epsilon_of(ledger.cap, delta, gaussian=True),
        delta=delta,
    )


def epsilon_of(rho: Fraction, delta: float, *, gaussian: bool) -> float:
    """Return the epsilon that `rho` proves at `delta`; 0 for no spending.

    `gaussian` is True if the Gaussian curve is proved for all of the spending. A
    Gaussian satisfies its rho as well, so a mixture is converted from the sum of rho.
    """
    if not rho:
        return 0.0
    if gaussian:
        return epsilon_for(mu_from_rho(rho), delta)
    return epsilon_from_rho(rho, delta)


def spent_epsilons(charges: Iterable[Charge], delta: float) -> Iterator[float]:
    """Yield, after each charge, the epsilon of all charges so far."""
    rho, gaussian = Fraction(0), True
    for charge in charges:
        rho += charge.rho
        gaussian = gaussian and charge.is_gaussian
        yield epsilon_of(rho, delta, gaussian=gaussian)


def spent_epsilon(charges: Iterable[Charge], delta: float) -> float:
    """Return the epsilon of all `charges` together; 0 for none."""
    charge_list = list(charges)
    gaussian = all(charge.is_gaussian for charge in charge_list)
    return epsilon_of(total(charge_list), delta, gaussian=gaussian)


def _spending(charges: Iterable[Charge], delta: float) -> Spending:
    charge_list = list(charges)
    return Spending(
        charges=len(charge_list),
        rho=total(charge_list),
        epsilon=spent_epsilon(charge_list, delta),
    )

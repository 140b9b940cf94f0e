"""What a person reads of their budget: resets are never free."""

from fractions import Fraction

import pytest

from tactful.privacy.accountant import mu_for
from tactful.privacy.budget import Charge, Ledger
from tactful.privacy.lifetime import YEAR_SECONDS, lifetime_spending

DAY = 86_400


def ledger(count: int, every: int, epsilon: float = 1.0) -> Ledger:
    rho = Fraction(mu_for(epsilon, 1e-5)) ** 2 / 2
    charges = [
        Charge(
            task_id=f"{n}",
            purpose="a" if n % 2 else "b",
            rho=rho,
            time=n * every,
            event={"family": "rounded_gaussian"},
        )
        for n in range(count)
    ]
    return Ledger(rho * count, tuple(charges))


@pytest.mark.parametrize(("count", "days", "reads"), [(12, 30, 4.0), (365, 1, 34)])
def test_many_small_charges_add_up_to_a_large_epsilon(
    count: int, days: int, reads: float
) -> None:
    """privacy.md 3: epsilon 1 a month is 4.0 a year, 1 a day is 34."""
    seen = lifetime_spending(ledger(count, days * DAY), 1e-5, now=count * days * DAY)

    assert seen.whole.epsilon == pytest.approx(reads, rel=0.02)
    assert seen.cap == pytest.approx(seen.whole.epsilon)


def test_parts_add_up_in_rho_and_the_year_ends() -> None:
    seen = lifetime_spending(ledger(24, 30 * DAY), 1e-5, now=24 * 30 * DAY)

    assert sum(part.rho for part in seen.purposes.values()) == seen.whole.rho
    assert sum(part.rho for part in seen.tasks.values()) == seen.whole.rho
    assert 12 <= seen.year.charges < 24
    assert (
        lifetime_spending(ledger(2, DAY), 1e-5, now=3 * YEAR_SECONDS).year.epsilon == 0
    )


def test_an_empty_ledger_has_an_epsilon_of_0() -> None:
    assert lifetime_spending(Ledger(Fraction(0)), 1e-5, now=0).whole.epsilon == 0

"""The ledger only grows, in exact fractions, up to its cap."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.errors import BudgetExhausted, InvalidInput, VaultDamaged
from tactful.privacy.budget import GENESIS, Charge, Ledger

rhos = st.fractions(Fraction(1, 10**9), 2)


def charge(rho: Fraction = Fraction(1, 3), task: str = "ab" * 32) -> Charge:
    return Charge(task_id=task, purpose="share_dp_updates", rho=rho, time=1_700_000_000)


@given(cap=st.fractions(0, 5), asked=st.lists(rhos, max_size=12))
def test_spending_never_passes_the_cap_and_never_shrinks(
    cap: Fraction, asked: list[Fraction]
) -> None:
    ledger = Ledger(cap)
    for rho in asked:
        before = ledger.spent
        try:
            ledger = ledger.spend(charge(rho))
        except BudgetExhausted:
            assert before + rho > cap
            assert ledger.spent == before
        else:
            assert ledger.spent == before + rho
        assert 0 <= ledger.spent <= cap
        assert ledger.left == cap - ledger.spent >= 0


def test_thirds_add_to_one_exactly() -> None:
    ledger = Ledger(Fraction(1))

    for _ in range(3):
        ledger = ledger.spend(charge(Fraction(1, 3)))

    assert ledger.left == 0
    with pytest.raises(BudgetExhausted):
        ledger.spend(charge(Fraction(1, 10**12)))


def test_a_refusal_names_cap_spent_asked_and_the_fix() -> None:
    ledger = Ledger(Fraction(1, 2)).spend(charge(Fraction(2, 5)))

    with pytest.raises(BudgetExhausted, match=r"0\.25 asked, 0\.4 spent of a cap of 0\.5; decline"):
        ledger.spend(charge(Fraction(1, 4)))


@pytest.mark.parametrize("rho", [Fraction(0), Fraction(-1), 0.5, 1])
def test_a_charge_is_an_exact_fraction_above_zero(rho: Fraction) -> None:
    with pytest.raises(InvalidInput, match=r"charge\.rho"):
        charge(rho)


def test_a_cap_below_zero_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"budget\.cap"):
        Ledger(Fraction(-1))


@given(rho=rhos)
def test_a_charge_survives_being_written_and_read(rho: Fraction) -> None:
    assert Charge.from_body(charge(rho).body()) == charge(rho)


@pytest.mark.parametrize("wrong", [{"rho": "1/0"}, {"rho": "half"}, {"rho": "-1/2"}, {"time": "x"}])
def test_a_damaged_charge_is_not_read(wrong: dict[str, object]) -> None:
    with pytest.raises(VaultDamaged):
        Charge.from_body({**charge().body(), **wrong})


def test_a_charge_that_lacks_a_field_is_not_read() -> None:
    with pytest.raises(VaultDamaged):
        Charge.from_body({"task_id": "ab"})


def test_lowering_the_cap_refunds_nothing() -> None:
    lowered = Ledger(Fraction(1)).spend(charge()).with_cap(Fraction(1, 4))

    assert lowered.spent == Fraction(1, 3)
    assert lowered.left == 0


@given(place=st.integers(0, 4), rho=rhos)
def test_a_changed_or_missing_charge_breaks_the_chain(place: int, rho: Fraction) -> None:
    charges = tuple(charge(task=f"{number:064x}") for number in range(5))
    head = Ledger(Fraction(9), charges).head
    changed = list(charges)
    changed[place] = replace(charges[place], rho=rho + Fraction(1, 3))

    Ledger(Fraction(9), (*charges, charge())).verify(head)
    for broken in (tuple(changed), charges[:place] + charges[place + 1 :]):
        with pytest.raises(VaultDamaged, match="ledger"):
            Ledger(Fraction(9), broken).verify(head)


def test_an_empty_ledger_begins_at_the_genesis() -> None:
    assert Ledger(Fraction(0)).head == GENESIS
    Ledger(Fraction(0)).verify(GENESIS)

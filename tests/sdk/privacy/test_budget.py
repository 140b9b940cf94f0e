"""The ledger is append-only and never exceeds its cap, in exact fractions."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.errors import BudgetExhausted, InvalidInput, VaultDamaged
from tactful.privacy.budget import (
    GENESIS,
    STEP_STATES,
    Charge,
    Ledger,
    Step,
    chain,
    line,
    parse,
)

rhos = st.fractions(Fraction(1, 10**9), 2)


def charge(rho: Fraction = Fraction(1, 3), task: str = "ab" * 32) -> Charge:
    return Charge(task_id=task, purpose="share_dp_updates", rho=rho, time=1_700_000_000)


@given(cap=st.fractions(0, 5), asked=st.lists(rhos, max_size=12))
def test_spending_never_exceeds_the_cap_and_never_decreases(
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
        assert ledger.remaining == cap - ledger.spent >= 0


def test_thirds_add_to_one_exactly() -> None:
    ledger = Ledger(Fraction(1))

    for _ in range(3):
        ledger = ledger.spend(charge(Fraction(1, 3)))

    assert ledger.remaining == 0
    with pytest.raises(BudgetExhausted):
        ledger.spend(charge(Fraction(1, 10**12)))


def test_a_refusal_names_the_charge_the_cap_the_spending_and_the_fix() -> None:
    ledger = Ledger(Fraction(1, 2)).spend(charge(Fraction(2, 5)))

    with pytest.raises(
        BudgetExhausted,
        match=r"rho 0\.25 exceeds the cap of 0\.5, of which 0\.4 is spent; decline",
    ):
        ledger.spend(charge(Fraction(1, 4)))


@pytest.mark.parametrize("rho", [Fraction(0), Fraction(-1), 0.5, 1])
def test_a_charge_is_an_exact_fraction_above_zero(rho: Fraction) -> None:
    with pytest.raises(InvalidInput, match=r"charge\.rho"):
        charge(rho)


def test_a_cap_below_zero_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"budget\.cap"):
        Ledger(Fraction(-1))


@given(rho=rhos)
def test_a_charge_equals_what_is_read_from_its_body(rho: Fraction) -> None:
    assert Charge.from_body(charge(rho).body()) == charge(rho)


@pytest.mark.parametrize(
    "wrong", [{"rho": "1/0"}, {"rho": "half"}, {"rho": "-1/2"}, {"time": "x"}]
)
def test_a_damaged_charge_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(VaultDamaged):
        Charge.from_body({**charge().body(), **wrong})


def test_a_charge_without_all_fields_is_refused() -> None:
    with pytest.raises(VaultDamaged):
        Charge.from_body({"task_id": "ab"})


def test_lowering_the_cap_refunds_nothing() -> None:
    lowered = Ledger(Fraction(1)).spend(charge())
    lowered = replace(lowered, cap=Fraction(1, 4))

    assert lowered.spent == Fraction(1, 3)
    assert lowered.remaining == 0


@given(place=st.integers(0, 4), rho=rhos)
def test_a_changed_or_missing_charge_breaks_the_chain(
    place: int, rho: Fraction
) -> None:
    charges: tuple[Charge, ...] = tuple(
        charge(task=f"{number:064x}") for number in range(5)
    )
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


def test_a_purpose_can_have_a_cap_below_the_lifetime_cap() -> None:
    ledger = Ledger(Fraction(2), caps={"share_dp_updates": Fraction(1, 2)}).spend(
        charge()
    )

    with pytest.raises(
        BudgetExhausted, match=r"budget for share_dp_updates: .*; decline"
    ):
        ledger.spend(charge(Fraction(1, 4)))
    assert ledger.spend(
        replace(charge(), purpose="share_dp_metrics")
    ).spent == Fraction(2, 3)


@given(rhos=st.lists(rhos, min_size=1, max_size=8), cap=st.fractions(0, 3))
def test_purposes_together_never_exceed_the_lifetime_cap(
    rhos: list[Fraction], cap: Fraction
) -> None:
    ledger = Ledger(cap, caps={"a": Fraction(5), "b": Fraction(5)})
    for number, rho in enumerate(rhos):
        try:
            ledger = ledger.spend(replace(charge(rho), purpose="ab"[number % 2]))
        except BudgetExhausted:
            continue
    assert ledger.spent_on("a") + ledger.spent_on("b") == ledger.spent <= cap


@pytest.mark.parametrize("state", STEP_STATES)
def test_a_later_step_of_a_report_costs_nothing_and_refunds_nothing(state: str) -> None:
    before = Ledger(Fraction(1)).spend(charge())

    after = before.recorded(Step(state=state, task_id="ab" * 32, time=2))

    assert after.spent == before.spent
    assert after.head != before.head
    after.verify(before.head)


@given(rho=rhos, time=st.integers(0, 2**40))
def test_only_the_canonical_line_of_an_entry_is_read(rho: Fraction, time: int) -> None:
    entries = (
        replace(charge(rho), time=time),
        Step(state="sent", task_id="a", time=time),
    )

    for entry in entries:
        assert parse(line(entry)) == entry
        with pytest.raises(VaultDamaged, match="form"):
            parse(line(entry).replace(",", ", ", 1))


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"state":"refunded"}', '"x"', "{" * 9999]
)
def test_an_invalid_ledger_line_is_refused(text: str) -> None:
    with pytest.raises(VaultDamaged, match=r"^(ledger|charge): "):
        parse(text)


def test_each_hash_of_the_chain_depends_on_all_earlier_lines() -> None:
    lines = ["a", "b", "c"]

    assert chain(lines)[:2] == chain(lines[:2])
    assert chain(["b", "a", "c"])[2] != chain(lines)[2]
    assert chain(["ab", "c"])[1] != chain(["a", "bc"])[1]

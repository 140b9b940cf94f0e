"""Epsilon and noise follow from each other, and wrong arguments are named."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.privacy.accountant import epsilon_for, mu_from_rho
from tactful_lab.cli import main
from tactful_lab.studies.budget import for_epsilon


@given(epsilon=st.floats(0.1, 20), rounds=st.integers(1, 200))
def test_the_noise_for_an_epsilon_is_sufficient_and_tight(
    epsilon: float, rounds: int
) -> None:
    budget = for_epsilon(epsilon, rounds=rounds, cohort=1000, length=64, delta=1e-6)

    spent = epsilon_for(mu_from_rho(budget.rho), 1e-6)

    assert spent <= epsilon * (1 + 1e-12)
    assert spent == pytest.approx(epsilon, rel=1e-4)


def test_budget_computes_epsilon_and_noise_and_writes_a_plot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plot = tmp_path / "budget.svg"

    assert main(["budget", "--epsilon", "3", "--rounds", "3", "--plot", str(plot)]) == 0
    assert main(["budget", "--noise", "4"]) == 0

    assert plot.read_text().startswith("<svg")
    assert capsys.readouterr().out.count("(proved)") == 2


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["--noise", "0"], "--noise"),
        (["--noise", "nan"], "--noise"),
        (["--epsilon", "inf"], "epsilon"),
        (["--epsilon", "-1"], "epsilon"),
        (["--epsilon", "1", "--rounds", "0"], "--rounds"),
        (["--epsilon", "1", "--delta", "0.5"], "--delta"),
    ],
)
def test_budget_refuses_impossible_values_and_names_them(
    arguments: list[str], field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["budget", *arguments]) == 2
    assert field in capsys.readouterr().err

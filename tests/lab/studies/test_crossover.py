"""From how many people on a personal model is better is read off honestly, and in one command."""

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful_lab.cli import main
from tactful_lab.studies.crossover import Cell, Crossover, cohort


def _figures(*gains: tuple[int, float, float | None]) -> Crossover:
    cells = tuple(
        Cell(users, False, 1.0, 0.2 + gain, 0.2, gain, spread, 1.0)
        for users, gain, spread in gains
    )
    return Crossover("shop", 1_000, 50, 1e-6, 3, 0.2, cells)


def test_the_turning_point_is_where_nothing_larger_loses() -> None:
    assert (
        _figures((10, 0.1, None), (20, -0.1, None), (30, 0.1, None)).turning_point(1.0)
        == 30
    )
    assert (
        _figures((30, 0.1, None), (10, -0.1, None), (20, 0.1, None)).turning_point(1.0)
        == 20
    )
    assert _figures((10, -0.1, None), (20, 0.0, None)).turning_point(1.0) is None


def test_a_gain_within_its_interval_is_none() -> None:
    assert _figures((10, 0.01, 0.02), (20, 0.03, 0.02)).turning_point(1.0) == 20
    assert _figures((10, 0.01, 0.02), (20, 0.02, 0.03)).turning_point(1.0) is None


@given(count=st.integers(1, 300), seed=st.integers(0, 9))
def test_a_cohort_repeats_nobody_before_everybody_is_in_it(
    count: int, seed: int
) -> None:
    people = np.arange(100, 200)

    times = np.bincount(cohort(people, count, seed) - 100, minlength=100)

    assert times.sum() == count
    assert times.max() - times.min() <= 1


def test_the_command_prints_writes_and_draws(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    written, drawn = tmp_path / "figures.json", tmp_path / "drawn"
    cohorts = ["--users", "6000", "300", "--epsilon", "1", "8", "--seeds", "2"]

    assert (
        main(
            [
                "crossover",
                "msweb",
                *cohorts,
                "--json",
                str(written),
                "--out",
                str(drawn),
            ]
        )
        == 0
    )

    figures = json.loads(written.read_text())
    cells = {(cell["users"], cell["epsilon"]): cell for cell in figures["cells"]}
    assert list(cells) == [(300, 1), (300, 8), (6_000, 1), (6_000, 8)]
    assert cells[300, 1]["personal"] == 0  # below the gate
    assert cells[300, 1]["gain"] == pytest.approx(0, abs=0.02)
    assert cells[6_000, 1]["gain"] > 0
    assert [cells[n, 1]["synthetic"] for n in (300, 6_000)] == [False, True]
    told = capsys.readouterr().out
    assert "6,000*" in told
    assert "better from" in told
    assert (drawn / "crossover.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["nothing"], "dataset"),
        (["msweb", "--users", "0"], "--users"),
        (["msweb", "--users", "100000001"], "--users"),
        (["msweb", "--epsilon", "-1"], "epsilon"),
        (["msweb", "--seeds", "0"], "seeds"),
        (["msweb", "--out", "/dev/null/x"], "--out"),
    ],
)
def test_a_wrong_argument_is_one_sentence_and_exit_status_two(
    arguments: list[str], field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["crossover", *arguments]) == 2

    told = capsys.readouterr()
    assert told.err.startswith(f"tactful-lab: {field}")
    assert told.err.count("\n") == 1
    assert told.out == ""

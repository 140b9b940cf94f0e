"""The turning point is found conservatively, and the command writes its figures."""

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


def test_every_cohort_beyond_the_turning_point_gains() -> None:
    assert (
        _figures((10, 0.1, None), (20, -0.1, None), (30, 0.1, None)).turning_point(1.0)
        == 30
    )
    assert (
        _figures((30, 0.1, None), (10, -0.1, None), (20, 0.1, None)).turning_point(1.0)
        == 20
    )
    assert _figures((10, -0.1, None), (20, 0.0, None)).turning_point(1.0) is None


def test_a_gain_within_its_interval_does_not_count() -> None:
    assert _figures((10, 0.01, 0.02), (20, 0.03, 0.02)).turning_point(1.0) == 20
    assert _figures((10, 0.01, 0.02), (20, 0.02, 0.03)).turning_point(1.0) is None


@given(count=st.integers(1, 300), seed=st.integers(0, 9))
def test_a_cohort_repeats_people_only_after_all_are_in_it(
    count: int, seed: int
) -> None:
    people = np.arange(100, 200)

    times = np.bincount(cohort(people, count, seed) - 100, minlength=100)

    assert times.sum() == count
    assert times.max() - times.min() <= 1


def test_crossover_prints_a_table_and_writes_json_and_a_plot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    json_file, plot_folder = tmp_path / "figures.json", tmp_path / "drawn"
    cohorts = ["--users", "6000", "300", "--epsilon", "1", "8", "--seeds", "2"]

    assert (
        main(
            [
                "crossover",
                "msweb",
                *cohorts,
                "--json",
                str(json_file),
                "--out",
                str(plot_folder),
            ]
        )
        == 0
    )

    figures = json.loads(json_file.read_text())
    cells = {(cell["users"], cell["epsilon"]): cell for cell in figures["cells"]}
    assert list(cells) == [(300, 1), (300, 8), (6_000, 1), (6_000, 8)]
    assert cells[300, 1]["personal"] == 0  # below the gate
    assert cells[300, 1]["gain"] == pytest.approx(0, abs=0.02)
    assert cells[6_000, 1]["gain"] > 0
    assert [cells[n, 1]["synthetic"] for n in (300, 6_000)] == [False, True]
    output = capsys.readouterr().out
    assert "6,000*" in output
    assert "better from" in output
    assert (plot_folder / "crossover.svg").read_text().startswith("<svg")


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
def test_crossover_refuses_a_wrong_argument_in_one_line(
    arguments: list[str], field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["crossover", *arguments]) == 2

    output = capsys.readouterr()
    assert output.err.startswith(f"tactful-lab: {field}")
    assert output.err.count("\n") == 1
    assert output.out == ""

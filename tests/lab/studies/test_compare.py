"""Comparisons report quality, upload and cost, and name wrong arguments."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tactful.errors import InvalidInput
from tactful_aggregator.learning.training_plan import Plan
from tactful_lab.baselines import ials
from tactful_lab.cli import main
from tactful_lab.data_sets.loading import Dataset, load, split
from tactful_lab.simulation.device_cost import device_seconds
from tactful_lab.simulation.population import Population
from tactful_lab.studies.compare import compare, half_width, student

EPSILON = ["--epsilon", "1", "--seeds", "2"]


@pytest.fixture(scope="module")
def visits() -> Dataset:
    return load("msweb")


@pytest.mark.skipif(not ials.available(), reason="the extra ials is not installed")
def test_ials_ranks_better_than_popularity(
    visits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("CONFIDENCES", (2.0,)), ("RIDGES", (30.0,)), ("SWEEPS", 4)):
        monkeypatch.setattr(ials, name, value)

    comparison = compare(
        visits, methods=["popularity", "ials"], epsilons=[1.0], seeds=1
    )

    counts, factors = comparison.figures
    assert factors.ndcg_at_100 > counts.ndcg_at_100 + 0.05


def test_compare_reports_bytes_and_cpu_of_methods_that_use_the_wire_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    json_file = tmp_path / "figures.json"
    methods = ["--methods", "popularity", "dp-popularity", "local-popularity"]

    assert main(["compare", "msweb", *EPSILON, *methods, "--json", str(json_file)]) == 0

    popularity, ours, local = json.loads(json_file.read_text())["figures"]
    crowd = Population(load("msweb"), np.arange(50))
    training = crowd.dp_popularity(
        1.0, 1e-6, noise="once", generator=np.random.default_rng(0)
    )
    assert ours["upload_bytes_per_device"] == training.rounds[0].upload_bytes
    assert 0 < ours["device_cpu_seconds"] < 5
    for other in (popularity, local):
        assert other["upload_bytes_per_device"] is other["device_cpu_seconds"] is None
    assert f"{ours['upload_bytes_per_device'] / 1e6:.2f}" in capsys.readouterr().out


def test_the_measured_cpu_time_grows_with_the_number_of_rounds(visits: Dataset) -> None:
    """Two rounds cost about twice as much; CPU time varies on a busy machine."""
    crowd = Population(visits, split(visits).train[:50])
    plan = Plan(items=277, head=128, rank=8, shares=(0.1, 0.9))
    rounds = crowd.train(
        2.0, 1e-6, noise="once", generator=np.random.default_rng(0), plan=plan
    ).rounds

    seconds_of_one, seconds_of_two = (
        device_seconds(visits, crowd.users, [rounds[1]] * times) for times in (1, 2)
    )

    assert seconds_of_two > 1.2 * seconds_of_one


def test_the_interval_over_seeds_uses_students_t() -> None:
    assert half_width([0.3]) is None
    assert half_width([0.1, 0.2, 0.3]) == pytest.approx(4.3027 * 0.1 / math.sqrt(3))
    for freedom, quantile in ((1, 12.706), (4, 2.776), (9, 2.262), (29, 2.045)):
        assert student(freedom) == pytest.approx(quantile, abs=0.003)


def test_compare_prints_a_table_and_writes_json_and_a_plot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    json_file, plot_folder = tmp_path / "new" / "figures.json", tmp_path / "drawn"
    arguments = [
        "compare",
        "msweb",
        "--epsilon",
        "1",
        "8",
        "--seeds",
        "2",
        "--json",
        str(json_file),
    ]
    methods = ["--methods", "popularity", "gram-ease", "local-popularity"]

    assert main([*arguments, "--out", str(plot_folder), *methods]) == 0

    figures = json.loads(json_file.read_text())["figures"]
    assert [(figure["method"], figure["epsilon"]) for figure in figures] == [
        ("popularity", None),
        ("gram-ease", 1),
        ("gram-ease", 8),
        ("local-popularity", 1),
        ("local-popularity", 8),
    ]
    assert figures[1]["coordinates_per_device"] == 277 + 277 * 276 // 2
    assert figures[0]["ndcg_half_width"] is None
    assert figures[1]["ndcg_half_width"] > 0
    output = capsys.readouterr().out
    assert "38,503" in output
    plot = (plot_folder / "compare.svg").read_text()
    assert plot.startswith("<svg")
    assert "gram-ease" in plot


def test_compare_gives_the_same_figures_for_the_same_seeds(visits: Dataset) -> None:
    first, second = (
        compare(visits, methods=["gram-ease"], epsilons=[1.0], seeds=2)
        for _ in range(2)
    )

    assert first == second
    assert len(set(first.figures[0].ndcg_by_seed)) == 2


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["nothing"], "dataset"),
        (["msweb", "--epsilon", "0"], "epsilon"),
        (["msweb", "--epsilon", "1", "nan"], "epsilon"),
        (["msweb", "--delta", "1"], "delta"),
        (["msweb", "--seeds", "0"], "seeds"),
        (["msweb", "--seeds", "31"], "seeds"),
        (["msweb", "--methods", "magic"], "methods"),
        (["ml-1m", "--data", "/nowhere"], "--data"),
        (["msweb", "--json", "/dev/null/x.json"], "--json"),
        (["msweb", "--out", "/dev/null/x"], "--out"),
    ],
)
def test_compare_refuses_a_wrong_argument_in_one_line(
    arguments: list[str], field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *arguments]) == 2

    output = capsys.readouterr()
    assert output.err.startswith(f"tactful-lab: {field}")
    assert output.err.count("\n") == 1
    assert output.out == ""


def test_compare_refuses_a_data_set_too_small_to_split(visits: Dataset) -> None:
    alone = replace(
        visits, name="alone", indptr=np.array([0, 5]), indices=visits.indices[:5]
    )

    with pytest.raises(
        InvalidInput, match=r"^dataset: 1 people and 277 items are too few"
    ):
        compare(alone)

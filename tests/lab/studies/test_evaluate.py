"""List quality follows balance and diversity."""

import json
from pathlib import Path

import numpy as np
import pytest

from tactful_lab.cli import main
from tactful_lab.data_sets import loading
from tactful_lab.studies.evaluate import session_figures
from tactful_lab.studies.list_quality import (
    LENGTH,
    EvaluationSetup,
    ndcg,
    prepare,
    quality_curve,
)


@pytest.fixture(scope="module")
def shop() -> EvaluationSetup:
    return prepare(loading.load("online-retail", None), 6, 3.0, 0)


def test_ndcg_is_1_for_the_best_list_and_less_for_lower_ranks() -> None:
    hidden = np.array([4, 9])
    best = np.array([9, 4, *range(20, 28)])

    assert ndcg(best, hidden) == pytest.approx(1.0)
    assert ndcg(best[::-1], hidden) < ndcg(np.roll(best, 1), hidden) < 1
    assert ndcg(np.arange(30, 40), hidden) == 0
    assert len(best) == LENGTH


def test_list_quality_follows_balance_and_diversity(shop: EvaluationSetup) -> None:
    standard, personal = quality_curve(shop, [0.0, 1.0], [0.0, 0.0])
    plain, diverse = quality_curve(shop, [0.6, 0.6], [0.0, 1.0])

    assert standard.standard_share == 1
    assert personal.standard_share < 1
    assert personal.coverage > standard.coverage
    assert personal.ndcg > standard.ndcg
    assert diverse.diversity_of_list > plain.diversity_of_list


def test_default_settings_reduce_unwanted_repeats_and_increase_coverage(
    shop: EvaluationSetup,
) -> None:
    figures = session_figures(shop, 3)

    assert figures.unwanted <= figures.unwanted_plain / 5
    assert figures.coverage >= 2 * figures.coverage_top_sellers


def test_evaluate_prints_tables_and_writes_json_and_plots(
    tmp_path: Path, capsys
) -> None:
    arguments = ["--people", "3", "--sessions", "0", "--out", str(tmp_path)]
    assert main(["evaluate", "online-retail", *arguments]) == 0

    document = json.loads((tmp_path / "online-retail.json").read_text())
    assert len(document["over_balance"]) == len(document["over_diversity"]) == 6
    assert "NDCG@10" in capsys.readouterr().out
    for parameter in ("balance", "diversity"):
        plot = tmp_path / f"online-retail-{parameter}.svg"
        assert plot.read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["no-such-set"], "dataset"),
        (["online-retail", "--people", "0"], "--people"),
        (["online-retail", "--people", "3", "--sessions", "9"], "--sessions"),
        (["online-retail", "--epsilon", "-1"], "epsilon"),
    ],
)
def test_an_evaluation_with_a_wrong_argument_fails_and_names_it(
    arguments: list[str],
    field: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    assert main(["evaluate", *arguments, "--out", str(tmp_path)]) == 2
    assert field in capsys.readouterr().err

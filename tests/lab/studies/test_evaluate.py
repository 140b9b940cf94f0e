"""The evaluation's figures follow its knobs, and what it prints and plots is there."""

import json
from pathlib import Path

import numpy as np
import pytest

from tactful_lab.cli import main
from tactful_lab.data_sets import loading
from tactful_lab.studies.evaluate import LENGTH, curve, ndcg, sessions, world


@pytest.fixture(scope="module")
def shop():
    return world(loading.load("online-retail", None), 6, 3.0, 0)


def test_ndcg_is_one_for_the_best_list_and_falls_with_the_place() -> None:
    hidden = np.array([4, 9])
    best = np.array([9, 4, *range(20, 28)])

    assert ndcg(best, hidden) == pytest.approx(1.0)
    assert ndcg(best[::-1], hidden) < ndcg(np.roll(best, 1), hidden) < 1
    assert ndcg(np.arange(30, 40), hidden) == 0
    assert len(best) == LENGTH


def test_the_curves_turn_with_their_knobs(shop) -> None:
    standard, personal = curve(shop, [0.0, 1.0], [0.0, 0.0])
    plain, varied = curve(shop, [0.6, 0.6], [0.0, 1.0])

    assert standard.standard_share == 1
    assert personal.standard_share < 1
    assert personal.coverage > standard.coverage
    assert personal.ndcg > standard.ndcg
    assert varied.diversity_of_list > plain.diversity_of_list


def test_defaults_end_unwanted_repeats_and_reach_more_of_the_catalog(shop) -> None:
    days = sessions(shop, 3)

    assert days.unwanted <= days.unwanted_plain / 5
    assert days.coverage >= 2 * days.coverage_top_sellers


def test_the_command_prints_tables_and_writes_plots(tmp_path: Path, capsys) -> None:
    arguments = ["--people", "3", "--sessions", "0", "--out", str(tmp_path)]
    assert main(["evaluate", "online-retail", *arguments]) == 0

    told = json.loads((tmp_path / "online-retail.json").read_text())
    assert len(told["over_balance"]) == len(told["over_diversity"]) == 6
    assert "NDCG@10" in capsys.readouterr().out
    for knob in ("balance", "diversity"):
        assert (tmp_path / f"online-retail-{knob}.svg").read_text().startswith("<svg")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["no-such-set"], "dataset"),
        (["online-retail", "--people", "0"], "--people"),
        (["online-retail", "--people", "3", "--sessions", "9"], "--sessions"),
        (["online-retail", "--epsilon", "-1"], "epsilon"),
    ],
)
def test_a_wrong_argument_is_one_sentence(arguments, named, capsys, tmp_path) -> None:
    assert main(["evaluate", *arguments, "--out", str(tmp_path)]) == 2
    assert named in capsys.readouterr().err

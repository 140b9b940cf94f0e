"""Uploads stay below their limit, and wrong arguments are named."""

import json
from pathlib import Path

import pytest

from tactful.errors import InvalidInput
from tactful_lab.baselines.simple import by_words
from tactful_lab.cli import main
from tactful_lab.data_sets.loading import load
from tactful_lab.studies.upload_limit import curve


def test_uploads_stay_below_the_limit_and_grow_with_it() -> None:
    points = curve(
        load("msweb"), limits=(1_200, 6_000, 400_000), epsilons=(3.0,), seeds=1
    )

    by_rule, *limited = points
    uploads = [point.numbers for point in limited]
    assert uploads == sorted(set(uploads))
    assert all(point.numbers <= (point.limit or 0) for point in limited)
    assert by_rule.limit is None
    assert by_rule.numbers <= 150_000
    assert [point.megabytes for point in limited] == sorted(
        point.megabytes for point in limited
    )


def test_upload_prints_a_table_and_writes_json_and_a_plot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "--numbers",
        "2000",
        "--epsilon",
        "1",
        "--seeds",
        "2",
        "--out",
        str(tmp_path),
    ]

    assert (
        main(["upload", "msweb", *arguments, "--json", str(tmp_path / "figures.json")])
        == 0
    )

    assert "default" in capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert {figure["limit"] for figure in figures} == {None, 2_000}
    assert "<svg" in (tmp_path / "upload.svg").read_text()


def test_upload_labels_synthetic_devices(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "--numbers",
        "2000",
        "--epsilon",
        "1",
        "--seeds",
        "1",
        "--devices",
        "9000",
    ]

    assert main(["upload", "msweb", *arguments]) == 0

    assert capsys.readouterr().out.startswith("9,000 SYNTHETIC devices")


@pytest.mark.parametrize(
    "wrong",
    [["--numbers", "0"], ["--seeds", "0"], ["--epsilon", "-1"], ["--devices", "0"]],
)
def test_upload_refuses_impossible_values_in_one_line(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["upload", "msweb", *wrong]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_the_words_baseline_needs_item_features() -> None:
    visits = load("msweb")

    assert by_words(visits).weights.shape == (visits.items, visits.items)
    with pytest.raises(InvalidInput, match="has no item features"):
        by_words(visits.without_words())

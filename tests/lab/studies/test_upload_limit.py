"""Utility against upload: a higher limit uploads more, and what cannot be is one sentence."""

import json
from pathlib import Path

import pytest

from tactful.errors import InvalidInput
from tactful_lab.baselines.simple import by_words
from tactful_lab.cli import main
from tactful_lab.data_sets.loading import load
from tactful_lab.studies.upload_limit import curve


def test_a_device_uploads_no_more_than_the_limit_and_more_with_a_higher_one() -> None:
    points = curve(
        load("msweb"), limits=(1_200, 6_000, 400_000), epsilons=(3.0,), seeds=1
    )

    by_rule, *limited = points
    uploads = [one.numbers for one in limited]
    assert uploads == sorted(set(uploads))
    assert all(one.numbers <= (one.limit or 0) for one in limited)
    assert by_rule.limit is None
    assert by_rule.numbers <= 150_000
    assert [one.megabytes for one in limited] == sorted(
        one.megabytes for one in limited
    )


def test_the_command_prints_a_table_and_writes_figures_and_a_plot(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = [
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
        main(["upload", "msweb", *told, "--json", str(tmp_path / "figures.json")]) == 0
    )

    assert "default" in capsys.readouterr().out
    figures = json.loads((tmp_path / "figures.json").read_text())
    assert {one["limit"] for one in figures} == {None, 2_000}
    assert "<svg" in (tmp_path / "upload.svg").read_text()


def test_synthetic_devices_are_called_so(capsys: pytest.CaptureFixture[str]) -> None:
    told = ["--numbers", "2000", "--epsilon", "1", "--seeds", "1", "--devices", "9000"]

    assert main(["upload", "msweb", *told]) == 0

    assert capsys.readouterr().out.startswith("9,000 SYNTHETIC devices")


@pytest.mark.parametrize(
    "wrong",
    [["--numbers", "0"], ["--seeds", "0"], ["--epsilon", "-1"], ["--devices", "0"]],
)
def test_what_cannot_be_is_one_sentence(
    wrong: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["upload", "msweb", *wrong]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_words_alone_need_words() -> None:
    visits = load("msweb")

    assert by_words(visits).weights.shape == (visits.items, visits.items)
    with pytest.raises(InvalidInput, match="has no item features"):
        by_words(visits.without_words())

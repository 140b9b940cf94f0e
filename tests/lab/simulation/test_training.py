"""`tactful-lab simulate` prints and writes its figures, and names wrong arguments."""

import json
from pathlib import Path

import pytest

from tactful_lab.cli import main

FIELDS = {
    "dataset",
    "users",
    "items",
    "epsilon",
    "delta",
    "unit_of_privacy",
    "adjacency",
    "rounds",
    "upload_bytes_per_device",
    "utility",
    "seconds",
    "peak_rss_mb",
}


def test_simulate_prints_a_table_and_writes_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    json_file = tmp_path / "new" / "figures.json"

    assert main(["simulate", "msweb", "--epsilon", "1", "--json", str(json_file)]) == 0

    figures = json.loads(json_file.read_text())
    assert figures.keys() >= FIELDS
    assert figures["epsilon"] == 1
    assert figures["unit_of_privacy"] == "device"
    assert figures["adjacency"] == "zero_out"
    for method in ("popularity", "dp_popularity", "private", "released", "ease"):
        assert 0 < figures["utility"][method]["ndcg_at_100"] < 1
        assert 0 < figures["utility"][method]["recall_at_20"] < 1
    assert "NDCG@100" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["simulate", "nothing", "--epsilon", "1"], "dataset"),
        (["simulate", "msweb", "--epsilon", "-1"], "epsilon"),
        (["simulate", "msweb", "--epsilon", "nan"], "epsilon"),
        (["simulate", "msweb", "--epsilon", "1", "--seed", "-1"], "seed"),
        (["simulate", "msweb", "--epsilon", "1", "--delta", "2"], "delta"),
        (["simulate", "ml-1m", "--epsilon", "1", "--data", "/nowhere"], "--data"),
    ],
)
def test_simulate_refuses_a_wrong_argument_in_one_line(
    arguments: list[str], field: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2

    output = capsys.readouterr()
    assert output.err.startswith(f"tactful-lab: {field}")
    assert output.err.count("\n") == 1
    assert output.out == ""


def test_simulate_names_an_output_file_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")

    assert (
        main(["simulate", "msweb", "--epsilon", "1", "--json", str(blocked / "x.json")])
        == 2
    )

    error = capsys.readouterr().err
    assert error.startswith("tactful-lab: --json: ")
    assert error.count("\n") == 1


def test_simulate_labels_synthetic_devices(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    json_file = tmp_path / "figures.json"
    many = ["--devices", "12000", "--workers", "2", "--on", "threads"]

    assert (
        main(["simulate", "msweb", "--epsilon", "1", *many, "--json", str(json_file)])
        == 0
    )

    figures = json.loads(json_file.read_text())
    assert (figures["users"], figures["people"]) == (12_000, 4_780)
    assert figures["synthetic"] is True
    assert figures["fidelity"] == "float"
    output = capsys.readouterr().out
    assert "12000 SYNTHETIC devices, copies of 4780 people" in output
    assert "with rounding as noise" in output


def test_simulate_refuses_zero_and_too_many_devices(
    capsys: pytest.CaptureFixture[str],
) -> None:
    for devices in ("0", "100000001"):
        assert main(["simulate", "msweb", "--epsilon", "1", "--devices", devices]) == 2
        assert capsys.readouterr().err.startswith("tactful-lab: --devices: ")

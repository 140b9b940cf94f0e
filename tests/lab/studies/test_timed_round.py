"""`tactful-lab round` reports the cost of a complete round."""

import json
from pathlib import Path

import pytest

from tactful_lab.cli import main


@pytest.mark.parametrize("vdaf", ["sum_vec_field64", "pine64"])
def test_round_reports_time_cpu_and_bytes(tmp_path: Path, vdaf: str) -> None:
    json_file = tmp_path / "round.json"
    arguments = [
        "round",
        "--clients",
        "3",
        "--length",
        "256",
        "--rounds",
        "1",
        "--vdaf",
        vdaf,
    ]

    assert main([*arguments, "--json", str(json_file)]) == 0

    figures = json.loads(json_file.read_text())
    assert (figures["clients"], figures["length"], figures["vdaf"]) == (3, 256, vdaf)
    assert figures["best_round_s"] > 0
    assert figures["cpu_s_per_round"] > 0
    assert figures["upload_bytes_per_client"] > 256

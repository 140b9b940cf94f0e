"""One round as a command: what it reports can be laid beside other systems."""

import json
from pathlib import Path

import pytest

from tactful_lab.cli import main


@pytest.mark.parametrize("vdaf", ["sum_vec_field64", "pine64"])
def test_a_round_over_loopback_reports_what_it_cost(tmp_path: Path, vdaf: str) -> None:
    told = tmp_path / "round.json"
    line = [
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

    assert main([*line, "--json", str(told)]) == 0

    read = json.loads(told.read_text())
    assert (read["clients"], read["length"], read["vdaf"]) == (3, 256, vdaf)
    assert read["best_round_s"] > 0
    assert read["cpu_s_per_round"] > 0
    assert read["upload_bytes_per_client"] > 256

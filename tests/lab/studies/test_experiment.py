"""The simulated A/B test detects the effect of caps, and names wrong arguments."""

from pathlib import Path

import pytest

from tactful_lab.cli import main
from tactful_lab.studies.experiment import experiment


def test_a_simulated_experiment_detects_that_caps_reduce_repeats() -> None:
    results = experiment(people=60, periods=2, epsilon=60.0, seed=1)

    last = results[-1]
    readings = {(reading.metric, reading.arm): reading for reading in last.readings}
    assert last.people == 60
    assert last.trusted
    for arm in ("personal, capped", "diverse, capped"):
        assert readings["repeats", arm].interval[1] < 0
    assert readings["clicks", "diverse"].guardrail in ("held", "unclear", "broken")


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (["--epsilon", "0"], "epsilon"),
        (["--people", "3"], "--people"),
        (["--periods", "0"], "--periods"),
    ],
)
def test_an_experiment_with_a_wrong_argument_fails_and_names_it(
    arguments: list[str],
    field: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
) -> None:
    assert main(["experiment", "--out", str(tmp_path), *arguments]) == 2
    assert field in capsys.readouterr().err

"""The simulated experiment finds what caps do, and says when it cannot tell."""

import pytest

from tactful_lab.cli import main
from tactful_lab.studies.experiment import experiment


def test_caps_are_found_to_end_repeats() -> None:
    looks = experiment(people=60, periods=2, epsilon=60.0, seed=1)

    last = looks[-1]
    found = {(one.metric, one.arm): one for one in last.readings}
    assert last.people == 60
    assert last.trusted
    for arm in ("personal, capped", "diverse, capped"):
        assert found["repeats", arm].interval[1] < 0
    assert found["clicks", "diverse"].guardrail in ("held", "unclear", "broken")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (["--epsilon", "0"], "epsilon"),
        (["--people", "3"], "--people"),
        (["--periods", "0"], "--periods"),
    ],
)
def test_a_wrong_argument_is_one_sentence(arguments, named, capsys, tmp_path) -> None:
    assert main(["experiment", "--out", str(tmp_path), *arguments]) == 2
    assert named in capsys.readouterr().err

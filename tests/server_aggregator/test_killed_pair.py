"""Real processes killed with SIGKILL at any SQL statement: every report is counted exactly once."""

import json
import os
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parent / "killed_pair.py"
LEADER, HELPER = (2, 9, 17, 30, 45, 58, 70, 82, 95), (2, 6, 11, 15, 19, 24)
FORGETFUL = range(
    60, 140, 2
)  # until one dies between the helper's answer and its own commit


def killed(root: Path, *words: str) -> dict[str, list[str]]:
    """What each kill spoilt."""
    paths = os.pathsep.join(
        str(root / name) for name in ("sdk", "server_aggregator", "lab")
    )
    done = subprocess.run(
        [sys.executable, str(SCRIPT), *words],
        env={**os.environ, "PYTHONPATH": paths, "OPENBLAS_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    found: dict[str, list[str]] = json.loads(done.stdout)
    return found


def test_a_half_killed_at_any_statement_spoils_no_sum(root: Path) -> None:
    kills = [f"leader:{at}" for at in LEADER] + [f"helper:{at}" for at in HELPER]

    found = killed(root, *kills)

    assert found == {kill: [] for kill in kills}


def test_a_helper_that_forgets_what_it_answered_is_noticed(root: Path) -> None:
    """The removal test: the sweep finds a leader that asks again, and is counted twice."""
    found = killed(root, "forgetful", *(f"leader:{at}" for at in FORGETFUL))

    assert "batchMismatch" in "".join(
        wrong for each in found.values() for wrong in each
    )

"""Every import contract holds, and a planted violation breaks it."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

DISTRIBUTIONS = ("sdk", "server_aggregator", "lab")
PLANTED = {
    "Distributions": ("sdk/tactful/errors.py", "import tactful_lab"),
    "SDK": ("sdk/tactful/privacy/budget.py", "import tactful.device.clock"),
    "Device": ("sdk/tactful/device/clock.py", "import tactful.device.personalizer"),
    "Frequency caps": (
        "sdk/tactful/device/caps/timeline/segments.py",
        "import tactful.device.caps.session",
    ),
    "Ranking": (
        "sdk/tactful/device/ranking/values.py",
        "import tactful.device.ranking.pipeline",
    ),
    "Protocol": (
        "sdk/tactful/protocol/signed_json.py",
        "import tactful.protocol.dap.hpke",
    ),
    "Learning": (
        "sdk/tactful/learning/model.py",
        "import tactful.learning.client.contribution",
    ),
    "Audit": ("sdk/tactful/audit/finding.py", "import tactful.audit.run"),
    "Aggregator": (
        "server_aggregator/tactful_aggregator/settings.py",
        "import tactful_aggregator.app",
    ),
    "Lab": ("lab/tactful_lab/plots.py", "import tactful_lab.demo.run"),
    "The aggregator never": (
        "server_aggregator/tactful_aggregator/upload/accept.py",
        "import tactful.device.vault",
    ),
    "The auditor never": (
        "sdk/tactful/audit/__init__.py",
        "import tactful.device.vault",
    ),
    "Network": (
        "sdk/tactful/device/state/device_state.py",
        "import tactful.protocol.transport",
    ),
    "Pure packages": ("sdk/tactful/learning/model.py", "import socket"),
    "pydantic is used": ("sdk/tactful/device/state/profile.py", "import pydantic"),
}


def lint_imports(checkout: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    paths = ":".join(str(checkout / folder) for folder in DISTRIBUTIONS)
    environment = {"PYTHONPATH": paths, "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        command, cwd=checkout, env=environment, capture_output=True, text=True
    )


@pytest.fixture
def checkout(root: Path, tmp_path: Path) -> Path:
    for folder in DISTRIBUTIONS:
        shutil.copytree(
            root / folder, tmp_path / folder, ignore=shutil.ignore_patterns("data")
        )
    shutil.copy(root / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_import_contract_holds(checkout: Path) -> None:
    linted = lint_imports(checkout)

    assert linted.returncode == 0, linted.stdout


def test_every_contract_has_a_planted_violation(root: Path) -> None:
    text = (root / "pyproject.toml").read_text().split("[tool.importlinter]")[1]
    names = [
        line.split('"')[1] for line in text.splitlines() if line.startswith("name = ")
    ]

    unplanted = [name for name in names if not any(name.startswith(p) for p in PLANTED)]
    assert unplanted == []


@pytest.mark.parametrize("contract", PLANTED)
def test_a_forbidden_import_breaks_its_contract(checkout: Path, contract: str) -> None:
    place, violation = PLANTED[contract]
    with (checkout / place).open("a") as source:
        source.write(f"\n{violation}\n")

    linted = lint_imports(checkout)

    assert linted.returncode != 0
    broken = [line for line in linted.stdout.splitlines() if "BROKEN" in line]
    assert any(line.startswith(contract) for line in broken), linted.stdout


def test_a_module_without_a_layer_breaks_the_build(checkout: Path) -> None:
    (checkout / "sdk/tactful/unplanned.py").write_text(
        '"""A module without a layer."""\n'
    )

    assert lint_imports(checkout).returncode != 0

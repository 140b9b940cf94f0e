"""The floors of the house hold, and each contract bites."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SEEDED = {
    "Floors: each room": ("sdk/tactful/errors.py", "import tactful_lab"),
    "Floors of the SDK": ("sdk/tactful/privacy/budget.py", "import tactful.device.clock"),
    "The aggregator never": (
        "server_aggregator/tactful_aggregator/upload.py",
        "import tactful.device.vault",
    ),
    "The auditor sees": ("sdk/tactful/audit/__init__.py", "import tactful.device.vault"),
    "Inside the device": ("sdk/tactful/device/clock.py", "import tactful.device.personalizer"),
    "Two doors": ("sdk/tactful/device/memory.py", "import tactful.protocol.transport"),
    "Learning, shares and": ("sdk/tactful/learning/plan.py", "import socket"),
    "pydantic stands": ("sdk/tactful/device/profile.py", "import pydantic"),
    "Inside the aggregator": (
        "server_aggregator/tactful_aggregator/settings.py",
        "import tactful_aggregator.app",
    ),
}


def lint_imports(house: Path) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    paths = ":".join(str(house / room) for room in ("sdk", "server_aggregator", "lab"))
    environment = {"PYTHONPATH": paths, "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, cwd=house, env=environment, capture_output=True, text=True)


@pytest.fixture
def house(root: Path, tmp_path: Path) -> Path:
    for room in ("sdk", "server_aggregator", "lab"):
        shutil.copytree(root / room, tmp_path / room, ignore=shutil.ignore_patterns("data"))
    shutil.copy(root / "pyproject.toml", tmp_path)
    return tmp_path


def test_every_room_keeps_to_its_floor(house: Path) -> None:
    linted = lint_imports(house)

    assert linted.returncode == 0, linted.stdout


@pytest.mark.parametrize("contract", SEEDED)
def test_a_forbidden_import_breaks_its_contract(house: Path, contract: str) -> None:
    place, fault = SEEDED[contract]
    with (house / place).open("a") as source:
        source.write(f"\n{fault}\n")

    linted = lint_imports(house)

    assert linted.returncode != 0
    broken = [line for line in linted.stdout.splitlines() if "BROKEN" in line]
    assert any(line.startswith(contract) for line in broken), linted.stdout


def test_a_room_without_a_floor_breaks_the_build(house: Path) -> None:
    (house / "sdk/tactful/attic.py").write_text('"""A room nobody planned."""\n')

    assert lint_imports(house).returncode != 0

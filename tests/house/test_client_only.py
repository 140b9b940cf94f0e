"""An app that installs only the SDK gets only the SDK."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

HEAVY = [
    "pydantic",
    "pydantic_core",
    "numpy",
    "ssl",
    "urllib3",
    "fastapi",
    "starlette",
    "sqlalchemy",
    "uvicorn",
    "typer",
    "rich",
    "matplotlib",
    "keyring",
]


def python(*arguments: str, cwd: Path | None = None) -> str:
    done = subprocess.run([sys.executable, *arguments], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_sdk_loads_nothing_heavy() -> None:
    program = (
        "import sys; from tactful import Personalizer, Settings, Catalog, Item, Event, Consent\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )

    assert python("-c", program).strip() == "[]"


@pytest.fixture(scope="session")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("wheel")
    python("-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(root))
    return next(out.glob("*.whl"))


def test_the_wheel_holds_the_three_packages_and_their_licences(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()

    tops = {name.split("/")[0] for name in names}
    assert {"tactful", "tactful_aggregator", "tactful_lab"} <= tops
    assert not tops & {"tests", "docs", "sdk", "lab", "server_aggregator", "shared"}
    assert any(name.endswith("tactful/py.typed") for name in names)
    assert any("licenses/LICENSE" in name for name in names)

"""An app that installs only the SDK gets only the SDK."""

import importlib.metadata as metadata
import re
import subprocess
import sys
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

import tactful

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
    done = subprocess.run(
        [sys.executable, *arguments], cwd=cwd, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_importing_the_sdk_loads_nothing_heavy() -> None:
    program = (
        "import sys; from tactful import Personalizer, Settings, Catalog, Item, Event, Consent\n"
        f"print([m for m in {HEAVY!r} if m in sys.modules])"
    )

    assert python("-c", program).strip() == "[]"


MOST_BYTES = 500_000  # of the client's wheel

DISTRIBUTIONS = {
    ".": ("tactful", "tactful"),
    "server_aggregator": ("tactful-aggregator", "tactful_aggregator"),
    "lab": ("tactful-lab", "tactful_lab"),
}


def built(root: Path, folder: str, out: Path) -> Path:
    """Build the wheel of one distribution."""
    command = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(out)]
    python(*command, str(root / folder))
    return next(out.glob("*.whl"))


@pytest.fixture(scope="session")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(root, ".", tmp_path_factory.mktemp("wheel"))


@pytest.mark.parametrize("folder", DISTRIBUTIONS)
def test_each_wheel_holds_its_own_package_and_licence_only(
    root: Path, tmp_path: Path, folder: str
) -> None:
    package = DISTRIBUTIONS[folder][1]
    names = zipfile.ZipFile(built(root, folder, tmp_path)).namelist()

    tops = {name.split("/")[0] for name in names}
    assert {top for top in tops if not top.endswith(".dist-info")} == {package}
    assert f"{package}/py.typed" in names
    assert any("licenses/LICENSE" in name for name in names)


def test_the_wheel_of_the_client_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size <= MOST_BYTES


def test_the_three_distributions_have_one_version(root: Path) -> None:
    projects = {
        folder: tomllib.loads((root / folder / "pyproject.toml").read_text())["project"]
        for folder in DISTRIBUTIONS
    }

    assert {project["version"] for project in projects.values()} == {
        tactful.__version__
    }
    for folder in ("server_aggregator", "lab"):
        pinned = f"tactful=={tactful.__version__}"
        assert pinned in projects[folder]["dependencies"]


def closure(wheel: Path) -> set[str]:
    """The distributions that `pip install tactful` would bring here, as installed metadata say."""
    with zipfile.ZipFile(wheel) as opened:
        name = next(
            one for one in opened.namelist() if one.endswith(".dist-info/METADATA")
        )
        text = opened.read(name).decode()
    wanted = re.findall(r"^Requires-Dist: (.*)$", text, re.MULTILINE)
    found: set[str] = set()
    while wanted:
        requirement, _, marker = wanted.pop().partition(";")
        bare = re.split(r"[\[<>=!~ ]", requirement.strip())[0].lower()
        if "extra ==" in marker or "win32" in marker or bare in found:
            continue
        found.add(bare)
        wanted += metadata.requires(bare) or []
    return found


@pytest.fixture(scope="session")
def client(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel and what it requires without extras; its python."""
    home = tmp_path_factory.mktemp("client")
    venv.create(home, with_pip=False)
    packages = next(home.glob("lib/python*/site-packages"))
    zipfile.ZipFile(wheel).extractall(packages)
    for name in closure(wheel):
        distribution = metadata.distribution(name)
        for file in distribution.files or ():
            top = Path(str(file)).parts[0]
            source, target = Path(str(distribution.locate_file(top))), packages / top
            if top != ".." and source.exists() and not target.exists():
                target.symlink_to(source)
    return home / "bin" / "python"


def test_a_device_installs_four_libraries_and_theirs(wheel: Path) -> None:
    brought = closure(wheel)

    assert {"numpy", "cryptography", "pydantic", "urllib3"} <= brought
    assert not brought & {"sqlalchemy", "starlette", "uvicorn", "typer", "matplotlib"}
    assert len(brought) <= 12


def test_a_client_only_environment_recommends_and_imports_no_server(
    client: Path, tmp_path: Path
) -> None:
    program = """
import sys
from tactful import Catalog, Consent, Event, Item, KeyFile, Personalizer, Settings
catalog = Catalog(Item(id=f"i{n}", title=f"Item {n}", category=f"c{n % 3}") for n in range(20))
agreed = Consent.to("local_profile", "local_personalization")
with Personalizer(catalog, Settings(path="t.db"), key=KeyFile("t.key"), consent=agreed) as me:
    me.observe(Event(kind="like", item_id="i4"))
    print(len(me.recommend(5, surface="home")))
import tactful.cli, tactful.device.network.contributor, tactful.device.network.model_updates
servers = {"sqlalchemy", "starlette", "uvicorn", "typer", "matplotlib", "tactful_aggregator"}
print(sorted(servers & set(sys.modules)))
"""
    done = subprocess.run(
        [str(client), "-I", "-c", program], cwd=tmp_path, capture_output=True, text=True
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[:2] == ["5", "[]"]


def code_of(document: Path) -> str:
    return "".join(re.findall(r"```python\n(.*?)```", document.read_text(), re.DOTALL))


PAGES = {
    "README.md": 2,
    "docs/quickstart.md": 3,
    "docs/consent.md": 0,
    "docs/recommendation.md": 0,
}


@pytest.mark.parametrize(("document", "lines"), PAGES.items())
def test_the_code_of_a_page_runs(
    root: Path, tmp_path: Path, document: str, lines: int
) -> None:
    printed = python("-W", "error", "-c", code_of(root / document), cwd=tmp_path)

    assert len(printed.splitlines()) == lines

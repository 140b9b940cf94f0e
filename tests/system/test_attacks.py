"""Each attack of `make attacks`, as a test of its own."""

import importlib.util
import io
import sys
from pathlib import Path
from types import ModuleType

import pytest

ATTACKS = Path(__file__).parents[1] / "campaigns" / "attacks"


def runner() -> ModuleType:
    spec = importlib.util.spec_from_file_location(
        "attacks_main", ATTACKS / "__main__.py"
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


RUNNER = runner()


@pytest.mark.skipif(sys.platform != "linux", reason="some attacks read /proc")
@pytest.mark.parametrize("name", sorted(path.stem for path in ATTACKS.glob("row_*.py")))
def test_the_attack_obtains_nothing(name: str, tmp_path: Path) -> None:
    assert importlib.import_module(name).attack(tmp_path) is None


def test_an_attack_that_succeeds_makes_the_command_fail(monkeypatch, capsys) -> None:
    module = ModuleType("row_99_planted")
    module.__dict__.update(TITLE="A planted attack", attack=lambda folder: "everything")
    monkeypatch.setattr(RUNNER, "attacks", lambda: iter([module]))

    assert RUNNER.main(io.StringIO()) == 1
    assert "A planted attack: everything" in capsys.readouterr().out

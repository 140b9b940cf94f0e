"""Every public name can be found, used and checked by a type checker."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import tactful


def test_every_public_name_exists_and_is_listed() -> None:
    for name in tactful.__all__:
        assert getattr(tactful, name) is not None
    assert dir(tactful) == sorted(tactful.__all__)


def test_every_error_is_public() -> None:
    from tactful import errors

    assert set(errors.__all__) <= set(tactful.__all__)


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Personaliser"):
        _ = tactful.Personaliser


SAMPLE = """
import tactful
from tactful import {names}

def titles(me: Personalizer, n: int) -> list[str]:
    me.observe(Event(kind="like", item_id="a"))
    me.observe_many([])
    picks: Picks = me.recommend(n, surface="home")
    reasons: list[Reason] = [reason for pick in picks for reason in pick.reasons]
    denied: WhyNot = me.explain.why_not("a")
    listed: list[PreviewedItem] = me.explain.preview(n)
    interests: tuple[Interest, ...] = me.explain.interests()
    sent: Contribution = me.sharing.contribute()
    spending: LifetimeSpending = me.sharing.lifetime()
    arm: Arm = me.experiments.variant(Experiment.parse("{{}}"))
    erased: int = me.rights.erase(ErasureScope(items=frozenset({{"a"}})))
    report: list[DataReportEntry] = me.rights.data_report()
    me.controls.set_balance(0.5)
    state: DeviceState = me.status
    me.agree(Consent.to("local_profile"), ConsentNotice(text="..."))
    return [pick.item.title for pick in picks]
"""


Check = Callable[[str], subprocess.CompletedProcess[str]]


def mypy(_: Path) -> list[str]:
    """Return the command that checks the sample with mypy."""
    return ["-m", "mypy", "--strict", "--config-file=", "sample.py"]


def basedpyright(folder: Path) -> list[str]:
    """Return the command that checks the sample with basedpyright."""
    root = Path(tactful.__file__).parents[1]
    settings = {
        "extraPaths": [str(root)],
        "typeCheckingMode": "strict",
        # The sample imports every name and does not use all values.
        "reportUnusedImport": False,
        "reportUnusedVariable": False,
    }
    (folder / "pyrightconfig.json").write_text(json.dumps(settings))
    return ["-m", "basedpyright", "sample.py"]


@pytest.fixture(params=[mypy, basedpyright])
def checked(request: pytest.FixtureRequest, tmp_path: Path) -> Check:
    """Return a function that checks the types of a program."""

    def check(source: str) -> subprocess.CompletedProcess[str]:
        (tmp_path / "sample.py").write_text(source)
        return subprocess.run(
            [sys.executable, *request.param(tmp_path)],
            cwd=tmp_path,
            env={
                "MYPYPATH": str(Path(tactful.__file__).parents[1]),
                "PATH": "/usr/bin:/bin",
            },
            capture_output=True,
            text=True,
        )

    return check


def test_an_app_that_uses_every_public_name_has_correct_types(checked: Check) -> None:
    names = ", ".join(name for name in tactful.__all__ if not name.startswith("_"))

    finished = checked(SAMPLE.format(names=names))

    assert finished.returncode == 0, finished.stdout


def test_a_misspelt_import_is_a_type_error(checked: Check) -> None:
    finished = checked("from tactful import Personaliser\n")

    assert finished.returncode == 1
    assert "Personaliser" in finished.stdout

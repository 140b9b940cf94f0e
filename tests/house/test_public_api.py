"""Every public name can be found, used and checked by a type checker."""

import subprocess
import sys
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


def checked(source: str, folder: Path) -> subprocess.CompletedProcess[str]:
    (folder / "sample.py").write_text(source)
    root = Path(tactful.__file__).parents[1]
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", "sample.py"]
    return subprocess.run(
        command,
        cwd=folder,
        env={"MYPYPATH": str(root), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
    )


def test_an_app_that_uses_every_public_name_passes_mypy_strict(tmp_path: Path) -> None:
    names = ", ".join(name for name in tactful.__all__ if not name.startswith("_"))

    finished = checked(SAMPLE.format(names=names), tmp_path)

    assert finished.returncode == 0, finished.stdout


def test_a_misspelt_import_is_a_type_error(tmp_path: Path) -> None:
    finished = checked("from tactful import Personaliser\n", tmp_path)

    assert finished.returncode == 1
    assert "Personaliser" in finished.stdout

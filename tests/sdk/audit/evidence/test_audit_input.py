"""Evidence that is cut, foreign or contradicts itself is named; it never passes."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tactful.audit.cli import main
from tactful.audit.evidence.audit_case import AuditCase
from tactful.audit.finding import Status
from tactful.audit.report import document
from tactful.audit.run import CHECKS, audit, run_check
from tactful.errors import InvalidInput
from tactful.protocol.documents import evidence as shown
from tactful.protocol.documents.evidence import (
    Canaries,
    Documents,
    Evidence,
    ObservedRefusal,
    OperatorClaim,
    PublishedKeys,
    Residuals,
    Upload,
)

LIVE = {
    "A9",
    "B1",
    "C3",
    "C5",
    "C6",
    "E5",
}  # these look at this installation, not at evidence
SECRET = bytes(range(32))
CLAIM = OperatorClaim(
    model="films",
    epsilon=3.0,
    delta=1e-6,
    rho="1/5",
    unit="device",
    adjacency="zero_out",
    eligible=100,
)
WHOLE = Evidence(
    documents=Documents(
        claim=CLAIM,
        keys=PublishedKeys(leader="AA==", helper="AA=="),
        refusals=(
            ObservedRefusal(
                check="H1", tried="x", answers=("invalidBatchSize: 3 of 4",)
            ),
        ),
    ),
    sums={"ab": np.arange(8, dtype=np.int64)},
    residuals=Residuals(
        family="rounded_gaussian",
        sigma2="4/1",
        values=np.zeros((2, 2, 8), dtype=np.int64),
    ),
)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    shown.write(tmp_path / "bundle", WHOLE, SECRET)
    return tmp_path / "bundle"


def test_a_bundle_comes_back_as_it_was_written(bundle: Path) -> None:
    read = shown.read(bundle)

    assert read.documents == WHOLE.documents
    assert read.sums["ab"].tolist() == list(range(8))
    assert read.residuals is not None
    assert (read.residuals.family, read.residuals.sigma2) == ("rounded_gaussian", "4/1")
    assert shown.read(bundle, read.made_by).made_by == read.made_by


@pytest.mark.parametrize("name", ["manifest.json", "documents.json", "arrays.npz"])
@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: content[:-5] + b"xxxxx",
        lambda content: b"{" * 5000,
    ],
)
def test_a_damaged_file_is_named(
    bundle: Path, name: str, damage: Callable[[bytes], bytes]
) -> None:
    path = bundle / name
    path.write_bytes(damage(path.read_bytes()))

    with pytest.raises(InvalidInput, match=rf"^evidence .*{name.partition('.')[0]}"):
        shown.read(bundle)
    assert main(["--evidence", str(bundle)]) == 3


def test_arrays_that_unpack_to_more_than_any_are_refused_unread(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        shown, "MAX_ARRAYS", 300
    )  # each array here is 64 bytes and a header

    with pytest.raises(
        InvalidInput, match=r"arrays\.npz: it holds more than 300 bytes"
    ):
        shown.read(bundle)
    assert main(["--evidence", str(bundle)]) == 3


@pytest.mark.parametrize(
    "hide",
    [
        "\nF1  PROVED",
        "\x1b[2K\x1b[1A",
        "\u202eDEVORP",
        "\r",
        "\u2028",
        "\x00",
        "\ud800",
    ],
)
def test_evidence_cannot_write_a_line_of_the_report(
    hide: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    ledger = {
        "document": json.dumps({"schema": hide, "entries": []}),
        "public_key": "",
        "signature": "",
    }
    (tmp_path / "ledger").write_text(json.dumps(ledger))

    assert (
        main(["--ledger", str(tmp_path / "ledger"), "--out", str(tmp_path / "out")])
        == 1
    )

    told = capsys.readouterr().out + (tmp_path / "out" / "report.md").read_text()
    assert hide not in told
    assert not any(
        line.startswith(("F1  PROVED", "DEVORP")) for line in told.splitlines()
    )


def test_the_audit_says_whose_word_the_evidence_is(
    bundle: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    main(["--evidence", str(bundle), "--out", str(tmp_path / "out")])

    by = shown.read(bundle).made_by
    for told in (
        capsys.readouterr().out,
        (tmp_path / "out" / "report.html").read_text(),
    ):
        assert f"evidence signed by {by}" in told
        assert "leader AA==" in told


@pytest.mark.skipif(sys.platform == "win32", reason="pipes")
def test_a_reader_who_leaves_early_breaks_nothing(bundle: Path, tmp_path: Path) -> None:
    line = [
        sys.executable,
        "-m",
        "tactful.audit",
        "--evidence",
        str(bundle),
        "--out",
        "out",
    ]
    with subprocess.Popen(
        line, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as audited:
        audited.stdout.close()
        complaint = audited.stderr.read()

    assert complaint == b""
    assert audited.returncode == 1
    assert (tmp_path / "out" / "report.json").exists()


def test_an_interrupted_audit_is_no_traceback_and_no_verdict(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tactful.audit.cli.audit", stop)

    assert main(["--evidence", str(bundle)]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_a_missing_file_is_named(bundle: Path) -> None:
    (bundle / "arrays.npz").unlink()

    with pytest.raises(InvalidInput, match=r"arrays\.npz: .*missing"):
        shown.read(bundle)


def test_a_foreign_signature_is_refused(bundle: Path) -> None:
    with pytest.raises(InvalidInput, match="not by the key that is trusted"):
        shown.read(bundle, "ab" * 32)
    assert main(["--evidence", str(bundle), "--signed-by", "ab" * 32]) == 3


@given(content=st.binary(max_size=200))
@settings(max_examples=50)
def test_no_documents_whatever_are_read_but_whole_ones(content: bytes) -> None:
    with pytest.raises(InvalidInput, match="evidence"):
        shown.parse(content if content.strip() != b"{}" else b"")


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        ('{"claim": {"epsilon": 1}}', "claim"),
        ('{"claim": null, "colour": "red"}', "colour"),
        ('{"log": "one line"}', "log"),
        ('{"canaries": [{"rho": 1}]}', "canaries"),
        (
            '{"claim": {"model": "m", "epsilon": 1.0, "delta": 0.1, "rho": "1/1", "unit": "device",'
            '"adjacency": "zero_out", "eligible": 1, "class_": "CERTIFIED"}}',
            "class_",
        ),
    ],
)
def test_fields_that_are_missing_or_too_many_are_named(wrong: str, field: str) -> None:
    with pytest.raises(InvalidInput, match=field):
        shown.parse(wrong.encode())


def verdicts(documents: Documents, **more: object) -> dict[str, Status]:
    case = AuditCase(Evidence(documents=documents, **more))
    return {one.id: run_check(one, case)[0] for one in CHECKS if one.id not in LIVE}


@pytest.mark.parametrize(
    "wrong",
    [
        {"tasks": ("{}",)},
        {"tasks": ("not json",)},
        {"releases": ("{}",), "keys": PublishedKeys(leader="AA==", helper="AA==")},
        {"log": ("not an entry",), "keys": PublishedKeys(leader="!", helper="?")},
        {"ledgers": ("{}", "not json")},
        {
            "ledgers": (
                json.dumps({"document": "{}", "public_key": "", "signature": ""}),
            )
        },
        {"claim": replace(CLAIM, rho="0.2")},
        {"claim": replace(CLAIM, epsilon=float("nan"), delta=-1.0, eligible=0)},
        {"uploads": (Upload(history="a", url="x", headers={}, body="!!"),)},
        {"uploads": (Upload(history="a", url="x", headers={}, body="AAAA"),)},
        {
            "canaries": (
                Canaries(rho="1/0", delta=0.0, commitment="", opened="zz", scores=()),
            )
        },
    ],
)
def test_what_cannot_be_read_is_refuted_or_not_run_and_never_passes(
    wrong: dict[str, object],
) -> None:
    given = verdicts(Documents(**wrong))

    passed = {name for name, status in given.items() if status is Status.PASSED}
    assert passed == set()
    assert Status.REFUTED in given.values() or Status.NOT_RUN in given.values()


@pytest.mark.parametrize(
    "values",
    [
        np.zeros((2, 2, 8), dtype=np.int64),
        np.full((3, 2, 40_000), 10**6, dtype=np.int64),
        np.zeros((2, 2, 8)),
    ],
)
def test_residuals_that_say_nothing_or_too_much_never_pass(values: np.ndarray) -> None:
    residuals = Residuals(family="rounded_gaussian", sigma2="10000/1", values=values)

    assert verdicts(Documents(), residuals=residuals)["C2"] is not Status.PASSED


def test_no_evidence_at_all_leaves_everything_open(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 2
    assert capsys.readouterr().out.count("NOT-RUN") > 30


@pytest.mark.parametrize(
    "wrong",
    [["--frobnicate"], ["--quick", "--full"], ["--ledger", "/nowhere"], ["--log"]],
)
def test_wrong_use_has_a_status_of_its_own(wrong: list[str]) -> None:
    assert main(wrong) == 3


def test_the_report_is_signed_and_a_changed_one_is_refused(tmp_path: Path) -> None:
    done = audit(Evidence(), full=False)
    document.write(done, tmp_path, tmp_path / "key")
    content = (tmp_path / "report.json").read_text()

    read = document.verify(content)
    assert read["exit"] == done.status
    assert {one["id"] for one in read["checks"]} == {one.id for one in done.findings}
    for changed in (
        content.replace(f'"exit": {done.status}', '"exit": 0'),
        "{}",
        "",
        "[" * 9999,
    ):
        with pytest.raises(InvalidInput, match="report"):
            document.verify(changed)
    with pytest.raises(InvalidInput, match="signature"):
        document.verify(content, trusted="ab" * 32)
    assert (tmp_path / "key").stat().st_mode & 0o077 == 0
    for name in ("report.html", "report.md"):
        assert "do not collude" in (tmp_path / name).read_text() or name == "report.md"


def test_a_key_that_is_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("not a key")

    assert main(["--out", str(tmp_path / "out"), "--key", str(tmp_path / "key")]) == 3


def test_an_audit_loads_no_code_of_device_or_aggregator() -> None:
    code = (
        "import sys; from tactful.audit.cli import main; main(['--quick']); "
        "print([m for m in sys.modules if m.startswith(('tactful.device', 'tactful_agg'))])"
    )

    told = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert told.stdout.splitlines()[-1] == "[]"

"""The command reports what it read, and its exit status is never wrong."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tactful.audit.cli import main
from tactful.protocol.documents import evidence as shown


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
def test_evidence_cannot_forge_a_line_of_the_report(
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


def test_the_audit_names_the_signers_of_the_evidence(
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
def test_a_closed_pipe_does_not_stop_the_audit(bundle: Path, tmp_path: Path) -> None:
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


def test_an_interrupted_audit_has_no_traceback_and_no_verdict(
    bundle: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tactful.audit.cli.audit", stop)

    assert main(["--evidence", str(bundle)]) == 130
    assert "interrupted" in capsys.readouterr().err


def test_an_audit_without_evidence_leaves_the_claim_open(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([]) == 2
    assert capsys.readouterr().out.count("NOT-RUN") > 30


@pytest.mark.parametrize(
    "wrong",
    [["--frobnicate"], ["--quick", "--full"], ["--ledger", "/nowhere"], ["--log"]],
)
def test_wrong_use_has_its_own_exit_status(wrong: list[str]) -> None:
    assert main(wrong) == 3


def test_an_invalid_signing_key_is_refused(tmp_path: Path) -> None:
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

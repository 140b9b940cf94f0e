"""A report is signed, and a changed report is refused."""

from pathlib import Path

import pytest

from tactful.audit.report import document
from tactful.audit.run import audit
from tactful.errors import InvalidInput
from tactful.protocol.documents.evidence import (
    Evidence,
)


def test_the_report_is_signed_and_a_changed_report_is_refused(tmp_path: Path) -> None:
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

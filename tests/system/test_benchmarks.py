"""A benchmark that measures nothing fails."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def run(script: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(ROOT / "benchmarks" / script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_every_upload_of_the_benchmark_is_accepted() -> None:
    finished = run("upload_bench.py", "0.2")

    assert finished.returncode == 0, finished.stderr
    assert " 0 a second" not in finished.stdout


def test_the_upload_benchmark_fails_if_a_report_is_refused(tmp_path: Path) -> None:
    """The leader refuses a report of another length, as it did when the benchmark printed 0."""
    script = tmp_path / "bench.py"
    source = (ROOT / "benchmarks" / "upload_bench.py").read_text()
    script.write_text(
        source.replace("report.encode(task.dap)[16:]", "report.encode(task.dap)[17:]")
    )

    finished = subprocess.run(
        [sys.executable, str(script), "0.2"], capture_output=True, text=True, cwd=ROOT
    )

    assert finished.returncode == 1
    assert "a report was refused" in finished.stderr

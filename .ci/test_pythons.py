"""Run the README program with every Python from 3.11 on that is installed (`make test-pythons`).

Each interpreter gets a fresh environment with the client's wheel and its dependencies. The
command prints which versions ran and which are not installed, and fails if one fails.
"""

import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
MINORS = range(11, 15)
PYENV = Path.home() / ".pyenv" / "versions"


def interpreter(minor: int) -> str | None:
    """Return a Python 3.`minor` of this machine, None if there is none."""
    versions = sorted(PYENV.glob(f"3.{minor}.*/bin/python")) if PYENV.is_dir() else []
    return str(versions[-1]) if versions else shutil.which(f"python3.{minor}")


def program() -> str:
    """Return the README's first program."""
    blocks = re.findall(
        r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL
    )
    return str(blocks[0])


def run(python: str, wheel: Path, folder: Path) -> str:
    """Install the wheel into a fresh environment and run the program; return its output."""
    subprocess.run([python, "-m", "venv", str(folder)], check=True)
    fresh = str(folder / "bin" / "python")
    subprocess.run([fresh, "-m", "pip", "install", "-q", str(wheel)], check=True)
    finished = subprocess.run(
        [fresh, "-W", "error", "-c", program()],
        cwd=folder,
        check=True,
        capture_output=True,
        text=True,
    )
    return finished.stdout


def main() -> None:
    """Build the wheel once and run the program on each interpreter."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        build = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
        subprocess.run(
            [*build, "--outdir", temporary, str(ROOT)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        wheel = next(folder.glob("*.whl"))
        for minor in MINORS:
            python = interpreter(minor)
            if python is None:
                print(f"Python 3.{minor}: not installed here")
                continue
            lines = run(python, wheel, folder / f"env-{minor}").splitlines()
            if len(lines) != 2:
                raise SystemExit(f"Python 3.{minor}: {len(lines)} lines instead of 2")
            print(f"Python 3.{minor}: ran, {len(lines)} picks")


if __name__ == "__main__":
    main()

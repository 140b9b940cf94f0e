"""Run every attack of the critical-fixes list against a real pair and a real device.

`make attacks` prints what each attack obtained and exits 1 if any succeeds. Each row_*.py has a
TITLE and a function attack(folder), which returns what was obtained, or None for nothing.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from types import ModuleType
from typing import TextIO

HERE = Path(__file__).resolve().parent
LOG = HERE.parents[2] / "out" / "attacks.log"
TESTS = HERE.parents[1]
for helpers in ("server_aggregator", "sdk/device", "sdk/device/caps"):
    sys.path.insert(0, str(TESTS / helpers))
sys.path.insert(0, str(HERE))


def attacks() -> Iterator[ModuleType]:
    """Import the attacks in the order of their rows."""
    for path in sorted(HERE.glob("row_*.py")):
        yield importlib.import_module(path.stem)


def main(log: TextIO) -> int:
    """Run all attacks, what they print to `log`; return 1 if any of them obtained something."""
    succeeded = 0
    for module in attacks():
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder, redirect_stdout(log):
            obtained = module.attack(Path(folder))
        succeeded += obtained is not None
        row, seconds = module.__name__.split("_")[1], time.monotonic() - started
        print(
            f"row {row}  {seconds:5.1f} s  {module.TITLE}: {obtained or 'obtained nothing'}"
        )
    print(f"{succeeded} attacks succeeded")
    return min(succeeded, 1)


if __name__ == "__main__":
    # the aggregators write their logs to this process's standard error
    LOG.parent.mkdir(parents=True, exist_ok=True)
    with LOG.open("w") as opened:
        os.dup2(opened.fileno(), 2)
        status = main(opened)
    print(f"logs of the aggregators: {LOG.relative_to(HERE.parents[2])}")
    sys.exit(status)

"""What the commands of the lab share: where figures go, and what is told while they are made."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tactful.errors import InvalidInput

Progress = Callable[[str], None]


def add_outputs(parser: argparse.ArgumentParser, drawing: str | None = None) -> None:
    """Offer --data and --json, and --out where there is a `drawing`."""
    parser.add_argument(
        "--data", type=Path, help="folder of packed archives; or set TACTFUL_DATA"
    )
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="write all figures there"
    )
    if drawing is not None:
        parser.add_argument(
            "--out", type=Path, metavar="DIR", help=f"write {drawing} there"
        )


@dataclass(frozen=True)
class Outputs:
    """The files that were asked for, each known to be writable before minutes are spent on it."""

    json: Path | None
    drawing: Path | None = None

    @classmethod
    def of(cls, options: argparse.Namespace, drawing: str | None = None) -> Outputs:
        """Those of `options`; raises InvalidInput for one that cannot be written."""
        asked = options.out / drawing if drawing is not None and options.out else None
        for field, path in (("--json", options.json), ("--out", asked)):
            if path is not None:
                _prepare(path, field)
        return cls(options.json, asked)

    def write(self, table: str, document: str, plot: Callable[[], str] = str) -> None:
        """Print the table, and write what was asked for."""
        if self.json is not None:
            self.json.write_text(document + "\n")
        if self.drawing is not None:
            self.drawing.write_text(plot())
        sys.stdout.write(table)


def progress() -> Progress:
    """Tells lines on stderr where somebody is looking."""
    return _tell if sys.stderr.isatty() else lambda line: None


def _tell(line: str) -> None:
    sys.stderr.write(line + "\n")


def _prepare(path: Path, field: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as refused:
        raise InvalidInput(
            field, f"{path} cannot be written ({refused.strerror})", "name another file"
        ) from refused

"""Options and output files that the commands of the lab share."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tactful.errors import InvalidInput

Progress = Callable[[str], None]

DATASET_HELP = "a name printed by `tactful-lab datasets`, or the path of a CSV file"


def add_data_folder(parser: argparse.ArgumentParser) -> None:
    """Add the option --data."""
    parser.add_argument(
        "--data",
        type=Path,
        metavar="DIR",
        help="folder of the data set archives; default: $TACTFUL_DATA",
    )


def add_outputs(parser: argparse.ArgumentParser, plot_name: str | None = None) -> None:
    """Add --data and --json, and --out if the command has a plot."""
    add_data_folder(parser)
    parser.add_argument(
        "--json", type=Path, metavar="FILE", help="also write all figures as JSON"
    )
    if plot_name is not None:
        parser.add_argument(
            "--out", type=Path, metavar="DIR", help=f"also write {plot_name} to DIR"
        )


@dataclass(frozen=True)
class Outputs:
    """The output files of one command.

    They are checked before the computation, so that a wrong path fails at once and not
    after minutes.
    """

    json: Path | None
    plot: Path | None = None

    @classmethod
    def of(cls, options: argparse.Namespace, plot_name: str | None = None) -> Outputs:
        """Return the files of `options`; raise InvalidInput if one is not writable."""
        plot = None
        if plot_name is not None and options.out:
            plot = options.out / plot_name
        for field, path in (("--json", options.json), ("--out", plot)):
            if path is not None:
                _check_writable(path, field)
        return cls(options.json, plot)

    def write(self, table: str, document: str, plot: Callable[[], str] = str) -> None:
        """Print `table`; write `document` and the SVG of `plot` if a file is named."""
        if self.json is not None:
            self.json.write_text(document + "\n")
        if self.plot is not None:
            self.plot.write_text(plot())
        sys.stdout.write(table)


def progress() -> Progress:
    """Return a function that prints progress lines if stderr is a terminal."""
    return _print_to_stderr if sys.stderr.isatty() else lambda line: None


def _print_to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")


def _check_writable(path: Path, field: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise InvalidInput(
            field,
            f"{path} cannot be written ({error.strerror})",
            "choose another file",
        ) from error

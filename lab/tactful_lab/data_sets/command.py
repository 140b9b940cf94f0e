"""`tactful-lab datasets`: which data sets can be used, under which licence, and where they are."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tactful_lab.data_sets import loading
from tactful_lab.data_sets.loading import Source


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Offer `tactful-lab datasets`."""
    parser = subparsers.add_parser(
        "datasets", help="list the data sets and where they are"
    )
    parser.add_argument(
        "--data", type=Path, help="folder of packed archives; or set TACTFUL_DATA"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """What `tactful-lab datasets` does."""
    folder = loading.folder(options.data)
    sys.stdout.write(
        "".join(line(source, folder) for source in loading.SOURCES.values())
    )
    return 0


def line(source: Source, folder: Path | None) -> str:
    """One data set in two lines: size and place, then the licence."""
    return f"{source.name:22}{source.size:34}{_place(source, folder)}\n{'':22}{source.licence}\n"


def _place(source: Source, folder: Path | None) -> str:
    if folder is not None and loading.archive(source, folder).is_file():
        return str(loading.archive(source, folder))
    return "bundled" if source.bundled else f"not here: obtain {source.obtain}"

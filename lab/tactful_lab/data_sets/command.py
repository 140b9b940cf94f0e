"""The command `tactful-lab datasets`, which lists data sets and licences."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from tactful_lab.data_sets import loading
from tactful_lab.data_sets.loading import Source
from tactful_lab.output_options import add_data_folder


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `tactful-lab datasets`."""
    summary = "list the supported data sets, their licences and locations"
    parser = subparsers.add_parser("datasets", help=summary, description=summary)
    add_data_folder(parser)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run `tactful-lab datasets` and return its exit status."""
    folder = loading.folder(options.data)
    for source in loading.SOURCES.values():
        sys.stdout.write(description(source, folder))
    return 0


def description(source: Source, folder: Path | None) -> str:
    """Return two lines about a data set: size and location, then the licence."""
    first_line = f"{source.name:22}{source.size:34}{_location(source, folder)}"
    return f"{first_line}\n{'':22}{source.licence}\n"


def _location(source: Source, folder: Path | None) -> str:
    if folder is not None and loading.archive(source, folder).is_file():
        return str(loading.archive(source, folder))
    return "bundled" if source.bundled else f"missing; obtain {source.obtain}"

"""The command `tactful-lab`; each module in `COMMANDS` adds one subcommand."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from importlib import import_module

from tactful.errors import TactfulError

COMMANDS = (
    "demo.run",
    "simulation.training",
    "studies.compare",
    "studies.stress",
    "studies.crossover",
    "studies.upload_limit",
    "studies.drift",
    "data_sets.command",
    "studies.experiment",
    "studies.exposures",
    "studies.evaluate",
    "studies.off_policy",
    "studies.budget",
    "evidence.bundle",
    "studies.timed_round",
)  # modules of this package that have a function `add_parser`


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status.

    An error that the user can fix is printed on stderr as one line, with status 2.
    """
    # The matrices of proofs are small: with more threads, the linear algebra library
    # spends its time on synchronization.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except (TactfulError, OSError) as error:
        sys.stderr.write(f"tactful-lab: {error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("tactful-lab: interrupted\n")
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tactful-lab",
        description="Demo, simulations and studies of Tactful on real data sets.",
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        import_module(f"tactful_lab.{name}").add_parser(subparsers)
    return parser

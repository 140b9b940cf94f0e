"""The command `tactful-lab`: each module with a command adds its own parser."""

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
)  # modules of this package with an `add_parser`


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; what a user can mend is one sentence on stderr and exit status 2."""
    # the matrices of proofs are small: more threads of the linear algebra only wait for each other
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    options = _parser().parse_args(arguments)
    try:
        status: int = options.run(options)
    except (TactfulError, OSError) as wrong:
        sys.stderr.write(f"tactful-lab: {wrong}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("tactful-lab: stopped\n")
        return 130
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tactful-lab", description="Try Tactful on real data."
    )
    subparsers = parser.add_subparsers(required=True, metavar="COMMAND")
    for name in COMMANDS:
        import_module(f"tactful_lab.{name}").add_parser(subparsers)
    return parser

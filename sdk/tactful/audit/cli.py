"""Command `tactful audit`: it reads evidence and prints findings, without a network.

`python -m tactful.audit` is the same command.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tactful.audit.run import Audit, audit, printable
from tactful.audit.trust_assumptions import signer_lines
from tactful.errors import InvalidInput, TactfulError
from tactful.protocol.documents.evidence import (
    Documents,
    Evidence,
    SeenCheckpoint,
    parse,
    read,
)

INTERRUPTED = 130
# The exit status for wrong use; 0, 1 and 2 are about the claim.
USAGE = 3
EXITS = (
    "Exit status: 0 all required checks passed, 1 a claim is refuted, 2 a required "
    "check is open, 3 wrong use."
)
SUMMARIES = {
    0: "every required check passed",
    1: "a claim is REFUTED",
    2: "a required check is open",
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `audit` to `subparsers`."""
    help_text = "check a privacy claim from evidence alone"
    parser = subparsers.add_parser(
        "audit", help=help_text, description=f"{help_text}. {EXITS}"
    )
    _add_options(parser)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the audit as a program of its own; return its exit status."""
    parser = argparse.ArgumentParser(prog="tactful audit", description=EXITS)
    _add_options(parser)
    try:
        return run(parser.parse_args(arguments))
    except SystemExit as usage:
        return USAGE if usage.code else 0


def run(options: argparse.Namespace) -> int:
    """Run the audit, print its findings and return the exit status.

    Input that cannot be read gives one sentence on stderr and exit status 3.
    """
    try:
        finished = audit(_evidence(options), full=options.full)
        return _report(finished, options)
    except (TactfulError, OSError) as wrong:
        print(f"tactful audit: {printable(str(wrong))}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("tactful audit: interrupted; there is no result", file=sys.stderr)
        return INTERRUPTED


def _add_options(parser: argparse.ArgumentParser) -> None:
    depth = parser.add_mutually_exclusive_group()
    depth.add_argument(
        "--quick", action="store_true", help="run the fast checks only (default)"
    )
    depth.add_argument(
        "--full", action="store_true", help="run all checks; up to ten minutes"
    )
    parser.add_argument(
        "--evidence", type=Path, metavar="DIR", help="folder of an evidence bundle"
    )
    parser.add_argument(
        "--signed-by",
        default="",
        metavar="HEX",
        help="refuse a bundle that is not signed by this public key",
    )
    parser.add_argument(
        "--ledger",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="ledger export of a device, added to the bundle; may be repeated",
    )
    parser.add_argument(
        "--log",
        type=Path,
        metavar="FILE",
        help="publication log with one entry a line, used instead of the bundle's",
    )
    parser.add_argument(
        "--head",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="signed checkpoint of the log, added to the bundle; may be repeated",
    )
    parser.add_argument(
        "--claim",
        type=Path,
        metavar="FILE",
        help="claim.json with claim and tasks, used instead of the bundle's",
    )
    parser.add_argument(
        "--registry", action="store_true", help="also write registry.json"
    )
    parser.add_argument(
        "--out", type=Path, metavar="DIR", help="folder for the report files"
    )
    parser.add_argument(
        "--key",
        type=Path,
        metavar="FILE",
        help="key that signs the report; created if the file does not exist",
    )
    parser.set_defaults(run=run)


def _evidence(options: argparse.Namespace) -> Evidence:
    """Return the bundle, with the documents of other options added or replaced."""
    evidence = Evidence()
    if options.evidence is not None:
        evidence = read(options.evidence, options.signed_by)
    documents = evidence.documents
    if options.claim is not None:
        claim_documents = parse(_content("--claim", options.claim).encode())
        documents = _overridden(documents, claim_documents)
    if options.ledger:
        ledgers = tuple(_content("--ledger", path) for path in options.ledger)
        documents = replace(documents, ledgers=(*documents.ledgers, *ledgers))
    if options.log is not None:
        lines = tuple(_content("--log", options.log).splitlines())
        documents = replace(documents, log=lines)
    heads = tuple(
        SeenCheckpoint(seen_by=path.name, checkpoint=_content("--head", path))
        for path in options.head
    )
    documents = replace(documents, heads=(*documents.heads, *heads))
    return replace(evidence, documents=documents)


def _overridden(documents: Documents, override: Documents) -> Documents:
    """Return `documents` with every part that `override` has."""
    parts = {name: value for name, value in vars(override).items() if value}
    return replace(documents, **parts)


def _content(option: str, path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as wrong:
        raise InvalidInput(
            option, f"{path} cannot be read", "name a readable text file"
        ) from wrong


def _report(finished: Audit, options: argparse.Namespace) -> int:
    if options.out is not None:
        _write_files(finished, options)
    try:
        _print(finished, options.out)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader closed the pipe. The findings hold all the same, so the rest of the
        # output is discarded and the exit status is not changed.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return finished.status


def _write_files(finished: Audit, options: argparse.Namespace) -> None:
    from tactful.audit.report.document import write
    from tactful.audit.report.registry import entry

    write(finished, options.out, options.key or options.out / "auditor.key")
    if options.registry:
        content = json.dumps(entry(finished), indent=1) + "\n"
        (options.out / "registry.json").write_text(content)


def _print(finished: Audit, out: Path | None) -> None:
    for finding in finished.findings:
        line = f"{finding.id:3} {finding.verdict:13} {finding.claim}: "
        print(f"{line}{finding.measured}")
    for line in signer_lines(finished.case):
        print(printable(line))
    if out is not None:
        print(f"report: {out / 'report.html'}")
    print(SUMMARIES[finished.status])

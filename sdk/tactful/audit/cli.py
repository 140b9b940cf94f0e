"""`tactful audit`: evidence in, findings out, no network; `python -m tactful.audit` is the same."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from tactful.audit.run import Audit, audit, printable
from tactful.audit.trust_assumptions import trusted
from tactful.errors import InvalidInput, TactfulError
from tactful.protocol.documents.evidence import (
    Documents,
    Evidence,
    SeenCheckpoint,
    parse,
    read,
)

INTERRUPTED = 130
USAGE = 3  # exit status where the tool was misused; 0, 1 and 2 speak of the claim


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Offer `tactful audit`."""
    told = "check a privacy claim from evidence alone"
    _options(subparsers.add_parser("audit", help=told, description=f"{told}. {EXITS}"))


EXITS = "Exit status: 0 all holds, 1 refuted, 2 something is open, 3 wrong use."


def main(arguments: Sequence[str] | None = None) -> int:
    """Audit as a program of its own."""
    parser = argparse.ArgumentParser(prog="tactful audit", description=EXITS)
    _options(parser)
    try:
        return run(parser.parse_args(arguments))
    except SystemExit as usage:
        return USAGE if usage.code else 0


def run(options: argparse.Namespace) -> int:
    """What `tactful audit` does; whatever cannot be read is one sentence and exit status 3."""
    try:
        done = audit(_evidence(options), full=options.full)
        return _told(done, options)
    except (TactfulError, OSError) as wrong:
        print(f"tactful audit: {printable(str(wrong))}", file=sys.stderr)
        return USAGE
    except KeyboardInterrupt:
        print("tactful audit: interrupted; nothing was found", file=sys.stderr)
        return INTERRUPTED


def _options(parser: argparse.ArgumentParser) -> None:
    depth = parser.add_mutually_exclusive_group()
    depth.add_argument("--quick", action="store_true", help="the fast checks (default)")
    depth.add_argument(
        "--full", action="store_true", help="all checks, within ten minutes"
    )
    parser.add_argument(
        "--evidence", type=Path, metavar="DIR", help="an evidence bundle"
    )
    parser.add_argument(
        "--signed-by", default="", metavar="HEX", help="key the bundle must have"
    )
    parser.add_argument(
        "--ledger", type=Path, action="append", default=[], metavar="FILE"
    )
    parser.add_argument(
        "--log", type=Path, metavar="FILE", help="the transcript, one line an entry"
    )
    parser.add_argument(
        "--head", type=Path, action="append", default=[], metavar="FILE"
    )
    parser.add_argument(
        "--claim", type=Path, metavar="FILE", help="claim.json, with its tasks"
    )
    parser.add_argument(
        "--registry", action="store_true", help="also write registry.json"
    )
    parser.add_argument("--out", type=Path, metavar="DIR", help="where the report goes")
    parser.add_argument(
        "--key", type=Path, metavar="FILE", help="signs the report; made if absent"
    )
    parser.set_defaults(run=run)


def _evidence(options: argparse.Namespace) -> Evidence:
    """The bundle, with what was named beside it put in its place."""
    shown = (
        Evidence()
        if options.evidence is None
        else read(options.evidence, options.signed_by)
    )
    documents = shown.documents
    if options.claim is not None:
        beside = parse(_content("--claim", options.claim).encode())
        documents = _with(documents, beside)
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
    return replace(
        shown, documents=replace(documents, heads=(*documents.heads, *heads))
    )


def _with(documents: Documents, beside: Documents) -> Documents:
    """`documents` with every part that `beside` has."""
    given = {name: value for name, value in vars(beside).items() if value}
    return replace(documents, **given)


def _content(option: str, path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as wrong:
        raise InvalidInput(
            option, f"{path} cannot be read", "name a text file"
        ) from wrong


def _told(done: Audit, options: argparse.Namespace) -> int:
    if options.out is not None:
        from tactful.audit.report.document import write
        from tactful.audit.report.registry import entry

        write(done, options.out, options.key or options.out / "auditor.key")
        if options.registry:
            (options.out / "registry.json").write_text(
                json.dumps(entry(done), indent=1) + "\n"
            )
    try:
        _print(done, options.out)
        sys.stdout.flush()
    except BrokenPipeError:  # nobody reads on; what was found stands all the same
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return done.status


def _print(done: Audit, out: Path | None) -> None:
    for one in done.findings:
        print(f"{one.id:3} {one.verdict:13} {one.claim}: {one.measured}")
    for line in trusted(done.case):
        print(printable(line))
    if out is not None:
        print(f"report: {out / 'report.html'}")
    told = {
        0: "every required check passed",
        1: "a claim is REFUTED",
        2: "a required check is open",
    }
    print(told[done.status])

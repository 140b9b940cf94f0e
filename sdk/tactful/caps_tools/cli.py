"""Command `tactful caps`: check and simulate frequency cap rules before release."""

from __future__ import annotations

import argparse
from pathlib import Path

from tactful.device.caps.rules.model import Rules


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `tactful caps lint` and `tactful caps simulate` to `commands`."""
    caps_parser = commands.add_parser(
        "caps", help="look at repetition rules before people meet them"
    )
    subcommands = caps_parser.add_subparsers(required=True, metavar="COMMAND")
    _add_lint_parser(subcommands)
    _add_simulate_parser(subcommands)


def _add_lint_parser(
    subcommands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> None:
    summary = "what is odd about a set of rules; exit status 1 if anything is"
    command = subcommands.add_parser("lint", help=summary, description=summary)
    command.add_argument("rules", type=Path, help="a rules document, JSON")
    command.set_defaults(run=_lint)


def _add_simulate_parser(
    subcommands: argparse._SubParsersAction[argparse.ArgumentParser],
) -> None:
    summary = "what rules would have done to a list of events, day by day"
    command = subcommands.add_parser("simulate", help=summary, description=summary)
    command.add_argument("rules", type=Path, help="a rules document, JSON")
    command.add_argument(
        "--events", type=Path, required=True, help="one JSON object a line"
    )
    command.add_argument(
        "--html", type=Path, metavar="FILE", help="write the picture as a page"
    )
    command.set_defaults(run=_simulate)


def _lint(options: argparse.Namespace) -> int:
    """Print the remarks on a rules document; return 1 if one is more than a note."""
    from tactful.caps_tools.lint import lint

    rules = Rules.from_file(options.rules)
    remarks = lint(rules)
    for remark in remarks:
        kind = f"note, {remark.kind}" if remark.is_note else remark.kind
        print(f"{remark.rule_id}: {kind}: {remark.text}")
    odd_count = sum(not remark.is_note for remark in remarks)
    counts = f"{len(rules.rules)} rules, {len(rules.quiet_hours)} quiet hours"
    print(f"{counts}: {odd_count} odd")
    return 1 if odd_count else 0


def _simulate(options: argparse.Namespace) -> int:
    """Print a simulation day by day, and write it as a page if asked to."""
    from tactful.caps_tools.event_log import read_events
    from tactful.caps_tools.simulate import by_day, play
    from tactful.caps_tools.simulation_report import lines, page

    rules = Rules.from_file(options.rules)
    outcomes = play(rules, read_events(options.events))
    days = by_day(outcomes)
    print(*lines(days), sep="\n")
    if options.html is not None:
        options.html.write_text(page(days, options.rules.name), "utf-8")
    return 0

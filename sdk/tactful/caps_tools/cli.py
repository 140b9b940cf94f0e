"""`tactful caps`: look at a set of rules before people meet it."""

from __future__ import annotations

import argparse
from pathlib import Path

from tactful.device.caps.rules.model import Rules


def add_parser(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Offer `tactful caps lint` and `tactful caps simulate`."""
    caps = commands.add_parser(
        "caps", help="look at repetition rules before people meet them"
    )
    parts = caps.add_subparsers(required=True, metavar="COMMAND")
    told = "what is odd about a set of rules; exit status 1 if anything is"
    command = parts.add_parser("lint", help=told, description=told)
    command.add_argument("rules", type=Path, help="a rules document, JSON")
    command.set_defaults(run=_lint)
    told = "what rules would have done to a list of events, day by day"
    command = parts.add_parser("simulate", help=told, description=told)
    command.add_argument("rules", type=Path, help="a rules document, JSON")
    command.add_argument(
        "--events", type=Path, required=True, help="one JSON object a line"
    )
    command.add_argument(
        "--html", type=Path, metavar="FILE", help="write the picture as a page"
    )
    command.set_defaults(run=_simulate)


def _lint(options: argparse.Namespace) -> int:
    from tactful.caps_tools.lint import lint

    rules = Rules.from_file(options.rules)
    remarks = lint(rules)
    for remark in remarks:
        kind = f"note, {remark.kind}" if remark.is_note else remark.kind
        print(f"{remark.rule_id}: {kind}: {remark.text}")
    odd = sum(not remark.is_note for remark in remarks)
    print(f"{len(rules.rules)} rules, {len(rules.quiet_hours)} quiet hours: {odd} odd")
    return 1 if odd else 0


def _simulate(options: argparse.Namespace) -> int:
    from tactful.caps_tools.event_log import read_events
    from tactful.caps_tools.simulate import by_day, play
    from tactful.caps_tools.simulation_report import lines, page

    days = by_day(play(Rules.from_file(options.rules), read_events(options.events)))
    print(*lines(days), sep="\n")
    if options.html is not None:
        options.html.write_text(page(days, options.rules.name), "utf-8")
    return 0

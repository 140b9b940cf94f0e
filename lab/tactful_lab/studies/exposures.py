"""Replay of real exposure logs with and without frequency caps."""

from __future__ import annotations

import argparse
import csv
import io
import lzma
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

from tactful.caps_tools.event_log import LoggedEvent
from tactful.caps_tools.simulate import play
from tactful.device.caps import Rules
from tactful.device.catalog import Item
from tactful.errors import DatasetError

DAY_MS = 86_400_000
MOST_TURNS = 5  # impressions of the same item whose click rates are reported


@dataclass(frozen=True)
class ExposureLog:
    """One bundled log: its subject, its definition of a repeat, and usual rules.

    An impression repeats an earlier one of the same subject that is at most
    `repeat_within` older. The subject is the item if `key` is "item", else anything.
    """

    name: str
    impressions: str  # noun phrase for the printed table
    repeat_within: timedelta
    key: str
    rules: dict[str, object]

    def subject(self, impression: LoggedImpression) -> str:
        """Return the subject whose repeats are counted."""
        return impression.item if self.key == "item" else self.key


@dataclass(frozen=True)
class LoggedImpression:
    """One impression of the log."""

    at: datetime
    item: str
    clicked: bool


ImpressionsByPerson = Mapping[str, Sequence[LoggedImpression]]


def _sliding_rule(name: str, key: str, days: int, limit: int) -> dict[str, object]:
    return {
        "id": name,
        "key": [key],
        "window": {"kind": "sliding", "ms": days * DAY_MS},
        "limit": limit,
        "reason_code": "OFTEN",
    }


EBNERD = ExposureLog(
    "ebnerd-sample",
    "articles in view",
    timedelta(days=7),
    "item",
    {"schema": 1, "rules": [_sliding_rule("twice-a-week", "item", 7, 2)]},
)
COMPLETEJOURNEY = ExposureLog(
    "completejourney",
    "campaigns sent",
    timedelta(days=30),
    "app",
    {"schema": 1, "rules": [_sliding_rule("two-a-month", "app", 30, 2)]},
)
LOGS = {log.name: log for log in (EBNERD, COMPLETEJOURNEY)}


@dataclass(frozen=True)
class ReplayFigures:
    """Counts of a log as recorded, and of the impressions that the caps allow.

    `clicks_by_turn` has (impressions, clicks) of the first, second, ... impression of
    the same subject to the same person.
    """

    people: int
    impressions: int
    repeats: int
    clicks: int
    allowed_impressions: int
    allowed_repeats: int
    allowed_clicks: int
    clicks_by_turn: tuple[tuple[int, int], ...]

    def table(self) -> str:
        """Return the printed table."""
        repeat_rate = self.repeats / max(self.impressions, 1)
        click_rate = self.clicks / max(self.impressions, 1)
        allowed_repeat_rate = self.allowed_repeats / max(self.allowed_impressions, 1)
        allowed_click_rate = self.allowed_clicks / max(self.allowed_impressions, 1)
        lines = [
            f"{'':24}{'without caps':>14}{'with caps':>12}",
            _count_row("impressions", self.impressions, self.allowed_impressions),
            _count_row("repeats", self.repeats, self.allowed_repeats),
            _count_row("clicks", self.clicks, self.allowed_clicks),
            _rate_row("repeats per impression", repeat_rate, allowed_repeat_rate),
            _rate_row("clicks per impression", click_rate, allowed_click_rate),
            f"click rate by number of impressions so far: {self._turns()}",
        ]
        return "\n".join(lines) + "\n"

    def _turns(self) -> str:
        rates = []
        for number, (impressions, clicks) in enumerate(self.clicks_by_turn, 1):
            if impressions:
                rates.append(f"{clicks / impressions:.1%} (n={number})")
        return ", ".join(rates)


def _count_row(name: str, without_caps: int, with_caps: int) -> str:
    return f"{name:24}{without_caps:14,}{with_caps:12,}"


def _rate_row(name: str, without_caps: float, with_caps: float) -> str:
    return f"{name:24}{without_caps:14.1%}{with_caps:12.1%}"


def read(name: str) -> dict[str, list[LoggedImpression]]:
    """Return the impressions of each person in the log `name`, oldest first.

    Raises DatasetError if there is no such log.
    """
    if name not in LOGS:
        raise DatasetError(
            "log", f"{name!r} is unknown", f"use one of {', '.join(LOGS)}"
        )
    folder = files("tactful_lab").joinpath("data", "exposures")
    packed = folder.joinpath(f"{name}.csv.xz").read_bytes()
    text = lzma.decompress(packed).decode()
    people: dict[str, list[LoggedImpression]] = defaultdict(list)
    for row in csv.DictReader(io.StringIO(text)):
        at = datetime.fromisoformat(row["at"]).replace(tzinfo=UTC)
        impression = LoggedImpression(at, row["item"], row["clicked"] == "1")
        people[row["person"]].append(impression)
    for impressions in people.values():
        impressions.sort(key=lambda impression: (impression.at, impression.item))
    return dict(people)


def replay(
    log: ExposureLog, people: ImpressionsByPerson, rules: Rules
) -> ReplayFigures:
    """Replay each person's impressions on a device of their own with `rules`."""
    allowed = {
        person: _allowed(impressions, rules) for person, impressions in people.items()
    }
    return ReplayFigures(
        people=len(people),
        impressions=sum(map(len, people.values())),
        repeats=_repeats(log, people),
        clicks=_clicks(people),
        allowed_impressions=sum(map(len, allowed.values())),
        allowed_repeats=_repeats(log, allowed),
        allowed_clicks=_clicks(allowed),
        clicks_by_turn=_clicks_by_turn(log, people),
    )


def _allowed(
    impressions: Sequence[LoggedImpression], rules: Rules
) -> list[LoggedImpression]:
    """Return the impressions that no rule denies."""
    outcomes = play(rules, [_offer(impression) for impression in impressions])
    return [
        impression
        for impression, outcome in zip(impressions, outcomes, strict=True)
        if outcome.reason_code is None
    ]


def _offer(impression: LoggedImpression) -> LoggedEvent:
    item = Item(id=impression.item, title=impression.item)
    return LoggedEvent(at=impression.at, kind="offer", item=item)


def _clicks(people: ImpressionsByPerson) -> int:
    return sum(
        impression.clicked
        for impressions in people.values()
        for impression in impressions
    )


def _repeats(log: ExposureLog, people: ImpressionsByPerson) -> int:
    """Count the impressions of a subject that was shown shortly before."""
    count = 0
    for impressions in people.values():
        last: dict[str, datetime] = {}
        for impression in impressions:
            subject = log.subject(impression)
            if subject in last:
                count += impression.at - last[subject] <= log.repeat_within
            last[subject] = impression.at
    return count


def _clicks_by_turn(
    log: ExposureLog, people: ImpressionsByPerson
) -> tuple[tuple[int, int], ...]:
    shown_at_turn, clicked_at_turn = Counter[int](), Counter[int]()
    for impressions in people.values():
        turns = Counter[str]()
        for impression in impressions:
            subject = log.subject(impression)
            turns[subject] += 1
            shown_at_turn[turns[subject]] += 1
            clicked_at_turn[turns[subject]] += impression.clicked
    return tuple(
        (shown_at_turn[turn], clicked_at_turn[turn])
        for turn in range(1, MOST_TURNS + 1)
    )


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command `tactful-lab exposures`."""
    summary = "replay a real exposure log with and without frequency caps"
    parser = subparsers.add_parser("exposures", help=summary, description=summary)
    parser.add_argument("log", choices=LOGS, help="the log to replay")
    parser.add_argument(
        "--rules",
        type=Path,
        metavar="FILE",
        help="a JSON document of frequency caps; default: the rules of the log",
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run `tactful-lab exposures` and return its exit status."""
    log = LOGS[options.log]
    rules = Rules.parse(log.rules)
    if options.rules is not None:
        rules = Rules.from_file(options.rules)
    figures = replay(log, read(log.name), rules)
    days = log.repeat_within.days
    print(
        f"{log.name}: {figures.impressions:,} {log.impressions}, "
        f"{figures.people:,} people"
    )
    print(f"a repeat comes at most {days} days after the impression before\n")
    print(figures.table(), end="")
    return 0

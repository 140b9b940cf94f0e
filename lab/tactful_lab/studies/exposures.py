"""Real logs of what people were shown, lived through again with and without repetition caps."""

from __future__ import annotations

import argparse
import csv
import io
import lzma
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.resources import files
from pathlib import Path

from tactful.caps_tools.event_log import LoggedEvent
from tactful.caps_tools.simulate import play
from tactful.device.caps import Rules
from tactful.device.catalog import Item
from tactful.errors import DatasetError

WEEK = timedelta(days=7)
DAY_MS = 86_400_000


@dataclass(frozen=True)
class Log:
    """One bundled log: what is shown in it, how far apart a repeat still is one, usual rules."""

    name: str
    shown: str
    repeat_within: timedelta
    key: str  # what comes back: the item itself, or anything of the kind
    rules: dict[str, object]


def _sliding(name: str, key: str, days: int, limit: int) -> dict[str, object]:
    window = {"kind": "sliding", "ms": days * DAY_MS}
    return {
        "id": name,
        "key": [key],
        "window": window,
        "limit": limit,
        "reason_code": "OFTEN",
    }


LOGS = {
    log.name: log
    for log in (
        Log(
            "ebnerd-sample",
            "articles in view",
            WEEK,
            "item",
            {"schema": 1, "rules": [_sliding("twice-a-week", "item", 7, 2)]},
        ),
        Log(
            "completejourney",
            "campaigns sent",
            timedelta(days=30),
            "app",
            {"schema": 1, "rules": [_sliding("two-a-month", "app", 30, 2)]},
        ),
    )
}


@dataclass(frozen=True)
class Show:
    """One show of the log."""

    at: datetime
    item: str
    clicked: bool


@dataclass(frozen=True)
class Replay:
    """What caps made of a log; a repeat shows what was shown to the person shortly before."""

    people: int
    shows: int
    repeats: int
    clicks: int
    shows_kept: int
    repeats_kept: int
    clicks_kept: int
    clicks_by_turn: tuple[
        tuple[int, int], ...
    ]  # (shows, clicks) of the 1st, 2nd, ... time

    def table(self) -> str:
        """The figures for people."""
        lines = [f"{'':24}{'as it was':>12}{'with caps':>12}"]
        for name, before, after in (
            ("shows", self.shows, self.shows_kept),
            ("repeats", self.repeats, self.repeats_kept),
            ("clicks", self.clicks, self.clicks_kept),
        ):
            lines.append(f"{name:24}{before:12,}{after:12,}")
        rates = (
            (
                "repeats per show",
                self.repeats,
                self.shows,
                self.repeats_kept,
                self.shows_kept,
            ),
            (
                "clicks per show",
                self.clicks,
                self.shows,
                self.clicks_kept,
                self.shows_kept,
            ),
        )
        for name, one, of, kept, kept_of in rates:
            lines.append(
                f"{name:24}{one / max(of, 1):12.1%}{kept / max(kept_of, 1):12.1%}"
            )
        turns = [
            f"{c / s:.1%} (n={n})"
            for n, (s, c) in enumerate(self.clicks_by_turn, 1)
            if s
        ]
        return (
            "\n".join([*lines, f"clicks by the n-th time: {', '.join(turns)}"]) + "\n"
        )


def read(name: str) -> dict[str, list[Show]]:
    """The log called `name`: the shows of each person, oldest first; raises DatasetError."""
    if name not in LOGS:
        raise DatasetError(
            "log", f"{name!r} is unknown", f"use one of {', '.join(LOGS)}"
        )
    packed = (
        files("tactful_lab")
        .joinpath("data", "exposures", f"{name}.csv.xz")
        .read_bytes()
    )
    people: dict[str, list[Show]] = defaultdict(list)
    for row in csv.DictReader(io.StringIO(lzma.decompress(packed).decode())):
        at = datetime.fromisoformat(row["at"]).replace(tzinfo=UTC)
        people[row["person"]].append(Show(at, row["item"], row["clicked"] == "1"))
    return {
        person: sorted(shows, key=lambda s: (s.at, s.item))
        for person, shows in people.items()
    }


def replay(log: Log, people: dict[str, list[Show]], rules: Rules) -> Replay:
    """Live through every person's shows on a device of their own, once with `rules`."""
    kept = {person: _kept(shows, rules) for person, shows in people.items()}
    return Replay(
        people=len(people),
        shows=sum(map(len, people.values())),
        repeats=sum(_repeats(log, shows) for shows in people.values()),
        clicks=sum(show.clicked for shows in people.values() for show in shows),
        shows_kept=sum(map(len, kept.values())),
        repeats_kept=sum(_repeats(log, shows) for shows in kept.values()),
        clicks_kept=sum(show.clicked for shows in kept.values() for show in shows),
        clicks_by_turn=_by_turn(log, people),
    )


def _kept(shows: Sequence[Show], rules: Rules) -> list[Show]:
    outcomes = play(rules, [_offer(show) for show in shows])
    return [
        show for show, o in zip(shows, outcomes, strict=True) if o.reason_code is None
    ]


def _offer(show: Show) -> LoggedEvent:
    return LoggedEvent(
        at=show.at, kind="offer", item=Item(id=show.item, title=show.item)
    )


def _repeats(log: Log, shows: Sequence[Show]) -> int:
    last: dict[str, datetime] = {}
    count = 0
    for show in shows:
        what = show.item if log.key == "item" else log.key
        count += what in last and show.at - last[what] <= log.repeat_within
        last[what] = show.at
    return count


def _by_turn(
    log: Log, people: dict[str, list[Show]], most: int = 5
) -> tuple[tuple[int, int], ...]:
    shown, clicked = Counter[int](), Counter[int]()
    for shows in people.values():
        seen = Counter[str]()
        for show in shows:
            what = show.item if log.key == "item" else log.key
            seen[what] += 1
            shown[seen[what]] += 1
            clicked[seen[what]] += show.clicked
    return tuple((shown[n], clicked[n]) for n in range(1, most + 1))


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Offer `tactful-lab exposures`."""
    told = "real logs of what people were shown, with and without caps"
    parser = subparsers.add_parser("exposures", help=told, description=told)
    parser.add_argument("log", choices=LOGS, help="the log to live through again")
    parser.add_argument(
        "--rules", type=Path, help="a rules document, JSON; else the log's own"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """What `tactful-lab exposures` does."""
    log = LOGS[options.log]
    rules = (
        Rules.parse(log.rules)
        if options.rules is None
        else Rules.from_file(options.rules)
    )
    found = replay(log, read(log.name), rules)
    days = log.repeat_within.days
    print(f"{log.name}: {found.shows:,} {log.shown}, {found.people:,} people")
    print(f"a repeat: shown within {days} days of the time before\n")
    print(found.table(), end="")
    return 0

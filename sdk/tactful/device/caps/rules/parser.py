"""Rules documents in, rules out; every error names the line, the field and the fix."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path as FilePath
from typing import Literal, NoReturn, TypeVar

from tactful.device.caps.rules.json_with_lines import Located, Path
from tactful.device.caps.rules.model import (
    LEVEL_CODES,
    LEVELS,
    MS_PER_DAY,
    Calendar,
    Cooldown,
    Decay,
    EveryNth,
    Exempt,
    Headroom,
    Lifetime,
    QuietHours,
    Rule,
    Rules,
    Session,
    Sliding,
    Surface,
    Weights,
    Window,
)
from tactful.device.caps.rules.subject import ATTRIBUTES, CLASSES
from tactful.device.caps.timeline.civil_time import WEEKDAYS
from tactful.device.clock import zone_named
from tactful.errors import InvalidInput

SCHEMA = 1
MAX_MS = 100 * 366 * 86_400_000  # a hundred years; longer is `lifetime`
REACTIONS = ("click", "dismiss", "hide", "report", "convert")
AUTHORS = ("app", "operator", "user")
Channel = Literal["app", "operator", "user"]
T = TypeVar("T")


def read_rules(document: object, *, channel: Channel | None = None) -> Rules:
    """The rules of a parsed document; raises InvalidInput.

    `channel` is the way the document came: its rules must name that author, or None to accept all.
    """
    return _Reader(Located("null"), channel).rules(document)


def read_rules_text(text: str, *, channel: Channel | None = None) -> Rules:
    """The rules of a JSON text; raises InvalidInput naming the line."""
    located = Located(text)
    return _Reader(located, channel).rules(located.value)


def read_rules_file(path: str | FilePath, *, channel: Channel | None = None) -> Rules:
    """The rules of a JSON file; raises InvalidInput naming the line."""
    try:
        text = FilePath(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as absent:
        raise InvalidInput(
            "rules", f"{path} cannot be read", "name a JSON file"
        ) from absent
    return read_rules_text(text, channel=channel)


class _Node:
    """One value of the document and where it stands."""

    def __init__(self, value: object, path: Path, located: Located) -> None:
        self.value, self.path, self._located = value, path, located

    def wrong(self, problem: str, fix: str) -> NoReturn:
        line = (
            self._located.line(self.path)
            if self._located.lines.keys() != {()}
            else None
        )
        name = re.sub(r"\.(\d+)", r"[\1]", ".".join(map(str, self.path))) or "document"
        where = f"rules: line {line}: {name}" if line else f"rules: {name}"
        raise InvalidInput(where, problem, fix)

    def members(
        self, known: tuple[str, ...], needed: tuple[str, ...] = ()
    ) -> dict[str, _Node]:
        if not isinstance(self.value, Mapping):
            self.wrong(f"{_short(self.value)} is no object", "write { ... }")
        nodes = {
            str(name): _Node(value, (*self.path, str(name)), self._located)
            for name, value in self.value.items()
        }
        for name, node in nodes.items():
            if name not in known:
                node.wrong("the field is not known", f"use {', '.join(known)}")
        for name in needed:
            if name not in nodes:
                self.wrong(f"{name!r} is missing", "add it")
        return nodes

    def entries(self) -> list[_Node]:
        if not isinstance(self.value, list | tuple):
            self.wrong(f"{_short(self.value)} is no list", "write [ ... ]")
        return [
            _Node(v, (*self.path, i), self._located) for i, v in enumerate(self.value)
        ]

    def text(self) -> str:
        if not isinstance(self.value, str) or not 0 < len(self.value) <= 256:
            self.wrong(
                f"{_short(self.value)} is no name",
                "write a text of 1 to 256 characters",
            )
        return self.value

    def one_of(self, known: tuple[str, ...]) -> str:
        if self.value not in known:
            self.wrong(
                f"{_short(self.value)} is not known", f"use one of {', '.join(known)}"
            )
        return str(self.value)

    def flag(self) -> bool:
        if not isinstance(self.value, bool):
            self.wrong(f"{_short(self.value)} is no yes or no", "write true or false")
        return self.value

    def whole(self, least: int, most: int = MAX_MS) -> int:
        if (
            not isinstance(self.value, int)
            or isinstance(self.value, bool)
            or not least <= self.value <= most
        ):
            self.wrong(
                f"{_short(self.value)} is out of range", f"use {least} to {most}"
            )
        return self.value

    def number(self, more_than: float) -> float:
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            self.wrong(f"{_short(self.value)} is no number", "write a number")
        if not more_than < self.value < 1e9:
            self.wrong(
                f"{_short(self.value)} leaves no room for one show",
                f"use more than {more_than}",
            )
        return float(self.value)

    def minutes(self) -> int:
        found = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", self.text())
        if not found:
            self.wrong(f"{_short(self.value)} is no time of day", "write HH:MM")
        return int(found[1]) * 60 + int(found[2])

    def zone(self) -> str | None:
        name = self.text()
        if name == "device":
            return None
        if zone_named(name) is None:
            self.wrong(
                f"{name!r} is no time zone",
                "use 'device' or a name like 'Europe/Berlin'",
            )
        return name

    def texts(self) -> frozenset[str]:
        found = frozenset(entry.text() for entry in self.entries())
        if not found:
            self.wrong("the list is empty", "name at least one, or leave the field out")
        return found


class _Reader:
    """Reads one document that came by one channel."""

    def __init__(self, located: Located, channel: Channel | None) -> None:
        self._located, self._channel = located, channel

    def rules(self, document: object) -> Rules:
        known = (
            "schema",
            "surfaces",
            "operator_can",
            "starvation_days",
            "rules",
            "quiet_hours",
        )
        root = _Node(document, (), self._located)
        parts = root.members(known, needed=("schema",))
        _schema(parts["schema"])
        read = Rules(
            rules=self._each(parts.get("rules"), self._rule),
            surfaces=_surfaces(parts.get("surfaces")),
            quiet_hours=self._each(parts.get("quiet_hours"), self._quiet_hours),
            operator_can_tighten=_may_tighten(parts.get("operator_can")),
            starve_after_ms=_optional(parts, "starvation_days", _days_ms, None),
        )
        self._require_possible(read, parts)
        return read

    def _each(self, node: _Node | None, read: Callable[[_Node], T]) -> tuple[T, ...]:
        return () if node is None else tuple(read(entry) for entry in node.entries())

    def _rule(self, node: _Node) -> Rule:
        parts = node.members(
            _RULE_FIELDS, needed=("id", "key", "window", "reason_code")
        )
        author = self._author(parts.get("author"))
        window = _window(parts["window"])
        _require_fields_fit(node, parts, window)
        return Rule(
            id=parts["id"].text(),
            version=_optional(parts, "version", lambda n: n.whole(1), 1),
            author=author,
            partition=_optional(parts, "partition", _partition, "subject"),
            match=_optional(parts, "match", _match, {}),
            key=_key(parts["key"]),
            weights=_optional(parts, "counts", _weights, Weights()),
            min_level=_optional(parts, "min_evidence", _level, 2),
            window=window,
            limit=_optional(parts, "limit", _limit, None),
            headroom=_optional(parts, "headroom", lambda n: _headroom(n, window), ()),
            exempt=_optional(parts, "exempt", lambda n: _exempt(n, author), None),
            on_missing_time=_optional(parts, "on_missing_time", _on_missing, None),
            reason_code=_reason(parts["reason_code"]),
        )

    def _author(self, node: _Node | None) -> Channel:
        author = "app" if node is None else node.one_of(AUTHORS)
        if self._channel is not None and author != self._channel:
            where = node or _Node("app", ("rules",), self._located)
            where.wrong(
                f"a document of the {self._channel} holds a rule of the {author}",
                f'write "author": "{self._channel}"',
            )
        return _AUTHOR[author]

    def _quiet_hours(self, node: _Node) -> QuietHours:
        parts = node.members(_QUIET_FIELDS, needed=("id", "surface", "from", "to"))
        start, end = parts["from"].minutes(), parts["to"].minutes()
        if start == end:
            parts["to"].wrong(
                "it equals 'from'", "leave some of the day, or use a limit of 0"
            )
        return QuietHours(
            id=parts["id"].text(),
            surfaces=parts["surface"].texts(),
            days=_optional(parts, "days", _days, frozenset(WEEKDAYS)),
            start=start,
            end=end,
            zone=_optional(parts, "zone", _Node.zone, None),
            author=self._author(parts.get("author")),
            behaviour=_optional(parts, "behaviour", _behaviour, "defer"),
            jitter_ms=_optional(
                parts, "jitter_ms", lambda n: n.whole(0, 86_400_000), 0
            ),
        )

    def _require_possible(self, read: Rules, parts: Mapping[str, _Node]) -> None:
        ids = [rule.id for rule in read.rules] + [
            quiet.id for quiet in read.quiet_hours
        ]
        for number, name in enumerate(ids):
            if name in ids[:number]:
                _Node(
                    name, ("rules", min(number, len(read.rules) - 1)), self._located
                ).wrong(f"the id {name!r} stands twice", "give each rule its own")
        for number, rule in enumerate(read.rules):
            self._require_allowed(read, rule, number)
        for number, quiet in enumerate(read.quiet_hours):
            self._require_surfaces(
                read, quiet.surfaces, ("quiet_hours", number, "surface")
            )
            self._require_silent(read, quiet, number)

    def _require_allowed(self, read: Rules, rule: Rule, number: int) -> None:
        place: Path = ("rules", number)
        if rule.author == "operator" and not read.operator_can_tighten:
            _Node(rule.id, (*place, "author"), self._located).wrong(
                "operator rules are not admitted here",
                'add "operator_can": ["tighten"]',
            )
        named = rule.match.get("surface", frozenset())
        self._require_surfaces(read, named, (*place, "match", "surface"))

    def _require_surfaces(self, read: Rules, named: frozenset[str], path: Path) -> None:
        unknown = sorted(named - set(read.surfaces)) if read.surfaces else []
        if unknown:
            _Node(unknown, path, self._located).wrong(
                f"{unknown[0]!r} is no surface",
                f"use one of {', '.join(read.surfaces)}",
            )

    def _require_silent(self, read: Rules, quiet: QuietHours, number: int) -> None:
        loud = [name for name in quiet.surfaces if read.surface(name).interruptive]
        if quiet.behaviour == "silent" and loud:
            _Node(loud, ("quiet_hours", number, "behaviour"), self._located).wrong(
                f"{sorted(loud)[0]!r} interrupts, so it cannot be silent",
                "use defer or drop",
            )


_RULE_FIELDS = (
    "id", "version", "author", "partition", "match", "key", "counts", "min_evidence", "window",
    "limit", "headroom", "exempt", "on_missing_time", "reason_code",
)  # fmt: skip
_QUIET_FIELDS = (
    "id", "author", "surface", "days", "from", "to", "zone", "behaviour", "jitter_ms",
)  # fmt: skip
_AUTHOR: Mapping[str, Channel] = {"app": "app", "operator": "operator", "user": "user"}


def _optional(
    parts: Mapping[str, _Node], name: str, read: Callable[[_Node], T], absent: T
) -> T:
    return read(parts[name]) if name in parts else absent


def _schema(node: _Node) -> None:
    if node.whole(1) > SCHEMA:
        node.wrong(
            f"{node.value} is newer than this Tactful ({SCHEMA})", "update Tactful"
        )


def _surfaces(node: _Node | None) -> dict[str, Surface]:
    if node is None:
        return {}
    names = tuple(node.value) if isinstance(node.value, Mapping) else ()
    return {name: _surface(part) for name, part in node.members(names).items()}


def _surface(node: _Node) -> Surface:
    parts = node.members(("interruptive", "reservation_ttl_ms"))
    interruptive = _optional(parts, "interruptive", _Node.flag, False)
    usual = 86_400_000 if interruptive else 120_000
    return Surface(
        interruptive,
        _optional(parts, "reservation_ttl_ms", lambda n: n.whole(1), usual),
    )


def _may_tighten(node: _Node | None) -> bool:
    return (
        node is not None
        and [entry.one_of(("tighten",)) for entry in node.entries()] != []
    )


def _days_ms(node: _Node) -> int:
    return node.whole(1, 3650) * MS_PER_DAY


def _partition(node: _Node) -> Literal["subject", "device"]:
    return "device" if node.one_of(("subject", "device")) == "device" else "subject"


def _match(node: _Node) -> dict[str, frozenset[str]]:
    return {name: part.texts() for name, part in node.members(ATTRIBUTES).items()}


def _key(node: _Node) -> tuple[str, ...]:
    known = tuple(a for a in ATTRIBUTES if a not in ("tag", "class"))
    attributes = []
    for entry in node.entries():
        name = entry.text()
        if name not in known and name != "app" and not re.fullmatch(r"tag:.+", name):
            entry.wrong(
                f"{name!r} is no key", f"use {', '.join(known)}, tag:<name> or app"
            )
        attributes.append(name)
    if not attributes or len(set(attributes)) < len(attributes):
        node.wrong("a key names each attribute once", "name at least one, each once")
    return tuple(attributes)


def _weights(node: _Node) -> Weights:
    parts = node.members(("impression", "reservation", *REACTIONS))
    weights = {name: part.whole(0, 1_000_000) for name, part in parts.items()}
    impression = weights.pop("impression", 1)
    reservation = weights.pop("reservation", impression)
    if reservation not in (0, impression):
        parts["reservation"].wrong(
            "a hold counts like its impression", f"use {impression} or 0"
        )
    return Weights(
        impression, reservation, {name: w for name, w in weights.items() if w}
    )


def _level(node: _Node) -> int:
    return LEVEL_CODES[node.one_of(LEVELS)]


def _limit(node: _Node) -> int | None:
    return None if node.value is None else node.whole(0, 1_000_000_000)


def _headroom(node: _Node, window: Window) -> tuple[Headroom, ...]:
    return tuple(_one_headroom(entry, window) for entry in node.entries())


def _one_headroom(node: _Node, window: Window) -> Headroom:
    parts = node.members(("for", "slots", "until"), needed=("for", "slots"))
    if "until" in parts and not (isinstance(window, Calendar) and window.unit == "day"):
        parts["until"].wrong("only calendar days have an hour", "leave 'until' out")
    return Headroom(
        parts["for"].one_of(CLASSES),
        parts["slots"].whole(1, 1_000_000),
        _optional(parts, "until", _Node.minutes, None),
    )


def _exempt(node: _Node, author: str) -> Exempt:
    parts = node.members(("class", "quota"), needed=("class", "quota"))
    item_class = parts["class"].one_of(CLASSES)
    if author == "user" and item_class != "critical":
        parts["class"].wrong(
            "the person's rules spare critical items only", 'use "critical"'
        )
    quota = parts["quota"].members(("window", "limit"), needed=("window", "limit"))
    window = _window(quota["window"])
    if not isinstance(window, Sliding):
        quota["window"].wrong("a quota slides", 'use {"kind": "sliding", "ms": ...}')
    return Exempt(item_class, window.ms, quota["limit"].whole(0, 1_000_000))


def _on_missing(node: _Node) -> Literal["deny", "allow"]:
    return "deny" if node.one_of(("deny", "allow")) == "deny" else "allow"


def _reason(node: _Node) -> str:
    code = node.text()
    if not re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}", code):
        node.wrong(f"{code!r} is no reason code", "use capitals, digits and _")
    return code


def _days(node: _Node) -> frozenset[str]:
    return frozenset(entry.one_of(WEEKDAYS) for entry in node.entries()) or node.texts()


def _behaviour(node: _Node) -> Literal["defer", "drop", "silent"]:
    known: dict[str, Literal["defer", "drop", "silent"]]
    known = {"defer": "defer", "drop": "drop", "silent": "silent"}
    return known[node.one_of(tuple(known))]


def _window(node: _Node) -> Window:
    kinds = tuple(_WINDOWS)
    anything = (
        "kind",
        "ms",
        "unit",
        "n",
        "zone",
        "week_start",
        "gap_ms",
        "half_life_ms",
        "budget",
    )
    parts = node.members(anything, needed=("kind",))
    fields, needed, make = _WINDOWS[parts["kind"].one_of(kinds)]
    parts = node.members(("kind", *fields), needed=needed)
    return make(parts)


def _calendar(parts: Mapping[str, _Node]) -> Window:
    unit = parts["unit"].one_of(("day", "week", "month"))
    if unit != "week" and "week_start" in parts:
        parts["week_start"].wrong("only weeks have a first day", "leave it out")
    return Calendar(
        "day" if unit == "day" else "week" if unit == "week" else "month",
        _optional(parts, "n", lambda n: n.whole(1, 1200), 1),
        _optional(parts, "zone", _Node.zone, None),
        _optional(parts, "week_start", lambda n: n.one_of(WEEKDAYS), "MO"),
    )


def _decay(parts: Mapping[str, _Node]) -> Window:
    return Decay(parts["half_life_ms"].whole(1), parts["budget"].number(0.0))


_WINDOWS: Mapping[
    str,
    tuple[tuple[str, ...], tuple[str, ...], Callable[[Mapping[str, _Node]], Window]],
] = {
    "sliding": (("ms",), ("ms",), lambda parts: Sliding(parts["ms"].whole(1))),
    "cooldown": (("ms",), ("ms",), lambda parts: Cooldown(parts["ms"].whole(1))),
    "calendar": (("unit", "n", "zone", "week_start"), ("unit",), _calendar),
    "session": (
        ("gap_ms",),
        ("gap_ms",),
        lambda parts: Session(parts["gap_ms"].whole(1)),
    ),
    "lifetime": ((), (), lambda _: Lifetime()),
    "every_nth": (
        ("n",),
        ("n",),
        lambda parts: EveryNth(parts["n"].whole(1, 1_000_000)),
    ),
    "decay": (("half_life_ms", "budget"), ("half_life_ms", "budget"), _decay),
}


def _require_fields_fit(
    node: _Node, parts: Mapping[str, _Node], window: Window
) -> None:
    counted = isinstance(window, Sliding | Calendar | Session | Lifetime)
    if counted and "limit" not in parts:
        node.wrong(
            "'limit' is missing", "add a whole number, 0 for never, null for no limit"
        )
    for name in () if counted else ("limit", "headroom"):
        if name in parts:
            parts[name].wrong("this window has no limit", "leave it out")
    if isinstance(window, Decay):
        for name in ("counts", "min_evidence"):
            if name in parts:
                parts[name].wrong("fatigue has its own weights", "leave it out")


def _short(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else f"{text[:37]}..."


DEFAULT_DOCUMENT: dict[str, object] = {  # docs/caps.md says why these numbers
    "schema": SCHEMA,
    "rules": [
        {
            "id": "item-week",
            "key": ["item"],
            "window": {"kind": "sliding", "ms": 7 * 86_400_000},
            "limit": 2,
            "reason_code": "ITEM_WEEK",
        },
        {
            "id": "item-rest",
            "key": ["item"],
            "window": {
                "kind": "decay",
                "half_life_ms": 30 * 86_400_000,
                "budget": 2.25,
            },
            "reason_code": "ITEM_REST",
        },
    ],
}

__all__ = ["DEFAULT_DOCUMENT", "read_rules", "read_rules_file", "read_rules_text"]

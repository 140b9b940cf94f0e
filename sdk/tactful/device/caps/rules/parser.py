"""Parser of rules documents; every error names the line, the field and the fix."""

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
from tactful.device.caps.timeline.civil_time import WEEKDAYS, Unit
from tactful.device.clock import zone_named
from tactful.errors import InvalidInput

SCHEMA = 1
MAX_MS = 100 * 366 * 86_400_000  # a hundred years; use `lifetime` for longer windows
REACTIONS = ("click", "dismiss", "hide", "report", "convert")
AUTHORS = ("app", "operator", "user")
Channel = Literal["app", "operator", "user"]
T = TypeVar("T")


def read_rules(document: object, *, channel: Channel | None = None) -> Rules:
    """Return the rules of a parsed document; raises InvalidInput.

    `channel` is who delivered the document: its rules must name that author. None
    accepts every author.
    """
    return _Reader(Located("null"), channel).rules(document)


def read_rules_text(text: str, *, channel: Channel | None = None) -> Rules:
    """Return the rules of a JSON text; raises InvalidInput naming the line."""
    located = Located(text)
    return _Reader(located, channel).rules(located.value)


def read_rules_file(path: str | FilePath, *, channel: Channel | None = None) -> Rules:
    """Return the rules of a JSON file; raises InvalidInput naming the line."""
    try:
        text = FilePath(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as read_error:
        raise InvalidInput(
            "rules", f"{path} cannot be read", "name a JSON file"
        ) from read_error
    return read_rules_text(text, channel=channel)


class _Node:
    """One value of the document and its path."""

    def __init__(self, value: object, path: Path, located: Located) -> None:
        self.value = value
        self.path = path
        self._located = located

    def reject(self, problem: str, fix: str) -> NoReturn:
        """Raise InvalidInput that names the line and path of this value."""
        # A document that was parsed elsewhere has no line numbers.
        has_lines = self._located.lines.keys() != {()}
        line = self._located.line(self.path) if has_lines else None
        dotted_path = ".".join(map(str, self.path))
        name = re.sub(r"\.(\d+)", r"[\1]", dotted_path) or "document"
        where = f"rules: line {line}: {name}" if line else f"rules: {name}"
        raise InvalidInput(where, problem, fix)

    def members(
        self, accepted: tuple[str, ...], needed: tuple[str, ...] = ()
    ) -> dict[str, _Node]:
        """Return the fields of this object; all `needed` ones, only `accepted` ones."""
        if not isinstance(self.value, Mapping):
            self.reject(f"{_shortened(self.value)} is not an object", "write { ... }")
        nodes = {
            str(name): _Node(value, (*self.path, str(name)), self._located)
            for name, value in self.value.items()
        }
        for name, node in nodes.items():
            if name not in accepted:
                node.reject("the field is not known", f"use {', '.join(accepted)}")
        for name in needed:
            if name not in nodes:
                self.reject(f"{name!r} is missing", "add it")
        return nodes

    def entries(self) -> list[_Node]:
        """Return the entries of this list."""
        if not isinstance(self.value, list | tuple):
            self.reject(f"{_shortened(self.value)} is not a list", "write [ ... ]")
        return [
            _Node(value, (*self.path, number), self._located)
            for number, value in enumerate(self.value)
        ]

    def text(self) -> str:
        """Return this string of 1 to 256 characters."""
        if not isinstance(self.value, str) or not 0 < len(self.value) <= 256:
            self.reject(
                f"{_shortened(self.value)} is not a valid text",
                "write a text of 1 to 256 characters",
            )
        return self.value

    def one_of(self, accepted: tuple[str, ...]) -> str:
        """Return this string, which must be one of `accepted`."""
        if self.value not in accepted:
            self.reject(
                f"{_shortened(self.value)} is not known",
                f"use one of {', '.join(accepted)}",
            )
        return str(self.value)

    def flag(self) -> bool:
        """Return this boolean."""
        if not isinstance(self.value, bool):
            self.reject(
                f"{_shortened(self.value)} is neither true nor false",
                "write true or false",
            )
        return self.value

    def whole(self, least: int, most: int = MAX_MS) -> int:
        """Return this whole number, from `least` to `most`."""
        value = self.value
        # A bool is an int in Python.
        if not isinstance(value, int) or isinstance(value, bool):
            self.reject_range(least, most)
        if not least <= value <= most:
            self.reject_range(least, most)
        return value

    def reject_range(self, least: int, most: int) -> NoReturn:
        """Raise InvalidInput that names the range."""
        value = _shortened(self.value)
        self.reject(f"{value} is out of range", f"use {least} to {most}")

    def number(self, more_than: float) -> float:
        """Return this number, which must be above `more_than` and below 1e9."""
        if isinstance(self.value, bool) or not isinstance(self.value, int | float):
            self.reject(f"{_shortened(self.value)} is not a number", "write a number")
        if not more_than < self.value < 1e9:
            self.reject(
                f"{_shortened(self.value)} leaves no room for one show",
                f"use more than {more_than}",
            )
        return float(self.value)

    def minutes(self) -> int:
        """Return this time of day (HH:MM) in minutes since midnight."""
        time_of_day = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", self.text())
        if not time_of_day:
            self.reject(f"{_shortened(self.value)} is not a time of day", "write HH:MM")
        return int(time_of_day[1]) * 60 + int(time_of_day[2])

    def zone(self) -> str | None:
        """Return this time zone name, None for the zone of the device."""
        name = self.text()
        if name == "device":
            return None
        if zone_named(name) is None:
            self.reject(
                f"{name!r} is not a time zone",
                "use 'device' or a name like 'Europe/Berlin'",
            )
        return name

    def texts(self) -> frozenset[str]:
        """Return the strings of this list, at least one."""
        strings = frozenset(entry.text() for entry in self.entries())
        if not strings:
            self.reject(
                "the list is empty", "name at least one, or leave the field out"
            )
        return strings


class _Reader:
    """Reader of one document that came by one channel."""

    def __init__(self, located: Located, channel: Channel | None) -> None:
        self._located = located
        self._channel = channel

    def rules(self, document: object) -> Rules:
        """Return the rules of `document`."""
        accepted = (
            "schema",
            "surfaces",
            "operator_can",
            "starvation_days",
            "rules",
            "quiet_hours",
        )
        root = _Node(document, (), self._located)
        parts = root.members(accepted, needed=("schema",))
        _schema(parts["schema"])
        rules = Rules(
            rules=self._read_all(parts.get("rules"), self._rule),
            surfaces=_surfaces(parts.get("surfaces")),
            quiet_hours=self._read_all(parts.get("quiet_hours"), self._quiet_hours),
            operator_can_tighten=_operator_can_tighten(parts.get("operator_can")),
            starve_after_ms=_read_or(parts, "starvation_days", _days_ms, None),
        )
        self._require_consistent(rules)
        return rules

    def _read_all(
        self, node: _Node | None, read: Callable[[_Node], T]
    ) -> tuple[T, ...]:
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
            version=_read_or(parts, "version", lambda n: n.whole(1), 1),
            author=author,
            partition=_read_or(parts, "partition", _partition, "subject"),
            match=_read_or(parts, "match", _match, {}),
            key=_key(parts["key"]),
            weights=_read_or(parts, "counts", _weights, Weights()),
            min_level=_read_or(parts, "min_evidence", _level, 2),
            window=window,
            limit=_read_or(parts, "limit", _limit, None),
            headroom=_read_or(parts, "headroom", lambda n: _headroom(n, window), ()),
            exempt=_read_or(parts, "exempt", lambda n: _exempt(n, author), None),
            on_missing_time=_read_or(parts, "on_missing_time", _on_missing, None),
            reason_code=_reason(parts["reason_code"]),
        )

    def _author(self, node: _Node | None) -> Channel:
        author = "app" if node is None else node.one_of(AUTHORS)
        if self._channel is not None and author != self._channel:
            where = node or _Node("app", ("rules",), self._located)
            where.reject(
                f"a document of the {self._channel} holds a rule of the {author}",
                f'write "author": "{self._channel}"',
            )
        return _AUTHOR[author]

    def _quiet_hours(self, node: _Node) -> QuietHours:
        parts = node.members(_QUIET_FIELDS, needed=("id", "surface", "from", "to"))
        start, end = parts["from"].minutes(), parts["to"].minutes()
        if start == end:
            parts["to"].reject(
                "it equals 'from'", "leave some of the day, or use a limit of 0"
            )
        return QuietHours(
            id=parts["id"].text(),
            surfaces=parts["surface"].texts(),
            days=_read_or(parts, "days", _days, frozenset(WEEKDAYS)),
            start=start,
            end=end,
            zone=_read_or(parts, "zone", _Node.zone, None),
            author=self._author(parts.get("author")),
            behaviour=_read_or(parts, "behaviour", _behaviour, "defer"),
            jitter_ms=_read_or(parts, "jitter_ms", lambda n: n.whole(0, 86_400_000), 0),
        )

    def _require_consistent(self, rules: Rules) -> None:
        """Raise InvalidInput if the parts of `rules` do not fit together."""
        self._require_unique_ids(rules)
        for number, rule in enumerate(rules.rules):
            self._require_allowed(rules, rule, number)
        for number, quiet in enumerate(rules.quiet_hours):
            path: Path = ("quiet_hours", number, "surface")
            self._require_surfaces(rules, quiet.surfaces, path)
            self._require_not_silent(rules, quiet, number)

    def _require_unique_ids(self, rules: Rules) -> None:
        rule_ids = [rule.id for rule in rules.rules]
        ids = rule_ids + [quiet.id for quiet in rules.quiet_hours]
        for number, name in enumerate(ids):
            if name in ids[:number]:
                path: Path = ("rules", min(number, len(rule_ids) - 1))
                _Node(name, path, self._located).reject(
                    f"the id {name!r} stands twice", "give each rule its own"
                )

    def _require_allowed(self, rules: Rules, rule: Rule, number: int) -> None:
        path: Path = ("rules", number)
        if rule.author == "operator" and not rules.operator_can_tighten:
            _Node(rule.id, (*path, "author"), self._located).reject(
                "operator rules are not admitted here",
                'add "operator_can": ["tighten"]',
            )
        names = rule.match.get("surface", frozenset())
        self._require_surfaces(rules, names, (*path, "match", "surface"))

    def _require_surfaces(
        self, rules: Rules, names: frozenset[str], path: Path
    ) -> None:
        """Raise InvalidInput if the document lists surfaces without one of `names`."""
        unknown = sorted(names - set(rules.surfaces)) if rules.surfaces else []
        if unknown:
            _Node(unknown, path, self._located).reject(
                f"{unknown[0]!r} is not a surface",
                f"use one of {', '.join(rules.surfaces)}",
            )

    def _require_not_silent(self, rules: Rules, quiet: QuietHours, number: int) -> None:
        """Raise InvalidInput if an interruptive surface has silent quiet hours."""
        if quiet.behaviour != "silent":
            return
        interruptive = sorted(
            name for name in quiet.surfaces if rules.surface(name).interruptive
        )
        if interruptive:
            path: Path = ("quiet_hours", number, "behaviour")
            _Node(interruptive, path, self._located).reject(
                f"{interruptive[0]!r} interrupts, so it cannot be silent",
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


def _read_or(
    parts: Mapping[str, _Node], name: str, read: Callable[[_Node], T], default: T
) -> T:
    return read(parts[name]) if name in parts else default


def _schema(node: _Node) -> None:
    if node.whole(1) > SCHEMA:
        node.reject(
            f"{node.value} is newer than this Tactful ({SCHEMA})", "update Tactful"
        )


def _surfaces(node: _Node | None) -> dict[str, Surface]:
    if node is None:
        return {}
    names = tuple(node.value) if isinstance(node.value, Mapping) else ()
    return {name: _surface(part) for name, part in node.members(names).items()}


def _surface(node: _Node) -> Surface:
    parts = node.members(("interruptive", "reservation_ttl_ms"))
    interruptive = _read_or(parts, "interruptive", _Node.flag, False)
    default_ttl_ms = 86_400_000 if interruptive else 120_000
    ttl_ms = _read_or(parts, "reservation_ttl_ms", lambda n: n.whole(1), default_ttl_ms)
    return Surface(interruptive, ttl_ms)


def _operator_can_tighten(node: _Node | None) -> bool:
    if node is None:
        return False
    permissions = [entry.one_of(("tighten",)) for entry in node.entries()]
    return permissions != []


def _days_ms(node: _Node) -> int:
    return node.whole(1, 3650) * MS_PER_DAY


def _partition(node: _Node) -> Literal["subject", "device"]:
    return "device" if node.one_of(("subject", "device")) == "device" else "subject"


def _match(node: _Node) -> dict[str, frozenset[str]]:
    return {name: part.texts() for name, part in node.members(ATTRIBUTES).items()}


def _key(node: _Node) -> tuple[str, ...]:
    accepted = tuple(name for name in ATTRIBUTES if name not in ("tag", "class"))
    attributes = []
    for entry in node.entries():
        name = entry.text()
        if name not in accepted and name != "app" and not re.fullmatch(r"tag:.+", name):
            entry.reject(
                f"{name!r} is not a key",
                f"use {', '.join(accepted)}, tag:<name> or app",
            )
        attributes.append(name)
    if not attributes or len(set(attributes)) < len(attributes):
        node.reject("a key names each attribute once", "name at least one, each once")
    return tuple(attributes)


def _weights(node: _Node) -> Weights:
    parts = node.members(("impression", "reservation", *REACTIONS))
    weights = {name: part.whole(0, 1_000_000) for name, part in parts.items()}
    impression = weights.pop("impression", 1)
    reservation = weights.pop("reservation", impression)
    if reservation not in (0, impression):
        parts["reservation"].reject(
            "a hold counts like its impression", f"use {impression} or 0"
        )
    reactions = {name: weight for name, weight in weights.items() if weight}
    return Weights(impression, reservation, reactions)


def _level(node: _Node) -> int:
    return LEVEL_CODES[node.one_of(LEVELS)]


def _limit(node: _Node) -> int | None:
    return None if node.value is None else node.whole(0, 1_000_000_000)


def _headroom(node: _Node, window: Window) -> tuple[Headroom, ...]:
    return tuple(_one_headroom(entry, window) for entry in node.entries())


def _one_headroom(node: _Node, window: Window) -> Headroom:
    parts = node.members(("for", "slots", "until"), needed=("for", "slots"))
    if "until" in parts and not (isinstance(window, Calendar) and window.unit == "day"):
        parts["until"].reject("only calendar days have an hour", "leave 'until' out")
    return Headroom(
        parts["for"].one_of(CLASSES),
        parts["slots"].whole(1, 1_000_000),
        _read_or(parts, "until", _Node.minutes, None),
    )


def _exempt(node: _Node, author: str) -> Exempt:
    parts = node.members(("class", "quota"), needed=("class", "quota"))
    item_class = parts["class"].one_of(CLASSES)
    if author == "user" and item_class != "critical":
        parts["class"].reject(
            "the person's rules spare critical items only", 'use "critical"'
        )
    quota = parts["quota"].members(("window", "limit"), needed=("window", "limit"))
    window = _window(quota["window"])
    if not isinstance(window, Sliding):
        quota["window"].reject("a quota slides", 'use {"kind": "sliding", "ms": ...}')
    return Exempt(item_class, window.ms, quota["limit"].whole(0, 1_000_000))


def _on_missing(node: _Node) -> Literal["deny", "allow"]:
    return "deny" if node.one_of(("deny", "allow")) == "deny" else "allow"


def _reason(node: _Node) -> str:
    code = node.text()
    if not re.fullmatch(r"[A-Z][A-Z0-9_]{0,63}", code):
        node.reject(f"{code!r} is not a reason code", "use capitals, digits and _")
    return code


def _days(node: _Node) -> frozenset[str]:
    return frozenset(entry.one_of(WEEKDAYS) for entry in node.entries()) or node.texts()


def _behaviour(node: _Node) -> Literal["defer", "drop", "silent"]:
    behaviours: dict[str, Literal["defer", "drop", "silent"]]
    behaviours = {"defer": "defer", "drop": "drop", "silent": "silent"}
    return behaviours[node.one_of(tuple(behaviours))]


def _window(node: _Node) -> Window:
    all_fields = (
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
    # The fields that a window accepts depend on its kind, so it is read in two passes.
    parts = node.members(all_fields, needed=("kind",))
    kind = parts["kind"].one_of(tuple(_WINDOWS))
    fields, needed, make_window = _WINDOWS[kind]
    parts = node.members(("kind", *fields), needed=needed)
    return make_window(parts)


def _calendar(parts: Mapping[str, _Node]) -> Window:
    unit = parts["unit"].one_of(("day", "week", "month"))
    if unit != "week" and "week_start" in parts:
        parts["week_start"].reject("only weeks have a first day", "leave it out")
    units: dict[str, Unit] = {"day": "day", "week": "week", "month": "month"}
    return Calendar(
        units[unit],
        _read_or(parts, "n", lambda n: n.whole(1, 1200), 1),
        _read_or(parts, "zone", _Node.zone, None),
        _read_or(parts, "week_start", lambda n: n.one_of(WEEKDAYS), "MO"),
    )


def _decay(parts: Mapping[str, _Node]) -> Window:
    return Decay(parts["half_life_ms"].whole(1), parts["budget"].number(0.0))


# For each kind of window: the fields it accepts, the fields it needs, its constructor.
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
    has_limit = isinstance(window, Sliding | Calendar | Session | Lifetime)
    if has_limit and "limit" not in parts:
        node.reject(
            "'limit' is missing", "add a whole number, 0 for never, null for no limit"
        )
    if not has_limit:
        for name in ("limit", "headroom"):
            if name in parts:
                parts[name].reject("this window has no limit", "leave it out")
    if isinstance(window, Decay):
        for name in ("counts", "min_evidence"):
            if name in parts:
                parts[name].reject("fatigue has its own weights", "leave it out")


def _shortened(value: object) -> str:
    text = json.dumps(value, default=str)
    return text if len(text) <= 40 else f"{text[:37]}..."


# docs/caps.md gives the reasons for these numbers.
DEFAULT_DOCUMENT: dict[str, object] = {
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

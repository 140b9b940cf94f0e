"""Frequency cap rules as immutable values; `rules/parser.py` reads them from JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from tactful.device.caps.rules.subject import CLASSES, CapSubject
from tactful.device.caps.timeline.civil_time import Unit
from tactful.device.caps.timeline.segments import FULL, VERIFIED

Author = Literal["app", "operator", "user"]
Partition = Literal["subject", "device"]
# The evidence that an impression was seen. Vaults store these numbers, so that only new
# ones may be added.
LEVEL_CODES: Mapping[str, int] = {"rendered": 1, "viewable": 2, "attended": 3}
LEVELS = tuple(LEVEL_CODES)  # weakest first
# The level of a reservation whose process died. It is above all evidence: the person
# may have seen the item, and nobody can report it.
PRESUMED = 4
W_MAX = 1.5  # the most that one impression adds to fatigue
MS_PER_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Sliding:
    """The last `ms` milliseconds; an event exactly that old does not count."""

    ms: int


@dataclass(frozen=True, slots=True)
class Cooldown:
    """Pause of at least `ms` milliseconds after the last event."""

    ms: int


@dataclass(frozen=True, slots=True)
class Calendar:
    """The current `n` days, weeks or months; `zone` None is that of the device."""

    unit: Unit
    n: int = 1
    zone: str | None = None
    week_start: str = "MO"


@dataclass(frozen=True, slots=True)
class Session:
    """The current session; it ends after `gap_ms` without activity."""

    gap_ms: int


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Window without an end: every event counts."""


@dataclass(frozen=True, slots=True)
class EveryNth:
    """Rule that allows only each `n`th opportunity."""

    n: int


@dataclass(frozen=True, slots=True)
class Decay:
    """Limit `budget` on fatigue, which halves every `half_life_ms`."""

    half_life_ms: int
    budget: float


Window = Sliding | Cooldown | Calendar | Session | Lifetime | EveryNth | Decay
WINDOW_NAMES: Mapping[str, type[Window]] = {
    "sliding": Sliding,
    "cooldown": Cooldown,
    "calendar": Calendar,
    "session": Session,
    "lifetime": Lifetime,
    "every_nth": EveryNth,
    "decay": Decay,
}


@dataclass(frozen=True, slots=True)
class Headroom:
    """Part of a limit that is reserved for items of class `for_class` and above.

    The last `slots` places are reserved until the local time `until` (minutes of the
    day); None means that they stay reserved.
    """

    for_class: str
    slots: int
    until: int | None = None

    @property
    def rank(self) -> int:
        """The rank of the class."""
        return CLASSES.index(self.for_class)


@dataclass(frozen=True, slots=True)
class Exempt:
    """Exemption of items of `item_class` and above, at most `limit` in `window_ms`."""

    item_class: str
    window_ms: int
    limit: int

    @property
    def rank(self) -> int:
        """The rank of the class."""
        return CLASSES.index(self.item_class)


@dataclass(frozen=True, slots=True)
class Weights:
    """Weights of the kinds of events under one rule; whole numbers >= 0."""

    impression: int = 1
    reservation: int = 1
    # Keys: click, dismiss, hide, report, convert.
    reactions: Mapping[str, int] = field(default_factory=dict)

    @property
    def grant_weight(self) -> int:
        """The allowance that one grant needs.

        A rule that counts only reactions still needs an allowance of one.
        """
        return self.impression or 1


@dataclass(frozen=True, slots=True)
class Rule:
    """One frequency cap. `limit` None is unlimited, 0 is never."""

    id: str
    key: tuple[str, ...]
    window: Window
    reason_code: str
    version: int = 1
    author: Author = "app"
    partition: Partition = "subject"
    match: Mapping[str, frozenset[str]] = field(default_factory=dict)
    weights: Weights = field(default_factory=Weights)
    min_level: int = 2  # 1 rendered, 2 viewable, 3 attended
    limit: int | None = None
    headroom: tuple[Headroom, ...] = ()
    exempt: Exempt | None = None
    # None: deny on interruptive surfaces only.
    on_missing_time: Literal["deny", "allow"] | None = None

    @property
    def window_name(self) -> str:
        """The kind of the window, as it is written in a rules document."""
        return next(
            name for name, kind in WINDOW_NAMES.items() if isinstance(self.window, kind)
        )

    def matches(self, cap_subject: CapSubject, surface: str) -> bool:
        """Return True if the rule applies to `cap_subject` on `surface`.

        Every attribute in `match` must have at least one of its accepted values.
        """
        return all(
            not accepted.isdisjoint(cap_subject.values(attribute, surface))
            for attribute, accepted in self.match.items()
        )


@dataclass(frozen=True, slots=True)
class Surface:
    """One place where items appear; an interruptive one reaches the person unasked."""

    interruptive: bool = False
    reservation_ttl_ms: int = 120_000


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Local hours without interruptions.

    They last from `start` to `end`, both in minutes of the day, and may span midnight.
    """

    id: str
    surfaces: frozenset[str]
    days: frozenset[str]
    start: int
    end: int
    zone: str | None = None  # None: the device's
    author: Author = "app"
    behaviour: Literal["defer", "drop", "silent"] = "defer"
    jitter_ms: int = 0


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules together; each rule can only tighten what the others allow.

    If `surfaces` is empty, every surface name is accepted and is not interruptive. An
    eligible item that got no place for `starve_after_ms` goes before others of its
    class; None keeps the order of the app.
    """

    rules: tuple[Rule, ...] = ()
    surfaces: Mapping[str, Surface] = field(default_factory=dict)
    quiet_hours: tuple[QuietHours, ...] = ()
    operator_can_tighten: bool = False
    starve_after_ms: int | None = None

    @classmethod
    def parse(cls, document: object) -> Rules:
        """Return the rules of a parsed JSON document.

        Raises InvalidInput naming the field.
        """
        from tactful.device.caps.rules.parser import read_rules

        return read_rules(document)

    @classmethod
    def from_text(cls, text: str) -> Rules:
        """Return the rules of a JSON text; raises InvalidInput with line and field."""
        from tactful.device.caps.rules.parser import read_rules_text

        return read_rules_text(text)

    @classmethod
    def from_file(cls, path: str | Path) -> Rules:
        """Return the rules of a JSON file; raises InvalidInput with line and field."""
        from tactful.device.caps.rules.parser import read_rules_file

        return read_rules_file(path)

    @classmethod
    def default(cls) -> Rules:
        """Return the default rules.

        They show the same item at most twice a week. An item that was shown without a
        reaction returns after a month; each further ignored impression makes the pause
        longer, up to 47 days.
        """
        from tactful.device.caps.rules.parser import DEFAULT_DOCUMENT, read_rules

        return read_rules(DEFAULT_DOCUMENT)

    def surface(self, name: str) -> Surface:
        """Return the surface called `name`; not interruptive if it is not listed."""
        return self.surfaces.get(name, Surface())

    def timeline(self, rule: Rule) -> int:
        """Return the timeline that `rule` uses.

        It is `VERIFIED` if the rule can match an interruptive surface, else `FULL`.
        """
        names = rule.match.get("surface", frozenset(self.surfaces))
        interruptive = any(self.surface(name).interruptive for name in names)
        return VERIFIED if interruptive else FULL

    def with_user(self, user_rules: Rules) -> Rules:
        """Return these rules and those of the person, which no update can replace."""
        return Rules(
            (*self.rules, *user_rules.rules),
            self.surfaces,
            (*self.quiet_hours, *user_rules.quiet_hours),
            self.operator_can_tighten,
            self.starve_after_ms,
        )

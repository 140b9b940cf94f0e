"""How often the same thing may come back: rules as values (`rules_reader` reads them)."""

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
# How sure it is that a show was seen. Vaults hold the numbers: append only, as the codes of events.
LEVEL_CODES: Mapping[str, int] = {"rendered": 1, "viewable": 2, "attended": 3}
LEVELS = tuple(LEVEL_CODES)  # weakest first
PRESUMED = (
    4  # stronger than any evidence: the person may have seen it, and nobody can say
)
W_MAX = 1.5  # the most that one show adds to fatigue
MS_PER_DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Sliding:
    """The last `ms` milliseconds; an event exactly that old no longer counts."""

    ms: int


@dataclass(frozen=True, slots=True)
class Cooldown:
    """At least `ms` milliseconds after the last."""

    ms: int


@dataclass(frozen=True, slots=True)
class Calendar:
    """The current `n` days, weeks or months; `zone` None is the device's."""

    unit: Unit
    n: int = 1
    zone: str | None = None
    week_start: str = "MO"


@dataclass(frozen=True, slots=True)
class Session:
    """Until the device was left alone for `gap_ms`."""

    gap_ms: int


@dataclass(frozen=True, slots=True)
class Lifetime:
    """Ever."""


@dataclass(frozen=True, slots=True)
class EveryNth:
    """Each `n`th opportunity only."""

    n: int


@dataclass(frozen=True, slots=True)
class Decay:
    """Until fatigue, halved every `half_life_ms`, leaves room below `budget`."""

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
    """The last `slots` places are kept for items of class `for_class` and above.

    `until`: minutes of the local day after which they are free for all; None is never.
    """

    for_class: str
    slots: int
    until: int | None = None

    @property
    def rank(self) -> int:
        """The place of the class."""
        return CLASSES.index(self.for_class)


@dataclass(frozen=True, slots=True)
class Exempt:
    """Items of `item_class` and above pass, at most `limit` of them in `window_ms`."""

    item_class: str
    window_ms: int
    limit: int

    @property
    def rank(self) -> int:
        """The place of the class."""
        return CLASSES.index(self.item_class)


@dataclass(frozen=True, slots=True)
class Weights:
    """What each kind of event counts; whole numbers >= 0."""

    impression: int = 1
    reservation: int = 1
    reactions: Mapping[str, int] = field(
        default_factory=dict
    )  # click, dismiss, hide, report, ...

    @property
    def asked(self) -> int:
        """The room one grant needs: a rule that counts only reactions still needs room for one."""
        return self.impression or 1


@dataclass(frozen=True, slots=True)
class Rule:
    """One limit. `limit` None is unlimited, 0 is never."""

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
    on_missing_time: Literal["deny", "allow"] | None = (
        None  # None: deny where interruptive
    )

    @property
    def window_name(self) -> str:
        """The kind of the window, as it is written in a rules document."""
        return next(
            name for name, kind in WINDOW_NAMES.items() if isinstance(self.window, kind)
        )

    def matches(self, thing: CapSubject, surface: str) -> bool:
        """Whether the rule speaks of `thing` on `surface`: AND across attributes, OR inside."""
        return all(
            not wanted.isdisjoint(thing.values(attribute, surface))
            for attribute, wanted in self.match.items()
        )


@dataclass(frozen=True, slots=True)
class Surface:
    """One place where items appear; an interruptive one reaches the person unasked."""

    interruptive: bool = False
    reservation_ttl_ms: int = 120_000


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Local hours without interruption: `start` to `end`, minutes of the day, may wrap midnight."""

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
    """All rules together; each can only tighten what the others leave.

    `surfaces` empty: every surface name is an ordinary one. `starve_after_ms`: what may be shown
    and got no slot for so long goes before its equals; None: the app's order stands.
    """

    rules: tuple[Rule, ...] = ()
    surfaces: Mapping[str, Surface] = field(default_factory=dict)
    quiet_hours: tuple[QuietHours, ...] = ()
    operator_can_tighten: bool = False
    starve_after_ms: int | None = None

    @classmethod
    def parse(cls, document: object) -> Rules:
        """The rules of a parsed JSON document; raises InvalidInput naming the field."""
        from tactful.device.caps.rules.parser import read_rules

        return read_rules(document)

    @classmethod
    def from_text(cls, text: str) -> Rules:
        """The rules of a JSON text; raises InvalidInput naming line and field."""
        from tactful.device.caps.rules.parser import read_rules_text

        return read_rules_text(text)

    @classmethod
    def from_file(cls, path: str | Path) -> Rules:
        """The rules of a JSON file; raises InvalidInput naming line and field."""
        from tactful.device.caps.rules.parser import read_rules_file

        return read_rules_file(path)

    @classmethod
    def default(cls) -> Rules:
        """The same item twice a week if it is welcome; shown and left alone, a month later.

        Each further show that is left alone makes the rest longer, up to 47 days.
        """
        from tactful.device.caps.rules.parser import DEFAULT_DOCUMENT, read_rules

        return read_rules(DEFAULT_DOCUMENT)

    def surface(self, name: str) -> Surface:
        """The surface called `name`; an ordinary one if the rules name none at all."""
        return self.surfaces.get(name, Surface())

    def timeline(self, rule: Rule) -> int:
        """Whose clock `rule` runs by: `verified` if it can match an interruptive surface."""
        named = rule.match.get("surface", frozenset(self.surfaces))
        return (
            VERIFIED if any(self.surface(name).interruptive for name in named) else FULL
        )

    def with_user(self, own: Rules) -> Rules:
        """These rules and the person's own, which none can replace."""
        return Rules(
            (*self.rules, *own.rules),
            self.surfaces,
            (*self.quiet_hours, *own.quiet_hours),
            self.operator_can_tighten,
            self.starve_after_ms,
        )

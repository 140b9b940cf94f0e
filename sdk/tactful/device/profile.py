"""What the device believes the person likes: a fold over events, with the dates that led there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from tactful.device.events import StoredEvent

DAY_MS = 86_400_000


@dataclass(frozen=True)
class Signal:
    """What one event of a kind says: `weight` towards the item, halved every `half_life_days`."""

    weight: float
    half_life_days: float


SIGNALS: Mapping[str, Signal] = MappingProxyType(
    {
        "view": Signal(0.3, 14),
        "dwell": Signal(0.5, 14),
        "click": Signal(1.0, 30),
        "like": Signal(2.0, 180),
        "save": Signal(2.0, 180),
        "rating": Signal(1.0, 365),  # times its distance from a neutral 3
        "purchase": Signal(3.0, 365),
        "convert": Signal(3.0, 365),
        "interest": Signal(2.0, 365),
        "dismiss": Signal(-1.0, 30),
        "dislike": Signal(-4.0, 180),
        "hide": Signal(-4.0, 180),
        "report": Signal(-4.0, 365),
    }
)
NEUTRAL_RATING = 3.0
BOUGHT = frozenset({"purchase", "convert"})
FORBIDDING = frozenset({"hide", "report"})
DATES_KEPT = 8  # per item: enough to show where a belief comes from and to estimate a cycle


@dataclass(frozen=True, slots=True)
class Belief:
    """What is believed of one item: a strength per half-life, and the newest dates behind it.

    `strengths` maps a half-life in days to (strength, unix ms it was valid at); `dates` holds the
    last (kind, unix ms); `events` counts all.
    """

    strengths: Mapping[float, tuple[float, int]] = field(default_factory=dict)
    dates: tuple[tuple[str, int], ...] = ()
    events: int = 0

    def at(self, now_ms: int) -> float:
        """The strength left at `now_ms`; below 0 the item is disliked."""
        return sum(_faded(*one, now_ms, days) for days, one in self.strengths.items())

    def after(self, event: StoredEvent) -> Belief:
        """The belief once `event` has happened."""
        signal = SIGNALS[event.kind]
        days = signal.half_life_days
        strength, since = self.strengths.get(days, (0.0, event.at_ms))
        now_ms = max(since, event.at_ms)
        stronger = _faded(strength, since, now_ms, days) + _weight(event, signal)
        return Belief(
            {**self.strengths, days: (stronger, now_ms)},
            (*self.dates, (event.kind, event.at_ms))[-DATES_KEPT:],
            self.events + 1,
        )

    @property
    def bought(self) -> tuple[int, ...]:
        """When the item was bought, the newest dates in unix ms."""
        return tuple(at_ms for kind, at_ms in self.dates if kind in BOUGHT)


@dataclass(frozen=True)
class Profile:
    """Beliefs by item id."""

    beliefs: Mapping[str, Belief] = field(default_factory=dict)

    def after(self, events: Iterable[StoredEvent]) -> Profile:
        """The profile once `events` have happened; folding in pieces gives the same.

        What was recorded for repetition limits alone never becomes part of it.
        """
        beliefs = dict(self.beliefs)
        for event in events:
            if event.item_id is None or event.kind not in SIGNALS or event.purpose == "essential":
                continue
            beliefs[event.item_id] = beliefs.get(event.item_id, Belief()).after(event)
        return Profile(beliefs)

    def likes(self, now_ms: int) -> dict[str, float]:
        """What is liked at `now_ms`: item id to strength above 0, the strongest first."""
        strengths = ((item_id, belief.at(now_ms)) for item_id, belief in self.beliefs.items())
        liked = [(item_id, strength) for item_id, strength in strengths if strength > 0]
        return dict(sorted(liked, key=lambda pair: (-pair[1], pair[0])))

    @property
    def owned(self) -> frozenset[str]:
        """The ids of items bought at least once, as far as the newest dates tell."""
        return frozenset(item_id for item_id, belief in self.beliefs.items() if belief.bought)


def _weight(event: StoredEvent, signal: Signal) -> float:
    if event.kind != "rating":
        return signal.weight
    return signal.weight * (
        (NEUTRAL_RATING if event.value is None else event.value) - NEUTRAL_RATING
    )


def _faded(strength: float, since_ms: int, now_ms: int, half_life_days: float) -> float:
    elapsed_days = max(now_ms - since_ms, 0) / DAY_MS
    return strength * float(2.0 ** (-elapsed_days / half_life_days))

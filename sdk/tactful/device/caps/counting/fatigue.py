"""Fatigue: each show wears a little, time heals, a dismissal hurts, a click helps."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal

from tactful.device.caps.rules.model import W_MAX

MS_PER_DAY = 86_400_000
SHOWN = 1.0
IGNORED = W_MAX - SHOWN  # added when a viewable show closes without any action
REACTIONS: Mapping[str, float] = MappingProxyType({"dismiss": 3.0, "click": -1.0})
HALF_LIFE_MS: Mapping[str, int] = MappingProxyType(
    {
        "item": 7 * MS_PER_DAY,
        "creative": 3 * MS_PER_DAY,
        "campaign": 14 * MS_PER_DAY,
        "brand": 30 * MS_PER_DAY,
    }
)
TAIL = 16  # events kept apart per key, so that a late one finds its place; older ones are summed
Form = Literal["exponential", "linear", "inverse", "quadratic"]


class Wear:
    """The fatigue of one key: its value after the last event, and the last events one by one."""

    __slots__ = ("_base", "_half_life", "_since", "_value", "_value_since", "events")

    def __init__(self, half_life_ms: float) -> None:
        self._half_life = half_life_ms
        self._base, self._since = 0.0, -math.inf  # after what is long past
        self._value, self._value_since = 0.0, -math.inf  # after all events
        self.events: list[tuple[int, float]] = []

    def add(self, at: int, weight: float) -> None:
        """Count `weight` at canonical time `at`; O(1) unless it is late."""
        if at > self._value_since or (self.events and (at, weight) >= self.events[-1]):
            self.events.append((at, weight))
            self._value, self._value_since = self._after(
                self._value, self._value_since, at, weight
            )
        else:
            if at < self._since:  # long past: only what is left of it
                at, weight = int(self._since), self._decayed(weight, at, self._since)
            insort(self.events, (at, weight))
            self._value, self._value_since = self._folded(self.events)
        if len(self.events) > TAIL:
            at, weight = self.events.pop(0)
            last = max(at, self._since)
            self._base, self._since = self._after(self._base, self._since, last, weight)

    def at(self, now: int) -> float:
        """F at canonical time `now`; 0 is fresh."""
        if now >= self._value_since:
            return self._decayed(self._value, self._value_since, now)
        return self._decayed(
            *self._folded([event for event in self.events if event[0] <= now]), now
        )

    def facts(self) -> list[float]:
        """What there is to keep of it, as numbers; `take` reads them back."""
        ends = (self._base, self._since, self._value, self._value_since)
        return [*ends, *(number for event in self.events for number in event)]

    def take(self, facts: Sequence[float]) -> None:
        """Become what `facts` tell."""
        self._base, self._since, self._value, self._value_since, *events = facts
        self.events = [
            (int(at), w) for at, w in zip(events[::2], events[1::2], strict=True)
        ]

    def _folded(self, events: Iterable[tuple[int, float]]) -> tuple[float, float]:
        value, since = self._base, self._since
        for at, weight in events:
            value, since = self._after(value, since, at, weight)
        return value, since

    def _after(
        self, value: float, since: float, at: float, weight: float
    ) -> tuple[float, float]:
        return max(0.0, self._decayed(value, since, at) + weight), at

    def _decayed(self, value: float, since: float, now: float) -> float:
        if value == 0.0 or now <= since:
            return value
        return float(value * 2.0 ** (-(now - since) / self._half_life))

    def wait_ms(self, now: int, room: float) -> int:
        """How long until F is at most `room`; 0 if it is now."""
        value = self.at(now)
        if value <= room:
            return 0
        return math.ceil(self._half_life * math.log2(value / room))


def soften(
    score: float,
    wear: float,
    *,
    beta: float = 1.0,
    least: float = 0.1,
    form: Form = "exponential",
) -> float:
    """A non-negative score after fatigue `wear`: never more, never below `least` of itself."""
    shapes: dict[Form, float] = {
        "exponential": 2.0 ** (-beta * wear),
        "linear": 1.0 - beta * wear,
        "inverse": 1.0 / (1.0 + beta * wear),
        "quadratic": 1.0 - beta * wear * wear,
    }
    return score * min(1.0, max(least, shapes[form]))

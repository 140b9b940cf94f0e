"""Fatigue: each show wears a little, time heals, a dismissal hurts, a click helps."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Literal

from tactful.device.caps.rules import W_MAX

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
TAIL = 64  # events kept apart per key, so that a late one finds its place; older ones are summed
Form = Literal["exponential", "linear", "inverse", "quadratic"]


class Wear:
    """The fatigue of one key: a sum of what is long past, and the last events one by one."""

    __slots__ = ("_base", "_half_life", "_since", "events")

    def __init__(self, half_life_ms: float) -> None:
        self._half_life = half_life_ms
        self._base, self._since = 0.0, -math.inf
        self.events: list[tuple[int, float]] = []

    def add(self, at: int, weight: float) -> None:
        """Count `weight` at canonical time `at`; O(1) unless it is late."""
        insort(self.events, (at, weight))
        if len(self.events) > TAIL:
            self._sum_up(self.events.pop(0))

    def _sum_up(self, event: tuple[int, float]) -> None:
        at = max(event[0], self._since)
        self._base, self._since = self._folded(self._base, self._since, [(at, event[1])])

    def at(self, now: int) -> float:
        """F at canonical time `now`; 0 is fresh."""
        events = (event for event in self.events if event[0] <= now)
        value, since = self._folded(self._base, self._since, events)
        return self._decayed(value, since, now)

    def _folded(
        self, value: float, since: float, events: Iterable[tuple[float, float]]
    ) -> tuple[float, float]:
        for at, weight in events:
            value, since = max(0.0, self._decayed(value, since, at) + weight), at
        return value, since

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
    score: float, wear: float, *, beta: float = 1.0, least: float = 0.1, form: Form = "exponential"
) -> float:
    """A non-negative score after fatigue `wear`: never more, never below `least` of itself."""
    shapes: dict[Form, float] = {
        "exponential": 2.0 ** (-beta * wear),
        "linear": 1.0 - beta * wear,
        "inverse": 1.0 / (1.0 + beta * wear),
        "quadratic": 1.0 - beta * wear * wear,
    }
    return score * min(1.0, max(least, shapes[form]))

"""Fatigue: it rises with each impression and dismissal and halves over time."""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from tactful.device.caps.rules.model import W_MAX

MS_PER_DAY = 86_400_000
SHOWN = 1.0
IGNORED = W_MAX - SHOWN  # added when a viewable impression ends without any reaction
REACTIONS: Mapping[str, float] = MappingProxyType({"dismiss": 3.0, "click": -1.0})
# The number of events kept one by one for each key, so that a late event can be
# inserted in its order. Older events are only kept as a sum.
TAIL = 16
WeightedEvent = tuple[int, float]  # canonical time in milliseconds, weight


class Wear:
    """Fatigue of one key: its value after the last event, and the last events.

    The value never falls below 0. Because of that, events do not commute: a late event
    needs the events after it to be added again.
    """

    __slots__ = ("_base", "_base_ms", "_half_life_ms", "_value", "_value_ms", "events")

    def __init__(self, half_life_ms: float) -> None:
        self._half_life_ms = half_life_ms
        # The value at `_base_ms`, after the events that are no longer in `events`.
        self._base, self._base_ms = 0.0, -math.inf
        # The value at `_value_ms`, after all events.
        self._value, self._value_ms = 0.0, -math.inf
        self.events: list[WeightedEvent] = []

    def add(self, at_ms: int, weight: float) -> None:
        """Add `weight` at canonical time `at_ms`; O(1) unless the event is late."""
        if self._is_newest(at_ms, weight):
            self.events.append((at_ms, weight))
            self._value = self._value_after(self._value, self._value_ms, at_ms, weight)
            self._value_ms = at_ms
        else:
            self._insert_late(at_ms, weight)
        if len(self.events) > TAIL:
            self._move_oldest_to_base()

    def _is_newest(self, at_ms: int, weight: float) -> bool:
        if at_ms > self._value_ms:
            return True
        return bool(self.events) and (at_ms, weight) >= self.events[-1]

    def _insert_late(self, at_ms: int, weight: float) -> None:
        if at_ms < self._base_ms:
            # Older than all listed events: add only what is left of it at `_base_ms`.
            weight = self._decayed(weight, at_ms, self._base_ms)
            at_ms = int(self._base_ms)
        insort(self.events, (at_ms, weight))
        self._value, self._value_ms = self._sum(self.events)

    def _move_oldest_to_base(self) -> None:
        event_ms, weight = self.events.pop(0)
        base_ms = max(event_ms, self._base_ms)
        self._base = self._value_after(self._base, self._base_ms, base_ms, weight)
        self._base_ms = base_ms

    def at(self, now_ms: int) -> float:
        """Return the fatigue at canonical time `now_ms`; 0 means no fatigue."""
        if now_ms >= self._value_ms:
            return self._decayed(self._value, self._value_ms, now_ms)
        past_events = [event for event in self.events if event[0] <= now_ms]
        value, value_ms = self._sum(past_events)
        return self._decayed(value, value_ms, now_ms)

    def to_numbers(self) -> list[float]:
        """Return all that a checkpoint stores of it; `restore` reads it back."""
        numbers = [self._base, self._base_ms, self._value, self._value_ms]
        for at_ms, weight in self.events:
            numbers += [at_ms, weight]
        return numbers

    def restore(self, numbers: Sequence[float]) -> None:
        """Set the state that `to_numbers` returned."""
        self._base, self._base_ms, self._value, self._value_ms, *events = numbers
        pairs = zip(events[::2], events[1::2], strict=True)
        self.events = [(int(at_ms), weight) for at_ms, weight in pairs]

    def _sum(self, events: Iterable[WeightedEvent]) -> tuple[float, float]:
        """Return the value after the base and `events`, and the time of the last."""
        value, value_ms = self._base, self._base_ms
        for at_ms, weight in events:
            value = self._value_after(value, value_ms, at_ms, weight)
            value_ms = at_ms
        return value, value_ms

    def _value_after(
        self, value: float, value_ms: float, at_ms: float, weight: float
    ) -> float:
        return max(0.0, self._decayed(value, value_ms, at_ms) + weight)

    def _decayed(self, value: float, value_ms: float, now_ms: float) -> float:
        if value == 0.0 or now_ms <= value_ms:
            return value
        return float(value * 2.0 ** (-(now_ms - value_ms) / self._half_life_ms))

    def wait_ms(self, now_ms: int, threshold: float) -> int:
        """Return the milliseconds until the fatigue is at most `threshold`, or 0."""
        value = self.at(now_ms)
        if value <= threshold:
            return 0
        return math.ceil(self._half_life_ms * math.log2(value / threshold))

"""Nobody waits for ever: what may be shown and got no slot for days goes before its equals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tactful.device.caps.rules.subject import CLASSES, CapSubject

NORMAL, HIGH = CLASSES.index("normal"), CLASSES.index("high")


def starving(
    things: Sequence[CapSubject], since_ms: Mapping[str, int], now_ms: int, most_ms: int
) -> set[str]:
    """The ids of normal or better things that wait for `most_ms` or longer."""
    return {
        thing.item
        for thing in things
        if thing.rank >= NORMAL and now_ms - since_ms.get(thing.item, now_ms) >= most_ms
    }


def fair_order(
    things: Sequence[CapSubject], hungry: set[str], since_ms: Mapping[str, int]
) -> list[int]:
    """Places in a new order: better classes, then who waits too long (longest first), then all."""

    def turn(place: int) -> tuple[int, int]:
        thing = things[place]
        if thing.rank >= HIGH:
            return 0, 0
        return (1, since_ms[thing.item]) if thing.item in hungry else (2, 0)

    return sorted(range(len(things)), key=turn) if hungry else list(range(len(things)))

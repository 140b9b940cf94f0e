"""Starvation: an eligible item that got no place for days goes before its equals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tactful.device.caps.rules.subject import CLASSES, CapSubject

NORMAL, HIGH = CLASSES.index("normal"), CLASSES.index("high")


def starving(
    cap_subjects: Sequence[CapSubject],
    waiting_since: Mapping[str, int],
    now_ms: int,
    starve_after_ms: int,
) -> set[str]:
    """Return the ids of items that have waited for `starve_after_ms` or longer.

    Only items of class normal or above can starve.
    """
    starving_items = set()
    for cap_subject in cap_subjects:
        waited_ms = now_ms - waiting_since.get(cap_subject.item, now_ms)
        if cap_subject.rank >= NORMAL and waited_ms >= starve_after_ms:
            starving_items.add(cap_subject.item)
    return starving_items


def fair_order(
    cap_subjects: Sequence[CapSubject],
    starving_items: set[str],
    waiting_since: Mapping[str, int],
) -> list[int]:
    """Return the positions of `cap_subjects` in a new order.

    Higher classes come first, then starving items (the longest wait first), then all
    others. Inside each of these parts, the order stays.
    """
    if not starving_items:
        return list(range(len(cap_subjects)))

    def sort_key(position: int) -> tuple[int, int]:
        cap_subject = cap_subjects[position]
        if cap_subject.rank >= HIGH:
            return 0, 0
        if cap_subject.item in starving_items:
            return 1, waiting_since[cap_subject.item]
        return 2, 0

    return sorted(range(len(cap_subjects)), key=sort_key)

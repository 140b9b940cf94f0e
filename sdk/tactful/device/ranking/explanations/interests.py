"""What the device takes the person to be interested in, and from which events, on which dates."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from tactful.device.catalog import Catalog, Item
from tactful.device.ranking.scoring.taste import marks
from tactful.device.state.profile import (
    DAY_MS,
    LEAST_DAYS,
    LEAST_EVIDENCE,
    Belief,
    Key,
    Profile,
)

SHOWN = ("item", "category", "brand")


@dataclass(frozen=True)
class Interest:
    """One interest: `strength` now, from how many `days`, and whether it is `usable` in lists.

    `evidence` has (kind of event, unix ms, item id), newest first; `factor` is how much the person
    lets it count, 1 unless they said so.
    """

    scope: str
    value: str
    strength: float
    days: int
    usable: bool
    factor: float
    evidence: tuple[tuple[str, int, str], ...]


def interests(
    profile: Profile,
    catalog: Catalog,
    now_ms: int,
    factors: Mapping[Key, float],
    sensitive: Callable[[Item], bool],
) -> tuple[Interest, ...]:
    """Every interest in an item, a category or a brand, the strongest first; none is sensitive."""
    found: defaultdict[Key, list[tuple[str, Belief]]] = defaultdict(list)
    told = [
        *profile.beliefs.items(),
        *((i, b) for (_, i), b in profile.opinions.items()),
    ]
    scopes = [
        *(None for _ in profile.beliefs),
        *(scope for scope, _ in profile.opinions),
    ]
    for (item_id, belief), only in zip(told, scopes, strict=True):
        if item_id in catalog and not sensitive(catalog[item_id]):
            for scope, value in marks(catalog[item_id]):
                if scope in SHOWN and only in (None, scope):
                    found[scope, value].append((item_id, belief))
    made = [
        _interest(what, told_by, now_ms, factors) for what, told_by in found.items()
    ]
    return tuple(sorted(made, key=lambda one: (-one.strength, one.scope, one.value)))


def _interest(
    what: Key,
    told_by: list[tuple[str, Belief]],
    now_ms: int,
    factors: Mapping[Key, float],
) -> Interest:
    strength, factor = (
        sum(belief.at(now_ms) for _, belief in told_by),
        factors.get(what, 1.0),
    )
    dates = [
        (kind, at, item_id) for item_id, belief in told_by for kind, at in belief.dates
    ]
    newest = tuple(sorted(dates, key=lambda one: -one[1]))
    days = len({at // DAY_MS for _, at, _ in dates})
    lasting = days >= LEAST_DAYS or any(belief.lasting for _, belief in told_by)
    usable = strength >= LEAST_EVIDENCE and lasting and factor > 0
    return Interest(*what, strength, days, usable, factor, newest)

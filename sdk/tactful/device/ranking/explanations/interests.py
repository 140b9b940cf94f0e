"""The interests that the device infers, with the events and dates they come from."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
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
from tactful.json_values import JsonResult

INTEREST_SCOPES = ("item", "category", "brand")


@dataclass(frozen=True)
class Interest(JsonResult):
    """One interest of the person in an item, a category or a brand.

    `strength` is the value now; `days` the number of days with evidence; `usable` says
    whether lists use it. `evidence` has (kind of event, unix ms, item id), newest
    first. `factor` is the weight that the person set; 1 by default.
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
    """Return every interest that is not sensitive, the strongest first.

    `factors` maps (scope, value) to the weight that the person set.
    """
    sources: defaultdict[Key, list[tuple[str, Belief]]] = defaultdict(list)
    for item_id, opinion_scope, belief in _beliefs(profile):
        if item_id not in catalog or sensitive(catalog[item_id]):
            continue
        for scope, value in marks(catalog[item_id]):
            if scope in INTEREST_SCOPES and opinion_scope in (None, scope):
                sources[scope, value].append((item_id, belief))
    inferred = [
        _interest(key, beliefs, now_ms, factors) for key, beliefs in sources.items()
    ]
    return tuple(sorted(inferred, key=_strongest_first))


def _beliefs(profile: Profile) -> Iterator[tuple[str, str | None, Belief]]:
    """Yield (item id, scope, belief).

    `scope` is None unless it is an opinion of a scope.
    """
    for item_id, belief in profile.beliefs.items():
        yield item_id, None, belief
    for (scope, item_id), belief in profile.opinions.items():
        yield item_id, scope, belief


def _strongest_first(interest: Interest) -> tuple[float, str, str]:
    return -interest.strength, interest.scope, interest.value


def _interest(
    key: Key,
    beliefs: list[tuple[str, Belief]],
    now_ms: int,
    factors: Mapping[Key, float],
) -> Interest:
    strength = sum(belief.at(now_ms) for _, belief in beliefs)
    factor = factors.get(key, 1.0)
    evidence = [
        (kind, at_ms, item_id)
        for item_id, belief in beliefs
        for kind, at_ms in belief.dates
    ]
    newest_first = tuple(sorted(evidence, key=lambda entry: -entry[1]))
    days = len({at_ms // DAY_MS for _, at_ms, _ in evidence})
    is_lasting = any(belief.is_lasting for _, belief in beliefs)
    has_evidence = days >= LEAST_DAYS or is_lasting
    usable = strength >= LEAST_EVIDENCE and has_evidence and factor > 0
    return Interest(*key, strength, days, usable, factor, newest_first)

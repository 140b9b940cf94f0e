"""Simulated sessions: repeated items over many days, with and without frequency caps.

Each person opens the app once a day and sees the whole list. The lists come from the
SDK, used as an app uses it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tactful.device.caps import Rules
from tactful.device.caps.rules.model import Sliding
from tactful.device.catalog import Catalog
from tactful.device.clock import MS_PER_DAY, ManualClock
from tactful.device.events import Event
from tactful.device.list_policy import ListPolicy
from tactful.device.personalizer import Personalizer
from tactful.device.ranking.device_metrics import DeviceMetrics
from tactful.device.ranking.list_metrics import repetition_rates
from tactful.device.settings import Settings
from tactful.learning.model import Model
from tactful.testing import FIXED_KEY, LOCAL

SESSIONS, LENGTH, SURFACE = 30, 10, "home"
BINS = ("once", "2-3 times", "4-9 times", "10 times or more")
PLAIN = ListPolicy(fatigue=0, places={}, most={})
NO_CAPS: dict[str, object] = {"schema": 1, "rules": []}


@dataclass(frozen=True)
class Repetition:
    """Repeats in all simulated sessions of a group of people.

    `times_seen` is the share of (person, item) pairs by number of impressions;
    `unwanted_rate` is the number of repeats over the number of impressions.
    """

    unwanted_rate: float
    times_seen: Mapping[str, float]
    cap_violations: int


def sessions(
    catalog: Catalog,
    model: Model,
    history: Sequence[str],
    *,
    capped: bool,
    days: int = SESSIONS,
) -> list[list[str]]:
    """Return the item ids of one person's lists, one a day.

    If not `capped`, items are ordered by scores alone: no caps, fatigue or diversity.
    """
    return measured_sessions(catalog, model, history, capped=capped, days=days)[0]


def measured_sessions(
    catalog: Catalog,
    model: Model,
    history: Sequence[str],
    *,
    capped: bool,
    days: int = SESSIONS,
) -> tuple[list[list[str]], DeviceMetrics | None]:
    """Return the lists of `sessions`, and the metrics that the device computed."""
    if capped:
        # Exploration is seeded by the history, so that results can be reproduced.
        list_policy = ListPolicy(seed=f"simulated {' '.join(history)}")
        settings = Settings(path=None, list_policy=list_policy)
    else:
        settings = Settings(path=None, caps=NO_CAPS, diversity=0, list_policy=PLAIN)
    clock = ManualClock()
    with Personalizer(
        catalog, settings, key=FIXED_KEY, consent=LOCAL, clock=clock, model=model
    ) as device:
        for item_id in history:
            device.observe(Event(kind="purchase", item_id=item_id))
        return [_session(device, clock) for _ in range(days)], device.explain.metrics()


def _session(device: Personalizer, clock: ManualClock) -> list[str]:
    picks = device.recommend(LENGTH, surface=SURFACE)
    for pick in picks:
        device.observe(pick.impression("viewable"))
    clock.advance(MS_PER_DAY)
    return [pick.item.id for pick in picks]


def summary(crowd: Sequence[Sequence[Sequence[str]]], rules: Rules) -> Repetition:
    """Return the repeats of all people's lists, and the violations of `rules`.

    Purchased items are not recommended again, so nobody wants any repeat.
    """
    rates, pairs_by_bin = [], Counter[str]()
    for lists in crowd:
        _, unwanted = repetition_rates(
            _numbered(lists), lambda item, index: False, window=SESSIONS
        )
        rates.append(unwanted)
        impressions = Counter(item for items in lists for item in items)
        pairs_by_bin.update(_bin(count) for count in impressions.values())
    total = max(pairs_by_bin.total(), 1)
    shares = {name: pairs_by_bin[name] / total for name in BINS}
    return Repetition(float(np.mean(rates)), shares, violations(crowd, rules))


def _numbered(lists: Sequence[Sequence[str]]) -> list[NDArray[np.int64]]:
    """Return the lists with items numbered from 0."""
    numbers: dict[str, int] = {}
    numbered = []
    for items in lists:
        row = [numbers.setdefault(item, len(numbers)) for item in items]
        numbered.append(np.array(row))
    return numbered


def violations(crowd: Sequence[Sequence[Sequence[str]]], rules: Rules) -> int:
    """Count the impressions beyond a sliding limit per item, from the lists alone.

    This does not use the cap engine, so it checks it. There is one list per day. An
    impression exactly as old as the window no longer counts.
    """
    limits = [
        (rule.window.ms // MS_PER_DAY, rule.limit)
        for rule in rules.rules
        if isinstance(rule.window, Sliding)
        and rule.key == ("item",)
        and rule.limit is not None
    ]
    count = 0
    for lists in crowd:
        for day, items in enumerate(lists):
            for days, limit in limits:
                window = lists[max(0, day - days + 1) : day]
                count += sum(_is_beyond(item, window, limit) for item in items)
    return count


def _is_beyond(item: str, window: Sequence[Sequence[str]], limit: int) -> bool:
    return sum(item in earlier for earlier in window) >= limit


def _bin(times: int) -> str:
    if times < 2:
        return BINS[0]
    if times < 4:
        return BINS[1]
    return BINS[2] if times < 10 else BINS[3]

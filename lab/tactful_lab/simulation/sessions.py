"""How often the same thing comes back to the same person: many sessions, with and without caps.

Simulated: everyone opens the app once a day and sees the whole list. The lists are real ones, from
the device as an app embeds it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

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
    """Lists of one kind over all simulated sessions.

    `times_seen` is the share of (person, item) pairs by how often; `unwanted_rate` repeats over
    impressions.
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
    """The lists one person is shown, one a day; without `capped`, nothing but scores."""
    return lived(catalog, model, history, capped=capped, days=days)[0]


def lived(
    catalog: Catalog,
    model: Model,
    history: Sequence[str],
    *,
    capped: bool,
    days: int = SESSIONS,
) -> tuple[list[list[str]], DeviceMetrics | None]:
    """The same, and what the device itself measured of them.

    Trials are drawn from the history, so that the same people are shown the same again.
    """
    plain = Settings(path=None, caps=NO_CAPS, diversity=0, list_policy=PLAIN)
    list_policy = ListPolicy(seed=f"simulated {' '.join(history)}")
    settings = Settings(path=None, list_policy=list_policy) if capped else plain
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
    """All persons' lists in figures, with the shows that `rules` would have forbidden recounted.

    What a person bought is not offered again, so nobody asked for any repeat: all are unwanted.
    """
    rates, seen = [], Counter[str]()
    for lists in crowd:
        numbers: dict[str, int] = {}
        coded = [
            np.array([numbers.setdefault(i, len(numbers)) for i in one])
            for one in lists
        ]
        rates.append(
            repetition_rates(coded, lambda item, index: False, window=SESSIONS)[1]
        )
        seen.update(_bin(n) for n in Counter(i for one in lists for i in one).values())
    total = max(seen.total(), 1)
    shares = {name: seen[name] / total for name in BINS}
    return Repetition(float(np.mean(rates)), shares, violations(crowd, rules))


def violations(crowd: Sequence[Sequence[Sequence[str]]], rules: Rules) -> int:
    """Shows beyond a sliding limit per item, recounted from the lists alone, one list a day.

    A show exactly as old as the window no longer counts.
    """
    limits = [
        (rule.window.ms // MS_PER_DAY, rule.limit)
        for rule in rules.rules
        if isinstance(rule.window, Sliding)
        and rule.key == ("item",)
        and rule.limit is not None
    ]
    return sum(
        _beyond(lists, day, item, days, limit)
        for lists in crowd
        for day, items in enumerate(lists)
        for item in items
        for days, limit in limits
    )


def _beyond(
    lists: Sequence[Sequence[str]], day: int, item: str, days: int, limit: int
) -> bool:
    return (
        sum(item in earlier for earlier in lists[max(0, day - days + 1) : day]) >= limit
    )


def _bin(times: int) -> str:
    return BINS[0 if times < 2 else 1 if times < 4 else 2 if times < 10 else 3]

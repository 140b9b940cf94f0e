"""A data set with times, cut into periods: what people did in each, and what comes next."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tactful.errors import InvalidInput
from tactful_lab.data_sets.loading import Dataset, Events
from tactful_lab.ranking_metrics import HELD_OUT, Holdout, Ints

HOUR = 3_600
LEAST_PEOPLE = (
    0.01  # of all, in a period; from the first with fewer on, nothing is looked at
)


def periods(dataset: Dataset, hours: int) -> tuple[Dataset, ...]:
    """One data set per period of so many hours: the same people and items, what they did then.

    Raises InvalidInput without times, for hours not in 1..8760, or for fewer than two periods.
    """
    if not 1 <= hours <= 8_760:
        raise InvalidInput("--hours", f"{hours} is not in 1..8760", "use 24")
    events = dataset.events
    if events is None or not len(events):
        raise InvalidInput("dataset", f"{dataset.name} has no times", "use globo-news")
    number = (events.time - events.time.min()) // (hours * HOUR)
    cut = []
    for period in range(int(number.max()) + 1):
        here = _slice(dataset, events, np.flatnonzero(number == period))
        if len(active(here)) < LEAST_PEOPLE * dataset.users:
            break
        cut.append(here)
    if len(cut) < 2:
        raise InvalidInput(
            "--hours", f"{len(cut)} periods have people", "use shorter periods"
        )
    return tuple(cut)


def active(period: Dataset) -> Ints:
    """Who did anything in the period."""
    return np.flatnonzero(np.diff(period.indptr))


def together(cut: tuple[Dataset, ...]) -> Dataset:
    """Some periods as one: what people took to, in the order of the periods."""
    user = np.concatenate(
        [np.repeat(np.arange(one.users), np.diff(one.indptr)) for one in cut]
    )
    return _from_pairs(cut[0], user, np.concatenate([one.indices for one in cut]))


def upcoming(before: Dataset, now: Dataset, audience: Ints) -> Holdout:
    """Of each of `audience`, the last fifth of what is new to them now, by time, is hidden.

    Known are what they did `before` and the rest; who has nothing known or hidden is left out.
    """
    known, hidden = [], []
    for past, present in zip(
        before.histories(audience), now.histories(audience), strict=True
    ):
        new = present[~np.isin(present, past)]
        cut = len(new) - max(int(HELD_OUT * len(new)), 1)
        if len(new) and len(past) + cut > 0:
            known.append(np.concatenate([past, new[:cut]]))
            hidden.append(new[cut:])
    return Holdout(tuple(known), tuple(hidden))


def _slice(dataset: Dataset, events: Events, chosen: Ints) -> Dataset:
    order = chosen[np.argsort(events.time[chosen], kind="stable")]
    return _from_pairs(dataset, events.user[order], events.item[order])


def _from_pairs(dataset: Dataset, user: Ints, item: Ints) -> Dataset:
    """The distinct pairs, by user, each where it stands first."""
    _, first = np.unique(user * dataset.items + item, return_index=True)
    first.sort()
    order = first[np.argsort(user[first], kind="stable")]
    counts = np.bincount(user[order], minlength=dataset.users)
    bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return replace(dataset, indptr=bounds, indices=item[order], events=None)

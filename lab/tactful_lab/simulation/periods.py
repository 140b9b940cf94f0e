"""Temporal splits: periods of a data set, and the next items to predict."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from tactful.errors import InvalidInput
from tactful_lab.data_sets.loading import Dataset, Events
from tactful_lab.ranking_metrics import HOLDOUT_SHARE, Holdout, Ints

HOUR = 3_600  # seconds
LEAST_PEOPLE = 0.01  # share of people; a period with fewer ends the series


def periods(dataset: Dataset, hours: int) -> tuple[Dataset, ...]:
    """Return a data set for each period of `hours`, with the same people and items.

    Raises InvalidInput without times, for hours not in 1..8760, or for fewer than two
    periods.
    """
    if not 1 <= hours <= 8_760:
        raise InvalidInput("--hours", f"{hours} is not in 1..8760", "use 24")
    events = dataset.events
    if events is None or not len(events):
        raise InvalidInput("dataset", f"{dataset.name} has no times", "use globo-news")
    period_of_event = (events.time - events.time.min()) // (hours * HOUR)
    slices = []
    for number in range(int(period_of_event.max()) + 1):
        rows = np.flatnonzero(period_of_event == number)
        period = _slice(dataset, events, rows)
        if len(active(period)) < LEAST_PEOPLE * dataset.users:
            break
        slices.append(period)
    if len(slices) < 2:
        raise InvalidInput(
            "--hours",
            f"only {len(slices)} periods of {hours} hours have enough people",
            "use shorter periods",
        )
    return tuple(slices)


def active(period: Dataset) -> Ints:
    """Return the people who have any event in the period."""
    return np.flatnonzero(np.diff(period.indptr))


def merge_periods(slices: tuple[Dataset, ...]) -> Dataset:
    """Return several periods as one, with items in the order of the periods."""
    users = [
        np.repeat(np.arange(period.users), np.diff(period.indptr)) for period in slices
    ]
    items = [period.indices for period in slices]
    return _from_pairs(slices[0], np.concatenate(users), np.concatenate(items))


def upcoming(before: Dataset, now: Dataset, audience: Ints) -> Holdout:
    """Hide the last fifth, by time, of each person's new items in the period `now`.

    Items of `before` and the first new items are visible. People of `audience` without
    visible or hidden items are left out.
    """
    visible, hidden = [], []
    for past, present in zip(
        before.histories(audience), now.histories(audience), strict=True
    ):
        new = present[~np.isin(present, past)]
        hidden_count = max(int(HOLDOUT_SHARE * len(new)), 1)
        split = len(new) - hidden_count
        if len(new) and len(past) + split > 0:
            visible.append(np.concatenate([past, new[:split]]))
            hidden.append(new[split:])
    return Holdout(tuple(visible), tuple(hidden))


def _slice(dataset: Dataset, events: Events, rows: Ints) -> Dataset:
    """Return the events with these row numbers as a data set, ordered by time."""
    order = rows[np.argsort(events.time[rows], kind="stable")]
    return _from_pairs(dataset, events.user[order], events.item[order])


def _from_pairs(dataset: Dataset, user: Ints, item: Ints) -> Dataset:
    """Return the distinct pairs by user, in the order of first occurrence."""
    # np.unique orders by value; sorting the positions restores their order.
    _, first = np.unique(user * dataset.items + item, return_index=True)
    first.sort()
    order = first[np.argsort(user[first], kind="stable")]
    counts = np.bincount(user[order], minlength=dataset.users)
    bounds = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return replace(dataset, indptr=bounds, indices=item[order], events=None)

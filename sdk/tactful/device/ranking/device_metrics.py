"""Metrics of this device's own lists, computed on the device; nothing is sent."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tactful.device.catalog import Catalog
from tactful.device.ranking import list_metrics
from tactful.device.ranking.list_trace import ListTrace
from tactful.device.ranking.scoring.catalog_scores import ItemPopularity
from tactful.device.ranking.scoring.taste import Taste
from tactful.device.ranking.values import Floats, Ints
from tactful.json_values import JsonResult

WINDOW = 10  # lists; an item of one of the last ten lists is a repeat


@dataclass(frozen=True, kw_only=True)
class DeviceMetrics(JsonResult):
    """Means over the `lists` that have a trace; shares are in [0, 1], no item is named.

    Each list: `diversity` is 1 minus the mean similarity; `entropy` that of the
    categories in bits, `ranked_entropy` the same weighted by place (RBE); `calibration`
    the divergence from the categories of the likes in nats; `relaxations` the number of
    quotas that yielded; `promoted` how many places below the list its lowest item ranks
    by score (LIP); `fatigue` the exposure fatigue of its items when it was made.

    All lists: `coverage`, `gini` and `hhi` measure the exposure of the catalog;
    `repeats_wanted` and `repeats_unwanted` the repeats per place within ten lists;
    `overlap` (RBO) and `jaccard` compare each list with the one before on its surface;
    `unrepeated` is the share of places whose item is in its list once; `cap_hits` the
    share of decisions in which caps denied an item.

    The person: `standard` is the share of places whose items would rank as high for
    everyone; `serendipity` per place, how much liked items gain over the standard list;
    `faithfulness` the share of cited likes without which the item would fall.

    Popularity, None without a model: `novelty` in bits; `popularity` (ARP) relative to
    the most popular item; `long_tail` the share of items that are no best-sellers
    (APLT), `head` the rest; `lift` the popularity of a list over that of the likes.
    """

    lists: int
    fill: float
    diversity: float
    entropy: float
    ranked_entropy: float
    coverage: float
    gini: float
    hhi: float
    repeats_wanted: float
    repeats_unwanted: float
    overlap: float
    jaccard: float
    unrepeated: float
    cap_hits: float
    relaxations: float
    promoted: float
    fatigue: float
    standard: float
    serendipity: float
    faithfulness: float
    calibration: float | None = None
    novelty: float | None = None
    popularity: float | None = None
    long_tail: float | None = None
    head: float | None = None
    lift: float | None = None


def measure_lists(
    traces: Sequence[ListTrace],
    standing: ItemPopularity,
    taste: Taste,
    citations: Sequence[bool] = (),
) -> DeviceMetrics | None:
    """Return the metrics of these lists, oldest first; None if nothing was shown.

    `citations` says for each cited like whether its item would fall without it.
    """
    shelf = standing.shelf
    catalog = shelf.catalog
    lists = [_item_numbers(trace, catalog) for trace in traces]
    filled = [items for items in lists if len(items)]
    if not filled:
        return None
    places = sum(map(len, filled))
    requested = sum(trace.length for trace in traces)
    denied = sum(len(trace.denied) for trace in traces)
    wear = [value for trace in traces for value in trace.wear]
    exposures = list_metrics.exposure(filled, len(catalog))
    is_wanted = _is_wanted(standing, taste)
    wanted, unwanted = list_metrics.repetition_rates(lists, is_wanted, WINDOW)
    overlap, jaccard = _overlaps(traces, lists)
    mixes = [shelf.category_mix(items) for items in filled]
    likes = np.fromiter(taste.likes, dtype=np.int64, count=len(taste.likes))
    return DeviceMetrics(
        lists=len(traces),
        fill=list_metrics.fill_rate(places, requested),
        diversity=_mean(
            [
                list_metrics.intra_list_diversity(items, shelf.similarity)
                for items in filled
            ]
        ),
        entropy=_mean([list_metrics.entropy(mix) for mix in mixes]),
        ranked_entropy=_mean(
            [
                list_metrics.rank_biased_entropy(shelf.category[items].tolist())
                for items in filled
            ]
        ),
        coverage=list_metrics.catalog_coverage(filled, len(catalog)),
        gini=list_metrics.gini(exposures),
        hhi=list_metrics.exposure_hhi(exposures),
        repeats_wanted=wanted,
        repeats_unwanted=unwanted,
        overlap=overlap,
        jaccard=jaccard,
        unrepeated=list_metrics.unrepeated(filled),
        cap_hits=list_metrics.cap_hit_rate(denied, places),
        relaxations=_mean([trace.relaxed for trace in traces]),
        promoted=_mean([trace.promoted for trace in traces]),
        fatigue=list_metrics.fatigue_index(wear),
        serendipity=_serendipity(traces, standing, taste, places),
        faithfulness=list_metrics.faithfulness(citations),
        standard=sum(trace.standard for trace in traces) / places,
        calibration=_calibration(shelf.category_mix(likes), mixes),
        **_popularity_metrics(filled, standing, likes),
    )


def _item_numbers(trace: ListTrace, catalog: Catalog) -> Ints:
    """Return the numbers of the shown items that the catalog still has."""
    numbers = [catalog.find(item_id) for item_id in trace.shown]
    offered = [number for number in numbers if number is not None]
    return np.array(offered, dtype=np.int64)


def _calibration(target: Floats, mixes: Sequence[Floats]) -> float | None:
    """Return the mean divergence from the categories of the likes.

    The result is None without likes.
    """
    if not target.any():
        return None
    return _mean([list_metrics.calibration_kl(target, mix) for mix in mixes])


def _popularity_metrics(
    lists: Sequence[Ints], standing: ItemPopularity, likes: Ints
) -> dict[str, float]:
    """Return the metrics that need a model, by field name; empty without one.

    Popularity is relative to the most popular item.
    """
    if standing.popularity is None:
        return {}
    highest = float(standing.popularity.max())
    popularity = standing.popularity.astype(np.float64) / highest
    is_head = standing.best_sellers == 0
    head = np.flatnonzero(is_head)
    metrics = {
        "novelty": _mean([list_metrics.novelty(items, popularity) for items in lists]),
        "popularity": _mean(
            [list_metrics.average_popularity(items, popularity) for items in lists]
        ),
        "long_tail": _mean(
            [list_metrics.long_tail_share(items, head) for items in lists]
        ),
        "head": _mean([float(is_head[items].mean()) for items in lists]),
    }
    if len(likes):
        lifts = [
            list_metrics.popularity_lift(items, likes, popularity) for items in lists
        ]
        metrics["lift"] = _mean(lifts)
    return metrics


def _overlaps(
    traces: Sequence[ListTrace], lists: Sequence[Ints]
) -> tuple[float, float]:
    """Return the mean (RBO, Jaccard) of consecutive lists on one surface."""
    by_surface: defaultdict[str, list[Ints]] = defaultdict(list)
    for trace, items in zip(traces, lists, strict=True):
        by_surface[trace.surface].append(items)
    overlaps = [
        list_metrics.overlaps(pair)
        for surface_lists in by_surface.values()
        for pair in pairwise(surface_lists)
    ]
    if not overlaps:
        return 0.0, 0.0
    rbo, jaccard = zip(*overlaps, strict=True)
    return _mean(rbo), _mean(jaccard)


def _serendipity(
    traces: Sequence[ListTrace], standing: ItemPopularity, taste: Taste, places: int
) -> float:
    """Return the gain of shown items over the standard list, per place.

    Only items that are liked now count, as in `list_metrics.serendipity` those that
    were held out.
    """
    items = standing.shelf.catalog.items
    liked = {items[number].id for number in taste.likes}
    total = 0.0
    for trace in traces:
        for item_id, gain in zip(trace.shown, trace.gains, strict=False):
            if item_id in liked:
                total += gain
    return total / places


def _is_wanted(standing: ItemPopularity, taste: Taste) -> Callable[[int, int], bool]:
    """Return a function that says whether the person wants an item again.

    Items that are due again and replenishable items are wanted.
    """
    items = standing.shelf.catalog.items
    due = frozenset(taste.due)
    return lambda item, _: item in due or items[item].replenishable


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))

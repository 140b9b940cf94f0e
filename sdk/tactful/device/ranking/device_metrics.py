"""What this device's own lists did to the person, in the measures of `metrics`; nothing leaves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from tactful.device.ranking import list_metrics
from tactful.device.ranking.list_trace import ListTrace
from tactful.device.ranking.scoring.catalog_scores import ItemPopularity
from tactful.device.ranking.scoring.taste import Taste
from tactful.device.ranking.values import Ints

WINDOW = 10  # lists: what was in one of so many before comes again


@dataclass(frozen=True, kw_only=True)
class DeviceMetrics:
    """Means over the `lists` that are still known; shares lie in [0, 1], no item is named.

    `diversity` is 1 minus the mean similarity in a list, `entropy` of its categories in bits,
    `ranked_entropy` the same with the first places weighing most (RBE), `calibration` the
    divergence of its categories from those liked in nats. `coverage`, `gini` and `hhi` are of
    exposure over the catalog; `repeats_wanted` and `repeats_unwanted` per place, of items in one of
    the ten lists before; `overlap` (RBO) and `jaccard` of each list with the one before on its
    surface; `unrepeated` the share of places whose item stands in its list once. `cap_hits` is what
    limits refused of what they were asked; `relaxations` the quotas that yielded per list;
    `promoted` how many places below the list its lowest item stood by score (LIP); `fatigue` how
    worn items were as they were listed. `standard` is the share of places whose items would stand
    as high for everyone; `serendipity` per place, what items stand higher than for everyone, if
    they are liked now; `faithfulness` of the reasons that a list would have now, the share whose
    item falls without what is cited. Of popularity, where a model tells it: `novelty` in bits,
    `popularity` (ARP) as a share of the most popular, `long_tail` the share of what is no
    best-seller (APLT), `head` the rest, and `lift`, the mean of a list over that of the own likes.
    None is what cannot be told.
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


def measured(
    traces: Sequence[ListTrace],
    standing: ItemPopularity,
    taste: Taste,
    cited: Sequence[bool] = (),
) -> DeviceMetrics | None:
    """The measures of these lists, oldest first; None if nothing was shown in any.

    `cited` tells of reasons whether their items fall without what is cited.
    """
    catalog = standing.shelf.catalog
    found = [[catalog.find(item_id) for item_id in trace.shown] for trace in traces]
    lists = [
        np.array([n for n in one if n is not None], dtype=np.int64) for one in found
    ]
    shown = [one for one in lists if len(one)]
    if not shown:
        return None
    exposures = list_metrics.exposure(shown, len(catalog))
    wanted, unwanted = list_metrics.repetition_rates(
        lists, _wanted(standing, taste), WINDOW
    )
    places, denied = sum(map(len, shown)), sum(len(trace.denied) for trace in traces)
    overlap, jaccard = _overlaps(traces, lists)
    mixes = [standing.shelf.category_mix(one) for one in shown]
    likes = np.fromiter(taste.likes, dtype=np.int64, count=len(taste.likes))
    target = standing.shelf.category_mix(likes)
    return DeviceMetrics(
        lists=len(traces),
        fill=list_metrics.fill_rate(places, sum(trace.length for trace in traces)),
        diversity=_mean(
            [
                list_metrics.intra_list_diversity(one, standing.shelf.similarity)
                for one in shown
            ]
        ),
        entropy=_mean([list_metrics.entropy(mix) for mix in mixes]),
        ranked_entropy=_mean(
            [
                list_metrics.rank_biased_entropy(standing.shelf.category[one].tolist())
                for one in shown
            ]
        ),
        coverage=list_metrics.catalog_coverage(shown, len(catalog)),
        gini=list_metrics.gini(exposures),
        hhi=list_metrics.exposure_hhi(exposures),
        repeats_wanted=wanted,
        repeats_unwanted=unwanted,
        overlap=overlap,
        jaccard=jaccard,
        unrepeated=list_metrics.unrepeated(shown),
        cap_hits=list_metrics.cap_hit_rate(denied, places),
        relaxations=_mean([trace.relaxed for trace in traces]),
        promoted=_mean([trace.promoted for trace in traces]),
        fatigue=list_metrics.fatigue_index(
            [wear for trace in traces for wear in trace.wear]
        ),
        serendipity=_serendipity(traces, standing, taste, places),
        faithfulness=list_metrics.faithfulness(cited),
        standard=sum(trace.standard for trace in traces) / places,
        calibration=_mean([list_metrics.calibration_kl(target, mix) for mix in mixes])
        if target.any()
        else None,
        **_of_popularity(shown, standing, likes),
    )


def _of_popularity(
    shown: Sequence[Ints], standing: ItemPopularity, likes: Ints
) -> dict[str, float]:
    """What only a model can tell; its popularity counts as a share of the most popular item."""
    if standing.popularity is None:
        return {}
    popularity = standing.popularity.astype(np.float64) / float(
        standing.popularity.max()
    )
    head = np.flatnonzero(standing.best_sellers == 0)
    told = {
        "novelty": _mean([list_metrics.novelty(one, popularity) for one in shown]),
        "popularity": _mean(
            [list_metrics.average_popularity(one, popularity) for one in shown]
        ),
        "long_tail": _mean([list_metrics.long_tail_share(one, head) for one in shown]),
        "head": _mean(
            [float((standing.best_sellers[one] == 0).mean()) for one in shown]
        ),
    }
    if len(likes):
        lifts = [list_metrics.popularity_lift(one, likes, popularity) for one in shown]
        told["lift"] = _mean(lifts)
    return told


def _overlaps(
    traces: Sequence[ListTrace], lists: Sequence[Ints]
) -> tuple[float, float]:
    """(RBO, Jaccard) of lists in a row on one surface, the mean over all such pairs."""
    rows: dict[str, list[Ints]] = {}
    for trace, one in zip(traces, lists, strict=True):
        rows.setdefault(trace.surface, []).append(one)
    pairs = [pair for row in rows.values() for pair in pairwise(row)]
    found = [list_metrics.overlaps(pair) for pair in pairs]
    return (
        (_mean([rbo for rbo, _ in found]), _mean([j for _, j in found]))
        if found
        else (0.0, 0.0)
    )


def _serendipity(
    traces: Sequence[ListTrace], standing: ItemPopularity, taste: Taste, places: int
) -> float:
    """As `metrics.serendipity`, with what was liked since in place of what is held out."""
    liked = {standing.shelf.catalog.items[number].id for number in taste.likes}
    pairs = [
        pair for trace in traces for pair in zip(trace.shown, trace.gains, strict=False)
    ]
    return sum(gain for item_id, gain in pairs if item_id in liked) / places


def _wanted(standing: ItemPopularity, taste: Taste) -> Callable[[int, int], bool]:
    """Whether the person wants an item again: what is used up, and what is due."""
    items, due = standing.shelf.catalog.items, frozenset(taste.due)
    return lambda item, _: item in due or items[item].replenishable


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))

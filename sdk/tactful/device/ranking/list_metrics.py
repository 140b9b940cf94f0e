"""Standard metrics of recommendation lists, each with its unit and denominator.

A *list* is an array of item numbers, best first. Shares and probabilities
are in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import pairwise

import numpy as np

from tactful.device.ranking.values import Floats, Ints

SMOOTHING = 0.01  # of the target mix, so that the divergence is finite (Steck 2018)


def intra_list_diversity(
    items: Ints, similarity: Callable[[int, Ints], Floats]
) -> float:
    """Return 1 minus the mean similarity over all pairs of one list; 1 for one item."""
    if len(items) < 2:
        return 1.0
    sums = [
        similarity(int(item), items[place + 1 :]).sum()
        for place, item in enumerate(items)
    ]
    return float(1 - 2 * sum(sums) / (len(items) * (len(items) - 1)))


def catalog_coverage(lists: Sequence[Ints], catalog_size: int) -> float:
    """Return the distinct items over all lists, as a share of the catalog."""
    return len(np.unique(np.concatenate(lists))) / catalog_size if lists else 0.0


def exposure(lists: Sequence[Ints], catalog_size: int) -> Ints:
    """Return how often each item of the catalog was listed, shape (catalog_size,)."""
    return np.bincount(np.concatenate(lists), minlength=catalog_size).astype(np.int64)


def gini(exposures: Ints | Floats) -> float:
    """Return the Gini coefficient of exposure: 0 if all items are listed equally often.

    It approaches 1 if one item takes all.
    """
    ordered = np.sort(np.asarray(exposures, dtype=np.float64))
    total = ordered.sum()
    count = len(ordered)
    if total == 0:
        return 0.0
    ranks = 2 * np.arange(1, count + 1) - count - 1
    return float((ranks * ordered).sum() / (count * total))


def exposure_hhi(exposures: Ints | Floats) -> float:
    """Return the sum of squared exposure shares (Herfindahl-Hirschman index).

    It is 1 if one item takes all.
    """
    total = float(np.sum(exposures))
    return float(((np.asarray(exposures) / total) ** 2).sum()) if total else 0.0


def novelty(items: Ints, popularity: Floats) -> float:
    """Return the mean self-information of one list in bits.

    `popularity` is the share of people who took each item.
    """
    return float(-np.log2(popularity[items]).mean())


def serendipity(
    items: Ints, personal: Floats, standard: Floats, relevant: Ints
) -> float:
    """Return the mean gain of the personal over the standard score of relevant items.

    Both scores lie in [0, 1]; as ranks among all items this is the form of RecTools.
    """
    gain = np.maximum(personal[items] - standard[items], 0)
    return float((gain * np.isin(items, relevant)).mean())


def category_mix(items: Ints, categories: Ints) -> Floats:
    """Return the share of each category (numbers >= 0) in one list.

    All shares of an empty list are 0.
    """
    listed = categories[items]
    counts = np.bincount(listed[listed >= 0], minlength=categories.max() + 1)
    shares: Floats = counts / max(counts.sum(), 1)
    return shares


def entropy(mix: Floats) -> float:
    """Return the Shannon entropy of category shares, in bits."""
    shares = mix[mix > 0]
    return float(-(shares * np.log2(shares)).sum())


def calibration_kl(target: Floats, mix: Floats) -> float:
    """Return KL(target, smoothed mix) in nats (Steck 2018); 0 for the wanted mix."""
    smoothed = (1 - SMOOTHING) * mix + SMOOTHING * target
    is_wanted = target > 0
    wanted = target[is_wanted]
    return float((wanted * np.log(wanted / smoothed[is_wanted])).sum())


def average_popularity(items: Ints, popularity: Floats) -> float:
    """Return the mean popularity of one list (ARP)."""
    return float(popularity[items].mean())


def long_tail_share(items: Ints, head: Ints) -> float:
    """Return the share of one list outside `head`, the most popular items (APLT)."""
    return float(1 - np.isin(items, head).mean())


def popularity_lift(items: Ints, history: Ints, popularity: Floats) -> float:
    """Return the mean popularity of a list over that of the person's own history."""
    listed = average_popularity(items, popularity)
    return listed / average_popularity(history, popularity)


def repetition_rates(
    lists: Sequence[Ints], wanted: Callable[[int, int], bool], window: int
) -> tuple[float, float]:
    """Return (wanted, unwanted) repeats per impression of one person's lists in order.

    A repeat is an item that one of the `window` lists before has, or its own list
    twice. `wanted(item, list index)` says whether the person would want it again then.
    """
    impressions = wanted_repeats = unwanted_repeats = 0
    for index, items in enumerate(lists):
        recent = set[int]()
        for earlier in lists[max(0, index - window) : index]:
            recent.update(map(int, earlier))
        for item in map(int, items):
            impressions += 1
            if item in recent:
                is_wanted = wanted(item, index)
                wanted_repeats += is_wanted
                unwanted_repeats += not is_wanted
            recent.add(item)
    if not impressions:
        return 0.0, 0.0
    return wanted_repeats / impressions, unwanted_repeats / impressions


def standard_share(is_standard: Sequence[bool]) -> float:
    """Return the share of filled places that the standard list would fill alike."""
    return sum(is_standard) / len(is_standard) if is_standard else 0.0


def fill_rate(filled: int, requested: int) -> float:
    """Return the filled places over the requested places; 1 if none was requested."""
    return filled / requested if requested else 1.0


def cap_hit_rate(denied: int, granted: int) -> float:
    """Return the share of cap decisions that denied an item."""
    return denied / (denied + granted) if denied + granted else 0.0


def rank_biased_entropy(categories: Sequence[int], patience: float = 0.85) -> float:
    """Return the entropy of one list's categories weighted by place (RBE), in bits.

    Each place weighs `patience` times the one above (LensKit, GeometricRankWeight).
    Category -1 is left out.
    """
    weights: dict[int, float] = {}
    for place, category in enumerate(categories):
        if category >= 0:
            weights[category] = weights.get(category, 0.0) + patience**place
    shares = np.array(list(weights.values()))
    return entropy(shares / shares.sum()) if len(shares) else 0.0


def rank_biased_overlap(
    one: Sequence[int], other: Sequence[int], patience: float = 0.9
) -> float:
    """Return the RBO of two lists, extrapolated (Webber et al. 2010, equation 32).

    It is 1 for equal lists and 0 for disjoint ones. `patience` is the probability that
    a reader looks one place further.
    """
    short, long = sorted((list(one), list(other)), key=len)
    end_short = len(short)
    end_long = len(long)
    if not end_short:
        return float(end_short == end_long)
    depths = range(1, end_long + 1)
    # The paper's X(d): the number of items in the first d places of both lists.
    overlap = [len(set(short[:d]) & set(long[:d])) for d in depths]
    overlap_short = overlap[end_short - 1]
    overlap_long = overlap[-1]
    total = sum(x / d * patience**d for d, x in enumerate(overlap, 1))
    total += sum(
        overlap_short * (d - end_short) / (end_short * d) * patience**d
        for d in range(end_short + 1, end_long + 1)
    )
    tail = (overlap_long - overlap_short) / end_long + overlap_short / end_short
    return float((1 - patience) / patience * total + tail * patience**end_long)


def jaccard(one: Collection[int], other: Collection[int]) -> float:
    """Return the items in both lists over items in either; 1 for two empty lists."""
    either = set(one) | set(other)
    return len(set(one) & set(other)) / len(either) if either else 1.0


def overlaps(lists: Sequence[Ints]) -> tuple[float, float]:
    """Return the mean (RBO, Jaccard) over consecutive lists; 0 for fewer than two."""
    pairs = [(a.tolist(), b.tolist()) for a, b in pairwise(lists)]
    if not pairs:
        return 0.0, 0.0
    rbo = [rank_biased_overlap(a, b) for a, b in pairs]
    shared = [jaccard(a, b) for a, b in pairs]
    return float(np.mean(rbo)), float(np.mean(shared))


def fatigue_index(wear: Sequence[float]) -> float:
    """Return the mean exposure fatigue of shown items, at the moment of showing."""
    return float(np.mean(wear)) if len(wear) else 0.0


def lowest_promoted(ranks: Sequence[int], length: int) -> int:
    """Return how far below `length` the lowest item of a list ranks by score (LIP).

    `ranks` has the ranks by score, from 0, of the items of the list. The result is 0 if
    no item was promoted.
    """
    return max([0, *(rank + 1 - length for rank in ranks)])


def unrepeated(lists: Sequence[Ints]) -> float:
    """Return distinct items of each list over all places (RecTools, UnrepeatedReco)."""
    places = sum(map(len, lists))
    distinct = sum(len(np.unique(items)) for items in lists)
    return distinct / places if places else 1.0


def sufficient(lists: Sequence[Ints], length: int) -> float:
    """Return the filled places, at most `length` per list, over all places.

    This is SufficientReco of RecTools.
    """
    if not lists:
        return 0.0
    return float(np.mean([min(len(items), length) / length for items in lists]))


def covered_users(lists: Sequence[Ints]) -> float:
    """Return the share of people with a non-empty list (RecTools, CoveredUsers)."""
    return float(np.mean([len(items) > 0 for items in lists])) if lists else 0.0


def faithfulness(changed: Sequence[bool]) -> float:
    """Return the share of cited likes without which the item's rank changes."""
    return sum(changed) / len(changed) if changed else 1.0

"""What lists did to people, in the field's own measures; each states its unit and denominator.

A *list* is an array of item numbers, best first. Shares and probabilities are in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from itertools import pairwise

import numpy as np

from tactful.device.ranking.values import Floats, Ints

SMOOTHING = 0.01  # of the target mixed into the list, so that the divergence is finite (Steck 2018)


def intra_list_diversity(
    items: Ints, similarity: Callable[[int, Ints], Floats]
) -> float:
    """1 minus the mean similarity over the pairs of one list; 1 for a list of one item."""
    if len(items) < 2:
        return 1.0
    pairs = [
        similarity(int(item), items[place + 1 :]).sum()
        for place, item in enumerate(items)
    ]
    return float(1 - 2 * sum(pairs) / (len(items) * (len(items) - 1)))


def catalog_coverage(lists: Sequence[Ints], catalog_size: int) -> float:
    """Distinct items over all lists, as a share of the catalog."""
    return len(np.unique(np.concatenate(lists))) / catalog_size if lists else 0.0


def exposure(lists: Sequence[Ints], catalog_size: int) -> Ints:
    """How often each item of the catalog was listed, shape (catalog_size,)."""
    return np.bincount(np.concatenate(lists), minlength=catalog_size).astype(np.int64)


def gini(exposures: Ints | Floats) -> float:
    """Inequality of exposure over items: 0 if all are listed alike, towards 1 if one takes all."""
    ordered = np.sort(np.asarray(exposures, dtype=np.float64))
    total, count = ordered.sum(), len(ordered)
    if total == 0:
        return 0.0
    ranks = 2 * np.arange(1, count + 1) - count - 1
    return float((ranks * ordered).sum() / (count * total))


def exposure_hhi(exposures: Ints | Floats) -> float:
    """Sum of squared exposure shares (Herfindahl and Hirschman): 1 if one item takes all."""
    total = float(np.sum(exposures))
    return float(((np.asarray(exposures) / total) ** 2).sum()) if total else 0.0


def novelty(items: Ints, popularity: Floats) -> float:
    """Mean self-information of one list in bits; `popularity` is the share of people per item."""
    return float(-np.log2(popularity[items]).mean())


def serendipity(
    items: Ints, personal: Floats, standard: Floats, relevant: Ints
) -> float:
    """Mean of what the personal score adds to the standard one, over the relevant items.

    Both scores lie in [0, 1]; as ranks among all items this is the form of RecTools.
    """
    gain = np.maximum(personal[items] - standard[items], 0)
    return float((gain * np.isin(items, relevant)).mean())


def category_mix(items: Ints, categories: Ints) -> Floats:
    """The share of each category (numbers >= 0) in one list; zeros for an empty one."""
    counts = np.bincount(
        categories[items][categories[items] >= 0], minlength=categories.max() + 1
    )
    shares: Floats = counts / max(counts.sum(), 1)
    return shares


def entropy(mix: Floats) -> float:
    """Shannon entropy of category shares, in bits."""
    shares = mix[mix > 0]
    return float(-(shares * np.log2(shares)).sum())


def calibration_kl(target: Floats, mix: Floats) -> float:
    """KL(target, smoothed mix) in nats: 0 if the list has the wanted mix (Steck 2018)."""
    smoothed = (1 - SMOOTHING) * mix + SMOOTHING * target
    wanted = target > 0
    return float((target[wanted] * np.log(target[wanted] / smoothed[wanted])).sum())


def average_popularity(items: Ints, popularity: Floats) -> float:
    """ARP: the mean popularity of one list."""
    return float(popularity[items].mean())


def long_tail_share(items: Ints, head: Ints) -> float:
    """APLT: the share of one list outside `head`, the most popular items."""
    return float(1 - np.isin(items, head).mean())


def popularity_lift(items: Ints, history: Ints, popularity: Floats) -> float:
    """Mean popularity of a list over that of the own history: 1 if it follows the taste."""
    return average_popularity(items, popularity) / average_popularity(
        history, popularity
    )


def repetition_rates(
    lists: Sequence[Ints], wanted: Callable[[int, int], bool], window: int
) -> tuple[float, float]:
    """(wanted, unwanted) repeats per impression, one person's lists in order of time.

    A repeat is an item already shown in one of the `window` lists before, or twice in one list;
    `wanted(item, list index)` says whether the person would want it again then.
    """
    shown = good = bad = 0
    for index, items in enumerate(lists):
        recent = {
            int(i) for earlier in lists[max(0, index - window) : index] for i in earlier
        }
        for item in map(int, items):
            again = item in recent
            recent.add(item)
            shown += 1
            good += again and wanted(item, index)
            bad += again and not wanted(item, index)
    return (good / shown, bad / shown) if shown else (0.0, 0.0)


def standard_share(is_standard: Sequence[bool]) -> float:
    """The share of filled places that the standard list would have filled alike."""
    return sum(is_standard) / len(is_standard) if is_standard else 0.0


def fill_rate(filled: int, asked: int) -> float:
    """Filled places over places asked for."""
    return filled / asked if asked else 1.0


def cap_hit_rate(denied: int, granted: int) -> float:
    """What limits refused of all that they were asked."""
    return denied / (denied + granted) if denied + granted else 0.0


def rank_biased_entropy(categories: Sequence[int], patience: float = 0.85) -> float:
    """RBE: the entropy, in bits, of one list's categories (-1: none), place by place less heavy.

    Each place weighs `patience` times the one above (LensKit, GeometricRankWeight).
    """
    weights: dict[int, float] = {}
    for place, kind in enumerate(categories):
        if kind >= 0:
            weights[kind] = weights.get(kind, 0.0) + patience**place
    shares = np.array(list(weights.values()))
    return entropy(shares / shares.sum()) if len(shares) else 0.0


def rank_biased_overlap(
    one: Sequence[int], other: Sequence[int], patience: float = 0.9
) -> float:
    """RBO of two lists, extrapolated beyond their ends (Webber et al. 2010, equation 32).

    1 for equal lists, 0 for disjoint ones; `patience` is the chance to look one place further.
    """
    short, long = sorted((list(one), list(other)), key=len)
    s, end = len(short), len(long)
    if not s:
        return float(s == end)
    shared = [len(set(short[:d]) & set(long[:d])) for d in range(1, end + 1)]
    total = sum(x / d * patience**d for d, x in enumerate(shared, 1))
    total += sum(
        shared[s - 1] * (d - s) / (s * d) * patience**d for d in range(s + 1, end + 1)
    )
    tail = (shared[-1] - shared[s - 1]) / end + shared[s - 1] / s
    return float((1 - patience) / patience * total + tail * patience**end)


def jaccard(one: Collection[int], other: Collection[int]) -> float:
    """Items in both lists over items in either; 1 for two empty ones."""
    either = set(one) | set(other)
    return len(set(one) & set(other)) / len(either) if either else 1.0


def overlaps(lists: Sequence[Ints]) -> tuple[float, float]:
    """(RBO, Jaccard), the means over each two lists in a row; 0 for fewer than two."""
    pairs = [(a.tolist(), b.tolist()) for a, b in pairwise(lists)]
    if not pairs:
        return 0.0, 0.0
    rbo = [rank_biased_overlap(a, b) for a, b in pairs]
    return float(np.mean(rbo)), float(np.mean([jaccard(a, b) for a, b in pairs]))


def fatigue_index(wear: Sequence[float]) -> float:
    """The mean wear of what was shown, at the moment of showing (design/recommendation.md 7)."""
    return float(np.mean(wear)) if len(wear) else 0.0


def lowest_promoted(ranks: Sequence[int], length: int) -> int:
    """LIP: how far below `length` the lowest of the list stood by score; 0 if none was lifted.

    `ranks` are the places by score, from 0, of the items of the list.
    """
    return max([0, *(rank + 1 - length for rank in ranks)])


def unrepeated(lists: Sequence[Ints]) -> float:
    """UnrepeatedReco: distinct items of each list over places, all lists together (RecTools)."""
    places = sum(map(len, lists))
    return sum(len(np.unique(one)) for one in lists) / places if places else 1.0


def sufficient(lists: Sequence[Ints], length: int) -> float:
    """SufficientReco: filled places, at most `length` in each list, over all places (RecTools)."""
    return (
        float(np.mean([min(len(one), length) / length for one in lists]))
        if lists
        else 0.0
    )


def covered_users(lists: Sequence[Ints]) -> float:
    """CoveredUsers: people with a list that is not empty, over people (RecTools)."""
    return float(np.mean([len(one) > 0 for one in lists])) if lists else 0.0


def faithfulness(changed: Sequence[bool]) -> float:
    """Cited signals without which the item's rank changes, over all that were tested."""
    return sum(changed) / len(changed) if changed else 1.0

"""What lists did to people, in the field's own measures; each states its unit and denominator.

A *list* is an array of item numbers, best first. Shares and probabilities are in [0, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tactful.device.ranking.scoring import Floats, Ints

SMOOTHING = 0.01  # of the target mixed into the list, so that the divergence is finite (Steck 2018)


def intra_list_diversity(items: Ints, similarity: Callable[[int, Ints], Floats]) -> float:
    """1 minus the mean similarity over the pairs of one list; 1 for a list of one item."""
    if len(items) < 2:
        return 1.0
    pairs = [similarity(int(item), items[place + 1 :]).sum() for place, item in enumerate(items)]
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


def serendipity(items: Ints, personal: Floats, standard: Floats, relevant: Ints) -> float:
    """Mean of what the personal score adds to the standard one, over the relevant items.

    Both scores lie in [0, 1]; as ranks among all items this is the form of RecTools.
    """
    gain = np.maximum(personal[items] - standard[items], 0)
    return float((gain * np.isin(items, relevant)).mean())


def category_mix(items: Ints, categories: Ints) -> Floats:
    """The share of each category (numbers >= 0) in one list; zeros for an empty one."""
    counts = np.bincount(categories[items][categories[items] >= 0], minlength=categories.max() + 1)
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
    return average_popularity(items, popularity) / average_popularity(history, popularity)


def repetition_rates(
    lists: Sequence[Ints], wanted: Callable[[int, int], bool], window: int
) -> tuple[float, float]:
    """(wanted, unwanted) repeats per impression, one person's lists in order of time.

    A repeat is an item already shown in one of the `window` lists before, or twice in one list;
    `wanted(item, list index)` says whether the person would want it again then.
    """
    shown = good = bad = 0
    for index, items in enumerate(lists):
        recent = {int(i) for earlier in lists[max(0, index - window) : index] for i in earlier}
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

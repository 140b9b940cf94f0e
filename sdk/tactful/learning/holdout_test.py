"""Whether a model serves people better than popularity: each tells it of the own history alone.

A device keeps a few of the person's items out of what makes the model, ranks the catalog by the
model with each of a few shares of popularity, and adds what each gains over popularity alone. The
noisy sums choose the share that is released, or popularity.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tactful.learning.model import Ints, Model
from tactful.learning.training_plan import HIDDEN, MIXES

Floats = NDArray[np.float64]

DEPTH = 100  # places of a ranking that count
CERTAIN = 2.0  # times the noise that a gain must exceed
MOST_GAIN = 0.5  # the longest vector of gains; a longer one is shortened


def gains(items: NDArray[np.int64], model: Model) -> Floats:
    """What each mix gains in NDCG@100 over popularity, as a share of 0.5, of length at most 1.

    0 where nothing is hidden.
    """
    wanted, known = parted(items)
    if not len(wanted):
        return np.zeros(len(MIXES))
    standard = model.standard()
    own = model.personal(known) - standard
    popular = standard / model.popularity_share
    base = _ndcg(popular, known, wanted)
    gained = np.array(
        [_ndcg(own + mix * popular, known, wanted) - base for mix in MIXES]
    )
    length = float(np.sqrt(np.square(gained).sum()))
    return gained / max(length, MOST_GAIN)


def decided(noisy_sum: Floats, tau: float, model: Model) -> Model:
    """The model with the mix that people gained most by, or popularity if none gains for certain.

    The first mix stands unless another is better by more than the noise `tau` of a difference.
    """
    best = int(np.argmax(noisy_sum))
    chosen = best if noisy_sum[best] > noisy_sum[0] + np.sqrt(2) * tau else 0
    if noisy_sum[chosen] <= CERTAIN * tau:
        return model.popular()
    return replace(model, popularity_share=MIXES[chosen])


def parted(items: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """What one person hides for the trial, and the other items."""
    away = hidden(items, np.array([0, len(items)]))
    return items[away], items[~away]


def hidden(items: NDArray[np.int64], bounds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Which items their people hide; person p has items[bounds[p]:bounds[p + 1]].

    Chosen by the items themselves, alike anywhere. Of few items mostly none is hidden, never all.
    """
    numbers, lengths = items.astype(np.uint64), np.diff(bounds)
    people = np.repeat(np.arange(len(lengths)), lengths)
    sums = np.zeros(len(items) + 1, dtype=np.uint64)
    np.cumsum(_mixed(numbers), out=sums[1:])
    own = sums[bounds[1:]] - sums[bounds[:-1]]
    order = np.lexsort((_mixed(numbers + own[people]), people))
    places = np.empty(len(items), dtype=np.int64)
    places[order] = np.arange(len(items)) - bounds[people]
    counts = (HIDDEN * lengths + _mixed(~own) / 2.0**64).astype(np.int64)
    away: NDArray[np.bool_] = places < np.minimum(counts, lengths - 1)[people]
    return away


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Numbers that look random, as SplitMix64 ends (Steele, Lea, Flood 2014)."""
    mixed = numbers * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _ndcg(scores: Floats, known: Ints, hidden: Ints) -> float:
    """Binary NDCG@100 with the known items left out; equal scores stand by number."""
    scores = scores.copy()
    scores[known] = -np.inf
    wanted = scores[hidden]
    ahead = (scores[None, :] > wanted[:, None]).sum(axis=1)
    for place, item in enumerate(hidden):
        ahead[place] += (scores[:item] == wanted[place]).sum()
    counted = ahead < DEPTH
    ideal = 1 / np.log2(np.arange(2, min(len(hidden), DEPTH) + 2))
    return float((1 / np.log2(ahead[counted] + 2)).sum() / ideal.sum())

"""The holdout test: whether a model serves people better than popularity.

A device holds a few of the person's items out of what makes the model. It ranks the
catalog by the model with each of a few shares of popularity, and contributes what each
share gains over popularity alone. The noisy sums choose the share that is released, or
popularity.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from tactful.learning.model import Ints, Model

Floats = NDArray[np.float64]

HIDDEN = 0.04  # share of a person's items that the test holds out
MIXES = (0.02, 0.1, 0.5)  # shares of popularity that the test compares
DEPTH = 100  # places of a ranking that count
CERTAIN = 2.0  # times the noise that a gain must exceed
MAX_GAIN = 0.5  # norm of the longest vector of gains; a longer one is shortened


def gains(items: NDArray[np.int64], model: Model) -> Floats:
    """Return the gain of each mix in NDCG@100 over popularity, shape (mixes,).

    Gains are in units of 0.5, so that the norm is at most 1. They are 0 if no item is
    held out.
    """
    held_out, visible = parted(items)
    if not len(held_out):
        return np.zeros(len(MIXES))
    standard = model.standard()
    personal = model.personal(visible) - standard
    popular = standard / model.popularity_share
    baseline = _ndcg(popular, visible, held_out)
    differences = [
        _ndcg(personal + mix * popular, visible, held_out) - baseline for mix in MIXES
    ]
    gain_vector = np.array(differences)
    norm = float(np.sqrt(np.square(gain_vector).sum()))
    return gain_vector / max(norm, MAX_GAIN)


def decided(noisy_sum: Floats, tau: float, model: Model) -> Model:
    """Return the model with the mix of the largest gain, or popularity.

    Popularity is returned if no mix gains more than twice the noise `tau`. The first
    mix stays unless another is better by more than the noise of a difference.
    """
    best = int(np.argmax(noisy_sum))
    if noisy_sum[best] <= noisy_sum[0] + np.sqrt(2) * tau:
        best = 0
    if noisy_sum[best] <= CERTAIN * tau:
        return model.popular()
    return replace(model, popularity_share=MIXES[best])


def parted(items: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the items of one person that are held out, and the others."""
    is_held_out = hidden(items, np.array([0, len(items)]))
    return items[is_held_out], items[~is_held_out]


def hidden(items: NDArray[np.int64], bounds: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return which items are held out, shape (items,).

    Person p has items[bounds[p]:bounds[p + 1]]. The choice depends only on the items of
    the person, so a device and a simulation make the same one. Of few items mostly none
    is held out, and never all.
    """
    numbers = items.astype(np.uint64)
    lengths = np.diff(bounds)
    people = np.repeat(np.arange(len(lengths)), lengths)
    sums = np.zeros(len(items) + 1, dtype=np.uint64)
    np.cumsum(_mixed(numbers), out=sums[1:])
    person_hash = sums[bounds[1:]] - sums[bounds[:-1]]
    order = np.lexsort((_mixed(numbers + person_hash[people]), people))
    places = np.empty(len(items), dtype=np.int64)
    places[order] = np.arange(len(items)) - bounds[people]
    # The hash rounds the expected number of items randomly, but reproducibly.
    rounding = _mixed(~person_hash) / 2.0**64
    counts = (HIDDEN * lengths + rounding).astype(np.int64)
    is_held_out: NDArray[np.bool_] = places < np.minimum(counts, lengths - 1)[people]
    return is_held_out


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a hash of each number: the finaliser of SplitMix64 (Steele et al. 2014)."""
    mixed = numbers * np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
        mixed = (mixed ^ (mixed >> np.uint64(shift))) * np.uint64(factor)
    return mixed ^ (mixed >> np.uint64(31))


def _ndcg(scores: Floats, visible: Ints, held_out: Ints) -> float:
    """Return the binary NDCG@100 without the known items; ties are ordered by number."""
    scores = scores.copy()
    scores[visible] = -np.inf
    held_out_scores = scores[held_out]
    ahead = (scores[None, :] > held_out_scores[:, None]).sum(axis=1)
    for place, item in enumerate(held_out):
        ahead[place] += (scores[:item] == held_out_scores[place]).sum()
    is_counted = ahead < DEPTH
    ideal_gains = 1 / np.log2(np.arange(2, min(len(held_out), DEPTH) + 2))
    gains_found = 1 / np.log2(ahead[is_counted] + 2)
    return float(gains_found.sum() / ideal_gains.sum())

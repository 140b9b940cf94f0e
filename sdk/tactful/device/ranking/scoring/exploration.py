"""Exploration: Thompson sampling over categories for a few places of each list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tactful.device.ranking.scoring.catalog_scores import CatalogArrays
from tactful.device.ranking.values import Floats, Ints, Labels

PRIOR = 4.0  # shows that the prior, the mix of categories of the candidates, is worth
MIN_PARAMETER = 1e-3  # keeps both parameters of the beta distribution above 0


class Tried(NamedTuple):
    """The shows and clicks of one category by this person."""

    shows: int = 0
    follows: int = 0


NEVER = Tried()


def explore(
    shelf: CatalogArrays, candidates: Ints, tried: Mapping[int, Tried], *, seed: bytes
) -> Ints:
    """Return the `candidates` with the best of each category first, in a drawn order.

    Each category draws from the beta distribution of its clicks and misses. The prior
    is its share among the candidates. `candidates` come best first. The same `seed`
    gives the same order.
    """
    if not len(candidates):
        return candidates
    labels = shelf.category[candidates] + 1  # 0 is the label of items without category
    counts = np.bincount(labels)
    present = np.flatnonzero(counts)
    best_places = _first_places(labels, len(counts))[present]
    mix = counts[present] / len(labels)
    draws = _draws(present - 1, mix, tried, seed)
    explored = best_places[np.argsort(-draws, kind="stable")]
    is_rest = np.ones(len(candidates), dtype=np.bool_)
    is_rest[explored] = False
    return np.concatenate([candidates[explored], candidates[is_rest]])


def _first_places(labels: Labels, label_count: int) -> Ints:
    """Return the first place of each label, shape (label_count,)."""
    first_places = np.empty(label_count, dtype=np.int64)
    # Written from the end, so that the first place of each label is written last.
    first_places[labels[::-1]] = np.arange(len(labels))[::-1]
    return first_places


def _draws(
    categories: Ints, mix: Floats, tried: Mapping[int, Tried], seed: bytes
) -> Floats:
    """Return one draw for each category."""
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(seed, "big")))
    rows = [tried.get(category, NEVER) for category in categories.tolist()]
    shows, follows = np.array(rows).T
    hits = follows + PRIOR * mix
    misses = np.maximum(shows - follows, 0) + PRIOR * (1 - mix)
    draws: Floats = generator.beta(hits + MIN_PARAMETER, misses + MIN_PARAMETER)
    return draws

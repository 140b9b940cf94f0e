"""Now and then something untried: Thompson sampling over categories, a few places of each list."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from tactful.device.ranking.scoring.catalog_scores import CatalogArrays
from tactful.device.ranking.values import Floats, Ints

PRIOR = (
    4.0  # shows that the mix of everyone's categories is worth before the first own one
)
LEAST = 1e-3  # keeps both sides of the beta law above 0


class Tried(NamedTuple):
    """How often items of a category were shown to this person, and how often they followed."""

    shows: int = 0
    follows: int = 0


NEVER = Tried()


def explore(
    shelf: CatalogArrays, candidates: Ints, tried: Mapping[int, Tried], *, seed: bytes
) -> Ints:
    """The best of the `candidates` (best first) of each category in a drawn order, then the rest.

    A category's chance is a draw from the beta law of its follows and misses, with the mix among
    the candidates as prior; the same `seed` draws the same.
    """
    if not len(candidates):
        return candidates
    places = shelf.category[candidates] + 1  # 0 is that of what has none
    counts = np.bincount(places)
    there = np.flatnonzero(counts)
    first = np.empty(len(counts), dtype=np.int64)
    first[places[::-1]] = np.arange(len(places))[
        ::-1
    ]  # the first of each is written last
    firsts, mix = first[there], counts[there] / len(places)
    draws = _draws(there - 1, mix, tried, seed)
    drawn = firsts[np.argsort(-draws, kind="stable")]
    rest = np.ones(len(candidates), dtype=np.bool_)
    rest[drawn] = False
    return np.concatenate([candidates[drawn], candidates[rest]])


def _draws(kinds: Ints, mix: Floats, tried: Mapping[int, Tried], seed: bytes) -> Floats:
    coin = np.random.Generator(np.random.PCG64(int.from_bytes(seed, "big")))
    shows, follows = np.array([tried.get(kind, NEVER) for kind in kinds.tolist()]).T
    misses = np.maximum(shows - follows, 0) + PRIOR * (1 - mix)
    draws: Floats = coin.beta(follows + PRIOR * mix + LEAST, misses + LEAST)
    return draws

"""Now and then something untried: Thompson sampling over categories, a few places of each list."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from tactful.device.ranking.scoring import Ints, Shelf

PRIOR = 4.0  # shows that the mix of everyone's categories is worth before the first own one


@dataclass(frozen=True)
class Tried:
    """How often items of a category were shown to this person, and how often they followed."""

    shows: int = 0
    follows: int = 0


def explore(
    shelf: Shelf, candidates: Ints, tried: Mapping[int, Tried], *, places: int, seed: bytes
) -> Ints:
    """Up to `places` of the `candidates` (best first), each the best of a drawn category.

    A category's chance is a draw from the beta law of its follows and misses, with the mix among
    the candidates as prior; the same `seed` draws the same.
    """
    categories = shelf.category[candidates]
    kinds = np.unique(categories)
    if not places or not len(kinds):
        return candidates[:0]
    mix = np.array([(categories == kind).mean() for kind in kinds])
    order = np.argsort(-_draws(kinds, mix, tried, seed), kind="stable")[:places]
    firsts = [int(np.argmax(categories == kinds[place])) for place in order]
    return candidates[firsts]


def _draws(kinds: Ints, mix: np.ndarray, tried: Mapping[int, Tried], seed: bytes) -> np.ndarray:
    coin = np.random.Generator(np.random.PCG64(int.from_bytes(seed, "big")))
    known = [tried.get(int(kind), Tried()) for kind in kinds]
    follows = np.array([one.follows for one in known]) + PRIOR * mix
    misses = np.array([max(one.shows - one.follows, 0) for one in known]) + PRIOR * (1 - mix)
    return coin.beta(follows + 1e-3, misses + 1e-3)

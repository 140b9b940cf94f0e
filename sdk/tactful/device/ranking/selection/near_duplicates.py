"""Near-duplicates: items with almost equal model factors become one family.

This applies to items that declare no family, and is computed once for each model. An
item joins the first earlier item (its leader) of the same category and brand whose
factors are similar. Chains do not join distant items, because a leader joins no other.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tactful.device.ranking.scoring.catalog_scores import CatalogArrays, ItemPopularity
from tactful.device.ranking.values import Ints, Labels
from tactful.learning.model import Model, Singles

NEAR = 0.95  # cosine of two items' factors, as Merino suppresses neighbours
LEAST_FACTORS = 12  # with fewer factors, unrelated items are this near by chance
MOST_COMPARED = 1_000  # items at once; larger groups are split by their widest factor


def standing(shelf: CatalogArrays, model: Model | None) -> ItemPopularity:
    """Return the standard scores by `model`, with near-duplicates in one family."""
    return ItemPopularity(shelf.with_families(joined(shelf, model)), model)


def joined(shelf: CatalogArrays, model: Model | None) -> Labels:
    """Return the family of each item, near-duplicates joined, shape (items,)."""
    families = shelf.family
    if model is None or model.basis.shape[1] < LEAST_FACTORS:
        return families
    families = families.copy()
    for numbers, factors in _groups(shelf, model):
        for place, leader_place in _near_pairs(factors):
            family = families[numbers[place]]
            families[families == family] = families[numbers[leader_place]]
    return families


def _groups(shelf: CatalogArrays, model: Model) -> Iterator[tuple[Ints, Singles]]:
    """Yield groups of one category and brand: item numbers and factors of length 1.

    Only items that declare no family are included, in rising order of number.
    """
    rows = np.flatnonzero(~shelf.declares_family[model.head])
    lengths = np.sqrt(np.einsum("ij,ij->i", model.basis[rows], model.basis[rows]))
    has_length = lengths > 0
    rows = rows[has_length]
    lengths = lengths[has_length]
    numbers = model.head[rows].astype(np.int64)
    keys = np.stack([shelf.category[numbers], shelf.brand[numbers]])
    order = np.lexsort((numbers, *keys))
    is_cut = (np.diff(keys[:, order], axis=1) != 0).any(axis=0)
    for group in np.split(order, np.flatnonzero(is_cut) + 1):
        if len(group) > 1:
            factors = model.basis[rows[group]] / lengths[group, None]
            yield from _pieces(numbers[group], factors)


def _pieces(numbers: Ints, factors: Singles) -> Iterator[tuple[Ints, Singles]]:
    """Yield the group in pieces that are compared at once; a cut separates pairs."""
    if len(numbers) <= MOST_COMPARED:
        yield numbers, factors
        return
    widest = factors[:, int(np.argmax(factors.std(axis=0)))]
    is_low = np.zeros(len(numbers), dtype=np.bool_)
    is_low[np.argsort(widest, kind="stable")[: len(numbers) // 2]] = True
    for is_in_half in (is_low, ~is_low):
        yield from _pieces(numbers[is_in_half], factors[is_in_half])


def _near_pairs(factors: Singles) -> Iterator[tuple[int, int]]:
    """Yield (item, its leader) by place: an item without an earlier leader is one."""
    # Rounded, so that the last bits of a product do not decide.
    is_near = np.rint(factors @ factors.T * 1e5) >= NEAR * 1e5
    is_leader = np.ones(len(factors), dtype=np.bool_)
    has_earlier = np.tril(is_near, -1).any(axis=1)
    for place in np.flatnonzero(has_earlier).tolist():
        leaders = np.flatnonzero(is_near[place, :place] & is_leader[:place])
        if len(leaders):
            is_leader[place] = False
            yield place, int(leaders[0])

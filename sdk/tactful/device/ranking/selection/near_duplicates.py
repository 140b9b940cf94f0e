"""Near-duplicates by what people take together: one family, where the catalog names none.

Found once for each model. An item joins the first one before it of the same category and brand
whose factors point its way, so that no chain of neighbours joins what is far apart.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from tactful.device.ranking.scoring.catalog_scores import CatalogArrays, ItemPopularity
from tactful.device.ranking.values import Ints, Labels
from tactful.learning.model import Model, Singles

NEAR = 0.95  # cosine of two items' factors, the probability at which Merino suppresses neighbours
LEAST_FACTORS = 12  # with fewer, unrelated items lie this near by chance
MOST_COMPARED = (
    1_000  # items at once; a larger group is cut in two along its widest factor
)


def standing(shelf: CatalogArrays, model: Model | None) -> ItemPopularity:
    """What the items are worth to everyone by `model`, with near-duplicates in one family."""
    return ItemPopularity(shelf.with_families(joined(shelf, model)), model)


def joined(shelf: CatalogArrays, model: Model | None) -> Labels:
    """Each item's family, shape (items,): as `shelf` has it, with near-duplicates in one."""
    families = shelf.family
    if model is None or model.basis.shape[1] < LEAST_FACTORS:
        return families
    families = families.copy()
    for numbers, factors in _groups(shelf, model):
        for number, leader in _near(factors):
            families[families == families[numbers[number]]] = families[numbers[leader]]
    return families


def _groups(shelf: CatalogArrays, model: Model) -> Iterator[tuple[Ints, Singles]]:
    """Items without a family of one category and brand, in order, with factors of length 1."""
    there = np.flatnonzero(~shelf.declares_family[model.head])
    lengths = np.sqrt(np.einsum("ij,ij->i", model.basis[there], model.basis[there]))
    there, lengths = there[lengths > 0], lengths[lengths > 0]
    numbers = model.head[there].astype(np.int64)
    kinds = np.stack([shelf.category[numbers], shelf.brand[numbers]])
    order = np.lexsort((numbers, *kinds))
    cuts = np.flatnonzero((np.diff(kinds[:, order], axis=1) != 0).any(axis=0)) + 1
    for part in np.split(order, cuts):
        if len(part) > 1:
            yield from _small(
                numbers[part], model.basis[there[part]] / lengths[part, None]
            )


def _small(numbers: Ints, factors: Singles) -> Iterator[tuple[Ints, Singles]]:
    """The group in pieces that are compared at once; pairs on two sides of a cut stay apart."""
    if len(numbers) <= MOST_COMPARED:
        yield numbers, factors
        return
    widest = factors[:, int(np.argmax(factors.std(axis=0)))]
    low = np.zeros(len(numbers), dtype=np.bool_)
    low[np.argsort(widest, kind="stable")[: len(numbers) // 2]] = True
    for side in (low, ~low):
        yield from _small(numbers[side], factors[side])


def _near(factors: Singles) -> Iterator[tuple[int, int]]:
    """(item, the first leader near it) by place; an item without one is a leader."""
    close = (
        np.rint(factors @ factors.T * 1e5) >= NEAR * 1e5
    )  # the last bits decide nothing
    leads = np.ones(len(factors), dtype=np.bool_)
    for place in np.flatnonzero(np.tril(close, -1).any(axis=1)).tolist():
        leaders = np.flatnonzero(close[place, :place] & leads[:place])
        if len(leaders):
            leads[place] = False
            yield place, int(leaders[0])

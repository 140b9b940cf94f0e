"""What a catalog says of its items in words, and how alike that makes two of them: all public."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from tactful.errors import InvalidInput

Singles = NDArray[np.float32]
Words = Sequence[Sequence[str]]

MOST_WORDS = 1 << 17  # distinct ones, of the items that are compared
WORD = re.compile(r"[^\W\d_]{2,}")


def words(title: str, **labels: str | Sequence[str]) -> tuple[str, ...]:
    """An item in words: those of its title in small letters, and its labels as they are.

    A label is told apart by its name: the brand "Pink" is not the word "pink".
    """
    told = {
        name: (label,) if isinstance(label, str) else label
        for name, label in labels.items()
    }
    named = (f"{name}={one}" for name, label in told.items() for one in label if one)
    return (*sorted(set(WORD.findall(title.lower()))), *named)


def catalog_words(document: bytes) -> tuple[str, tuple[tuple[str, ...], ...]]:
    """The hash of a catalog's ids and each item in words, from the JSON list that an app reads.

    Raises InvalidInput for anything else.
    """
    try:
        items = json.loads(document)
        ids = [item["id"].encode("utf-8", "surrogatepass") for item in items]
        told = tuple(
            words(
                item["title"],
                category=item.get("category", ""),
                brand=item.get("brand", ""),
                tag=tuple(item.get("tags", ())),
            )
            for item in items
        )
    except (ValueError, TypeError, KeyError, AttributeError) as wrong:
        fix = "use the file that the app's catalog is read from"
        raise InvalidInput(
            "items", f"they are no list of items with id and title ({wrong})", fix
        ) from wrong
    return hashlib.sha256(b"\n".join(ids)).hexdigest(), told


def likeness(items: Words) -> Singles:
    """How alike each two items are, in [0, 1], shape (n, n); 0 for items without a common word.

    The cosine between their words, a rare word counting more: the logarithm of the share of
    items that have it, negated (Sparck Jones 1972). Raises InvalidInput for too many words.
    """
    numbers = {
        word: place
        for place, word in enumerate(sorted({w for one in items for w in one}))
    }
    if len(numbers) > MOST_WORDS:
        raise InvalidInput(
            "words", f"{len(numbers)} differ", f"keep at most {MOST_WORDS}"
        )
    rows = np.repeat(np.arange(len(items)), [len(one) for one in items])
    columns = np.fromiter(
        (numbers[w] for one in items for w in one), np.int64, len(rows)
    )
    shared = np.bincount(columns, minlength=len(numbers))
    rarity = np.log(len(items) / np.maximum(shared, 1))
    lengths = np.sqrt(np.bincount(rows, np.square(rarity[columns]), len(items)))
    weights = rarity[columns] / np.maximum(lengths[rows], np.finfo(np.float64).tiny)
    return _products(rows, columns, weights, len(items))


def _products(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    weights: NDArray[np.float64],
    items: int,
) -> Singles:
    """The products of all rows of a sparse matrix, word by word: most words are on few items."""
    alike = np.zeros((items, items), dtype=np.float32)
    order = np.argsort(columns, kind="stable")
    ends = np.flatnonzero(np.diff(columns[order])) + 1
    for members in np.split(order, ends):
        if len(members) > 1:
            place, weight = rows[members], weights[members].astype(np.float32)
            alike[np.ix_(place, place)] += np.outer(weight, weight)
    np.fill_diagonal(alike, 1.0)
    return np.clip(alike, 0.0, 1.0)

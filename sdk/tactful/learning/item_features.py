"""Item features: the words of a catalog, and the similarity of items by them.

All of it is public.
"""

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

MAX_WORDS = 1 << 17  # distinct words of the compared items
WORD = re.compile(r"[^\W\d_]{2,}")


def words(title: str, **labels: str | Sequence[str]) -> tuple[str, ...]:
    """Return the words of an item: those of its title in lower case, and its labels.

    A label has its name in front: the brand "Pink" is not the word "pink".
    """
    features = sorted(set(WORD.findall(title.lower())))
    for name, label in labels.items():
        values = (label,) if isinstance(label, str) else label
        features += [f"{name}={value}" for value in values if value]
    return tuple(features)


def catalog_words(document: bytes) -> tuple[str, tuple[tuple[str, ...], ...]]:
    """Return the hash of a catalog's ids, and the words of each item.

    `document` is the JSON list that the app reads. Raise InvalidInput for any other.
    """
    try:
        items = json.loads(document)
        ids = [item["id"].encode("utf-8", "surrogatepass") for item in items]
        item_words = tuple(
            words(
                item["title"],
                category=item.get("category", ""),
                brand=item.get("brand", ""),
                tag=tuple(item.get("tags", ())),
            )
            for item in items
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise InvalidInput(
            "items",
            f"they are not a list of items with id and title ({error})",
            "use the file that the app's catalog is read from",
        ) from error
    return hashlib.sha256(b"\n".join(ids)).hexdigest(), item_words


def likeness(items: Words) -> Singles:
    """Return the similarity of all pairs of items, in [0, 1], shape (n, n).

    It is the cosine of their words, weighted by inverse document frequency (Sparck
    Jones 1972); 0 for items without a common word. Raise InvalidInput for more than
    131,072 distinct words.
    """
    vocabulary = sorted({word for item in items for word in item})
    if len(vocabulary) > MAX_WORDS:
        raise InvalidInput(
            "words",
            f"{len(vocabulary)} are distinct",
            f"use at most {MAX_WORDS} distinct words",
        )
    word_numbers = {word: number for number, word in enumerate(vocabulary)}
    rows = np.repeat(np.arange(len(items)), [len(item) for item in items])
    columns = np.fromiter(
        (word_numbers[word] for item in items for word in item), np.int64, len(rows)
    )
    item_counts = np.bincount(columns, minlength=len(vocabulary))
    rarity = np.log(len(items) / np.maximum(item_counts, 1))
    norms = np.sqrt(np.bincount(rows, np.square(rarity[columns]), len(items)))
    least_norm = np.finfo(np.float64).tiny
    weights = rarity[columns] / np.maximum(norms[rows], least_norm)
    return _products(rows, columns, weights, len(items))


def _products(
    rows: NDArray[np.int64],
    columns: NDArray[np.int64],
    weights: NDArray[np.float64],
    item_count: int,
) -> Singles:
    """Return the products of all pairs of rows of a sparse matrix.

    It adds the pairs of each word in turn, which is quick because most words are on few
    items.
    """
    products = np.zeros((item_count, item_count), dtype=np.float32)
    order = np.argsort(columns, kind="stable")
    ends = np.flatnonzero(np.diff(columns[order])) + 1
    for members in np.split(order, ends):
        if len(members) > 1:
            items = rows[members]
            item_weights = weights[members].astype(np.float32)
            products[np.ix_(items, items)] += np.outer(item_weights, item_weights)
    np.fill_diagonal(products, 1.0)
    return np.clip(products, 0.0, 1.0)

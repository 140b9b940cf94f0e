"""Words make items alike, rare words more; a catalog file is read with its ids' hash."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.device.catalog import Catalog, Item
from tactful.errors import InvalidInput
from tactful.learning.item_features import catalog_words, likeness, words

texts = st.text("abcde ", max_size=12)
items = st.lists(
    st.lists(st.sampled_from("uvwxyz"), max_size=4, unique=True), min_size=2
)


def test_an_item_is_its_words_and_its_named_labels() -> None:
    told = words(
        "Pink Clock, PINK 2nd", category="home", brand="Pink", tag=("gift", "")
    )

    assert told == ("clock", "nd", "pink", "category=home", "brand=Pink", "tag=gift")


@given(items=items)
def test_likeness_is_the_cosine_of_rarity(items: list[list[str]]) -> None:
    known = sorted({word for one in items for word in one})
    has = np.array([[word in one for word in known] for one in items], dtype=float)
    rows = has * np.log(len(items) / np.maximum(has.sum(axis=0), 1))
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    unit = np.divide(rows, lengths, out=np.zeros_like(rows), where=lengths > 0)
    expected = unit @ unit.T
    np.fill_diagonal(expected, 1.0)

    assert np.allclose(likeness(items), expected, atol=1e-5)


def test_the_file_of_an_app_gives_its_words_and_the_hash_of_its_catalog() -> None:
    things = [
        {"id": "a", "title": "Red cup", "tags": ["gift"]},
        {"id": "b", "title": "Blue cup"},
    ]

    digest, told = catalog_words(json.dumps(things).encode())

    assert digest == Catalog(Item(id=one, title="") for one in "ab").sha256
    assert told == (("cup", "red", "tag=gift"), ("blue", "cup"))


@pytest.mark.parametrize(
    "broken", [b"{", b"3", b"[3]", b'[{"id": "a"}]', b'[{"title": "a"}]']
)
def test_another_file_is_refused_naming_the_items(broken: bytes) -> None:
    with pytest.raises(InvalidInput, match=r"^items: "):
        catalog_words(broken)

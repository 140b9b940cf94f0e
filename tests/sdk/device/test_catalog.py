"""Items are numbered in one order that device and aggregator share."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tactful.device.catalog import Catalog, Item
from tactful.errors import InvalidInput


def write(path: Path, document: object) -> Path:
    path.write_text(json.dumps(document))
    return path


def test_items_are_numbered_as_given_and_found_by_id() -> None:
    catalog = Catalog([Item(id="aja", title="Aja"), Item(id="gaucho", title="Gaucho")])

    assert (catalog.number("gaucho"), catalog["aja"].title, len(catalog)) == (
        1,
        "Aja",
        2,
    )
    assert "aja" in catalog
    assert "royal scam" not in catalog


def test_the_hash_follows_the_ids_and_their_order_only() -> None:
    one = Catalog([Item(id="a", title="x"), Item(id="b", title="y")])
    renamed = Catalog([Item(id="a", title="X!"), Item(id="b", title="Y!")])
    turned = Catalog([Item(id="b", title="y"), Item(id="a", title="x")])

    assert one.sha256 == renamed.sha256 != turned.sha256


def test_a_repeated_id_is_named() -> None:
    with pytest.raises(InvalidInput, match="item 'a' stands twice"):
        Catalog(
            [Item(id="a", title="x"), Item(id="b", title="y"), Item(id="a", title="z")]
        )


def test_an_unknown_item_is_named_with_the_fix() -> None:
    with pytest.raises(
        InvalidInput, match="item_id: 'nope' is not in the catalog; use the id"
    ):
        Catalog([]).number("nope")


def test_a_catalog_file_is_read(tmp_path: Path) -> None:
    document = [{"id": "a", "title": "x", "tags": ["new"], "price": 2}]

    catalog = Catalog.from_file(write(tmp_path / "items.json", document))

    assert catalog["a"] == Item(id="a", title="x", tags=("new",), price=2.0)


@pytest.mark.parametrize(
    ("document", "complaint"),
    [
        ({"id": "a"}, "catalog: document: .*array"),
        ([{"id": "a"}], r"0\.title"),
        ([{"id": "a", "title": "x", "colour": "red"}], r"0\.colour"),
        ([{"id": 7, "title": "x"}], r"0\.id"),
        ([{"id": "", "title": "x"}], "item.id"),
        ([{"id": "a", "title": "x", "price": -1}], "price"),
        ([{"id": "a", "title": "x", "item_class": "loud"}], "item_class"),
    ],
)
def test_a_malformed_file_names_the_item_and_field(
    tmp_path: Path, document: object, complaint: str
) -> None:
    with pytest.raises(InvalidInput, match=complaint):
        Catalog.from_file(write(tmp_path / "items.json", document))


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="cannot be read"):
        Catalog.from_file(tmp_path / "absent.json")


names = st.text(max_size=3)
items = st.builds(
    Item,
    id=st.text(min_size=1, max_size=3),
    title=st.text(max_size=8),
    category=names,
    brand=names,
    family=names,
    tags=st.lists(names, max_size=2).map(tuple),
    price=st.none() | st.floats(0, 9),
    replenishable=st.booleans(),
    since=st.none() | st.dates(),
)


@given(given_items=st.lists(items, max_size=9, unique_by=lambda item: item.id))
def test_a_catalog_gives_back_what_it_was_given(given_items: list[Item]) -> None:
    catalog = Catalog(given_items)

    assert list(catalog) == list(catalog.items) == given_items
    assert [catalog.items[n] for n in range(len(catalog))] == given_items
    assert [catalog.find(item.id) for item in given_items] == list(
        range(len(given_items))
    )
    assert [catalog.items[n].id for n in catalog.by_id] == sorted(
        item.id for item in given_items
    )
    assert catalog.find("four") is None

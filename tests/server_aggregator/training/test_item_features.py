"""A training is told the catalog's words by the file that the app reads, and by no other."""

import json
from pathlib import Path

import pytest

from tactful.device.catalog import Catalog
from tactful.errors import InvalidInput
from tactful_aggregator.cli import with_item_words
from tactful_aggregator.training.state import Training

ITEMS = [
    {"id": f"i{n}", "title": f"cup {'red' if n % 2 else 'blue'}"} for n in range(6)
]


def asked(**changes: object) -> dict[str, object]:
    chosen = {"model": "shop", "items": 6, "users": 90, "epsilon": 1.0, "delta": 1e-6}
    return {**chosen, "catalog": "", "min_batch_size": 4, **changes}


def test_the_words_are_those_of_the_items_of_the_training(tmp_path: Path) -> None:
    file = tmp_path / "catalog.json"
    file.write_text(json.dumps(ITEMS))
    catalog = Catalog.from_file(file)

    body = with_item_words(
        json.dumps(asked(catalog=catalog.sha256)).encode(), file.read_bytes()
    )

    told = json.loads(body)
    assert told["words"] == [
        sorted(("cup", "red" if n % 2 else "blue")) for n in range(6)
    ]
    assert {name: told[name] for name in asked()} == asked(catalog=catalog.sha256)


@pytest.mark.parametrize(
    ("training", "items", "field"),
    [
        (asked(catalog="another"), ITEMS, "items"),
        (asked(), {"no": "list"}, "items"),
        ([1], ITEMS, "training"),
    ],
)
def test_another_catalog_or_no_catalog_is_refused(
    training: object, items: object, field: str
) -> None:
    with pytest.raises(InvalidInput, match=f"^{field}: "):
        with_item_words(json.dumps(training).encode(), json.dumps(items).encode())


def test_words_describe_every_item_or_none() -> None:
    with pytest.raises(InvalidInput, match=r"^words: "):
        Training(**asked(words=(("cup",),) * 5))

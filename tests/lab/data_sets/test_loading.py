"""Bundled data sets have the stated content; missing or changed files are named."""

import csv
import io
import lzma
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tactful.errors import DatasetError
from tactful_lab.cli import main
from tactful_lab.data_sets import loading, online_retail_subset
from tactful_lab.data_sets.loading import SOURCES, Dataset, load, split

BUNDLED = [name for name, source in SOURCES.items() if source.bundled]


@pytest.fixture(scope="module")
def shop() -> Dataset:
    return load("online-retail")


def test_the_bundled_online_retail_has_1000_products_and_3921_customers(
    shop: Dataset,
) -> None:
    assert shop.items == 1_000
    assert shop.users == 3_921
    assert np.diff(shop.indptr).min() >= 5
    assert len(set(shop.item_ids)) == 1_000
    assert all(shop.titles)
    assert (shop.prices > 0).all()
    assert len(set(shop.categories)) == len(online_retail_subset.CATEGORIES) + 1


def test_the_bundled_data_is_small_and_has_licence_and_attribution() -> None:
    folder = Path(loading.__file__).parents[1] / "data"

    assert sum(path.stat().st_size for path in folder.rglob("*")) < 2_000_000
    for name in BUNDLED:
        assert (folder / name / "LICENSE").is_file()
        assert (folder / name / "README.md").is_file()


def test_events_are_ordered_and_agree_with_the_histories(shop: Dataset) -> None:
    events = shop.events
    assert events is not None
    assert len(events) == 295_973
    assert (np.diff(events.user) >= 0).all()
    same = np.diff(events.user) == 0
    assert (np.diff(events.time)[same] >= 0).all()
    assert (events.quantity > 0).all()
    for user in (0, 1_000, 3_920):
        assert set(events.item[events.user == user]) == set(shop.history(user))
    first = events.item[events.user == 7]
    assert first[np.sort(np.unique(first, return_index=True)[1])].tolist() == (
        shop.history(7).tolist()
    )


def test_online_retail_contains_repeated_purchases(shop: Dataset) -> None:
    assert shop.events is not None
    assert len(shop.events) > 1.4 * len(shop.indices)


@pytest.mark.parametrize("name", BUNDLED)
def test_a_split_puts_each_person_in_exactly_one_part(name: str) -> None:
    dataset = load(name)
    people = split(dataset)

    everyone = np.concatenate([people.train, people.validation, people.test])

    assert sorted(everyone) == list(range(dataset.users))
    assert len(people.test) == SOURCES[name].test
    assert np.array_equal(people.test, split(dataset).test)
    assert not np.array_equal(people.test, split(dataset, seed=1).test)


def test_msweb_has_277_areas_without_times_and_prices() -> None:
    dataset = load("msweb")

    assert (dataset.users, dataset.items) == (6_280, 277)
    assert dataset.events is None
    assert np.isnan(dataset.prices).all()


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_archive_has_the_stated_size(shared: Path, name: str) -> None:
    if name in ("globo-news-h000-239", "online-retail"):
        pytest.skip("too long for every run; the shop's archive has its own test")
    folder = shared / "datasets"

    dataset = load(name, folder)

    people, items = (
        int(word.replace(",", "")) for word in _numbers(SOURCES[name].size)
    )
    assert (dataset.users, dataset.items) == (people, items)
    assert np.diff(dataset.indptr).min() >= 5


def _numbers(size: str) -> tuple[str, str]:
    first, _, last = size.split()[0], None, size.split()[-1]
    return first, last


def test_the_bundled_online_retail_equals_the_subset_of_its_archive(
    shared: Path, shop: Dataset
) -> None:
    archived = load("online-retail", shared / "datasets")

    assert archived.titles == shop.titles
    assert np.array_equal(archived.indices, shop.indices)
    assert archived.events is not None
    assert shop.events is not None
    assert np.array_equal(archived.events.time, shop.events.time)


def test_an_alias_finds_the_same_data_set() -> None:
    assert loading.find("goodbooks") is loading.find("goodbooks-10k-v1")


def test_an_unknown_data_set_name_lists_the_supported_ones() -> None:
    with pytest.raises(
        DatasetError, match=r"^dataset: 'x' is unknown; use one of online-retail"
    ):
        load("x")


def test_the_error_for_a_missing_archive_says_where_to_obtain_it(
    tmp_path: Path,
) -> None:
    for folder in (None, tmp_path):
        with pytest.raises(
            DatasetError, match=r"^--data.*ml-1m\.tar\.xz.*obtain .*grouplens\.org"
        ):
            load("ml-1m", folder)


def test_a_data_folder_that_does_not_exist_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"^--data: .*nowhere is not a folder"):
        load("msweb", tmp_path / "nowhere")


def test_an_archive_with_another_digest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "msweb.tar.xz").write_bytes(b"other bytes")

    with pytest.raises(
        DatasetError, match=r"msweb\.tar\.xz: its sha256 is .*copy the archive again"
    ):
        load("msweb", tmp_path)


def test_datasets_lists_all_supported_data_sets(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["datasets"]) == 0

    printed = capsys.readouterr().out
    assert all(name in printed for name in SOURCES)
    assert "bundled" in printed


def test_the_data_folder_is_the_option_or_the_environment_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TACTFUL_DATA", str(tmp_path))

    assert loading.folder(None) == tmp_path
    assert loading.folder(Path("named")) == Path("named")
    monkeypatch.delenv("TACTFUL_DATA")
    assert loading.folder(None) is None


def test_a_data_set_that_is_not_in_the_list_is_split_by_shares() -> None:
    dataset = replace(load("msweb"), name="mine")

    assert len(split(dataset).test) == dataset.users // 6


def test_the_bundled_tables_are_compressed_csv(root: Path) -> None:
    packed = root / "lab" / "tactful_lab" / "data" / "online-retail" / "lines.csv.xz"

    with lzma.open(packed, "rt") as table:
        names = next(csv.reader(io.StringIO(table.readline())))

    assert names == ["order", "customer", "time", "product", "quantity", "price"]

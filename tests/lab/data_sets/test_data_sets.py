"""The bundled data is what it says, and a missing or damaged file is named with its remedy."""

import csv
import io
import lzma
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tactful.errors import DatasetError
from tactful_lab.cli import main
from tactful_lab.data_sets import loading, online_retail_subset, readers
from tactful_lab.data_sets.loading import SOURCES, Dataset, load, split

BUNDLED = [name for name, source in SOURCES.items() if source.bundled]


@pytest.fixture(scope="module")
def shop() -> Dataset:
    return load("online-retail")


def test_the_bundled_shop_has_a_thousand_products_and_its_regulars(
    shop: Dataset,
) -> None:
    assert shop.items == 1_000
    assert shop.users == 3_921
    assert np.diff(shop.indptr).min() >= 5
    assert len(set(shop.item_ids)) == 1_000
    assert all(shop.titles)
    assert (shop.prices > 0).all()
    assert len(set(shop.categories)) == len(online_retail_subset.CATEGORIES) + 1


def test_the_bundle_is_small_and_carries_licence_and_attribution() -> None:
    folder = Path(loading.__file__).parents[1] / "data"

    assert sum(path.stat().st_size for path in folder.rglob("*")) < 2_000_000
    for name in BUNDLED:
        assert (folder / name / "LICENSE").is_file()
        assert (folder / name / "README.md").is_file()


def test_events_are_in_order_and_give_the_histories(shop: Dataset) -> None:
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


def test_people_buy_again(shop: Dataset) -> None:
    assert shop.events is not None
    assert len(shop.events) > 1.4 * len(shop.indices)


@pytest.mark.parametrize("name", BUNDLED)
def test_nobody_is_both_trained_on_and_tested(name: str) -> None:
    dataset = load(name)
    people = split(dataset)

    everyone = np.concatenate([people.train, people.validation, people.test])

    assert sorted(everyone) == list(range(dataset.users))
    assert len(people.test) == SOURCES[name].test
    assert np.array_equal(people.test, split(dataset).test)
    assert not np.array_equal(people.test, split(dataset, seed=1).test)


def test_visits_of_the_web_site() -> None:
    dataset = load("msweb")

    assert (dataset.users, dataset.items) == (6_280, 277)
    assert dataset.events is None
    assert np.isnan(dataset.prices).all()


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_every_packed_archive_loads(shared: Path, name: str) -> None:
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


def test_the_bundle_is_the_cut_of_the_packed_archive(
    shared: Path, shop: Dataset
) -> None:
    whole = load("online-retail", shared / "datasets")

    assert whole.titles == shop.titles
    assert np.array_equal(whole.indices, shop.indices)
    assert whole.events is not None
    assert shop.events is not None
    assert np.array_equal(whole.events.time, shop.events.time)


def test_an_alias_names_the_same_data() -> None:
    assert loading.find("goodbooks") is loading.find("goodbooks-10k-v1")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(
        DatasetError, match=r"^dataset: 'x' is unknown; use one of online-retail"
    ):
        load("x")


def test_a_missing_archive_says_how_to_obtain_it(tmp_path: Path) -> None:
    for folder in (None, tmp_path):
        with pytest.raises(
            DatasetError, match=r"^--data.*ml-1m\.tar\.xz.*obtain .*grouplens\.org"
        ):
            load("ml-1m", folder)


def test_a_folder_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"^--data: .*nowhere is not a folder"):
        load("msweb", tmp_path / "nowhere")


def test_a_changed_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "msweb.tar.xz").write_bytes(b"other bytes")

    with pytest.raises(
        DatasetError, match=r"msweb\.tar\.xz: its sha256 is .*copy the archive again"
    ):
        load("msweb", tmp_path)


def test_an_archive_that_lacks_a_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "msweb.tar.xz"
    with tarfile.open(path, "w:xz"):
        pass

    with pytest.raises(DatasetError, match=r"does not contain anonymous-msweb\.data"):
        readers.msweb(readers.unpack(path, "msweb"))


def test_bytes_that_are_no_archive_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "msweb.tar.xz"
    path.write_bytes(lzma.compress(b"no archive"))

    with pytest.raises(DatasetError, match="cannot be unpacked"):
        readers.unpack(path, "msweb")


def test_a_missing_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="install the package again"):
        readers.Bundle(tmp_path).read("lines.csv")


TABLE = """InvoiceNo,StockCode,Description,Quantity,InvoiceDate,UnitPrice,CustomerID,Country
1,10001a,RED  MUG,2,2011-01-01 10:00:00,1.5,7,UK
C2,10001A,RED MUG,-2,2011-01-02 10:00:00,1.5,7,UK
3,POST,POSTAGE,1,2011-01-02 10:00:00,18,7,UK
4,10002,GIFT,1,2011-01-02 10:00:00,0,7,UK
5,10003,BUNTING,1,2011-01-02 10:00:00,4.5,NA,UK
"""


def test_only_sales_of_products_to_customers_are_cut() -> None:
    lines, titles = online_retail_subset._sales(TABLE)

    assert [(line.product, line.quantity, line.price) for line in lines] == [
        ("10001A", 2, 1.5)
    ]
    assert dict(titles["10001A"]) == {"RED MUG": 1}


def test_what_the_cut_writes_is_what_the_loader_reads() -> None:
    lines, _ = online_retail_subset._sales(TABLE)
    product = online_retail_subset.Product("10001A", 'Mug, "red"', "kitchen", 1.5)

    assert (
        online_retail_subset.read_lines(online_retail_subset.write_lines(lines))
        == lines
    )
    assert online_retail_subset.read_products(
        online_retail_subset.write_products([product])
    ) == [product]


@pytest.mark.parametrize(
    ("title", "category"),
    [
        ("LUNCH BAG RED RETROSPOT", "bags"),
        ("PAPER CHAIN KIT 50'S CHRISTMAS", "christmas"),
        ("REGENCY CAKESTAND 3 TIER", "kitchen"),
        ("SOMETHING ELSE ENTIRELY", "other"),
    ],
)
def test_a_category_is_read_off_the_title(title: str, category: str) -> None:
    assert online_retail_subset.category(title) == category


def test_an_hour_without_clicks_is_no_fault() -> None:
    assert readers._table(b"a,b\n", ",", (0, 1)).shape == (0, 2)
    assert readers._table(b"a,b\n1,2\n", ",", (1,)).tolist() == [[2]]


def test_the_command_lists_every_data_set(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["datasets"]) == 0

    printed = capsys.readouterr().out
    assert all(name in printed for name in SOURCES)
    assert "bundled" in printed


def test_the_folder_comes_from_the_option_or_the_environment(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TACTFUL_DATA", str(tmp_path))

    assert loading.folder(None) == tmp_path
    assert loading.folder(Path("named")) == Path("named")
    monkeypatch.delenv("TACTFUL_DATA")
    assert loading.folder(None) is None


def test_a_data_set_nobody_knows_is_split_by_parts() -> None:
    known = replace(load("msweb"), name="mine")

    assert len(split(known).test) == known.users // 6


def test_the_bundled_tables_are_plain(root: Path) -> None:
    packed = root / "lab" / "tactful_lab" / "data" / "online-retail" / "lines.csv.xz"

    with lzma.open(packed, "rt") as table:
        names = next(csv.reader(io.StringIO(table.readline())))

    assert names == ["order", "customer", "time", "product", "quantity", "price"]

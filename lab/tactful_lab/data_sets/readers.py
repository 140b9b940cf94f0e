"""One reader per data set: from the files as published to plain columns."""

from __future__ import annotations

import csv
import io
import lzma
import tarfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tactful.errors import DatasetError
from tactful_lab.data_sets import online_retail_subset

Ints = NDArray[np.int64]

LIKED = 4  # stars, from which on a rating counts as taking to an item
LEAST_RATINGS = 10  # per film of MovieLens with all ratings (design/learning.md 8)


@dataclass(frozen=True, eq=False)
class Raw:
    """Interactions in their order, with users and items numbered from 0; empty if not known."""

    user: Ints
    item: Ints
    item_ids: tuple[str, ...]
    titles: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    tags: tuple[tuple[str, ...], ...] = ()
    prices: NDArray[np.float64] = field(default_factory=lambda: np.empty(0))
    time: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    quantity: Ints = field(default_factory=lambda: np.empty(0, dtype=np.int64))


class Files(Protocol):
    """The files of one data set, by their name inside its folder."""

    def read(self, name: str) -> bytes:
        """The content; raises DatasetError if there is no such file."""
        ...

    def names(self) -> list[str]:
        """All names."""
        ...


@dataclass(frozen=True)
class Unpacked:
    """The files of an archive, in memory."""

    path: Path
    content: dict[str, bytes]

    def read(self, name: str) -> bytes:
        """The content; raises DatasetError if there is no such file."""
        if name not in self.content:
            raise DatasetError(str(self.path), f"{name} is not in it", "copy it again")
        return self.content[name]

    def names(self) -> list[str]:
        """All names."""
        return sorted(self.content)


@dataclass(frozen=True)
class Bundle:
    """The files that came with the package."""

    folder: Traversable

    def read(self, name: str) -> bytes:
        """The content, unpacked if it is kept packed; raises DatasetError."""
        packed = self.folder / f"{name}.xz"
        try:
            return lzma.decompress(packed.read_bytes())
        except (OSError, lzma.LZMAError) as wrong:
            raise DatasetError(
                str(packed), "it is missing or damaged", "install the package again"
            ) from wrong

    def names(self) -> list[str]:
        """All names."""
        return sorted(entry.name.removesuffix(".xz") for entry in self.folder.iterdir())


def unpack(path: Path, folder: str) -> Unpacked:
    """The files of the archive at `path` that stand in `folder`; nothing is written to disk."""
    content = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() else None
                if stream is not None:
                    content[member.name.removeprefix(f"{folder}/")] = stream.read()
    except (OSError, tarfile.TarError, lzma.LZMAError) as wrong:
        raise DatasetError(
            str(path), "it cannot be unpacked", "copy it again"
        ) from wrong
    return Unpacked(path, content)


def online_retail(files: Files) -> Raw:
    """Purchases: the subset of retail.py, cut from the published table or as bundled."""
    if "lines.csv" in files.names():
        products = online_retail_subset.read_products(
            files.read("products.csv").decode()
        )
        lines = online_retail_subset.read_lines(files.read("lines.csv").decode())
    else:
        products, lines = online_retail_subset.cut(
            files.read("online_retail.csv").decode()
        )
    number = {product.code: index for index, product in enumerate(products)}
    return Raw(
        user=_column(line.customer for line in lines),
        item=_column(number[line.product] for line in lines),
        item_ids=tuple(product.code for product in products),
        titles=tuple(product.title for product in products),
        categories=tuple(product.category for product in products),
        prices=np.array([product.price for product in products]),
        time=_column(line.time for line in lines),
        quantity=_column(line.quantity for line in lines),
    )


def msweb(files: Files) -> Raw:
    """Areas of a web site that visitors opened in one week; the published training file."""
    titles: dict[str, str] = {}
    visits: list[tuple[str, str]] = []
    visitor = ""
    for row in csv.reader(
        io.StringIO(files.read("anonymous-msweb.data").decode("latin-1"))
    ):
        if row[0] == "A":
            titles[row[1]] = row[3]
        elif row[0] == "C":
            visitor = row[2]
        elif row[0] == "V":
            visits.append((visitor, row[1]))
    number = {code: index for index, code in enumerate(sorted(titles))}
    return Raw(
        user=_numbered(who for who, _ in visits),
        item=_column(number[area] for _, area in visits),
        item_ids=tuple(number),
        titles=tuple(titles[code] for code in number),
    )


def goodbooks(files: Files) -> Raw:
    """Books that a reader rated 4 stars or more."""
    books = list(csv.DictReader(io.StringIO(files.read("books.csv").decode())))
    ratings = _table(files.read("ratings.csv"), ",", (0, 1, 2))
    book, user, _ = ratings[ratings[:, 2] >= LIKED].T
    ids = np.array([int(row["id"]) for row in books])
    order = np.argsort(ids)
    return Raw(
        user=user,
        item=order[np.searchsorted(ids[order], book)],
        item_ids=tuple(row["id"] for row in books),
        titles=tuple(row["title"] for row in books),
        categories=tuple(row["language_code"] for row in books),
        tags=tuple(_book_tags(row) for row in books),
    )


def _book_tags(row: Mapping[str, str]) -> tuple[str, ...]:
    year = row["original_publication_year"]
    decade = (f"{int(float(year)) // 10}0s",) if year else ()
    return (*(author.strip() for author in row["authors"].split(",")), *decade)


def ml_1m_diffrec(files: Files) -> Raw:
    """Films rated 4 stars or more, numbered and in the order of the DiffRec repository."""
    parts = [
        np.load(
            io.BytesIO(files.read(f"ml-1m_clean/{part}_list.npy")), allow_pickle=False
        )
        for part in ("train", "valid", "test")
    ]
    user, item = np.concatenate(parts).astype(np.int64).T
    return Raw(
        user=user, item=item, item_ids=tuple(str(n) for n in range(int(item.max()) + 1))
    )


def ml_1m(files: Files) -> Raw:
    """All films a person rated, at least 10 ratings each, with titles and first genre."""
    films = [
        line.split("::")
        for line in files.read("movies.dat").decode("latin-1").splitlines()
    ]
    user, film, _ = _table(files.read("ratings_no_timestamp.csv"), ",", (0, 1, 2)).T
    kept = (np.bincount(film) >= LEAST_RATINGS)[film]
    place = np.full(int(film.max()) + 1, -1, dtype=np.int64)
    place[[int(number) for number, _, _ in films]] = np.arange(len(films))
    return Raw(
        user=user[kept],
        item=place[film[kept]],
        item_ids=tuple(number for number, _, _ in films),
        titles=tuple(title for _, title, _ in films),
        categories=tuple(genres.split("|")[0] for _, _, genres in films),
        tags=tuple(
            (*genres.split("|"), f"{title[-5:-2]}0s") for _, title, genres in films
        ),
    )


def completejourney(files: Files) -> Raw:
    """What households bought of a grocer in a year."""
    products = {
        row["product_id"]: row
        for row in csv.DictReader(io.StringIO(files.read("products.csv").decode()))
    }
    lines = list(
        csv.DictReader(
            io.StringIO(files.read("transactions_sample_v1.0.0.csv").decode())
        )
    )
    times = (datetime.fromisoformat(row["transaction_timestamp"]) for row in lines)
    sold = sorted({row["product_id"] for row in lines}, key=int)
    number = {code: index for index, code in enumerate(sold)}
    kinds = [products.get(code, {}) for code in sold]
    return Raw(
        user=_column(int(row["household_id"]) for row in lines),
        item=_column(number[row["product_id"]] for row in lines),
        item_ids=tuple(sold),
        titles=tuple(kind.get("product_type", "") for kind in kinds),
        categories=tuple(kind.get("product_category", "") for kind in kinds),
        tags=tuple(
            (kind.get("department", ""), kind.get("brand", "")) for kind in kinds
        ),
        time=_column(int(time.replace(tzinfo=UTC).timestamp()) for time in times),
        quantity=_column(max(int(float(row["quantity"])), 1) for row in lines),
    )


def globo_news(files: Files) -> Raw:
    """Clicks on news, by hour; times in unix seconds."""
    hours = [name for name in files.names() if name.startswith("clicks/")]
    clicks = np.concatenate(
        [_table(files.read(name), ",", (0, 4, 5)) for name in hours]
    )
    user, article, time = clicks[np.argsort(clicks[:, 2], kind="stable")].T
    articles, item = np.unique(article, return_inverse=True)
    return Raw(
        user=user,
        item=item.astype(np.int64),
        item_ids=tuple(str(one) for one in articles),
        time=time // 1000,
        quantity=np.ones(len(time), dtype=np.int64),
    )


def _table(content: bytes, delimiter: str, columns: tuple[int, ...]) -> Ints:
    """Whole numbers from the named columns of a table with one line of headings."""
    if content.count(b"\n", 0, -1) == 0:  # an hour without a click
        return np.empty((0, len(columns)), dtype=np.int64)
    return np.loadtxt(
        io.BytesIO(content),
        delimiter=delimiter,
        skiprows=1,
        usecols=columns,
        dtype=np.int64,
        ndmin=2,
    )


def _column(values: Iterable[int]) -> Ints:
    return np.fromiter(values, dtype=np.int64)


def _numbered(names: Iterable[str]) -> Ints:
    known: dict[str, int] = {}
    return _column(known.setdefault(name, len(known)) for name in names)

"""Readers of the supported data sets: from the published files to plain columns."""

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

LIKED = 4  # stars from which a rating counts as a positive interaction
LEAST_RATINGS = 10  # per film of MovieLens with all ratings (docs/spec/learning.md 8)


@dataclass(frozen=True, eq=False)
class Raw:
    """Interactions in the order of the file, with users and items numbered from 0.

    Columns that the data set does not have are empty.
    """

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
    """The files of one data set, by name inside its folder."""

    def read(self, name: str) -> bytes:
        """Return the content of a file; raise DatasetError if it does not exist."""
        ...

    def names(self) -> list[str]:
        """Return the names of all files."""
        ...


@dataclass(frozen=True)
class Unpacked:
    """The files of an archive, in memory."""

    path: Path
    content: dict[str, bytes]

    def read(self, name: str) -> bytes:
        """Return the content of a file; raise DatasetError if it does not exist."""
        if name not in self.content:
            raise DatasetError(
                str(self.path),
                f"it does not contain {name}",
                "copy the archive again",
            )
        return self.content[name]

    def names(self) -> list[str]:
        """Return the names of all files."""
        return sorted(self.content)


@dataclass(frozen=True)
class Bundle:
    """The compressed files that are part of the package."""

    folder: Traversable

    def read(self, name: str) -> bytes:
        """Return the decompressed content of a file; raise DatasetError if it fails."""
        compressed = self.folder / f"{name}.xz"
        try:
            return lzma.decompress(compressed.read_bytes())
        except (OSError, lzma.LZMAError) as error:
            raise DatasetError(
                str(compressed),
                "it is missing or damaged",
                "install the package again",
            ) from error

    def names(self) -> list[str]:
        """Return the names of all files."""
        return sorted(entry.name.removesuffix(".xz") for entry in self.folder.iterdir())


def unpack(path: Path, folder: str) -> Unpacked:
    """Read the files of `folder` in the archive at `path`; write nothing to disk."""
    content = {}
    try:
        with tarfile.open(path) as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() else None
                if stream is not None:
                    content[member.name.removeprefix(f"{folder}/")] = stream.read()
    except (OSError, tarfile.TarError, lzma.LZMAError) as error:
        raise DatasetError(
            str(path), "it cannot be unpacked", "copy the archive again"
        ) from error
    return Unpacked(path, content)


def online_retail(files: Files) -> Raw:
    """Read purchases: the bundled subset, or the same subset of the published table."""
    if "lines.csv" in files.names():
        products_table = files.read("products.csv").decode()
        products = online_retail_subset.read_products(products_table)
        lines = online_retail_subset.read_lines(files.read("lines.csv").decode())
    else:
        table = files.read("online_retail.csv").decode()
        products, lines = online_retail_subset.select_subset(table)
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
    """Read areas of a web site that visitors opened in one week (the training file)."""
    titles: dict[str, str] = {}
    visits: list[tuple[str, str]] = []
    visitor = ""
    text = files.read("anonymous-msweb.data").decode("latin-1")
    # An "A" row describes an area. A "C" row starts a visitor, whose "V" rows follow.
    for row in csv.reader(io.StringIO(text)):
        if row[0] == "A":
            titles[row[1]] = row[3]
        elif row[0] == "C":
            visitor = row[2]
        elif row[0] == "V":
            visits.append((visitor, row[1]))
    number = {code: index for index, code in enumerate(sorted(titles))}
    return Raw(
        user=_numbered(visitor for visitor, _ in visits),
        item=_column(number[area] for _, area in visits),
        item_ids=tuple(number),
        titles=tuple(titles[code] for code in number),
    )


def goodbooks(files: Files) -> Raw:
    """Read books that a reader rated 4 stars or more."""
    books = list(csv.DictReader(io.StringIO(files.read("books.csv").decode())))
    ratings = _table(files.read("ratings.csv"), ",", (0, 1, 2))
    book, user, _ = ratings[ratings[:, 2] >= LIKED].T
    ids = np.array([int(row["id"]) for row in books])
    # The books are not ordered by id, so ids are looked up in a sorted copy.
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
    """Return the authors of a book and the decade of its first publication."""
    authors = [author.strip() for author in row["authors"].split(",")]
    year = row["original_publication_year"]
    if not year:
        return tuple(authors)
    return (*authors, _decade(int(float(year))))


def _decade(year: int) -> str:
    return f"{year // 10}0s"


def ml_1m_diffrec(files: Files) -> Raw:
    """Read films rated 4 stars or more, with the numbers of the DiffRec repository."""
    parts = []
    for part in ("train", "valid", "test"):
        content = io.BytesIO(files.read(f"ml-1m_clean/{part}_list.npy"))
        parts.append(np.load(content, allow_pickle=False))
    user, item = np.concatenate(parts).astype(np.int64).T
    item_ids = tuple(str(number) for number in range(int(item.max()) + 1))
    return Raw(user=user, item=item, item_ids=item_ids)


def ml_1m(files: Files) -> Raw:
    """Read all ratings of films with at least 10 ratings, with titles and genres."""
    text = files.read("movies.dat").decode("latin-1")
    films = [line.split("::") for line in text.splitlines()]
    user, film, _ = _table(files.read("ratings_no_timestamp.csv"), ",", (0, 1, 2)).T
    has_ratings = (np.bincount(film) >= LEAST_RATINGS)[film]
    item_of_film = np.full(int(film.max()) + 1, -1, dtype=np.int64)
    item_of_film[[int(number) for number, _, _ in films]] = np.arange(len(films))
    return Raw(
        user=user[has_ratings],
        item=item_of_film[film[has_ratings]],
        item_ids=tuple(number for number, _, _ in films),
        titles=tuple(title for _, title, _ in films),
        categories=tuple(genres.split("|")[0] for _, _, genres in films),
        tags=tuple(
            (*genres.split("|"), f"{title[-5:-2]}0s") for _, title, genres in films
        ),
    )


def completejourney(files: Files) -> Raw:
    """Read the purchases of households from a grocer in one year."""
    products_table = io.StringIO(files.read("products.csv").decode())
    products = {row["product_id"]: row for row in csv.DictReader(products_table)}
    lines_table = io.StringIO(files.read("transactions_sample_v1.0.0.csv").decode())
    lines = list(csv.DictReader(lines_table))
    times = (datetime.fromisoformat(row["transaction_timestamp"]) for row in lines)
    codes = sorted({row["product_id"] for row in lines}, key=int)
    number = {code: index for index, code in enumerate(codes)}
    # Some transactions have products that are not in the product table.
    rows = [products.get(code, {}) for code in codes]
    return Raw(
        user=_column(int(row["household_id"]) for row in lines),
        item=_column(number[row["product_id"]] for row in lines),
        item_ids=tuple(codes),
        titles=tuple(row.get("product_type", "") for row in rows),
        categories=tuple(row.get("product_category", "") for row in rows),
        tags=tuple((row.get("department", ""), row.get("brand", "")) for row in rows),
        time=_column(int(time.replace(tzinfo=UTC).timestamp()) for time in times),
        quantity=_column(max(int(float(row["quantity"])), 1) for row in lines),
    )


def globo_news(files: Files) -> Raw:
    """Read clicks on news from files by hour; times become unix seconds."""
    names = [name for name in files.names() if name.startswith("clicks/")]
    tables = [_table(files.read(name), ",", (0, 4, 5)) for name in names]
    clicks = np.concatenate(tables)
    user, article, time = clicks[np.argsort(clicks[:, 2], kind="stable")].T
    articles, item = np.unique(article, return_inverse=True)
    return Raw(
        user=user,
        item=item.astype(np.int64),
        item_ids=tuple(str(article) for article in articles),
        time=time // 1000,
        quantity=np.ones(len(time), dtype=np.int64),
    )


def _table(content: bytes, delimiter: str, columns: tuple[int, ...]) -> Ints:
    """Return integers from some columns of a table with one line of headings."""
    # An hour without clicks has headings only, for which numpy would warn.
    if content.count(b"\n", 0, -1) == 0:
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
    """Return a number for each name, in the order of first occurrence."""
    numbers: dict[str, int] = {}
    return _column(numbers.setdefault(name, len(numbers)) for name in names)

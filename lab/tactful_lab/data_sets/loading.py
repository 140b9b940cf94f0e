"""Real data sets, from archives in a folder or bundled with the package."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tactful.errors import DatasetError, InvalidInput
from tactful.learning.item_features import words
from tactful_lab.data_sets import csv_file, readers
from tactful_lab.data_sets.readers import Files, Raw

Ints = NDArray[np.int64]

LEAST_ITEMS = 5  # per user; shorter histories are left out (docs/spec/learning.md 8)
PASSES = 3  # of the filters for items and users, which influence each other


@dataclass(frozen=True)
class Events:
    """All interactions, ordered by user and time; `time` is in unix seconds."""

    user: Ints
    item: Ints
    time: Ints
    quantity: Ints

    def __len__(self) -> int:
        """Return the number of interactions."""
        return len(self.user)


@dataclass(frozen=True, eq=False)
class Dataset:
    """User histories in compressed rows.

    The distinct items of user u are indices[indptr[u]:indptr[u + 1]], in the order of
    first interaction. Where the data set has no such column, prices are NaN, titles and
    categories "", `tags` empty and `events` None.
    """

    name: str
    licence: str
    indptr: Ints
    indices: Ints
    item_ids: tuple[str, ...]
    titles: tuple[str, ...]
    categories: tuple[str, ...]
    prices: NDArray[np.float64]
    tags: tuple[tuple[str, ...], ...] = ()
    events: Events | None = None

    @cached_property
    def words(self) -> tuple[tuple[str, ...], ...] | None:
        """The feature words of each item; None if no item has any."""
        all_tags = self.tags or ((),) * self.items
        labels = zip(self.titles, self.categories, all_tags, strict=True)
        features = tuple(
            words(title, category=category, tag=tags)
            for title, category, tags in labels
        )
        return features if any(features) else None

    def without_words(self) -> Dataset:
        """Return the same people and items without item features."""
        empty = ("",) * self.items
        return replace(self, titles=empty, categories=empty, tags=())

    @property
    def users(self) -> int:
        """The number of people."""
        return len(self.indptr) - 1

    @property
    def items(self) -> int:
        """The number of items."""
        return len(self.item_ids)

    def history(self, user: int) -> Ints:
        """Return the distinct items of one user, in the order of first interaction."""
        return self.indices[self.indptr[user] : self.indptr[user + 1]]

    def histories(self, users: Ints) -> list[Ints]:
        """Return the histories of several users."""
        return [self.history(int(user)) for user in users]


@dataclass(frozen=True)
class Split:
    """Users for training, validation and test; nobody is in two of them."""

    train: Ints
    validation: Ints
    test: Ints


@dataclass(frozen=True)
class Source:
    """One supported data set: its reader, its filter and split, and its licence."""

    name: str
    read: Callable[[Files], Raw]
    size: str  # people x items, after filtering
    items: int  # number of most popular items that are used
    validation: int  # people
    test: int  # people
    licence: str
    obtain: str  # where to get it, for error messages
    sha256: str  # of the archive
    bundled: bool = False


_GROUPLENS = "GroupLens terms: research use, no redistribution"
SOURCES = {
    source.name: source
    for source in (
        Source(
            "online-retail",
            readers.online_retail,
            "3,921 customers x 1,000",
            1_000,
            325,
            650,
            "CC0 (R package onlineretail, with the donor's permission)",
            "bundled; the complete set is in the R package onlineretail",
            "6b50b17428b4a9d41f14a48f4ab1d425b49964b2a6713667ad32f80558ec27ab",
            bundled=True,
        ),
        Source(
            "msweb",
            readers.msweb,
            "6,280 visitors x 277",
            294,
            500,
            1_000,
            "UCI Machine Learning Repository, anonymous web data",
            "bundled; also at the UCI repository as Anonymous Microsoft Web Data",
            "5984a8aae3918cc08f73c0744fc4d62b2328b569eaf37275ac28c4509764c812",
            bundled=True,
        ),
        Source(
            "goodbooks-10k-v1",
            readers.goodbooks,
            "10,760 readers x 1,998",
            2_000,
            500,
            1_000,
            "CC BY-SA 4.0 (goodbooks-10k by zygmuntz)",
            "the first version of goodbooks-10k",
            "bb1ddb4470d1529ea7c6331b48241c8532b1a10801f4ef167f86790f9b3f6a95",
        ),
        Source(
            "ml-1m-diffrec",
            readers.ml_1m_diffrec,
            "5,949 people x 2,810",
            2_810,
            500,
            1_000,
            _GROUPLENS,
            "ml-1m_clean of the DiffRec repository, made from MovieLens 1M of grouplens.org",
            "faf639ef6f8eef1bad53efa50655c4acf12bb9faa94d7bdc188d1b9e8b5341ba",
        ),
        Source(
            "ml-1m",
            readers.ml_1m,
            "6,040 people x 3,018",
            3_018,
            500,
            1_000,
            _GROUPLENS,
            "MovieLens 1M of grouplens.org",
            "830e63557a9de527953b4b1124614f3d2aaaaac61866cedfc27e346a6391ee94",
        ),
        Source(
            "completejourney",
            readers.completejourney,
            "1,710 households x 1,000",
            1_000,
            150,
            300,
            "CC0 (84.51°, R package completejourney)",
            "the R package completejourney",
            "5d2414fb39791257e664bc23bf15ce5cc7d045f8ea53702cdf51f2d1e6813e88",
        ),
        Source(
            "globo-news-h000-239",
            readers.globo_news,
            "116,920 readers x 2,000",
            2_000,
            1_000,
            2_000,
            "Globo.com: academic use only",
            "the Globo.com news portal interactions data set",
            "a6854a9a4765c35a3740ad086f63cd0f141d01b401a63526d15ac4c57d415970",
        ),
    )
}
ALIASES = {"goodbooks": "goodbooks-10k-v1", "globo-news": "globo-news-h000-239"}


def load(name: str, folder: Path | None = None) -> Dataset:
    """Load the data set `name` from its archive in `folder`, or as bundled.

    A name that ends in .csv is the path of a file of your own (see `csv_file`). Raises
    DatasetError with what is missing or damaged, and where to obtain it.
    """
    if name.endswith(".csv"):
        return _load_csv_file(Path(name))
    source = find(name)
    raw = source.read(files(source, folder))
    return filter_raw(raw, name=source.name, licence=source.licence, items=source.items)


def _load_csv_file(path: Path) -> Dataset:
    dataset = filter_raw(
        csv_file.read(path), name=path.name, licence="yours", items=csv_file.MOST_ITEMS
    )
    if not dataset.users:
        raise DatasetError(
            str(path),
            f"no user has {LEAST_ITEMS} of the most popular items",
            f"use a file in which users have at least {LEAST_ITEMS} items each",
        )
    return dataset


def folder(option: Path | None) -> Path | None:
    """Return the folder of archives: `option`, else $TACTFUL_DATA, else None."""
    if option is None and os.environ.get("TACTFUL_DATA"):
        return Path(os.environ["TACTFUL_DATA"])
    return option


def find(name: str) -> Source:
    """Return the source of the data set `name`, or of an alias; raise DatasetError."""
    source = SOURCES.get(ALIASES.get(name, name))
    if source is None:
        names = ", ".join([*SOURCES, *ALIASES])
        raise DatasetError("dataset", f"{name!r} is unknown", f"use one of {names}")
    return source


def archive(source: Source, folder: Path) -> Path:
    """Return the path of the archive of `source` in `folder`, existing or not."""
    return folder / f"{source.name}.tar.xz"


def split(dataset: Dataset, seed: int = 0) -> Split:
    """Split the users at random (docs/spec/learning.md 8).

    A data set that is not in SOURCES has 1/12 of its users for validation and 1/6 for
    the test.
    """
    source = SOURCES.get(dataset.name)
    validation = source.validation if source else dataset.users // 12
    test = source.test if source else dataset.users // 6
    order = np.random.default_rng(seed).permutation(dataset.users)
    return Split(
        train=np.sort(order[validation + test :]),
        validation=np.sort(order[test : validation + test]),
        test=np.sort(order[:test]),
    )


def rankable_split(dataset: Dataset) -> Split:
    """Return the split; raise InvalidInput if a part is empty."""
    people = split(dataset)
    smallest = min(map(len, (people.train, people.validation, people.test)))
    if dataset.items < 2 or not smallest:
        raise InvalidInput(
            "dataset",
            f"{dataset.users} people and {dataset.items} items are too few to split "
            "and rank",
            "use at least 12 people and 2 items",
        )
    return people


def filter_raw(raw: Raw, *, name: str, licence: str, items: int) -> Dataset:
    """Return the most popular `items` of `raw`, and users with at least 5 of them."""
    user, item, position = _first_interactions(raw)
    # Removing items leaves some users with too few items, and removing users changes
    # which items are popular, so both filters are repeated.
    for _ in range(PASSES):
        is_popular = _most_popular(item, items)[item]
        user, item, position = user[is_popular], item[is_popular], position[is_popular]
        is_active = (np.bincount(user) >= LEAST_ITEMS)[user]
        user, item, position = user[is_active], item[is_active], position[is_active]
    raw_users, user = np.unique(user, return_inverse=True)
    raw_items, item = np.unique(item, return_inverse=True)
    prices = np.full(len(raw_items), np.nan)
    if len(raw.prices):
        prices = raw.prices[raw_items]
    return Dataset(
        name=name,
        licence=licence,
        indptr=np.concatenate([[0], np.cumsum(np.bincount(user))]).astype(np.int64),
        indices=item[np.lexsort((position, user))].astype(np.int64),
        item_ids=_select(raw.item_ids, raw_items),
        titles=_select(raw.titles, raw_items),
        categories=_select(raw.categories, raw_items),
        prices=prices,
        tags=tuple(raw.tags[raw_item] for raw_item in raw_items) if raw.tags else (),
        events=_events(raw, raw_users, raw_items),
    )


def _first_interactions(raw: Raw) -> tuple[Ints, Ints, Ints]:
    """Return the distinct (user, item) pairs and the first position of each."""
    # One number per pair, because np.unique is fast for a single column.
    pairs = raw.user * len(raw.item_ids) + raw.item
    _, first = np.unique(pairs, return_index=True)
    return raw.user[first], raw.item[first], first.astype(np.int64)


def _most_popular(item: Ints, count: int) -> NDArray[np.bool_]:
    """Return for each item number if it is among the `count` most popular ones."""
    counts = np.bincount(item)
    is_popular = np.zeros(len(counts), dtype=np.bool_)
    is_popular[np.argsort(-counts, kind="stable")[:count]] = True
    return is_popular & (counts > 0)


def _events(raw: Raw, raw_users: Ints, raw_items: Ints) -> Events | None:
    """Return all interactions of these users and items; None without times."""
    if not len(raw.time):
        return None
    rows = np.isin(raw.user, raw_users) & np.isin(raw.item, raw_items)
    user = np.searchsorted(raw_users, raw.user[rows])
    item = np.searchsorted(raw_items, raw.item[rows])
    time, quantity = raw.time[rows], raw.quantity[rows]
    # The last key is the primary one: by user, then by time.
    order = np.lexsort((time, user))
    return Events(user[order], item[order], time[order], quantity[order])


def _select(texts: tuple[str, ...], numbers: Ints) -> tuple[str, ...]:
    """Return the texts with these numbers; "" for each if there are no texts."""
    if not texts:
        return ("",) * len(numbers)
    return tuple(texts[number] for number in numbers)


def files(source: Source, folder: Path | None) -> Files:
    """Return the files of a data set, from its archive in `folder` or as bundled.

    Raises DatasetError if there are none.
    """
    if folder is not None and not folder.is_dir():
        raise DatasetError(
            "--data",
            f"{folder} is not a folder",
            "pass the folder that contains the data set archives",
        )
    if folder is not None and archive(source, folder).is_file():
        path = archive(source, folder)
        _check_digest(source, path)
        return readers.unpack(path, source.name)
    if source.bundled:
        return readers.Bundle(_bundle(source.name))
    raise DatasetError(
        "--data" if folder is None else f"--data {folder}",
        f"{source.name}.tar.xz is missing",
        f"obtain {source.obtain}, pack it as {source.name}.tar.xz and pass its folder "
        "with --data or TACTFUL_DATA",
    )


def _check_digest(source: Source, path: Path) -> None:
    """Raise DatasetError if the archive is not the one of the published figures."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != source.sha256:
        raise DatasetError(
            str(path),
            f"its sha256 is {digest[:16]}…, not {source.sha256[:16]}…",
            "copy the archive again",
        )


def _bundle(name: str) -> Traversable:
    return resources.files("tactful_lab") / "data" / name

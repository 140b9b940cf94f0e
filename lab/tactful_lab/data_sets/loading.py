"""Real data sets, as the packed archives hold them or as the package bundles them."""

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

LEAST_ITEMS = 5  # per user; shorter histories are left out (design/learning.md 8)
PASSES = 3


@dataclass(frozen=True)
class Events:
    """Everything that happened, by user and time: item numbers, unix seconds, quantities."""

    user: Ints
    item: Ints
    time: Ints
    quantity: Ints

    def __len__(self) -> int:
        return len(self.user)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Who took to what: the distinct items of user u are indices[indptr[u]:indptr[u + 1]].

    They stand in the order of first interaction. Prices are NaN, titles and categories "", `tags`
    empty and `events` None where the data set does not tell.
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
        """What is told of each item in words; None where nothing is."""
        labels = zip(
            self.titles, self.categories, self.tags or ((),) * self.items, strict=True
        )
        told = tuple(
            words(title, category=category, tag=tags)
            for title, category, tags in labels
        )
        return told if any(told) else None

    def without_words(self) -> Dataset:
        """The same people and items, of which nothing is told."""
        nothing = ("",) * self.items
        return replace(self, titles=nothing, categories=nothing, tags=())

    @property
    def users(self) -> int:
        """How many people there are."""
        return len(self.indptr) - 1

    @property
    def items(self) -> int:
        """How many items there are."""
        return len(self.item_ids)

    def history(self, user: int) -> Ints:
        """The distinct items of one user, in the order of first interaction."""
        return self.indices[self.indptr[user] : self.indptr[user + 1]]

    def histories(self, users: Ints) -> list[Ints]:
        """The histories of several users."""
        return [self.history(int(user)) for user in users]


@dataclass(frozen=True)
class Split:
    """Users for training, validation and test; nobody is in two of them."""

    train: Ints
    validation: Ints
    test: Ints


@dataclass(frozen=True)
class Source:
    """One data set we can load: how, which part of it, and what one may do with it."""

    name: str
    read: Callable[[Files], Raw]
    size: str  # people x items, after the cut
    items: int  # the most popular are kept
    validation: int
    test: int
    licence: str
    obtain: str
    sha256: str  # of the packed archive
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
            "bundled; the whole is in the R package onlineretail",
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
    """The data set called `name`, from its packed archive in `folder` or as bundled.

    A name that ends in .csv is a file of your own (`own.py`). Raises DatasetError naming what is
    missing or damaged, and how to obtain it.
    """
    if name.endswith(".csv"):
        return _of_own(Path(name))
    source = find(name)
    return dataset(source, source.read(files(source, folder)))


def _of_own(path: Path) -> Dataset:
    found = cut(
        csv_file.read(path), name=path.name, licence="yours", items=csv_file.MOST_ITEMS
    )
    if not found.users:
        raise DatasetError(
            str(path),
            f"nobody took to {LEAST_ITEMS} items that others know too",
            "bring more data",
        )
    return found


def folder(named: Path | None) -> Path | None:
    """The folder of packed archives: the one named, else TACTFUL_DATA; None if neither is."""
    if named is None and os.environ.get("TACTFUL_DATA"):
        return Path(os.environ["TACTFUL_DATA"])
    return named


def find(name: str) -> Source:
    """What is known of the data set called `name` or an alias; raises DatasetError."""
    source = SOURCES.get(ALIASES.get(name, name))
    if source is None:
        known = ", ".join([*SOURCES, *ALIASES])
        raise DatasetError("dataset", f"{name!r} is unknown", f"use one of {known}")
    return source


def archive(source: Source, folder: Path) -> Path:
    """Where `folder` would hold the packed archive."""
    return folder / f"{source.name}.tar.xz"


def split(known: Dataset, seed: int = 0) -> Split:
    """Users for training, validation and test, at random (design/learning.md 8).

    A data set of unknown name gives 1/12 to validation and 1/6 to test.
    """
    source = SOURCES.get(known.name)
    validation = source.validation if source else known.users // 12
    test = source.test if source else known.users // 6
    order = np.random.default_rng(seed).permutation(known.users)
    return Split(
        train=np.sort(order[validation + test :]),
        validation=np.sort(order[test : validation + test]),
        test=np.sort(order[:test]),
    )


def rankable_split(known: Dataset) -> Split:
    """The split; raises InvalidInput if somebody is missing in a part, or nothing can be ranked."""
    people = split(known)
    if known.items < 2 or not min(
        map(len, (people.train, people.validation, people.test))
    ):
        raise InvalidInput(
            "dataset",
            f"{known.users} people and {known.items} items are too few to split and rank",
            "use at least 12 people and 2 items",
        )
    return people


def dataset(source: Source, raw: Raw) -> Dataset:
    """`raw`, cut as this source is."""
    return cut(raw, name=source.name, licence=source.licence, items=source.items)


def cut(raw: Raw, *, name: str, licence: str, items: int) -> Dataset:
    """`raw`, cut to the most popular `items` and to users with at least 5 of them."""
    user, item, order = _first_interactions(raw)
    for _ in range(PASSES):
        kept = _most_popular(item, items)[item]
        user, item, order = user[kept], item[kept], order[kept]
        kept = (np.bincount(user) >= LEAST_ITEMS)[user]
        user, item, order = user[kept], item[kept], order[kept]
    people, user = np.unique(user, return_inverse=True)
    things, item = np.unique(item, return_inverse=True)
    return Dataset(
        name=name,
        licence=licence,
        indptr=np.concatenate([[0], np.cumsum(np.bincount(user))]).astype(np.int64),
        indices=item[np.lexsort((order, user))].astype(np.int64),
        item_ids=_chosen(raw.item_ids, things),
        titles=_chosen(raw.titles, things),
        categories=_chosen(raw.categories, things),
        prices=raw.prices[things] if len(raw.prices) else np.full(len(things), np.nan),
        tags=tuple(raw.tags[thing] for thing in things) if raw.tags else (),
        events=_events(raw, people, things),
    )


def _first_interactions(raw: Raw) -> tuple[Ints, Ints, Ints]:
    """The distinct (user, item) pairs and where each stands first in the file."""
    pairs = raw.user * len(raw.item_ids) + raw.item
    _, first = np.unique(pairs, return_index=True)
    return raw.user[first], raw.item[first], first.astype(np.int64)


def _most_popular(item: Ints, count: int) -> NDArray[np.bool_]:
    counts = np.bincount(item)
    chosen = np.zeros(len(counts), dtype=np.bool_)
    chosen[np.argsort(-counts, kind="stable")[:count]] = True
    return chosen & (counts > 0)


def _events(raw: Raw, people: Ints, things: Ints) -> Events | None:
    """All interactions of the people and items that were kept; None if nobody noted the time."""
    if not len(raw.time):
        return None
    kept = np.isin(raw.user, people) & np.isin(raw.item, things)
    user = np.searchsorted(people, raw.user[kept])
    item = np.searchsorted(things, raw.item[kept])
    time, quantity = raw.time[kept], raw.quantity[kept]
    order = np.lexsort((time, user))
    return Events(user[order], item[order], time[order], quantity[order])


def _chosen(texts: tuple[str, ...], things: Ints) -> tuple[str, ...]:
    return tuple(texts[thing] for thing in things) if texts else ("",) * len(things)


def files(source: Source, folder: Path | None) -> Files:
    """The files of a data set: packed in `folder`, or as bundled; raises DatasetError."""
    if folder is not None and not folder.is_dir():
        raise DatasetError(
            "--data", f"{folder} is no folder", "name the folder of the archives"
        )
    if folder is not None and archive(source, folder).is_file():
        return readers.unpack(_intact(source, archive(source, folder)), source.name)
    if source.bundled:
        return readers.Bundle(_bundle(source.name))
    raise DatasetError(
        "--data" if folder is None else f"--data {folder}",
        f"{source.name}.tar.xz is not there",
        f"obtain {source.obtain}, pack it as {source.name}.tar.xz and name its folder with "
        "--data or TACTFUL_DATA",
    )


def _intact(source: Source, path: Path) -> Path:
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, "sha256").hexdigest()
    if found != source.sha256:
        raise DatasetError(
            str(path),
            f"its sha256 is {found[:16]}…, not {source.sha256[:16]}…",
            "copy it again",
        )
    return path


def _bundle(name: str) -> Traversable:
    return resources.files("tactful_lab") / "data" / name

"""Reader of your own data: a CSV file with one interaction per line.

The columns are `user,item` and optionally `rating` and `time`. Ids are any texts, in
any order. A repeated pair counts once, but all its times are used. With a `rating`, 0
to 5, an interaction counts from 4 on, as for MovieLens. `time` is in whole unix
seconds.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from tactful.errors import DatasetError
from tactful_lab.data_sets.readers import LIKED, Raw

NEEDED = ("user", "item")
MOST_STARS = 5
MOST_ITEMS = 3_000  # the most popular items, which are used
LATEST = 1 << 40  # unix seconds
LONGEST_ID = 1 << 10  # characters


@dataclass
class _Columns:
    """The interactions read so far; ids are numbered in the order of occurrence."""

    users: dict[str, int] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    user: list[int] = field(default_factory=list)
    item: list[int] = field(default_factory=list)
    time: list[int] = field(default_factory=list)


def read(path: Path) -> Raw:
    """Read the interactions of a file; raise DatasetError with the line and problem."""
    columns = _Columns()
    try:
        # Some spreadsheet programs begin a file with a byte order mark.
        with path.open(newline="", encoding="utf-8-sig") as stream:
            for place, row in _rows(path, csv.DictReader(stream, strict=True)):
                _add(columns, row, place)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        cause = "not CSV in UTF-8"
        if isinstance(error, OSError):
            cause = error.strerror or str(error)
        problem = f"it cannot be read ({cause})"
        raise DatasetError(str(path), problem, "pass a CSV file in UTF-8") from error
    if not columns.user:
        raise DatasetError(
            str(path),
            "it has no positive interactions",
            f"add lines with a user and an item, and a rating of {LIKED} or more if "
            "there is a rating column",
        )
    return Raw(
        user=np.array(columns.user, dtype=np.int64),
        item=np.array(columns.item, dtype=np.int64),
        item_ids=tuple(columns.items),
        time=np.array(columns.time, dtype=np.int64),
        quantity=np.ones(len(columns.time), dtype=np.int64),
    )


def _rows(
    path: Path, reader: csv.DictReader[str]
) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Yield each line, with "file, line number" for error messages."""
    names = reader.fieldnames or []
    if not set(NEEDED) <= set(names) or len(set(names)) < len(names):
        raise DatasetError(
            str(path),
            f"its first line is {','.join(names)[:60]!r}",
            "use the headings user,item",
        )
    for row in reader:
        place = f"{path}, line {reader.line_num}"
        # DictReader has the key None for extra values and the value None for missing
        # ones.
        if None in row or None in row.values():
            raise DatasetError(
                place,
                f"it does not have {len(names)} values",
                "give each line as many values as the first line",
            )
        yield place, row


def _add(columns: _Columns, row: Mapping[str, str], place: str) -> None:
    """Validate one line and add it if it is a positive interaction."""
    user, item = (_id(row, name, place) for name in NEEDED)
    is_positive = "rating" not in row or _rating(row["rating"], place) >= LIKED
    time = _time(row["time"], place) if "time" in row else None
    if not is_positive:
        return
    columns.user.append(columns.users.setdefault(user, len(columns.users)))
    columns.item.append(columns.items.setdefault(item, len(columns.items)))
    if time is not None:
        columns.time.append(time)


def _id(row: Mapping[str, str], name: str, place: str) -> str:
    text = row[name].strip()
    if not text or len(text) > LONGEST_ID:
        raise DatasetError(
            place,
            f"the {name} is empty or longer than {LONGEST_ID} characters",
            "use a shorter id that is not empty",
        )
    return text


def _rating(text: str, place: str) -> float:
    try:
        rating = float(text)
    except ValueError:
        rating = math.nan  # refused below
    if not 0 <= rating <= MOST_STARS:
        raise DatasetError(
            place,
            f"the rating {text[:20]!r} is not in 0..{MOST_STARS}",
            "scale ratings to 0 to 5, or leave the column out if all are positive",
        )
    return rating


def _time(text: str, place: str) -> int:
    digits = text.strip()
    if not (digits.isascii() and digits.isdigit() and int(digits[:20]) < LATEST):
        raise DatasetError(
            place, f"the time {text[:20]!r} is not valid", "use whole unix seconds"
        )
    return int(digits)

"""Your own data: a CSV file with a line per interaction, `user,item` and maybe `rating,time`.

Ids are any texts; nothing has to be contiguous or sorted. A pair that stands twice counts once
(times are kept). With a `rating`, 0 to 5, an item counts from 4 on, as for MovieLens. `time` is
in whole unix seconds.
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
MOST_ITEMS = 3_000  # the most popular are kept
LATEST = 1 << 40  # unix seconds
MOST_FIELD = 1 << 10  # letters of an id


@dataclass
class _Columns:
    """What was read so far; ids are numbered as they appear."""

    users: dict[str, int] = field(default_factory=dict)
    items: dict[str, int] = field(default_factory=dict)
    user: list[int] = field(default_factory=list)
    item: list[int] = field(default_factory=list)
    time: list[int] = field(default_factory=list)


def read(path: Path) -> Raw:
    """The interactions in the file; raises DatasetError naming the line and what is wrong."""
    columns = _Columns()
    try:
        with path.open(newline="", encoding="utf-8-sig") as stream:
            for place, row in _rows(path, csv.DictReader(stream, strict=True)):
                _take(columns, row, place)
    except (OSError, UnicodeDecodeError, csv.Error) as wrong:
        why = wrong.strerror if isinstance(wrong, OSError) else "no CSV in UTF-8"
        problem = f"it cannot be read ({why})"
        raise DatasetError(str(path), problem, "name a CSV file in UTF-8") from wrong
    if not columns.user:
        raise DatasetError(
            str(path), "nobody took to anything", "list interactions, one a line"
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
    """Each line with a name for it, its columns checked."""
    names = reader.fieldnames or []
    if not set(NEEDED) <= set(names) or len(set(names)) < len(names):
        raise DatasetError(
            str(path),
            f"its first line is {','.join(names)[:60]!r}",
            "begin with user,item",
        )
    for row in reader:
        place = f"{path}, line {reader.line_num}"
        if None in row or None in row.values():
            raise DatasetError(
                place, f"it does not have {len(names)} values", "mend the line"
            )
        yield place, row


def _take(columns: _Columns, row: Mapping[str, str], place: str) -> None:
    user, item = (_id(row, name, place) for name in NEEDED)
    liked = "rating" not in row or _rating(row["rating"], place) >= LIKED
    time = _time(row["time"], place) if "time" in row else None
    if not liked:
        return
    columns.user.append(columns.users.setdefault(user, len(columns.users)))
    columns.item.append(columns.items.setdefault(item, len(columns.items)))
    if time is not None:
        columns.time.append(time)


def _id(row: Mapping[str, str], name: str, place: str) -> str:
    text = row[name].strip()
    if not text or len(text) > MOST_FIELD:
        raise DatasetError(
            place, f"the {name} is empty or very long", "give everything an id"
        )
    return text


def _rating(text: str, place: str) -> float:
    try:
        rating = float(text)
    except ValueError:
        rating = math.nan
    if not 0 <= rating <= MOST_STARS:
        raise DatasetError(
            place,
            f"the rating {text[:20]!r} is not in 0..{MOST_STARS}",
            "scale ratings to 0 to 5, or leave the column out if every line is a liking",
        )
    return rating


def _time(text: str, place: str) -> int:
    whole = text.strip()
    if not (whole.isascii() and whole.isdigit() and int(whole[:20]) < LATEST):
        raise DatasetError(
            place, f"the time {text[:20]!r} is no date", "use whole unix seconds"
        )
    return int(whole)

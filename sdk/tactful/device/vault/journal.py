"""Records, cells and head inside one transaction: sealed going in, verified coming out."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TypeGuard

from tactful.device.device_key import Sealer
from tactful.errors import InvalidInput, VaultDamaged

PAGE = 512  # records fetched at once, so that no cursor stays open between them
PAD = 16  # bytes; sealed lengths are rounded up, so that they do not tell ids apart
NAME_BYTES = 10
_TASTE = b"taste"  # begins what a record of taste is bound to
_PAGE_OF = {
    tastes: f"select position, sealed, name{column} from record "  # noqa: S608 - two constants
    "where position > ? order by position limit ?"
    for tastes, column in ((True, ", taste"), (False, ""))
}
_HEAD = struct.Struct(">QQ32s")
_MODULUS = 1 << 256
Row = tuple[int, bytes, bytes | None, bytes | None]  # position, sealed, taste, name
_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True, slots=True)
class Record:
    """One verified record."""

    position: int
    kind: str
    body: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class JournalHead:
    """What pins all records: the last position, how many live, and the sum of their marks."""

    last: int = 0
    live: int = 0
    digest: int = 0
    note: bytes = b""  # a few bytes that are always as new as the last record

    def encode(self) -> bytes:
        """The bytes to seal."""
        return (
            _HEAD.pack(self.last, self.live, self.digest.to_bytes(32, "big"))
            + self.note
        )

    @classmethod
    def decode(cls, text: bytes) -> JournalHead:
        """The head of opened bytes."""
        last, live, digest = _HEAD.unpack_from(text)
        return cls(last, live, int.from_bytes(digest, "big"), text[_HEAD.size :])

    def moved(self, mark: int, count: int, *, last: int | None = None) -> JournalHead:
        """The head with `count` more records whose marks sum to `mark`, the newest at `last`."""
        digest = (self.digest + mark) % _MODULUS
        return JournalHead(
            self.last if last is None else last, self.live + count, digest, self.note
        )


class VaultTransaction:
    """One write transaction: sees everything that any process committed before it began."""

    def __init__(
        self, connection: sqlite3.Connection, sealer: Sealer, head: JournalHead
    ) -> None:
        self._connection, self._sealer, self.head = connection, sealer, head
        self.found = head  # as the last writer left it

    @property
    def position(self) -> int:
        """The position of the newest record, this transaction's own included."""
        return self.head.last

    @property
    def note(self) -> bytes:
        """The note that the last writer left."""
        return self.head.note

    def leave_note(self, note: bytes) -> None:
        """Replace the note; it is as durable and as sealed as the records."""
        self.head = replace(self.head, note=note)

    def append(
        self,
        kind: str,
        body: Mapping[str, object],
        *,
        name: str | None = None,
        taste: bool = False,
    ) -> int:
        """Seal one record and return its position; for a `name` used before, the old position.

        One of `taste` stands in a column of its own.
        """
        if name is not None and (known := self.find(name)) is not None:
            return known
        blind = None if name is None else _short_name(self._sealer, name)
        bound = _bound(self.head.last + 1, blind)
        content = self._sealer.seal(
            _packed(kind, body), _TASTE + bound if taste else bound
        )
        columns = (self._sealer.seal(b"", bound), content) if taste else (content, None)
        self._insert(
            [(self.head.last + 1, *columns, blind)], self._sealer.mark(bound, content)
        )
        return self.head.last

    def append_all(self, kind: str, bodies: Iterable[Mapping[str, object]]) -> None:
        """Seal one record of each body, in one statement."""
        rows, marks = [], 0
        for position, body in enumerate(bodies, self.head.last + 1):
            bound = _bound(position, None)
            content = self._sealer.seal(_packed(kind, body), bound)
            rows.append((position, content, None, None))
            marks += self._sealer.mark(bound, content)
        self._insert(rows, marks)

    def _insert(self, rows: Sequence[Row], marks: int) -> None:
        self._connection.executemany(
            "insert into record (position, sealed, taste, name) values (?, ?, ?, ?)",
            rows,
        )
        self.head = self.head.moved(marks, len(rows), last=self.head.last + len(rows))

    def find(self, name: str) -> int | None:
        """The position of the record called `name`, None if there is none."""
        row = self._connection.execute(
            "select position from record where name = ?",
            (_short_name(self._sealer, name),),
        ).fetchone()
        return None if row is None else int(row[0])

    def read(
        self,
        after: int = 0,
        kinds: Collection[str] | None = None,
        *,
        tastes: bool = True,
    ) -> Iterator[Record]:
        """Every live record after position `after`, oldest first, verified.

        Without `tastes`, what only the profile may read is left alone.
        """
        while page := self.page(after, tastes=tastes):
            yield from wanted(page, kinds)
            after = page[-1][0]

    def page(self, after: int, *, tastes: bool = True) -> list[tuple[int, bytes]]:
        """The next records after position `after`: up to 512 positions and opened texts.

        The text of what was left alone is empty.
        """
        if after >= self.head.last:
            return []
        rows = self._connection.execute(_PAGE_OF[tastes], (after, PAGE)).fetchall()
        for position, *_ in rows:
            if position > after + 1:
                self._require_erased(after + 1, position - 1)
            after = position
        if len(rows) < PAGE:
            self._require_erased(after + 1, self.head.last)
        return [(row[0], self._opened(*row, whole=tastes)) for row in rows]

    def _opened(
        self,
        position: int,
        sealed: bytes,
        name: bytes | None,
        taste: bytes | None = None,
        *,
        whole: bool,
    ) -> bytes:
        bound = _bound(position, name)
        text = self._sealer.open(sealed, bound)
        if whole and text == b"":
            text = None if taste is None else self._sealer.open(taste, _TASTE + bound)
        if text is None or position > self.head.last:
            raise VaultDamaged(
                f"vault: record {position} was changed or moved; restore the file from a backup"
            )
        return text

    def _require_erased(self, first: int, last: int) -> None:
        while first <= last:
            row = self._connection.execute(
                "select first, last, sealed from erased where first <= ? "
                "order by first desc limit 1",
                (first,),
            ).fetchone()
            last_erased = None if row is None else self._last_erased(*row)
            if last_erased is None or last_erased < first:
                raise VaultDamaged(
                    f"vault: record {first} is missing; restore the file from a backup"
                )
            first = last_erased + 1

    def _last_erased(self, first: object, last: object, sealed: object) -> int | None:
        """Return the end of a stored range, None if anything of it was changed."""
        if not (_is_position(first) and _is_position(last)):
            return None
        return None if self._sealer.open(sealed, _range(first, last)) is None else last

    def erase(self, positions: Iterable[int]) -> None:
        """Destroy records and leave sealed ranges in their place; unknown positions are ignored.

        Caches go too: they may tell of what is gone.
        """
        self._connection.execute("delete from cell")
        gone = [
            position for position in sorted(set(positions)) if self._delete(position)
        ]
        for first, last in _runs(gone):
            self._leave_range(first, last)

    def rewrite(self, position: int, kind: str, body: Mapping[str, object]) -> None:
        """Seal another body in the place of a live record; the old one is gone for good."""
        row = self._connection.execute(
            "select sealed, taste, name from record where position = ?", (position,)
        ).fetchone()
        if row is None:
            raise InvalidInput(
                "position", f"{position} holds no record", "name a live one"
            )
        self._connection.execute("delete from cell")
        bound = _bound(position, row[2])
        sealed = self._sealer.seal(_packed(kind, body), bound)
        self._connection.execute(
            "update record set sealed = ?, taste = null where position = ?",
            (sealed, position),
        )
        change = self._sealer.mark(bound, sealed) - self._sealer.mark(
            bound, row[1] or row[0]
        )
        self.head = self.head.moved(change, 0)

    def _delete(self, position: int) -> bool:
        row = self._connection.execute(
            "delete from record where position = ? returning coalesce(taste, sealed), name",
            (position,),
        ).fetchone()
        if row is None:
            return False
        mark = self._sealer.mark(_bound(position, row[1]), row[0])
        self.head = self.head.moved(-mark, -1)
        return True

    def _leave_range(self, first: int, last: int) -> None:
        """Join with the neighbouring ranges, so that their number stays small."""
        rows = self._connection.execute(
            "delete from erased where last = ? or first = ? returning first, last",
            (first - 1, last + 1),
        ).fetchall()
        if not all(_is_position(end) for row in rows for end in row):
            raise VaultDamaged(
                "vault: a range was changed; restore the file from a backup"
            )
        first, last = (
            min([first, *(row[0] for row in rows)]),
            max([last, *(r[1] for r in rows)]),
        )
        self._connection.execute(
            "insert into erased (first, last, sealed) values (?, ?, ?)",
            (first, last, self._sealer.seal(b"", _range(first, last))),
        )

    def erased(self, position: int) -> bool:
        """Whether a record stood at `position` that is gone."""
        found = self._connection.execute(
            "select 1 from erased where ? between first and last", (position,)
        )
        return found.fetchone() is not None

    def put(self, name: str, content: bytes) -> None:
        """Keep `content` in the cell `name`, over what was there."""
        key = self._sealer.blind(f"cell {name}")
        self._connection.execute(
            "insert into cell (name, sealed) values (?, ?) "
            "on conflict (name) do update set sealed = excluded.sealed",
            (key, self._sealer.seal(content, b"cell" + key)),
        )

    def drop(self, name: str) -> None:
        """Empty the cell `name`."""
        key = self._sealer.blind(f"cell {name}")
        self._connection.execute("delete from cell where name = ?", (key,))

    def cell(self, name: str) -> bytes | None:
        """What the cell `name` holds, None if nothing or if it was changed: cells are caches."""
        key = self._sealer.blind(f"cell {name}")
        row = self._connection.execute(
            "select sealed from cell where name = ?", (key,)
        ).fetchone()
        return None if row is None else self._sealer.open(row[0], b"cell" + key)

    def check(self) -> None:
        """Look over every page of the file, and open the newest records; raises VaultDamaged."""
        found = self._connection.execute("pragma quick_check(1)").fetchone()[0]
        if found != b"ok":
            raise VaultDamaged(
                "vault: pages of the file were damaged; restore it from a backup"
            )
        self.page(max(self.head.last - PAGE, 0), tastes=False)

    def verify(self) -> None:
        """Open every record; raise VaultDamaged unless they are exactly those of the head."""
        live = sum(1 for _ in self.read())
        rows = self._connection.execute(
            "select position, coalesce(taste, sealed), name from record"
        )
        digest = sum(
            self._sealer.mark(_bound(p, name), sealed) for p, sealed, name in rows
        )
        if (live, digest % _MODULUS) != (self.head.live, self.head.digest):
            raise VaultDamaged(
                "vault: an erased record came back; restore the file from a backup"
            )


def wanted(
    page: list[tuple[int, bytes]], kinds: Collection[str] | None
) -> Iterator[Record]:
    """The records of a page that are of one of `kinds`; None means all."""
    for position, text in page:
        kind, _, body = text.decode().partition("\n")
        if kind and (kinds is None or kind in kinds):
            yield Record(position, kind, json.loads(body))


def _packed(kind: str, body: Mapping[str, object]) -> bytes:
    try:
        text = _JSON.encode(body)
    except (TypeError, ValueError) as wrong:
        raise InvalidInput(f"record {kind}", str(wrong), "use JSON values") from wrong
    packed = f"{kind}\n{text}".encode()
    return packed + b" " * (-len(packed) % PAD)


def _short_name(sealer: Sealer, name: str) -> bytes:
    return sealer.blind(f"record {name}")[:NAME_BYTES]


def _bound(position: int, name: object) -> bytes:
    if not isinstance(name, bytes | None):
        raise VaultDamaged(
            f"vault: the name of record {position} was changed; restore a backup"
        )
    return b"record" + position.to_bytes(8, "big") + (name or b"")


def _is_position(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and 0 < value < 1 << 63


def _range(first: int, last: int) -> bytes:
    return b"erased" + first.to_bytes(8, "big") + last.to_bytes(8, "big")


def _runs(positions: list[int]) -> Iterator[tuple[int, int]]:
    """Neighbouring positions joined: 1 2 3 7 8 is (1, 3), (7, 8)."""
    for _, run in groupby(enumerate(positions), lambda pair: pair[1] - pair[0]):
        members = [position for _, position in run]
        yield members[0], members[-1]

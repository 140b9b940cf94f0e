"""Records, cells and head in one transaction, sealed and verified."""

from __future__ import annotations

import json
import sqlite3
import struct
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TypeGuard

from tactful.device.device_key import Sealer
from tactful.device.vault.record_schemas import BY_HEADER, CURRENT, Content
from tactful.errors import InvalidInput, VaultDamaged, VaultForeign

PAGE = 512  # records per query, so that no cursor stays open between them
PAD = 16  # bytes; lengths are rounded up, so that they do not distinguish ids
NAME_BYTES = 10
TASTE = b"taste"  # prefix of the aad of a record that only the profile reads
_PAGE_OF = {
    tastes: f"select position, sealed, name{column} from record "  # noqa: S608 - two constants
    "where position > ? order by position limit ?"
    for tastes, column in ((True, ", taste"), (False, ""))
}
# The format of the file, which every release reads first. A newer release that converts
# an open vault thereby stops older processes before they write.
FORMAT = 4
_HEAD = struct.Struct(">BQQ32s")
MODULUS = 1 << 256
Row = tuple[int, bytes, bytes | None, bytes | None]  # position, sealed, taste, name
_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False)


@dataclass(frozen=True, slots=True)
class Record:
    """One verified record of the journal."""

    position: int
    kind: str
    content: Content

    @property
    def body(self) -> Mapping[str, object]:
        """The fields by name, of a record that is stored as an object."""
        if not isinstance(self.content, dict):
            raise VaultDamaged(
                f"vault: record {self.position} ({self.kind}) has no names"
            )
        return self.content

    @property
    def fields(self) -> list[object]:
        """The fields in the order of the schema, of a positional record."""
        if not isinstance(self.content, list):
            raise VaultDamaged(
                f"vault: record {self.position} ({self.kind}) is not a list"
            )
        return self.content

    def named(self) -> dict[str, object]:
        """Return the fields by name."""
        return CURRENT[self.kind].named(self.content)


@dataclass(frozen=True, slots=True)
class JournalHead:
    """The state of the journal that its records must match.

    It has the last position, the number of live records, and the sum of their marks.
    `note` holds a few bytes that are always as new as the last record.
    """

    last: int = 0
    live: int = 0
    digest: int = 0
    note: bytes = b""

    def encode(self) -> bytes:
        """Return the head as bytes."""
        digest = self.digest.to_bytes(32, "big")
        return _HEAD.pack(FORMAT, self.last, self.live, digest) + self.note

    @classmethod
    def decode(cls, text: bytes) -> JournalHead:
        """Return the head from bytes of `encode`.

        Raise VaultForeign if another release converted the vault to its format.
        """
        if text[0] != FORMAT:
            raise VaultForeign(
                f"vault: another release of Tactful converted it to format {text[0]}; this "
                f"release uses format {FORMAT}: update the app, then open it again"
            )
        _, last, live, digest = _HEAD.unpack_from(text)
        return cls(last, live, int.from_bytes(digest, "big"), text[_HEAD.size :])

    def changed(self, mark: int, count: int, *, last: int | None = None) -> JournalHead:
        """Return the head after `count` more records, whose marks sum to `mark`.

        `last` is the newest position; None leaves it as it is.
        """
        digest = (self.digest + mark) % MODULUS
        return JournalHead(
            self.last if last is None else last, self.live + count, digest, self.note
        )


class VaultTransaction:
    """One transaction: sees everything that any process committed before it began.

    `initial_head` is the head when the transaction began.
    """

    def __init__(
        self, connection: sqlite3.Connection, sealer: Sealer, head: JournalHead
    ) -> None:
        self._connection, self._sealer, self.head = connection, sealer, head
        self.initial_head = head

    @property
    def position(self) -> int:
        """The position of the newest record, including those of this transaction."""
        return self.head.last

    @property
    def note(self) -> bytes:
        """The note of the last writer."""
        return self.head.note

    def leave_note(self, note: bytes) -> None:
        """Replace the note, which is sealed and stored together with the records."""
        self.head = replace(self.head, note=note)

    def append(
        self,
        kind: str,
        content: Content,
        *,
        name: str | None = None,
        taste: bool = False,
    ) -> int:
        """Append one record and return its position.

        `content` has the fields of the kind's schema. For a `name` that was used
        before, return the position of that record instead. A record with `taste` is
        stored in a separate column, which only the profile reads.
        """
        if name is not None:
            existing = self.find(name)
            if existing is not None:
                return existing
        position = self.head.last + 1
        blind_name = None if name is None else _short_name(self._sealer, name)
        aad = record_aad(position, blind_name)
        text = pack_record(kind, content)
        row: Row
        if taste:
            sealed = self._sealer.seal(text, TASTE + aad)
            row = (position, self._sealer.seal(b"", aad), sealed, blind_name)
        else:
            sealed = self._sealer.seal(text, aad)
            row = (position, sealed, None, blind_name)
        self._insert([row], self._sealer.mark(aad, sealed))
        return self.head.last

    def append_all(self, kind: str, contents: Iterable[Content]) -> None:
        """Append one record for each content, in one statement."""
        rows: list[Row] = []
        marks = 0
        for position, content in enumerate(contents, self.head.last + 1):
            aad = record_aad(position, None)
            sealed = self._sealer.seal(pack_record(kind, content), aad)
            rows.append((position, sealed, None, None))
            marks += self._sealer.mark(aad, sealed)
        self._insert(rows, marks)

    def _insert(self, rows: Sequence[Row], marks: int) -> None:
        self._connection.executemany(
            "insert into record (position, sealed, taste, name) values (?, ?, ?, ?)",
            rows,
        )
        self.head = self.head.changed(marks, len(rows), last=self.head.last + len(rows))

    def find(self, name: str) -> int | None:
        """Return the position of the record called `name`, None if there is none."""
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
        """Yield every live record after position `after`, oldest first, verified.

        With `tastes=False`, skip records that only the profile may read.
        """
        while page := self.page(after, tastes=tastes):
            yield from records_of_kinds(page, kinds)
            after = page[-1][0]

    def page(self, after: int, *, tastes: bool = True) -> list[tuple[int, bytes]]:
        """Return up to 512 (position, opened text) after position `after`.

        With `tastes=False`, the text of a record that only the profile may read is
        empty.
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
        aad = record_aad(position, name)
        text = self._sealer.open(sealed, aad)
        if whole and text == b"":
            text = None if taste is None else self._sealer.open(taste, TASTE + aad)
        if text is None or position > self.head.last:
            raise VaultDamaged(
                f"vault: record {position} was changed or moved; restore the file from a backup"
            )
        return text

    def _require_erased(self, first: int, last: int) -> None:
        """Raise VaultDamaged unless positions `first` to `last` were erased."""
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
        """Return the end of a stored range, None if any part of it was changed."""
        if not (_is_position(first) and _is_position(last)):
            return None
        is_intact = self._sealer.open(sealed, _range_aad(first, last)) is not None
        return last if is_intact else None

    def erase(self, positions: Iterable[int]) -> None:
        """Delete records and put sealed ranges in their place.

        Ignore unknown positions. Cells are deleted too: they may contain values
        computed from the records.
        """
        self._connection.execute("delete from cell")
        deleted = [p for p in sorted(set(positions)) if self._delete(p)]
        for first, last in _runs(deleted):
            self._insert_range(first, last)

    def rewrite(self, position: int, kind: str, content: Content) -> None:
        """Replace the content of a live record; the old one is destroyed."""
        row = self._connection.execute(
            "select sealed, taste, name from record where position = ?", (position,)
        ).fetchone()
        if row is None:
            raise InvalidInput(
                "position", f"{position} holds no record", "name a live one"
            )
        self._connection.execute("delete from cell")
        old_sealed, old_taste, name = row
        aad = record_aad(position, name)
        sealed = self._sealer.seal(pack_record(kind, content), aad)
        self._connection.execute(
            "update record set sealed = ?, taste = null where position = ?",
            (sealed, position),
        )
        old_mark = self._sealer.mark(aad, old_taste or old_sealed)
        self.head = self.head.changed(self._sealer.mark(aad, sealed) - old_mark, 0)

    def _delete(self, position: int) -> bool:
        """Delete the record at `position`; return False if there is none."""
        row = self._connection.execute(
            "delete from record where position = ? returning coalesce(taste, sealed), name",
            (position,),
        ).fetchone()
        if row is None:
            return False
        mark = self._sealer.mark(record_aad(position, row[1]), row[0])
        self.head = self.head.changed(-mark, -1)
        return True

    def _insert_range(self, first: int, last: int) -> None:
        """Record an erased range, joined with its neighbours."""
        rows = self._connection.execute(
            "delete from erased where last = ? or first = ? returning first, last",
            (first - 1, last + 1),
        ).fetchall()
        if not all(_is_position(end) for row in rows for end in row):
            raise VaultDamaged(
                "vault: a range was changed; restore the file from a backup"
            )
        first = min([first, *(row[0] for row in rows)])
        last = max([last, *(row[1] for row in rows)])
        sealed = self._sealer.seal(b"", _range_aad(first, last))
        self._connection.execute(
            "insert into erased (first, last, sealed) values (?, ?, ?)",
            (first, last, sealed),
        )

    def erased(self, position: int) -> bool:
        """Return True if the record at `position` was erased."""
        row = self._connection.execute(
            "select 1 from erased where ? between first and last", (position,)
        ).fetchone()
        return row is not None

    def put(self, name: str, content: bytes) -> None:
        """Set the content of the cell `name`."""
        key = self._sealer.blind(f"cell {name}")
        self._connection.execute(
            "insert into cell (name, sealed) values (?, ?) "
            "on conflict (name) do update set sealed = excluded.sealed",
            (key, self._sealer.seal(content, b"cell" + key)),
        )

    def drop(self, name: str) -> None:
        """Delete the cell `name`."""
        key = self._sealer.blind(f"cell {name}")
        self._connection.execute("delete from cell where name = ?", (key,))

    def cell(self, name: str) -> bytes | None:
        """Return the content of the cell `name`.

        Return None if it is empty or was changed: cells are only caches.
        """
        key = self._sealer.blind(f"cell {name}")
        row = self._connection.execute(
            "select sealed from cell where name = ?", (key,)
        ).fetchone()
        return None if row is None else self._sealer.open(row[0], b"cell" + key)

    def check(self) -> None:
        """Check every page of the file and the newest records; raise VaultDamaged."""
        result = self._connection.execute("pragma quick_check(1)").fetchone()[0]
        if result != b"ok":
            raise VaultDamaged(
                "vault: pages of the file were damaged; restore it from a backup"
            )
        self.page(max(self.head.last - PAGE, 0), tastes=False)

    def verify(self) -> None:
        """Open every record; raise VaultDamaged unless all match the head."""
        live = sum(1 for _ in self.read())
        rows = self._connection.execute(
            "select position, coalesce(taste, sealed), name from record"
        )
        digest = sum(
            self._sealer.mark(record_aad(position, name), sealed)
            for position, sealed, name in rows
        )
        if (live, digest % MODULUS) != (self.head.live, self.head.digest):
            raise VaultDamaged(
                "vault: an erased record came back; restore the file from a backup"
            )


def records_of_kinds(
    page: list[tuple[int, bytes]], kinds: Collection[str] | None
) -> Iterator[Record]:
    """Yield the records of a page that are of one of `kinds`; None means all.

    Raise VaultForeign for a record whose kind or version this release does not know.
    """
    for position, text in page:
        if not text:
            continue
        header, _, content = text.decode().partition("\n")
        schema = BY_HEADER.get(header)
        if schema is None:
            raise VaultForeign(
                f"vault: record {position} ({header!r}) is of a newer release; update the "
                "app"
            )
        if kinds is None or schema.kind in kinds:
            yield Record(position, schema.kind, json.loads(content))


def pack_record(kind: str, content: Content) -> bytes:
    """Return header and content as padded bytes; raise InvalidInput for no JSON value."""
    schema = CURRENT[kind]
    schema.require_valid(content)
    try:
        text = _JSON.encode(content)
    except (TypeError, ValueError) as wrong:
        raise InvalidInput(f"record {kind}", str(wrong), "use JSON values") from wrong
    packed = f"{schema.header}\n{text}".encode()
    return packed + b" " * (-len(packed) % PAD)


def _short_name(sealer: Sealer, name: str) -> bytes:
    return sealer.blind(f"record {name}")[:NAME_BYTES]


def record_aad(position: int, name: object) -> bytes:
    """Return the additional authenticated data of a record."""
    if not isinstance(name, bytes | None):
        raise VaultDamaged(
            f"vault: the name of record {position} was changed; restore a backup"
        )
    return b"record" + position.to_bytes(8, "big") + (name or b"")


def _is_position(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and 0 < value < 1 << 63


def _range_aad(first: int, last: int) -> bytes:
    """Return the additional authenticated data of an erased range."""
    return b"erased" + first.to_bytes(8, "big") + last.to_bytes(8, "big")


def _runs(positions: list[int]) -> Iterator[tuple[int, int]]:
    """Yield (first, last) of consecutive positions: 1 2 3 7 8 gives (1, 3), (7, 8)."""
    for _, run in groupby(enumerate(positions), lambda pair: pair[1] - pair[0]):
        members = [position for _, position in run]
        yield members[0], members[-1]

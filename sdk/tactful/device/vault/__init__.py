"""The sealed journal: authenticated, encrypted records in one SQLite file.

Kind and body of a record are sealed with AES-256-GCM; its position, name and vault id are bound to
it. A sealed head holds the last position, the number of live records and a digest of them all, and
moves in the same transaction. So a changed, moved, cut or replayed record is found. That a whole
file was put back to an earlier state is told by a marker beside it.
"""

from __future__ import annotations

import hmac
import secrets
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import TracebackType

from tactful.device.device_key import KeyProvider, Sealer, StoredKey
from tactful.device.vault.connections import (
    BUSY_SECONDS,
    Line,
    Lines,
    VaultBusy,
    create_tables,
    has_tables,
    migrate,
    note_damage,
    require_place,
    roll_back,
    translated,
    truncate_log,
)
from tactful.device.vault.journal import (
    PAGE,
    JournalHead,
    Record,
    VaultTransaction,
    wanted,
)
from tactful.device.vault.marker import Marker
from tactful.errors import VaultDamaged, VaultError, WrongKey

__all__ = ["BUSY_SECONDS", "Record", "Vault", "VaultBusy", "VaultTransaction"]


class Vault:
    """A journal that only its key opens; safe for several threads and processes at once."""

    def __init__(self, path: Path | None, key: KeyProvider) -> None:
        self.path = path
        self._lines = Lines(path)
        self._memory_lock = threading.RLock()
        self._migrated = False
        try:
            self._id, self._sealer = self._prepare(key)
            self._marker = Marker(path, self._sealer)
            told = (
                self._marker.read()
            )  # before the position, which another process may raise
            self.missing = (
                None if self._migrated else self._marker.misses(told, self.position)
            )
        except BaseException:
            self._lines.close()  # a connection that closes later deletes the log by its name
            raise
        if self.missing is None:
            self._marker.note(self.position)

    @classmethod
    def open(cls, path: str | Path | None, key: KeyProvider) -> Vault:
        """Open the vault at `path`, or make it; None keeps everything in memory.

        Raises InvalidInput for a missing folder, WrongKey, VaultForeign, VaultDamaged, StorageFull.
        """
        if path is None:
            return cls(None, key)
        require_place(Path(path))
        return cls(Path(path), key)

    @property
    def id(self) -> str:
        """A random name for this vault, in hex."""
        return self._id.hex()

    @property
    def position(self) -> int:
        """The position of the newest record; 0 if there is none."""
        with self.snapshot() as reading:
            return reading.position

    def blind(self, text: str) -> bytes:
        """A 32 byte name for `text` that tells nothing without the key."""
        return self._sealer.blind(text)

    def append(
        self,
        kind: str,
        body: Mapping[str, object],
        *,
        durable: bool = False,
        name: str | None = None,
    ) -> int:
        """Seal one record and return its position; `durable` means it is on the disk by then."""
        with self.transaction(durable=durable) as writing:
            return writing.append(kind, body, name=name)

    def read(
        self,
        after: int = 0,
        kinds: Collection[str] | None = None,
        *,
        tastes: bool = True,
    ) -> Iterator[Record]:
        """Every live record after position `after`, oldest first; VaultDamaged names a bad one.

        Without `tastes`, what only the profile may read is left alone.
        """
        while True:
            with self.snapshot() as reading:
                page = reading.page(after, tastes=tastes)
            yield from wanted(page, kinds)
            if len(page) < PAGE:
                return
            after = page[-1][0]

    def cell(self, name: str) -> bytes | None:
        """What the cell `name` holds, None if nothing."""
        with self.snapshot() as reading:
            return reading.cell(name)

    def erase(self, positions: Iterable[int]) -> None:
        """Destroy records for good: no byte of them stays in any file of the vault."""
        with self.transaction(durable=True) as writing:
            writing.erase(positions)
        self.scrub()

    def erased(self, position: int) -> bool:
        """Whether a record stood at `position` that was destroyed."""
        with self.snapshot() as reading:
            return reading.erased(position)

    def scrub(self) -> None:
        """Write the file anew without what was erased; raises VaultBusy while others read it."""
        line = self._lines.mine()
        with self._guard(), translated():
            if self.path is not None:
                truncate_log(line.connection)
                line.connection.execute("vacuum")
                truncate_log(line.connection)

    def check(self) -> None:
        """Look over the pages of the file and its newest records; raises VaultDamaged."""
        with self.snapshot() as reading:
            reading.check()

    def verify(self) -> None:
        """Open every record and recompute the digest; raises VaultDamaged."""
        with self.snapshot() as reading:
            reading.verify()

    @contextmanager
    def transaction(
        self, *, durable: bool = False, seconds: float = BUSY_SECONDS
    ) -> Iterator[VaultTransaction]:
        """All or nothing: what the block appends is kept once it ends without an exception.

        `seconds` is the longest wait for another writer; then VaultBusy.
        """
        with self._guard(), self._noting_damage(), translated():
            line = self._lines.mine()
            if line.active is not None:
                raise VaultError(
                    "vault: a transaction is open already; append to that one"
                )
            line.prepare(durable, seconds)
            line.connection.execute("begin immediate")
            try:
                line.active = VaultTransaction(
                    line.connection, self._sealer, self._head(line)
                )
                yield line.active
                _keep_head(line.connection, self._sealer, line.active)
                line.connection.execute("commit")
                if durable:
                    self._marker.note(line.active.position)
            except BaseException:
                roll_back(line.connection)
                raise
            finally:
                line.active = None

    @contextmanager
    def snapshot(self) -> Iterator[VaultTransaction]:
        """One consistent view for reading; inside a transaction of this thread, that one."""
        with self._guard(), self._noting_damage(), translated():
            line = self._lines.mine()
            if line.active is not None:
                yield line.active
                return
            line.connection.execute("begin")
            try:
                yield VaultTransaction(line.connection, self._sealer, self._head(line))
            finally:
                roll_back(line.connection)

    def close(self) -> None:
        """Close every connection of this process; a later call opens a new one."""
        self._lines.close()

    def __enter__(self) -> Vault:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _guard(self) -> threading.RLock | nullcontext[None]:
        """A vault in memory has one connection for all threads; a file has one for each."""
        return self._memory_lock if self.path is None else nullcontext()

    @contextmanager
    def _noting_damage(self) -> Iterator[None]:
        """Leave a note for the next start if damage shows: it then sets the vault aside."""
        try:
            yield
        except VaultDamaged:
            if self.path is not None:
                note_damage(self.path)
            raise

    def _head(self, line: Line) -> JournalHead:
        row = line.connection.execute("select head from vault").fetchone()
        text = None if row is None else self._sealer.open(row[0], b"head")
        if text is None:
            raise VaultDamaged(
                "vault: the head was changed; restore the file from a backup"
            )
        return JournalHead.decode(text)

    def _prepare(self, key: KeyProvider) -> tuple[bytes, Sealer]:
        connection = self._lines.mine().connection
        with translated():
            connection.execute("begin immediate")
            try:
                if not has_tables(connection):
                    _create(connection, key.key())
                connection.execute("commit")
            except BaseException:
                roll_back(connection)
                raise
            row = connection.execute("select id, key_check, head from vault").fetchone()
            sealer = self._sealer_of(key, row or (None, None, None))
            self._migrated = migrate(connection)
        return row[0], sealer

    def _sealer_of(
        self, key: KeyProvider, row: tuple[object, object, object]
    ) -> Sealer:
        """Return the sealer of a stored vault; raise WrongKey, or VaultDamaged if it is none."""
        vault_id, check, head = row
        if not isinstance(vault_id, bytes):
            raise VaultDamaged(
                "vault: its first row was damaged; restore the file from a backup"
            )
        secret = key.existing() if isinstance(key, StoredKey) else key.key()
        if secret is None:
            raise WrongKey(
                f"key: there is none, but one sealed this vault; {self._way_out}"
            )
        sealer = Sealer(secret, vault_id)
        if not isinstance(check, bytes) or not hmac.compare_digest(sealer.check, check):
            if (
                sealer.open(head, b"head") is not None
            ):  # the key is right, its check is not
                raise VaultDamaged("vault: its first row was damaged; restore a backup")
            raise WrongKey(
                f"key: it is not the one that sealed this vault; {self._way_out}"
            )
        return sealer

    @property
    def _way_out(self) -> str:
        return f"use the first key, or begin anew with `tactful reset {self.path}`"


def _create(connection: sqlite3.Connection, key: bytes) -> None:
    vault_id = secrets.token_bytes(16)
    sealer = Sealer(key, vault_id)
    create_tables(connection)
    connection.execute(
        "insert into vault (one, id, key_check, head) values (1, ?, ?, ?)",
        (vault_id, sealer.check, sealer.seal(JournalHead().encode(), b"head")),
    )


def _keep_head(
    connection: sqlite3.Connection, sealer: Sealer, done: VaultTransaction
) -> None:
    if done.head != done.found:
        sealed = sealer.seal(done.head.encode(), b"head")
        connection.execute("update vault set head = ?", (sealed,))

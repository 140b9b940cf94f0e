"""The vault: a journal of authenticated, encrypted records in one SQLite file.

Kind and body of a record are sealed with AES-256-GCM. Its position, name and vault id
are additional authenticated data. A sealed head holds the last position, the number of
live records and a digest of all records; it changes in the same transaction. So a
changed, moved, removed or replayed record is detected. A marker beside the file reveals
a file that was restored to an earlier state.
"""

from __future__ import annotations

import hmac
import secrets
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import TracebackType

from tactful.device.device_key import KeyProvider, Sealer, StoredKey
from tactful.device.vault.connections import (
    BUSY_SECONDS,
    Line,
    Lines,
    VaultBusy,
    convert_file,
    create_tables,
    has_tables,
    note_damage,
    prepare_file,
    roll_back,
    translate_errors,
    truncate_log,
)
from tactful.device.vault.journal import (
    PAGE,
    JournalHead,
    Record,
    VaultTransaction,
    records_of_kinds,
)
from tactful.device.vault.marker import Marker
from tactful.device.vault.record_schemas import Content
from tactful.errors import VaultDamaged, VaultError, WrongKey

__all__ = ["BUSY_SECONDS", "Record", "Vault", "VaultBusy", "VaultTransaction"]


class Vault:
    """A journal that only its key opens.

    Safe for several threads and processes at once. `missing` says what a rollback lost,
    None if nothing was detected.
    """

    def __init__(self, path: Path | None, key: KeyProvider) -> None:
        self.path = path
        self._lines = Lines(path)
        self._memory_lock = threading.RLock()
        try:
            self._id, self._sealer = self._prepare(key)
            self._marker = Marker(path, self._sealer)
            # Read before the position, which another process may raise meanwhile.
            stored = self._marker.read()
            self.missing = self._marker.mismatch(stored, self.position)
        except BaseException:
            # A connection that closes later would delete the log of a renamed vault.
            self._lines.close()
            raise
        if self.missing is None:
            self._marker.note(self.position)

    @classmethod
    def open(cls, path: str | Path | None, key: KeyProvider) -> Vault:
        """Open the vault at `path`, or create it; None keeps everything in memory.

        Raise InvalidInput for a missing folder, WrongKey, VaultForeign, VaultDamaged or
        StorageFull.
        """
        if path is None:
            return cls(None, key)
        prepare_file(Path(path))
        return cls(Path(path), key)

    @property
    def id(self) -> str:
        """The random id of this vault, in hex."""
        return self._id.hex()

    @property
    def position(self) -> int:
        """The position of the newest record; 0 if there is none."""
        with self.snapshot() as snapshot:
            return snapshot.position

    def blind(self, text: str) -> bytes:
        """Return a 32 byte pseudonym for `text`, meaningless without the key."""
        return self._sealer.blind(text)

    def append(
        self,
        kind: str,
        content: Content,
        *,
        durable: bool = False,
        name: str | None = None,
    ) -> int:
        """Append one record and return its position; on disk by then if `durable`.

        For a `name` that was used before, return the position of that record.
        """
        with self.transaction(durable=durable) as transaction:
            return transaction.append(kind, content, name=name)

    def read(
        self,
        after: int = 0,
        kinds: Collection[str] | None = None,
        *,
        tastes: bool = True,
    ) -> Iterator[Record]:
        """Yield every live record after position `after`, oldest first.

        With `tastes=False`, skip records that only the profile may read. Raise
        VaultDamaged, which names the position, for a record that was changed.
        """
        while True:
            with self.snapshot() as snapshot:
                page = snapshot.page(after, tastes=tastes)
            yield from records_of_kinds(page, kinds)
            if len(page) < PAGE:
                return
            after = page[-1][0]

    def cell(self, name: str) -> bytes | None:
        """Return the content of the cell `name`, None if it is empty."""
        with self.snapshot() as snapshot:
            return snapshot.cell(name)

    def erase(self, positions: Iterable[int]) -> None:
        """Destroy records: no byte of them remains in any file of the vault."""
        with self.transaction(durable=True) as transaction:
            transaction.erase(positions)
        self.scrub()

    def erased(self, position: int) -> bool:
        """Return True if the record at `position` was erased."""
        with self.snapshot() as snapshot:
            return snapshot.erased(position)

    def scrub(self) -> None:
        """Rewrite the file without erased content.

        Raise VaultBusy while others read it.
        """
        line = self._lines.current()
        with self._guard(), translate_errors():
            if self.path is not None:
                truncate_log(line.connection)
                line.connection.execute("vacuum")
                truncate_log(line.connection)

    def check(self) -> None:
        """Check the pages of the file and its newest records; raise VaultDamaged."""
        with self.snapshot() as snapshot:
            snapshot.check()

    def verify(self) -> None:
        """Open every record and compare the digest; raise VaultDamaged."""
        with self.snapshot() as snapshot:
            snapshot.verify()

    @contextmanager
    def transaction(
        self, *, durable: bool = False, seconds: float = BUSY_SECONDS
    ) -> Iterator[VaultTransaction]:
        """Open a write transaction, committed if the block ends without an exception.

        Raise VaultBusy if another writer does not finish within `seconds`.
        """
        with self._guard(), self._recording_damage(), translate_errors():
            line = self._lines.current()
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
                _store_head(line.connection, self._sealer, line.active)
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
        """Open a consistent view for reading; inside a transaction, return that one."""
        with self._guard(), self._recording_damage(), translate_errors():
            line = self._lines.current()
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
        """Return the lock of a vault in memory: its threads share one connection."""
        return self._memory_lock if self.path is None else nullcontext()

    @contextmanager
    def _recording_damage(self) -> Iterator[None]:
        """Record damage in a file, so that the next start sets the vault aside."""
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
        connection = self._lines.current().connection
        with translate_errors():
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
            convert_file(connection, sealer)
        return row[0], sealer

    def _sealer_of(
        self, key: KeyProvider, row: tuple[object, object, object]
    ) -> Sealer:
        """Return the sealer of a stored vault; raise WrongKey or VaultDamaged."""
        vault_id, check, head = row
        if not isinstance(vault_id, bytes):
            raise VaultDamaged(
                "vault: its first row was damaged; restore the file from a backup"
            )
        secret = key.existing() if isinstance(key, StoredKey) else key.key()
        if secret is None:
            raise WrongKey(
                f"key: there is none, but one sealed this vault; {self._wrong_key_fix}"
            )
        sealer = Sealer(secret, vault_id)
        if not isinstance(check, bytes) or not hmac.compare_digest(sealer.check, check):
            # A key that opens the head is right, so the stored check was damaged.
            if sealer.open(head, b"head") is not None:
                raise VaultDamaged("vault: its first row was damaged; restore a backup")
            raise WrongKey(
                f"key: it is not the one that sealed this vault; {self._wrong_key_fix}"
            )
        return sealer

    @property
    def _wrong_key_fix(self) -> str:
        return f"use the first key, or begin anew with `tactful reset {self.path}`"


def _create(connection: sqlite3.Connection, key: bytes) -> None:
    vault_id = secrets.token_bytes(16)
    sealer = Sealer(key, vault_id)
    create_tables(connection)
    connection.execute(
        "insert into vault (one, id, key_check, head) values (1, ?, ?, ?)",
        (vault_id, sealer.check, sealer.seal(JournalHead().encode(), b"head")),
    )


def _store_head(
    connection: sqlite3.Connection, sealer: Sealer, transaction: VaultTransaction
) -> None:
    """Store the head of the transaction if it changed."""
    if transaction.head != transaction.initial_head:
        sealed = sealer.seal(transaction.head.encode(), b"head")
        connection.execute("update vault set head = ?", (sealed,))

"""Connections to the SQLite file: one per thread, with checks and errors."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tactful.device.device_key import Sealer
from tactful.device.vault.convert_format_3 import convert
from tactful.device.vault.journal import FORMAT, VaultTransaction
from tactful.errors import (
    InvalidInput,
    StorageFull,
    VaultDamaged,
    VaultError,
    VaultForeign,
)

# Converts a file of this format to the next one, in the open transaction.
CONVERSIONS: Mapping[int, Callable[[sqlite3.Connection, Sealer], None]] = {3: convert}
OLDEST_FORMAT = min(CONVERSIONS)
APPLICATION_ID = 0x54414354  # "TACT"
HEADER = b"SQLite format 3\x00"  # of every SQLite file that holds anything
DAMAGE_NOTE = ".damage"  # file name ending; the next start sets the vault aside
BUSY_SECONDS = 5.0  # the longest wait of a write for another process
_SCHEMA = Path(__file__).with_name("schema.sql")
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE)
# Our statements are constants: if SQLite rejects one, the file was changed.
_BROKEN = (
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_TOOBIG,
)
_inherited: list[object] = []  # a parent process's connections: neither used nor closed


class VaultBusy(VaultError):
    """Another process locked the vault for longer than a write may wait."""


class Line:
    """One connection of one thread, with its open transaction, if any."""

    def __init__(self, path: Path | None) -> None:
        self.connection = _connect(path)
        self.active: VaultTransaction | None = None
        self._settings: tuple[bool, float] | None = None

    def prepare(self, durable: bool, seconds: float) -> None:
        """Set the durability of the next commit, and the longest wait for a lock."""
        if self._settings == (durable, seconds):
            return
        level = "full" if durable else "normal"
        milliseconds = round(seconds * 1000)
        self.connection.execute(f"pragma synchronous = {level}")
        self.connection.execute(f"pragma busy_timeout = {milliseconds}")
        self._settings = (durable, seconds)


class Lines:
    """The connections of this process, one per thread.

    A forked child starts with none.
    """

    def __init__(self, path: Path | None) -> None:
        self._path, self._process = path, os.getpid()
        self._local = threading.local()
        self._all = [Line(path)] if path is None else []

    def current(self) -> Line:
        """Return the connection of the calling thread."""
        if self._path is None:
            return self._all[0]
        if self._process != os.getpid():
            # Closing them in this child process could drop the parent's locks.
            _inherited.extend(self._all)
            self._process = os.getpid()
            self._reset()
        line: Line | None = getattr(self._local, "line", None)
        if line is None:
            line = self._local.line = Line(self._path)
            self._all.append(line)
        return line

    def close(self) -> None:
        """Close all connections of this process; a vault in memory stays open."""
        if self._path is None or self._process != os.getpid():
            return
        for line in self._all:
            line.connection.close()
        self._reset()

    def _reset(self) -> None:
        self._local = threading.local()
        self._all = []


def _connect(path: Path | None) -> sqlite3.Connection:
    """Return a connection; a foreign file is refused before anything is written."""
    with translate_errors():
        connection = sqlite3.connect(
            ":memory:" if path is None else path,
            isolation_level=None,
            check_same_thread=False,
            timeout=BUSY_SECONDS,
        )
        # No text is stored: text in a row means that the file was changed.
        connection.text_factory = bytes
        try:
            _require_owned(connection, path)
            for setting in (
                "journal_mode = wal",
                "secure_delete = on",
                "temp_store = memory",
            ):
                connection.execute(f"pragma {setting}").fetchall()
        except sqlite3.DatabaseError as refused:
            connection.close()
            if getattr(refused, "sqlite_errorcode", 0) == sqlite3.SQLITE_NOTADB:
                raise _foreign(path, "the file is not a vault") from refused
            raise
        except BaseException:
            connection.close()
            raise
    return connection


def _require_owned(connection: sqlite3.Connection, path: Path | None) -> None:
    """Raise unless the file is empty, or a vault that this version reads."""
    owner = connection.execute("pragma application_id").fetchone()[0]
    version = connection.execute("pragma user_version").fetchone()[0]
    if owner != APPLICATION_ID and (owner or version or has_tables(connection)):
        raise _foreign(path, "the file is another program's database")
    if version > FORMAT:
        raise VaultForeign(
            f"vault: a newer release of Tactful wrote the file (format {version}; this "
            f"release reads formats {OLDEST_FORMAT} to {FORMAT}); update the app, or start "
            f"with an empty vault with `tactful reset {path}`"
        )
    if 0 < version < OLDEST_FORMAT:
        raise VaultForeign(
            f"vault: the file has format {version}, and this release reads formats "
            f"{OLDEST_FORMAT} to {FORMAT}; open it with an older release first"
        )


def _foreign(path: Path | None, problem: str) -> VaultError:
    """Return VaultDamaged if a marker proves a vault at `path`, else VaultForeign."""
    if path is not None and marker_path(path).exists():
        return VaultDamaged("vault: the file was damaged, and is no longer a vault")
    return VaultForeign(
        f"vault: {problem}; name another path, or set it aside with `tactful reset {path}`"
    )


def marker_path(vault: Path) -> Path:
    """Return the path of the marker of a vault."""
    return vault.with_name(vault.name + ".mark")


def note_damage(vault: Path) -> None:
    """Ask the next start to set the vault aside; failures of the disk are ignored."""
    with suppress(OSError):
        vault.with_name(vault.name + DAMAGE_NOTE).touch(0o600)


def damage_noted(vault: Path) -> bool:
    """Return True if damage was found while the vault was last in use."""
    return vault.with_name(vault.name + DAMAGE_NOTE).exists()


def has_tables(connection: sqlite3.Connection) -> bool:
    """Return True if the file has any table."""
    return bool(connection.execute("select count(*) from sqlite_master").fetchone()[0])


def convert_file(connection: sqlite3.Connection, sealer: Sealer) -> None:
    """Convert an older file to the format of this release, in one transaction."""
    connection.execute("begin immediate")
    try:
        row = connection.execute("pragma user_version").fetchone()
        stored_version = int(row[0])
        if stored_version < 1:
            raise VaultDamaged(
                "vault: its format was damaged; restore the file from a backup"
            )
        for version in range(stored_version, FORMAT):
            CONVERSIONS[version](connection, sealer)
            connection.execute(f"pragma user_version = {version + 1}")
        connection.execute("commit")
    except BaseException:
        roll_back(connection)
        raise


def truncate_log(connection: sqlite3.Connection) -> None:
    """Empty the log, waiting for readers of old pages.

    Raise VaultBusy if they remain.
    """
    for _ in range(round(BUSY_SECONDS * 20)):
        busy = connection.execute("pragma wal_checkpoint(truncate)").fetchone()[0]
        if not busy:
            return
        threading.Event().wait(0.05)
    raise VaultBusy(
        "vault: another process still reads what was erased; close it and erase again"
    )


def roll_back(connection: sqlite3.Connection) -> None:
    """Roll back the open transaction, if there is one."""
    if connection.in_transaction:
        connection.execute("rollback")


def prepare_file(path: Path) -> None:
    """Create an empty file that only its owner reads, if there is none.

    Raise InvalidInput for a wrong path, VaultForeign for another program's file.
    """
    if not path.parent.is_dir():
        raise InvalidInput(
            "path", f"the folder {path.parent} does not exist", "create it first"
        )
    if path.is_dir():
        raise InvalidInput("path", f"{path} is a folder", "name a file in it")
    if not path.exists():
        _create_private(path)
    _require_header(path)


def _require_header(path: Path) -> None:
    """Raise VaultForeign for a foreign file that SQLite would treat as an empty one."""
    try:
        with path.open("rb") as file:
            start = file.read(len(HEADER) + 4)
    except OSError as refused:
        raise VaultError(
            f"vault: {path} cannot be read ({refused.strerror})"
        ) from refused
    versions = set(start[len(HEADER) + 2 :])  # of the format, to write and to read
    if start and (start[: len(HEADER)] != HEADER or not versions <= {1, 2}):
        raise _foreign(path, "the file is not a vault")


def _create_private(path: Path) -> None:
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except FileExistsError:
        return  # another process was first
    except OSError as refused:
        if refused.errno == errno.ENOSPC:
            raise StorageFull(
                "vault: the disk is full; make room and try again"
            ) from refused
        raise VaultError(
            f"vault: {path} cannot be made ({refused.strerror})"
        ) from refused


@contextmanager
def translate_errors() -> Iterator[None]:
    """Translate errors of SQLite into errors of the vault."""
    try:
        yield
    except sqlite3.Error as refused:
        raise _vault_error(refused) from refused
    except UnicodeDecodeError as undecodable:
        # The message of SQLite quotes a damaged schema.
        raise _damaged() from undecodable


def _vault_error(refused: sqlite3.Error) -> VaultError:
    code = getattr(refused, "sqlite_errorcode", 0)
    if code & 0xFF in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return VaultBusy("vault: another process is writing; try again")
    if code in _FULL:
        return StorageFull("vault: the disk is full; make room and try again")
    if code & 0xFF in _BROKEN:
        return _damaged()
    return VaultError(
        f"vault: the file cannot be used ({refused}); check folder and permissions"
    )


def _damaged() -> VaultDamaged:
    return VaultDamaged(
        "vault: pages of the file were damaged; restore it from a backup"
    )


def create_tables(connection: sqlite3.Connection) -> None:
    """Create the tables and the file's application id, in the open transaction."""
    for statement in _SCHEMA.read_text().split(";\n"):
        connection.execute(statement)
    connection.execute(f"pragma application_id = {APPLICATION_ID}")
    connection.execute(f"pragma user_version = {FORMAT}")

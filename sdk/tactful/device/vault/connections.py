"""Connections to the one SQLite file: whose it is, one per thread, errors in our own words."""

from __future__ import annotations

import errno
import os
import sqlite3
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from tactful.device.vault.journal import VaultTransaction
from tactful.errors import (
    InvalidInput,
    StorageFull,
    VaultDamaged,
    VaultError,
    VaultForeign,
)

FORMAT = 3
MIGRATIONS: Mapping[int, tuple[str, ...]] = {
    1: (),  # to 2: from here on a marker stands beside the file
    2: (
        "alter table record add column taste blob",
    ),  # to 3: what only the profile may read
}
APPLICATION_ID = 0x54414354  # "TACT"
HEADER = b"SQLite format 3\x00"  # of every SQLite file that holds anything
DAMAGE_NOTE = (
    ".damage"  # ends the name of the file that asks the next start to set it aside
)
BUSY_SECONDS = 5.0  # the longest that a write waits for another process
_SCHEMA = Path(__file__).with_name("schema.sql")
_FULL = (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_SHMSIZE)
_BROKEN = (  # our statements are constants: where one makes no sense, the file was changed
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_ERROR,
    sqlite3.SQLITE_CONSTRAINT,
    sqlite3.SQLITE_MISMATCH,
    sqlite3.SQLITE_TOOBIG,
)
_inherited: list[
    object
] = []  # connections of a parent process: never used, never closed


class VaultBusy(VaultError):
    """Another process held the vault for longer than we may wait."""


class Line:
    """One connection of one thread in one process."""

    def __init__(self, path: Path | None) -> None:
        self.connection = _connect(path)
        self.active: VaultTransaction | None = None
        self._set: tuple[bool, float] | None = None

    def prepare(self, durable: bool, seconds: float) -> None:
        """Set how surely the next commit reaches the disk, and how long it may wait."""
        if self._set != (durable, seconds):
            self.connection.execute(
                f"pragma synchronous = {'full' if durable else 'normal'}"
            )
            self.connection.execute(f"pragma busy_timeout = {round(seconds * 1000)}")
            self._set = (durable, seconds)


class Lines:
    """The connections of this process, one per thread; a forked child starts with none."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._process = path, os.getpid()
        self._local, self._all = threading.local(), [Line(path)] if path is None else []

    def mine(self) -> Line:
        """The connection of the calling thread."""
        if self._path is None:
            return self._all[0]
        if self._process != os.getpid():
            _inherited.extend(
                self._all
            )  # closing them here could drop the parent's locks
            self._process, self._local, self._all = os.getpid(), threading.local(), []
        line: Line | None = getattr(self._local, "line", None)
        if line is None:
            line = self._local.line = Line(self._path)
            self._all.append(line)
        return line

    def close(self) -> None:
        """Close them all; what lies in memory stays open."""
        if self._path is None or self._process != os.getpid():
            return
        for line in self._all:
            line.connection.close()
        self._local, self._all = threading.local(), []


def _connect(path: Path | None) -> sqlite3.Connection:
    """Look before writing: a foreign file is refused as it was found."""
    with translated():
        connection = sqlite3.connect(
            ":memory:" if path is None else path,
            isolation_level=None,
            check_same_thread=False,
            timeout=BUSY_SECONDS,
        )
        connection.text_factory = (
            bytes  # text is never stored: where it shows, bytes were changed
        )
        try:
            _require_ours(connection, path)
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


def _require_ours(connection: sqlite3.Connection, path: Path | None) -> None:
    owner = connection.execute("pragma application_id").fetchone()[0]
    version = connection.execute("pragma user_version").fetchone()[0]
    if owner != APPLICATION_ID and (owner or version or has_tables(connection)):
        raise _foreign(path, "the file is another program's database")
    if version > FORMAT:
        raise VaultForeign(
            f"vault: a newer Tactful wrote the file (format {version}, this reads {FORMAT}); "
            f"update, or begin anew with `tactful reset {path}`"
        )


def _foreign(path: Path | None, problem: str) -> VaultError:
    """Return VaultDamaged where a marker says that a vault was at `path`, else VaultForeign."""
    if path is not None and marker_path(path).exists():
        return VaultDamaged("vault: the file was damaged, and is no vault any more")
    return VaultForeign(
        f"vault: {problem}; name another path, or set it aside with `tactful reset {path}`"
    )


def marker_path(vault: Path) -> Path:
    """Return where the marker of the vault at `vault` lies."""
    return vault.with_name(vault.name + ".mark")


def note_damage(vault: Path) -> None:
    """Ask the next start to set the vault aside; a disk that refuses loses only the note."""
    with suppress(OSError):
        vault.with_name(vault.name + DAMAGE_NOTE).touch(0o600)


def damage_noted(vault: Path) -> bool:
    """Return whether damage was seen in the vault while it was in use."""
    return vault.with_name(vault.name + DAMAGE_NOTE).exists()


def has_tables(connection: sqlite3.Connection) -> bool:
    """Whether anything was ever put into the file."""
    return bool(connection.execute("select count(*) from sqlite_master").fetchone()[0])


def migrate(connection: sqlite3.Connection) -> bool:
    """Bring an older file up to date, all or nothing; whether it was older."""
    connection.execute("begin immediate")
    try:
        found = int(connection.execute("pragma user_version").fetchone()[0])
        if found < 1:
            raise VaultDamaged(
                "vault: its format was damaged; restore the file from a backup"
            )
        for version in range(found, FORMAT):
            for statement in MIGRATIONS[version]:
                connection.execute(statement)
            connection.execute(f"pragma user_version = {version + 1}")
        connection.execute("commit")
    except BaseException:
        roll_back(connection)
        raise
    return found < FORMAT


def truncate_log(connection: sqlite3.Connection) -> None:
    """Empty the log; old pages stay in it until every reader has left them, so wait for that."""
    for _ in range(round(BUSY_SECONDS * 20)):
        busy = connection.execute("pragma wal_checkpoint(truncate)").fetchone()[0]
        if not busy:
            return
        threading.Event().wait(0.05)
    raise VaultBusy(
        "vault: another process still reads what was erased; close it and erase again"
    )


def roll_back(connection: sqlite3.Connection) -> None:
    """End the open transaction, if there is one, as if it had never begun."""
    if connection.in_transaction:
        connection.execute("rollback")


def require_place(path: Path) -> None:
    """Make an empty file that only its owner reads; raises InvalidInput without a folder."""
    if not path.parent.is_dir():
        raise InvalidInput(
            "path", f"the folder {path.parent} does not exist", "create it first"
        )
    if path.is_dir():
        raise InvalidInput("path", f"{path} is a folder", "name a file in it")
    if not path.exists():
        _make_private(path)
    _require_header(path)


def _require_header(path: Path) -> None:
    """Raise VaultForeign for a file too short for SQLite to see that it is none of its own."""
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


def _make_private(path: Path) -> None:
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
def translated() -> Iterator[None]:
    """SQLite's refusals, in our own words."""
    try:
        yield
    except sqlite3.Error as refused:
        raise _in_our_words(refused) from refused
    except (
        UnicodeDecodeError
    ) as garbled:  # SQLite quotes a damaged schema in its refusal
        raise _damaged() from garbled


def _in_our_words(refused: sqlite3.Error) -> VaultError:
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
    """Make the tables and mark the file as ours, in the open transaction."""
    for statement in _SCHEMA.read_text().split(";\n"):
        connection.execute(statement)
    connection.execute(f"pragma application_id = {APPLICATION_ID}")
    connection.execute(f"pragma user_version = {FORMAT}")

"""The database of one aggregator: a SQLite file or a PostgreSQL database."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    InterfaceError,
    InternalError,
    OperationalError,
)
from sqlalchemy.pool import ConnectionPoolEntry

from tactful.errors import InvalidInput, StorageFull, VaultError, VaultForeign
from tactful_aggregator import private_files
from tactful_aggregator.datastore.locks import LockLost
from tactful_aggregator.datastore.transaction import StoreTransaction

URL_FIX = "use postgresql+psycopg://user@host/name"
# The database is unreachable or read-only.
UNAVAILABLE = (OperationalError, InternalError, InterfaceError)
DISK_FULL_TEXTS = ("disk is full", "No space left")
# Shards of each sum on PostgreSQL, where several workers can write at once.
SHARD_COUNT = 32


class _RolledBack(Exception):
    """A transaction that is rolled back on purpose."""


class Datastore:
    """The database of one aggregator.

    `location` is the path of a SQLite file or the URL of a PostgreSQL database. SQLite runs
    in WAL mode and syncs each commit, so that acknowledged data survives a crash. Raises
    VaultForeign for a database of another program, version or role.
    """

    def __init__(self, location: Path | str, role: str) -> None:
        self._engine = _engine(location)
        self._location = _without_password(location)
        is_sqlite = self._engine.dialect.name == "sqlite"
        self._shard_count = 1 if is_sqlite else SHARD_COUNT
        self._required_lock: tuple[str, bytes] | None = None
        try:
            with self.transaction() as tx:
                tx.claim(self._location, role)
        except DatabaseError as error:
            raise VaultForeign(
                f"{self._location}: {_driver_message(error)}; name another database"
            ) from error

    @property
    def is_local(self) -> bool:
        """Return True for a SQLite file, which only one machine can use."""
        return self._shard_count == 1

    def fenced(self, name: str, holder: bytes) -> Datastore:
        """Return this database with a check in each transaction that `holder` has a lock.

        Otherwise the transaction raises LockLost and writes nothing.
        """
        fenced = copy.copy(self)
        fenced._required_lock = name, holder
        return fenced

    @contextmanager
    def transaction(self) -> Iterator[StoreTransaction]:
        """Commit everything in the block, or nothing if it raises.

        Raises StorageFull if the disk is full, and VaultError if the database cannot be
        reached or written. SQLite runs one transaction at a time.
        """
        try:
            with self._engine.begin() as connection:
                tx = StoreTransaction(connection, self._shard_count)
                self._require_lock(tx)
                yield tx
        except DBAPIError as error:
            if _is_disk_full(error):
                raise StorageFull(
                    "database: the disk is full; free some space"
                ) from error
            if isinstance(error, UNAVAILABLE):
                raise VaultError(
                    f"{self._location}: {_driver_message(error)}; check that the database "
                    "is reachable and that this aggregator may write to it"
                ) from error
            raise

    def _require_lock(self, tx: StoreTransaction) -> None:
        if self._required_lock is None:
            return
        name, holder = self._required_lock
        if not tx.locks.is_held_by(name, holder):
            raise LockLost(
                f"{name}: another process took over this step; repeat the request"
            )

    def require_writable(self) -> None:
        """Raise VaultError unless the database can be written; nothing is changed."""
        with suppress(_RolledBack), self.transaction() as tx:
            tx.rewrite_meta_row()
            raise _RolledBack

    def close(self) -> None:
        """Close all connections to the database."""
        self._engine.dispose()


def _is_disk_full(error: DBAPIError) -> bool:
    message = str(error.orig)
    return any(text in message for text in DISK_FULL_TEXTS)


def _driver_message(error: DBAPIError) -> str:
    """Return the driver's message in one line, without the statement's parameters."""
    return " ".join(str(error.orig).split())


def _without_password(location: Path | str) -> str:
    if isinstance(location, Path):
        return str(location)
    return location.rpartition("@")[2]


def _engine(location: Path | str) -> Engine:
    if isinstance(location, str):
        return _postgres_engine(location)
    return _sqlite_engine(location)


def _postgres_engine(url: str) -> Engine:
    if not url.startswith("postgresql+psycopg://"):
        raise InvalidInput("database", "not a PostgreSQL URL", URL_FIX)
    try:
        return create_engine(url, pool_pre_ping=True, hide_parameters=True)
    except ModuleNotFoundError as error:
        fix = "run: pip install 'tactful-aggregator[postgres]'"
        raise InvalidInput("database", "its driver is not installed", fix) from error
    except (ArgumentError, ValueError) as error:
        raise InvalidInput("database", "not a PostgreSQL URL", URL_FIX) from error


def _sqlite_engine(path: Path) -> Engine:
    # Created before SQLite opens it, because SQLite gives the files beside it the same
    # mode. If that is impossible, the error of the first transaction names the path.
    with suppress(OSError):
        os.close(private_files.create(path))
    # Autocommit in the driver: transactions begin with _begin_immediate.
    options = {"timeout": 30, "isolation_level": None}
    engine = create_engine(
        f"sqlite:///{path}", connect_args=options, hide_parameters=True
    )
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin_immediate)
    return engine


def _set_pragmas(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode = wal", "synchronous = full", "secure_delete = on"):
        cursor.execute(f"pragma {pragma}")
    cursor.close()


def _begin_immediate(connection: Connection) -> None:
    # Takes the write lock at once; a later upgrade from reading could fail as busy.
    connection.exec_driver_sql("begin immediate")

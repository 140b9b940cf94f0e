"""Every query of one half; nothing else speaks SQL.

SQLite in WAL mode, each commit synced, or PostgreSQL: what was acknowledged survives a crash at
any point. The statements are in groups, and a transaction has all of them.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import (
    Connection,
    Engine,
    create_engine,
    event,
    insert,
    inspect,
    select,
    update,
)
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
from tactful_aggregator.datastore.batches import BatchRows, BatchShard, ReleasedShare
from tactful_aggregator.datastore.locks import LockLost, LockRows
from tactful_aggregator.datastore.published import Period, PublishedRows
from tactful_aggregator.datastore.reports import ReportRows, StoredReport, Unfinished
from tactful_aggregator.datastore.schema import (
    ABANDONED,
    CLOSING,
    COLLECTED,
    COUNTED,
    FINISHED,
    OPEN,
    PARKED,
    PENDING,
    REFUSED,
    SCHEMA,
    TAKEN,
    WAITING,
    meta,
    tables,
)
from tactful_aggregator.datastore.tasks import TaskRows

__all__ = [
    "ABANDONED",
    "CLOSING",
    "COLLECTED",
    "COUNTED",
    "FINISHED",
    "OPEN",
    "PARKED",
    "PENDING",
    "REFUSED",
    "TAKEN",
    "WAITING",
    "BatchShard",
    "Datastore",
    "LockLost",
    "Period",
    "ReleasedShare",
    "StoreTransaction",
    "StoredReport",
    "Unfinished",
]

URL = "use postgresql+psycopg://user@host/name"
AWAY = (OperationalError, InternalError, InterfaceError)  # not there, or read-only
SHARDS = 32  # of a sum, where several can write at once


class StoreTransaction(TaskRows, ReportRows, BatchRows, PublishedRows, LockRows):
    """The statements, each by the name of what it does."""

    def write_again(self) -> None:
        """Write a row as it is."""
        self._run(update(meta).where(meta.c.name == "schema").values(name="schema"))

    def claim(self, where: str, role: str) -> None:
        """Make the tables of a new database, or check that an old one is ours."""
        found = inspect(self._connection).get_table_names()
        if found and "meta" not in found:
            raise VaultForeign(
                f"{where}: not a Tactful aggregator's database; name another"
            )
        if not found:
            tables.create_all(self._connection)
            self._run(insert(meta), [{"name": "schema", "value": str(SCHEMA)}])
            self._run(insert(meta), [{"name": "role", "value": role}])
        rows = self._run(select(meta.c.name, meta.c.value))
        known = {str(row[0]): str(row[1]) for row in rows}
        written = known.get("schema", "")
        if not written.isdecimal() or "role" not in known:
            raise VaultForeign(
                f"{where}: it does not say what wrote it; restore it from a backup"
            )
        if int(written) > SCHEMA:
            raise VaultForeign(f"{where}: written by a newer version; upgrade tactful")
        if int(written) < SCHEMA:
            raise VaultForeign(
                f"{where}: written by an older version; begin in a new folder"
            )
        if known["role"] != role:
            raise VaultForeign(
                f"{where}: it belongs to a {known['role']}, not a {role}"
            )
        tables.create_all(
            self._connection
        )  # tables that were added without a new version


class _Undone(Exception):
    """A transaction that is rolled back on purpose."""


class Datastore:
    """One half's database: a SQLite file, or the URL of a PostgreSQL database.

    Raises VaultForeign for one of another program, version or role.
    """

    def __init__(self, place: Path | str, role: str) -> None:
        self._engine, self._shown = _engine(place), _shown(place)
        self._shards = 1 if self._engine.dialect.name == "sqlite" else SHARDS
        self._fence: tuple[str, bytes] | None = None
        try:
            with self.transaction() as tx:
                tx.claim(self._shown, role)
        except DatabaseError as refused:
            raise VaultForeign(
                f"{self._shown}: {_told(refused)}; name another"
            ) from refused

    @property
    def is_local(self) -> bool:
        """Whether this half is one machine's: its file, and the folder beside it."""
        return self._shards == 1

    def fenced(self, name: str, holder: bytes) -> Datastore:
        """The same database for who holds a lock: else each transaction raises LockLost."""
        fenced = copy.copy(self)
        fenced._fence = name, holder
        return fenced

    @contextmanager
    def transaction(self) -> Iterator[StoreTransaction]:
        """All or nothing, in SQLite one writer at a time.

        A full disk raises StorageFull, a database that cannot be reached or written VaultError.
        """
        try:
            with self._engine.begin() as connection:
                tx = StoreTransaction(connection, self._shards)
                if self._fence is not None and not tx.holds_lock(*self._fence):
                    raise LockLost(
                        f"{self._fence[0]}: another process took it over; ask again"
                    )
                yield tx
        except DBAPIError as refused:
            if "disk is full" in str(refused.orig) or "No space left" in str(
                refused.orig
            ):
                raise StorageFull(
                    "database: the disk is full; free some space"
                ) from refused
            if isinstance(refused, AWAY):
                problem = f"{self._shown}: {_told(refused)}"
                raise VaultError(
                    f"{problem}; is it there, and may this half write it?"
                ) from refused
            raise

    def require_writable(self) -> None:
        """Raise VaultError unless the database can be written; nothing is changed."""
        with suppress(_Undone), self.transaction() as tx:
            tx.write_again()
            raise _Undone

    def close(self) -> None:
        """Let go of the database."""
        self._engine.dispose()


def _told(refused: DBAPIError) -> str:
    """What the database says, in one line and without any value that was on its way there."""
    return " ".join(str(refused.orig).split())


def _shown(place: Path | str) -> str:
    """A place without the password that may be in it."""
    return str(place) if isinstance(place, Path) else place.rpartition("@")[2]


def _engine(place: Path | str) -> Engine:
    if isinstance(place, str):
        if not place.startswith("postgresql+psycopg://"):
            raise InvalidInput("database", "no known address", URL)
        return _server(place)
    with suppress(OSError):  # a place that cannot be is named by what follows
        os.close(
            private_files.create(place)
        )  # what SQLite writes beside it has the same mode
    engine = create_engine(
        f"sqlite:///{place}",
        connect_args={"timeout": 30, "isolation_level": None},
        hide_parameters=True,
    )
    event.listen(engine, "connect", _configure)
    event.listen(engine, "begin", _begin)
    return engine


def _server(url: str) -> Engine:
    try:
        return create_engine(url, pool_pre_ping=True, hide_parameters=True)
    except ModuleNotFoundError as absent:
        fix = "pip install 'tactful-aggregator[postgres]'"
        raise InvalidInput("database", "its driver is not installed", fix) from absent
    except (ArgumentError, ValueError) as wrong:
        raise InvalidInput("database", "no known address", URL) from wrong


def _configure(connection: DBAPIConnection, _: ConnectionPoolEntry) -> None:
    cursor = connection.cursor()
    for pragma in ("journal_mode = wal", "synchronous = full", "secure_delete = on"):
        cursor.execute(f"pragma {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    connection.exec_driver_sql("begin immediate")

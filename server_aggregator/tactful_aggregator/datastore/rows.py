"""What all groups of statements share: a connection, and inserts that may find a row there."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Table, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
from sqlalchemy.dialects.sqlite import Insert as SqliteInsert

from tactful_aggregator.datastore.schema import meta


class Rows:
    """Statements of one transaction."""

    def __init__(self, connection: Connection, shards: int) -> None:
        self._run = connection.execute
        self._connection = connection
        self._shards = shards

    @property
    def _is_sqlite(self) -> bool:
        return self._connection.dialect.name == "sqlite"

    def _upsert(self, table: Table) -> SqliteInsert | PostgresInsert:
        return sqlite.insert(table) if self._is_sqlite else postgresql.insert(table)

    def hold_order(self) -> None:
        """Keep others from numbering a row, or an entry of the transcript, until the commit.

        SQLite has one writer at a time anyway.
        """
        self._run(select(meta.c.name).where(meta.c.name == "schema").with_for_update())

    def _add(self, table: Table, row: dict[str, object]) -> bool:
        """Insert a row; False if its key was there before, and then nothing changes."""
        keys = list(table.primary_key)
        insertion = (
            self._upsert(table).values(row).on_conflict_do_nothing(index_elements=keys)
        )
        return self._run(insertion.returning(keys[0])).first() is not None

    def _add_all(self, table: Table, rows: Sequence[dict[str, object]]) -> None:
        """Insert rows whose keys are new; those that are not change nothing."""
        if rows:
            keys = list(table.primary_key)
            self._run(
                self._upsert(table).on_conflict_do_nothing(index_elements=keys), rows
            )

    def _put(self, table: Table, key: Sequence[str], row: dict[str, object]) -> None:
        """Insert a row, or change the one with its key."""
        changed = {name: value for name, value in row.items() if name not in key}
        insertion = self._upsert(table).values(row)
        self._run(
            insertion.on_conflict_do_update(index_elements=list(key), set_=changed)
        )

"""The SQL connection of one transaction, and inserts that tolerate existing rows."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, Table, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql import Insert as PostgresInsert
from sqlalchemy.dialects.sqlite import Insert as SqliteInsert

from tactful_aggregator.datastore.schema import meta


class Statements:
    """Runs the statements of one transaction on SQLite or PostgreSQL."""

    def __init__(self, connection: Connection) -> None:
        self.run = connection.execute
        self.connection = connection

    def lock_numbering(self) -> None:
        """Block other writers of numbered rows and of the publication log until the commit.

        On SQLite this has no effect, because a database has only one writer at a time.
        """
        schema_row = select(meta.c.name).where(meta.c.name == "schema")
        self.run(schema_row.with_for_update())

    def insert_if_absent(self, table: Table, row: dict[str, object]) -> bool:
        """Insert a row; return False and change nothing if its key exists."""
        keys = list(table.primary_key)
        statement = self._insert(table).values(row)
        statement = statement.on_conflict_do_nothing(index_elements=keys)
        return self.run(statement.returning(keys[0])).first() is not None

    def insert_all_if_absent(
        self, table: Table, rows: Sequence[dict[str, object]]
    ) -> None:
        """Insert the rows whose keys do not exist yet; leave the others unchanged."""
        if rows:
            keys = list(table.primary_key)
            statement = self._insert(table).on_conflict_do_nothing(index_elements=keys)
            self.run(statement, rows)

    def upsert(self, table: Table, key: Sequence[str], row: dict[str, object]) -> None:
        """Insert a row, or replace the values of the row with the same key."""
        changes = {name: value for name, value in row.items() if name not in key}
        statement = self._insert(table).values(row)
        self.run(
            statement.on_conflict_do_update(index_elements=list(key), set_=changes)
        )

    def _insert(self, table: Table) -> SqliteInsert | PostgresInsert:
        # Only the dialects' own inserts have an "on conflict" clause.
        is_sqlite = self.connection.dialect.name == "sqlite"
        return sqlite.insert(table) if is_sqlite else postgresql.insert(table)

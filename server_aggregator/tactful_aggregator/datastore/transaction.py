"""One transaction, with a group of statements for each subject."""

from __future__ import annotations

from functools import cached_property

from sqlalchemy import Connection, insert, inspect, select, update

from tactful.errors import VaultForeign
from tactful_aggregator.datastore.batches import BatchQueries, SumQueries
from tactful_aggregator.datastore.collection_jobs import CollectionQueries
from tactful_aggregator.datastore.hpke_keys import HpkeKeyQueries
from tactful_aggregator.datastore.jobs import JobQueries
from tactful_aggregator.datastore.locks import LockQueries
from tactful_aggregator.datastore.published import PublishedQueries
from tactful_aggregator.datastore.reports import ReportQueries
from tactful_aggregator.datastore.schema import SCHEMA, meta, tables
from tactful_aggregator.datastore.statements import Statements
from tactful_aggregator.datastore.tasks import TaskQueries
from tactful_aggregator.datastore.trainings import PeriodQueries, TrainingQueries


class StoreTransaction:
    """The statements of one transaction, grouped by table.

    Each group is created at its first use and kept, because most transactions need only
    one or two of them.
    """

    def __init__(self, connection: Connection, shard_count: int) -> None:
        self._statements = Statements(connection)
        self._shard_count = shard_count

    @cached_property
    def tasks(self) -> TaskQueries:
        """Tasks that this aggregator serves."""
        return TaskQueries(self._statements)

    @cached_property
    def hpke_keys(self) -> HpkeKeyQueries:
        """Keys that devices seal their shares to."""
        return HpkeKeyQueries(self._statements)

    @cached_property
    def reports(self) -> ReportQueries:
        """Uploaded reports."""
        return ReportQueries(self._statements)

    @cached_property
    def jobs(self) -> JobQueries:
        """Aggregation jobs."""
        return JobQueries(self._statements)

    @cached_property
    def sums(self) -> SumQueries:
        """Sums without noise."""
        return SumQueries(self._statements, self._shard_count)

    @cached_property
    def batches(self) -> BatchQueries:
        """Closed and released batches."""
        return BatchQueries(self._statements, self.sums)

    @cached_property
    def collections(self) -> CollectionQueries:
        """Collection jobs."""
        return CollectionQueries(self._statements)

    @cached_property
    def published(self) -> PublishedQueries:
        """Files, releases and the publication log."""
        return PublishedQueries(self._statements)

    @cached_property
    def trainings(self) -> TrainingQueries:
        """States of trainings."""
        return TrainingQueries(self._statements)

    @cached_property
    def periods(self) -> PeriodQueries:
        """Collected periods of experiments."""
        return PeriodQueries(self._statements)

    @cached_property
    def locks(self) -> LockQueries:
        """Leases on steps."""
        return LockQueries(self._statements)

    def lock_numbering(self) -> None:
        """Block other writers of numbered rows and of the publication log until the commit."""
        self._statements.lock_numbering()

    def delete_expired_task(self, task_id: bytes) -> int:
        """Delete jobs, unreleased sums and reports of an expired task.

        Returns the number of deleted reports. The task and its batches stay.
        """
        self.jobs.delete_of_task(task_id)
        self.sums.delete_of_task(task_id)
        return self.reports.delete_of_task(task_id)

    def rewrite_meta_row(self) -> None:
        """Write a row with its present value, to prove that the database is writable."""
        schema_row = update(meta).where(meta.c.name == "schema")
        self._statements.run(schema_row.values(name="schema"))

    def claim(self, location: str, role: str) -> None:
        """Create the tables of a new database, or check that an old one fits.

        Raises VaultForeign, which names `location`, if the database belongs to another
        program, version or role.
        """
        table_names = inspect(self._statements.connection).get_table_names()
        if table_names and "meta" not in table_names:
            raise VaultForeign(
                f"{location}: not a Tactful aggregator's database; name another database"
            )
        if not table_names:
            self._create_tables()
            self._insert_meta("schema", str(SCHEMA))
            self._insert_meta("role", role)
        self._require_schema_and_role(location, role)
        # Creates tables that were added without a new schema version.
        self._create_tables()

    def _create_tables(self) -> None:
        tables.create_all(self._statements.connection)

    def _insert_meta(self, name: str, value: str) -> None:
        self._statements.run(insert(meta), [{"name": name, "value": value}])

    def _require_schema_and_role(self, location: str, role: str) -> None:
        rows = self._statements.run(select(meta.c.name, meta.c.value))
        values = {str(row[0]): str(row[1]) for row in rows}
        schema = values.get("schema", "")
        if not schema.isdecimal() or "role" not in values:
            raise VaultForeign(
                f"{location}: schema version or role is missing; restore the database "
                "from a backup"
            )
        if int(schema) > SCHEMA:
            raise VaultForeign(
                f"{location}: written by a newer version; upgrade tactful-aggregator"
            )
        if int(schema) < SCHEMA:
            raise VaultForeign(
                f"{location}: written by an older version; start with a new folder"
            )
        if values["role"] != role:
            raise VaultForeign(
                f"{location}: this database belongs to a {values['role']}; "
                f"name the database of this {role}"
            )

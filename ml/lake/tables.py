"""Delta tables under one root: append once, read at a version.

A commit carries the identifiers of the batches in it as Delta Lake's application transactions
(https://github.com/delta-io/delta/blob/master/PROTOCOL.md#transaction-identifiers), so rows and the mark that they are in
become visible in the same instant: a batch that was interrupted is committed again or not at all, never twice.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from ml.lake.sql import quoted, read
from ml.registry.turn import turn

# Delta Lake forgets versions and transaction identifiers after 30 days unless told otherwise; a registered model names versions
# for as long as it exists, and a file may come back after years. A table is opened by reading all commits after the last
# checkpoint, many times a night.
PROPERTIES = {
    "delta.checkpointInterval": "10",
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
}
# A reader skips row groups by their range of times; this is also the number of rows that DuckDB takes in hand at once.
WRITER = WriterProperties(compression="ZSTD", max_row_group_size=122_880)


class Lake:
    """Versioned tables of a deployment.

    Args:
        root: folder that holds one Delta table a subfolder.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def uri(self, table: str) -> str:
        """Address of a table."""
        return str(self.root / table)

    def open(self, table: str, version: int | None = None) -> DeltaTable | None:
        """The table at a version (newest by default), or None when nothing was ever written to it."""
        try:
            return DeltaTable(self.uri(table), version=version)
        except TableNotFoundError:
            return None

    def tables(self) -> list[str]:
        """Names of all tables that were ever written to."""
        return sorted(log.parent.name for log in self.root.glob("*/_delta_log"))

    def version(self, table: str) -> int:
        """Newest version of a table, -1 when nothing was ever written to it."""
        found = self.open(table)
        return -1 if found is None else found.version()

    def files(self, table: str, found: DeltaTable) -> list[str]:
        """Paths of the files of an opened table."""
        return [f"{self.uri(table)}/{path}" for path in pa.table(found.get_add_actions())["path"].to_pylist()]

    def count_files(self, table: str) -> int:
        """Number of files of the newest version of a table."""
        found = self.open(table)
        return 0 if found is None else len(self.files(table, found))

    def versions(self, tables: Iterable[str]) -> dict[str, int]:
        """Newest version of each table: what a training set is read at, and what its record keeps."""
        return {table: self.version(table) for table in tables}

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Take turns with every other process that writes to this lake; a process that dies gives its turn back."""
        with turn(self.root / ".lock"):
            yield

    def append_batches(self, table: str, rows: pa.Table) -> int:
        """Commit rows, leaving out batches that are already in; the whole commit becomes visible at once.

        Whoever commits one of the same batches at the same moment makes this commit fail, not double: then the batches are
        looked up again.

        Args:
            rows: table whose `batch_id` says which batch a row belongs to.

        Returns:
            Number of rows that this call added.
        """
        found = self._accepting(table, rows.schema)
        batches = sorted(pc.unique(rows["batch_id"]).to_pylist())
        while True:
            fresh = [b for b in batches if found.transaction_version(b) is None]
            added = rows if fresh == batches else rows.filter(pc.is_in(rows["batch_id"], pa.array(fresh, pa.string())))
            if not fresh:
                return 0
            properties = CommitProperties(app_transactions=[Transaction(batch, 1) for batch in fresh])
            seen = found.version()
            try:
                write_deltalake(found, added, mode="append", commit_properties=properties, writer_properties=WRITER)
            except CommitFailedError:
                found = DeltaTable(self.uri(table))
                if found.version() == seen:
                    raise
                continue
            return int(added.num_rows)

    def _accepting(self, table: str, columns: pa.Schema) -> DeltaTable:
        """The table, made if it is not there; columns that may lack values now and had to have them once may lack them."""
        found = self.open(table) or self._create(table, columns)
        nullable = {column.name for column in columns if column.nullable}
        for field in found.schema().fields:
            if not field.nullable and field.name in nullable:
                found.alter.drop_column_not_null(field.name)
        return found

    def _create(self, table: str, columns: pa.Schema) -> DeltaTable:
        """An empty table, made by this process or by another one at the same moment."""
        try:
            return DeltaTable.create(self.uri(table), columns, mode="error", configuration=PROPERTIES)
        except DeltaError:
            found = self.open(table)
            if found is None:
                raise
            return found

    def committed(self, table: str, batches: Iterable[str]) -> set[str]:
        """Those of the batches that are in a table."""
        found = self.open(table)
        return set() if found is None else {b for b in batches if found.transaction_version(b) is not None}

    def connect(
        self, tables: dict[str, pa.Schema], as_of: dt.datetime | None = None, versions: dict[str, int] | None = None
    ) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection in UTC that sees the named tables; one that was never written to is empty.

        Args:
            tables: schema by table name.
            as_of: hides every row whose `known_at` is later, in the tables that have it.
            versions: version by table name, -1 for empty; the newest for those left out.
        """
        connection = duckdb.connect()
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")
        for number, (table, columns) in enumerate(tables.items()):
            version = (versions or {}).get(table)
            found = None if version == -1 else self.open(table, version)
            files = [] if found is None else self.files(table, found)
            if not files:
                connection.register(f"empty_{number}", columns.empty_table())
            rows = read(files) if files else f"empty_{number}"
            visible = f" WHERE known_at <= {instant(as_of)}" if as_of and "known_at" in columns.names else ""
            connection.execute(f"CREATE TEMP VIEW {quoted(table)} AS SELECT * FROM {rows}{visible}")
        return connection


def instant(value: dt.datetime) -> str:
    """A UTC instant as a DuckDB literal."""
    return f"TIMESTAMPTZ '{value.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S.%f}+00'"

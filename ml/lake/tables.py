"""Delta tables under one root: append once, read at a version.

A commit carries the identifiers of the batches in it as Delta Lake's application transactions
(https://github.com/delta-io/delta/blob/master/PROTOCOL.md#transaction-identifiers), so rows and the identifiers of
their batches become visible together: a batch that was interrupted is committed again or not at all, never twice.
"""

from __future__ import annotations

import datetime as dt
from bisect import bisect_left
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import ColumnProperties, CommitProperties, DeltaTable, Transaction, WriterProperties, write_deltalake
from deltalake import Schema as DeltaSchema
from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from ml.lake.root import root_of
from ml.lake.sql import quoted, read

# By default Delta Lake drops versions and transaction identifiers after 30 days; but a registered model names versions as long
# as it exists, and a file may be delivered again after years. Opening a table reads all commits after the last checkpoint,
# which happens many times a night.
PROPERTIES = {
    "delta.checkpointInterval": "10",
    "delta.enableExpiredLogCleanup": "false",
    "delta.logRetentionDuration": "interval 36500 days",
    "delta.deletedFileRetentionDuration": "interval 36500 days",
}
# Columns of any table whose values hardly repeat: a dictionary takes longer than the rest of a file and makes it larger.
DISTINCT = ("event_id", "event_time", "score")
# A reader skips row groups by their range of times; this is also the size of DuckDB's row groups.
WRITER = WriterProperties(
    compression="ZSTD",
    max_row_group_size=122_880,
    column_properties=dict.fromkeys(DISTINCT, ColumnProperties(dictionary_enabled=False)),
)


class Lake:
    """Versioned tables of a deployment.

    Args:
        place: the folder or the URI with one subfolder per Delta table.
    """

    def __init__(self, place: Path | str) -> None:
        self.root = root_of(place)

    def uri(self, table: str) -> str:
        """Address of a table."""
        return self.root.uri(table)

    def open(self, table: str, version: int | None = None) -> DeltaTable | None:
        """The table at a version (newest by default), or None if it does not exist."""
        try:
            return DeltaTable(self.uri(table), version=version, storage_options=self.root.options)
        except TableNotFoundError:
            return None

    def tables(self) -> list[str]:
        """Names of all existing tables."""
        return self.root.tables()

    def version(self, table: str) -> int:
        """Newest version of a table, -1 if it does not exist."""
        delta = self.open(table)
        return -1 if delta is None else delta.version()

    def files(self, table: str, delta: DeltaTable) -> list[str]:
        """Paths of the files of an opened table."""
        return [f"{self.uri(table)}/{path}" for path in pa.table(delta.get_add_actions())["path"].to_pylist()]

    def _files_of_one_schema(self, table: str, delta: DeltaTable, columns: pa.Schema) -> list[tuple[frozenset[str], list[str]]]:
        """The files in groups that lack the same columns, each with these; found by the statistics, without opening a file.

        A column without statistics, such as a list, counts as lacking, whether it is there or not.
        """
        actions = pa.table(delta.get_add_actions(flatten=True))
        lacking: list[set[str]] = [set() for _ in range(actions.num_rows)]
        for column in columns:
            counted = f"null_count.{column.name}"
            known = actions[counted].is_valid().to_pylist() if counted in actions.column_names else [False] * len(lacking)
            for of_file, is_known in zip(lacking, known, strict=True):
                if not is_known:
                    of_file.add(column.name)
        parts: dict[frozenset[str], list[str]] = {}
        for path, of_file in zip(actions["path"].to_pylist(), lacking, strict=True):
            parts.setdefault(frozenset(of_file), []).append(f"{self.uri(table)}/{path}")
        return list(parts.items())

    def count_files(self, table: str) -> int:
        """Number of files of the newest version of a table."""
        delta = self.open(table)
        return 0 if delta is None else len(self.files(table, delta))

    def versions(self, tables: Iterable[str]) -> dict[str, int]:
        """Newest version of each table."""
        return {table: self.version(table) for table in tables}

    def writing(self) -> AbstractContextManager[None]:
        """Hold the write lock of the lake on this machine; it is released when the process ends."""
        return self.root.lock()

    def mark_loading(self, load: str) -> None:
        """Note before the first commit of a load which one it is."""
        self.root.mark(load)

    def mark_loaded(self, load: str) -> None:
        """Note after the last commit of a load that it is complete."""
        self.root.unmark(load)

    def loading(self) -> str | None:
        """The load that is going on or was cut off."""
        return self.root.marked()

    def append_batches(self, table: str, rows: pa.Table) -> int:
        """Commit rows, except those of batches that are committed already; the commit is atomic.

        If another process commits one of the same batches at the same time, this commit fails and is retried without them.

        Args:
            rows: table with the column `batch_id`.

        Returns:
            Number of rows that this call added.
        """
        delta = self._accepting(table, rows.schema)
        batches = sorted(pc.unique(rows["batch_id"]).to_pylist())
        while True:
            fresh = [b for b in batches if delta.transaction_version(b) is None]
            added = rows if fresh == batches else rows.filter(pc.is_in(rows["batch_id"], pa.array(fresh, pa.string())))
            if not fresh:
                return 0
            properties = CommitProperties(app_transactions=[Transaction(batch, 1) for batch in fresh])
            version = delta.version()
            try:
                write_deltalake(delta, added, mode="append", commit_properties=properties, writer_properties=WRITER)
            except CommitFailedError:
                delta = DeltaTable(self.uri(table), storage_options=self.root.options)
                if delta.version() == version:
                    raise
                continue
            return int(added.num_rows)

    def _accepting(self, table: str, columns: pa.Schema) -> DeltaTable:
        """The table, created if it does not exist; new columns are added, and NOT NULL is dropped from nullable ones."""
        delta = self.open(table) or self._create(table, columns)
        nullable = {column.name for column in columns if column.nullable}
        there = {field.name for field in delta.schema().fields}
        if new := [field for field in DeltaSchema.from_arrow(columns).fields if field.name not in there]:
            delta.alter.add_columns(new)
        for field in delta.schema().fields:
            if not field.nullable and field.name in nullable:
                delta.alter.drop_column_not_null(field.name)
        return delta

    def _create(self, table: str, columns: pa.Schema) -> DeltaTable:
        """An empty table, created by this process or by another one at the same time."""
        try:
            options = self.root.options
            return DeltaTable.create(self.uri(table), columns, mode="error", configuration=PROPERTIES, storage_options=options)
        except DeltaError:
            delta = self.open(table)
            if delta is None:
                raise
            return delta

    def committed(self, table: str, batches: Iterable[str]) -> set[str]:
        """Those of the batches that are committed to a table."""
        delta = self.open(table)
        return set() if delta is None else {b for b in batches if delta.transaction_version(b) is not None}

    def count_batches(self, table: str, named: Callable[[int], str]) -> int:
        """How many batches of a series are committed to a table, of which each is committed after the one before.

        Args:
            named: the identifier of a batch by its number, from 0.
        """
        delta = self.open(table)
        if delta is None:
            return 0
        return bisect_left(range(1 << 40), True, key=lambda number: delta.transaction_version(named(number)) is None)

    def connect(
        self, tables: dict[str, pa.Schema], as_of: dt.datetime | None = None, versions: dict[str, int] | None = None
    ) -> duckdb.DuckDBPyConnection:
        """A DuckDB connection in UTC with the tables as views; a table that does not exist is empty.

        Args:
            tables: schema by table name; a column that was added later is null in the rows of before.
            as_of: hides every row whose `known_at` is later, in the tables that have it.
            versions: version by table name, -1 for empty; the newest for those left out.
        """
        connection = duckdb.connect()
        self.root.let_read(connection)
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute("SET enable_progress_bar = false")
        for number, (table, columns) in enumerate(tables.items()):
            version = (versions or {}).get(table)
            delta = None if version == -1 else self.open(table, version)
            parts = [] if delta is None else self._files_of_one_schema(table, delta, columns)
            rows = read(parts[0][1]) if len(parts) == 1 and not parts[0][0] else f"empty_{number}"
            if rows == f"empty_{number}":
                connection.register(rows, columns.empty_table())
                every = (f"UNION ALL BY NAME SELECT * FROM {read(files)}" for _, files in parts)
                rows = f"(SELECT * FROM {rows} {' '.join(every)})"
            visible = f" WHERE known_at <= {instant(as_of)}" if as_of and "known_at" in columns.names else ""
            connection.execute(f"CREATE TEMP VIEW {quoted(table)} AS SELECT * FROM {rows}{visible}")
        return connection


def instant(value: dt.datetime) -> str:
    """A UTC instant as a DuckDB literal."""
    return f"TIMESTAMPTZ '{value.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S.%f}+00'"

"""Delta tables under one root: append once, read at a version.

A commit carries the identifiers of the batches in it as Delta Lake's application transactions
(https://github.com/delta-io/delta/blob/master/PROTOCOL.md#transaction-identifiers), so rows and the mark that they are in
become visible in the same instant: a batch that was interrupted is committed again or not at all, never twice.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import TableNotFoundError


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

    def version(self, table: str) -> int:
        """Newest version of a table, -1 when nothing was ever written to it."""
        found = self.open(table)
        return -1 if found is None else found.version()

    def versions(self, tables: Iterable[str]) -> dict[str, int]:
        """Newest version of each table: what a training set is read at, and what its record keeps."""
        return {table: self.version(table) for table in tables}

    def append_batches(self, table: str, rows: pa.Table) -> int:
        """Commit rows, leaving out batches that are already in; the whole commit becomes visible at once.

        Args:
                rows: table whose `batch_id` says which batch a row belongs to.

        Returns:
            Number of rows that this call added.
        """
        found = self.open(table)
        batches = sorted(pc.unique(rows["batch_id"]).to_pylist())
        fresh = [b for b in batches if found is None or found.transaction_version(b) is None]
        if len(fresh) < len(batches):
            rows = rows.filter(pc.is_in(rows["batch_id"], pa.array(fresh, pa.string())))
        self._commit(table, rows, fresh)
        return int(rows.num_rows)

    def _commit(self, table: str, rows: pa.Table, transactions: list[str]) -> None:
        if transactions:
            properties = CommitProperties(app_transactions=[Transaction(t, 1) for t in transactions])
            write_deltalake(self.uri(table), rows, mode="append", commit_properties=properties)

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
            connection.register(f"source_{number}", columns.empty_table() if found is None else found.to_pyarrow_dataset())
            visible = f" WHERE known_at <= {instant(as_of)}" if as_of and "known_at" in columns.names else ""
            connection.execute(f'CREATE TEMP VIEW "{table}" AS SELECT * FROM source_{number}{visible}')
        return connection


def instant(value: dt.datetime) -> str:
    """A UTC instant as a DuckDB literal."""
    return f"TIMESTAMPTZ '{value.astimezone(dt.UTC):%Y-%m-%d %H:%M:%S.%f}+00'"

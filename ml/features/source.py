"""The lake's files as the source of features; statistics select the files to read."""

from __future__ import annotations

import datetime as dt
import hashlib
from typing import Any

import duckdb
import pyarrow as pa

from ml.config import Config, Window
from ml.features import windows
from ml.lake import schema
from ml.lake.sql import read
from ml.lake.tables import Lake

STATISTICS = ("path", "min.known_at", "max.known_at", "max.event_time")


class Source:
    """Events and labels of the lake at its newest version, until the end of its `with` block.

    Args:
        config: the deployment.
    """

    def __init__(self, config: Config) -> None:
        self.lake = Lake(config.lake)
        self.tables = {schema.EVENTS: schema.events(config), schema.LABELS: schema.LABELS_SCHEMA}
        self.versions: dict[str, int] = {}
        self._connection = self.lake.connect({})
        self._files: dict[str, list[dict[str, Any]]] = {}
        for table in self.tables:
            delta = self.lake.open(table)
            self.versions[table] = -1 if delta is None else delta.version()
            actions = None if delta is None else pa.table(delta.get_add_actions(flatten=True))
            statistics = [name for name in STATISTICS if actions is not None and name in actions.column_names]
            self._files[table] = [] if actions is None else actions.select(statistics).to_pylist()

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def connect(self, until: dt.datetime) -> duckdb.DuckDBPyConnection:
        """A connection to all rows that were known by `until`."""
        return self.lake.connect(self.tables, until, self.versions)

    def recent(
        self, config: Config, window: Window, newest: dt.datetime, until: dt.datetime, after: dt.datetime | None = None
    ) -> pa.Table:
        """Contributions (key, first, n, v, x) that became known in (after, until] and can change a snapshot after `newest`."""
        since = windows.reach(window, newest)
        events = self._files_from(schema.EVENTS, "max.event_time", since)
        if window.column == "label":
            self._create_view(schema.LABELS, self._files_from(schema.LABELS, "max.known_at", since))
        elif after is not None:
            events &= self._files_from(schema.EVENTS, "max.known_at", after)
        self._create_view(schema.EVENTS, events)
        parameters: dict[str, str | None] = {}
        if window.column == "label" and after is not None:
            [parameters] = self._connection.sql(windows.touched(until, after)).to_arrow_table().to_pylist()
        query = windows.recent_contributions(config, window, newest, until, after)
        return self._connection.sql(query, params=parameters).to_arrow_table()

    def fingerprint(self, until: dt.datetime) -> str:
        """SHA-256 over the names of the files that hold rows known by `until`; a file never changes."""
        names = [
            file["path"]
            for files in self._files.values()
            for file in files
            if file.get("min.known_at") is None or file["min.known_at"] <= until
        ]
        return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()

    def _files_from(self, table: str, statistic: str, earliest: dt.datetime) -> set[str]:
        """Files that may hold a row with a column's value at or after an instant."""
        return {f["path"] for f in self._files[table] if f.get(statistic) is None or f[statistic] >= earliest}

    def _create_view(self, table: str, paths: set[str]) -> None:
        """Create a view of a table over these files only."""
        if paths:
            rows = read(f"{self.lake.uri(table)}/{path}" for path in sorted(paths))
        else:
            self._connection.register(f"no_{table}", self.tables[table].empty_table())
            rows = f"no_{table}"
        self._connection.execute(f"CREATE OR REPLACE TEMP VIEW {table} AS SELECT * FROM {rows}")

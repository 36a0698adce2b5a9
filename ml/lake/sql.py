"""Quotes names, texts and paths of a deployment for SQL, so that they are never read as keywords or patterns."""

from __future__ import annotations

import glob
from collections.abc import Iterable


def quoted(name: str) -> str:
    """A name as an SQL identifier."""
    return '"' + name.replace('"', '""') + '"'


def stored(name: str) -> str:
    """Name in the lake of a deployment's column; two names are reserved for the lake."""
    return f"_{name}" if name in ("known_at", "batch_id") else name


def columns(names: Iterable[str], of: str = "events") -> str:
    """Columns of the deployment, to be selected from a table of events: `events."order", events."_known_at" AS "known_at"`."""
    return ", ".join(
        f"{of}.{quoted(name)}" if stored(name) == name else f"{of}.{quoted(stored(name))} AS {quoted(name)}" for name in names
    )


def text(value: str) -> str:
    """A text as an SQL literal."""
    return "'" + value.replace("'", "''") + "'"


def read(paths: Iterable[str]) -> str:
    """The rows of Parquet files of one schema, at least one file, as an SQL table function of DuckDB.

    DuckDB opens only the files that a query needs; many small files are several times faster than with an Arrow dataset.
    """
    files = ", ".join(text(glob.escape(path)) for path in paths)
    return f"read_parquet([{files}], hive_partitioning = false)"

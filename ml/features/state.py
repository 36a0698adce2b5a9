"""What a view's newest snapshot knew and later ones will still need, kept so that a new day costs a day.

A state is a cache: it is used only if it is whole, belongs to the newest publication, and was made of exactly the lake's files
that hold what was known by then. Otherwise it is made again from the lake.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from pathlib import Path

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ml.config import Config, Window
from ml.features import windows
from ml.features.history import Due, folder, write_named
from ml.lake import schema
from ml.lake.tables import Lake


def sources(lake: Lake, versions: dict[str, int], until: dt.datetime) -> str:
    """SHA-256 over the names of the lake's files that hold rows known by `until`; a file never changes."""
    names: list[str] = []
    for table in (schema.EVENTS, schema.LABELS):
        found = lake.open(table, versions[table]) if versions[table] >= 0 else None
        if found is not None:
            actions = pa.table(found.get_add_actions(flatten=True)).select(["path", "min.known_at"]).to_pylist()
            names += [a["path"] for a in actions if a["min.known_at"] is None or a["min.known_at"] <= until]
    return hashlib.sha256("\n".join(sorted(names)).encode()).hexdigest()


def load(config: Config, window: Window, newest: Due, of: str, connection: duckdb.DuckDBPyConnection) -> pa.Table:
    """Rows (key, first, n, x) of what counts in `newest` or may count after it, from the kept state or from the lake.

    Args:
        of: what `sources` tells at the creation of `newest`.
        connection: sees the lake.
    """
    for path in folder(config, window).glob(_name(newest) + "-*"):
        kept = _read(path, newest, of)
        if kept is not None:
            return kept
    known = windows.contributions(config, window, until=newest.created, newest=newest.last)
    return connection.sql(f"SELECT key, first, sum(n) AS n, sum(x) AS x FROM ({known}) GROUP BY ALL").to_arrow_table()


def save(config: Config, window: Window, rows: pa.Table, due: Due, of: str) -> Path:
    """Keep the state of a publication beside its file."""
    told = rows.replace_schema_metadata({"created": due.created.isoformat(), "sources": of})
    return write_named(told, folder(config, window), _name(due), "")


def forget_others(kept: Path) -> None:
    """Delete the states of earlier publications."""
    for path in kept.parent.glob(".state_*"):
        if path != kept:
            path.unlink()


def _name(due: Due) -> str:
    return f".state_{due.last}"


def _read(path: Path, newest: Due, of: str) -> pa.Table | None:
    content = path.read_bytes()
    if not path.name.endswith(hashlib.sha256(content).hexdigest()[:16]):
        return None
    rows = pq.read_table(pa.BufferReader(content))
    told = {b"created": newest.created.isoformat().encode(), b"sources": of.encode()}
    return rows if told.items() <= rows.schema.metadata.items() else None

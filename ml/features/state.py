"""The state of a view: contributions that later snapshots still need, kept so that a new snapshot reads only new rows.

A state is a cache: it is used only if it is complete, belongs to the newest publication, and was computed from exactly the
lake's files with rows known by then. Otherwise it is computed from the lake again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
from pyarrow import feather

from ml import artifacts
from ml.config import Config, Window
from ml.features.history import Due, folder, kind_of
from ml.features.source import Source


def load(config: Config, window: Window, newest: Due, source: Source) -> pa.Table:
    """Contributions (key, first, n, v, x) to `newest` and later ticks, from the kept state or from the lake."""
    for path in folder(config, window).glob(_name(newest) + "-*"):
        rows = _read(path, newest, source)
        if rows is not None:
            return rows
    return source.recent(config, window, newest.last, until=newest.created)


def save(config: Config, window: Window, rows: pa.Table, due: Due, source: Source) -> Path:
    """Keep the state of a publication beside its file."""
    table = rows.replace_schema_metadata(_metadata(due, source))
    return artifacts.local(config).put_by_content(
        kind_of(config, window),
        lambda sha256: f"{_name(due)}-{sha256[:16]}",
        lambda path: feather.write_feather(table, path, compression="uncompressed"),
    )[1]


def delete_others(newest: Path) -> None:
    """Delete the states of earlier publications."""
    for path in newest.parent.glob("state_*"):
        if path != newest:
            path.unlink()


def _name(due: Due) -> str:
    return f"state_{due.text(due.last)}"


def _metadata(due: Due, source: Source) -> dict[str, str]:
    return {"every": str(due.interval), "created": due.created.isoformat(), "sources": source.fingerprint(due.created)}


def _read(path: Path, newest: Due, source: Source) -> pa.Table | None:
    content = path.read_bytes()
    if not path.name.endswith(hashlib.sha256(content).hexdigest()[:16]):
        return None
    rows = feather.read_table(pa.BufferReader(content))
    metadata = {key.decode(): value.decode() for key, value in rows.schema.metadata.items()}
    return rows if metadata == _metadata(newest, source) else None

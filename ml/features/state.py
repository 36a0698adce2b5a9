"""What a view's newest snapshot knew and later ones will still need, kept so that a new tick costs a tick.

A state is a cache: it is used only if it is whole, belongs to the newest publication, and was made of exactly the lake's files
that hold what was known by then. Otherwise it is made again from the lake.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import pyarrow as pa
from pyarrow import feather

from ml.config import Config, Window
from ml.features.history import Due, folder, name_by_content
from ml.features.source import Source


def load(config: Config, window: Window, newest: Due, source: Source) -> pa.Table:
    """Contributions (key, first, n, v, x) to `newest` and to what comes after it, from the kept state or from the lake."""
    for path in folder(config, window).glob(_name(newest) + "-*"):
        kept = _read(path, newest, source)
        if kept is not None:
            return kept
    return source.recent(config, window, newest.last, until=newest.created)


def save(config: Config, window: Window, rows: pa.Table, due: Due, source: Source) -> Path:
    """Keep the state of a publication beside its file."""
    told = rows.replace_schema_metadata(_told(due, source))
    return name_by_content(
        lambda path: feather.write_feather(told, path, compression="uncompressed"), folder(config, window), _name(due)
    )


def forget_others(kept: Path) -> None:
    """Delete the states of earlier publications."""
    for path in kept.parent.glob(".state_*"):
        if path != kept:
            path.unlink()


def _name(due: Due) -> str:
    return f".state_{due.text(due.last)}"


def _told(due: Due, source: Source) -> dict[str, str]:
    return {"every": str(due.every), "created": due.created.isoformat(), "sources": source.fingerprint(due.created)}


def _read(path: Path, newest: Due, source: Source) -> pa.Table | None:
    content = path.read_bytes()
    if not path.name.endswith(hashlib.sha256(content).hexdigest()[:16]):
        return None
    rows = feather.read_table(pa.BufferReader(content))
    told = {key.decode(): value.decode() for key, value in rows.schema.metadata.items()}
    return rows if told == _told(newest, source) else None

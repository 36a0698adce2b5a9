"""The step `publish_features`: snapshots of every window up to `as_of`, each published once.

A view's history is a folder of Parquet files that are never changed: a file appears under its name in one instant, named by
the midnights that it describes.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from ml.config import Config, Window
from ml.features import windows
from ml.lake import schema
from ml.lake.tables import Lake

ROW_GROUP = 122_880


@dataclass(frozen=True)
class Publication:
    """Rows published by this call, the newest midnight described, and by view a digest of all that is published."""

    rows: int
    newest: str
    views: dict[str, str]


def publish_features(config: Config, as_of: dt.datetime) -> Publication:
    """Publish the snapshots that are due at `as_of` and not there yet.

    The first publication of a view makes its history at the cadence of the live feed; later ones carry `as_of` as the time
    of their creation, because nobody could have read them before.
    """
    rows = sum(_publish(config, as_of, window) for window in config.windows)
    return Publication(rows, _due(config, as_of).isoformat(), {w.view: digest(config, w) for w in config.windows})


def folder(config: Config, window: Window) -> Path:
    """Where the snapshots of a view are published; another definition of the view is another folder."""
    told = hashlib.sha256(window.model_dump_json().encode()).hexdigest()[:8]
    return config.features / f"{window.view}-{told}"


def digest(config: Config, window: Window) -> str:
    """SHA-256 over the names and sizes of a view's files: equal digests are equal histories."""
    files = sorted(folder(config, window).glob("*.parquet"))
    return hashlib.sha256("\n".join(f"{f.name} {f.stat().st_size}" for f in files).encode()).hexdigest()


def _due(config: Config, as_of: dt.datetime) -> dt.date:
    """The newest midnight whose snapshot is due."""
    return (as_of - dt.timedelta(hours=config.events.lag.value)).date()


def newest_snapshot(config: Config, window: Window) -> tuple[dt.date, dt.datetime] | None:
    """The newest midnight that is published and when it was."""
    files = sorted(folder(config, window).glob("*.parquet"))
    if not files:
        return None
    metadata = pq.read_schema(files[-1]).metadata
    return dt.date.fromisoformat(metadata[b"last"].decode()), dt.datetime.fromisoformat(metadata[b"created"].decode())


def _publish(config: Config, as_of: dt.datetime, window: Window) -> int:
    last = _due(config, as_of)
    lake = Lake(config.lake)
    with lake.connect({schema.EVENTS: schema.events(config), schema.LABELS: schema.LABELS_SCHEMA}, as_of) as connection:
        newest = newest_snapshot(config, window)
        if newest is None:
            (day,) = connection.execute("SELECT min(event_time)::DATE FROM events").fetchone() or (None,)
            if day is None:
                return 0
            start, lag = day + dt.timedelta(days=1), dt.timedelta(hours=config.events.lag.value)
            due = [(m, dt.datetime.combine(m, dt.time(), dt.UTC) + lag, True) for m in _midnights(start, last)]
        else:
            start = newest[0] + dt.timedelta(days=1)
            due = [(*newest, False), *((m, as_of, True) for m in _midnights(start, last))]
        if start > last:
            return 0
        connection.execute("CREATE TEMP TABLE snapshot (m DATE, created TIMESTAMPTZ, publish BOOLEAN)")
        connection.executemany("INSERT INTO snapshot VALUES (?, ?, ?)", due)
        columns = windows.schema_of(config, window)
        rows = connection.sql(windows.snapshots(config, window)).to_arrow_table().cast(columns)
    told = {"last": last.isoformat(), "created": due[-1][1].isoformat()}
    _write(rows.replace_schema_metadata(told), folder(config, window) / f"{start}_{last}.parquet")
    return int(rows.num_rows)


def _midnights(first: dt.date, last: dt.date) -> list[dt.date]:
    return [first + dt.timedelta(days=i) for i in range((last - first).days + 1)]


def _write(rows: pa.Table, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    pq.write_table(rows, partial, compression="zstd", row_group_size=ROW_GROUP)
    partial.replace(path)

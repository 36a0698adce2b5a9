"""The step `load_batch`: what was validated becomes rows of the lake, each batch once."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pyarrow.parquet as pq

from ml.config import Config
from ml.lake import schema
from ml.lake.tables import Lake
from ml.quality.validate import staging

ORDER = (schema.EVENTS, schema.LABELS, schema.QUARANTINE, schema.BATCHES)


@dataclass(frozen=True)
class Load:
    """The lake's versions after the commits, and the rows that this call added (none when it was done before)."""

    versions: dict[str, int]
    events: int
    labels: int


def load_batch(config: Config, as_of: dt.datetime, staged: str) -> Load:
    """Commit the staged rows; `batches` comes last, so a batch that it names is in whole.

    Raises:
        FileNotFoundError: nothing is staged at this address.
    """
    lake = Lake(config.lake)
    folder = staging(config, staged)
    if not folder.is_dir():
        raise FileNotFoundError(f"nothing is staged at {folder}; run validate_batch again")
    added = {}
    for table in ORDER:
        file = folder / f"{table}.parquet"
        added[table] = lake.append_batches(table, pq.read_table(file)) if file.exists() else 0
    return Load(lake.versions(ORDER), added[schema.EVENTS], added[schema.LABELS])

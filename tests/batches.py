"""Landing files on their way into the lake, and what became of their rows."""

from __future__ import annotations

import datetime as dt
from typing import Any

from ml.config import Config
from ml.lake import schema
from ml.lake.tables import Lake
from ml.quality.load import load_batch
from ml.quality.validate import Validation, validate_batch

AS_OF = dt.datetime(2025, 3, 11, 2, tzinfo=dt.UTC)


def ingested(config: Config, as_of: dt.datetime = AS_OF) -> Validation:
    """Validate and load all new landing files; no row is lost on the way."""
    told = validate_batch(config, as_of)
    load_batch(config, as_of, told.staged)
    assert told.rows == told.accepted + told.quarantined + told.rejected
    return told


def counts(told: Validation) -> tuple[int, int, int, int]:
    """Rows, and how many of them were accepted, quarantined and rejected."""
    return told.rows, told.accepted, told.quarantined, told.rejected


def rows_of(config: Config, table: str = schema.EVENTS) -> list[dict[str, Any]]:
    """All rows of a table of the lake."""
    with Lake(config.lake).connect({table: schema.of(table, config)}) as connection:
        return connection.execute(f"SELECT * FROM {table} ORDER BY ALL").to_arrow_table().to_pylist()

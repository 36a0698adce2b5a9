"""From the feed's columns to ours: names, types, UTC. What cannot be read becomes null and is remembered as unreadable."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa

from ml.config import Config

TRUTH = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}


def columns_of(config: Config, kind: str) -> dict[str, str]:
    """Our name → the feed's name of every column that a file of this kind must have."""
    if kind == "labels":
        return dict(config.labels.columns)
    theirs = dict(config.events.columns)
    if config.labels.column is not None:
        theirs["label"] = config.labels.column
    return theirs


def parse(table: pa.Table, config: Config, kind: str) -> tuple[pd.DataFrame, dict[str, np.ndarray]]:
    """Typed frame of a raw table.

    Args:
        table: columns by the feed's names; every column of `columns_of` must be there.

    Returns:
        A frame with our names (times as UTC `datetime64`, measures and label as floats, all else text) and, by column,
        a mask of shape (n_rows,) of the values that are there but cannot be read as their type.
    """
    parsed: dict[str, pd.Series] = {}
    unreadable: dict[str, np.ndarray] = {}
    for ours, theirs in columns_of(config, kind).items():
        raw = table[theirs]
        if ours in ("event_time", "reported_at"):
            column = _instants(raw, config.events.timezone)
        elif ours == "label":
            column = _labels(raw)
        elif kind == "events" and ours in config.measures:
            column = _numbers(raw)
        else:
            column = _text(raw)
        parsed[ours] = column
        unreadable[ours] = (column.isna() & ~raw.to_pandas().isna()).to_numpy()
    return pd.DataFrame(parsed), unreadable


def _text(raw: pa.ChunkedArray) -> pd.Series:
    if pa.types.is_floating(raw.type):
        numbers = raw.to_pandas()
        whole = numbers.where(np.isfinite(numbers) & (numbers == np.floor(numbers)))
        return whole.astype("Int64").astype("string").astype(object).where(whole.notna(), None)
    text = raw.cast(pa.string()).to_pandas().astype(object)
    stripped = text.str.strip()
    return stripped.where(stripped.notna() & (stripped != ""), None)


def _numbers(raw: pa.ChunkedArray) -> pd.Series:
    if pa.types.is_boolean(raw.type) or pa.types.is_temporal(raw.type):
        return pd.Series(np.nan, index=range(len(raw)))
    numbers = pd.to_numeric(raw.to_pandas(), errors="coerce").astype("float64")
    return numbers.where(np.isfinite(numbers))


def _labels(raw: pa.ChunkedArray) -> pd.Series:
    if pa.types.is_integer(raw.type) or pa.types.is_floating(raw.type) or pa.types.is_boolean(raw.type):
        return raw.to_pandas().astype("float64")
    return raw.cast(pa.string()).to_pandas().str.strip().str.lower().map(TRUTH).astype("float64")


def _instants(raw: pa.ChunkedArray, timezone: str) -> pd.Series:
    if pa.types.is_timestamp(raw.type):
        times = raw.cast(pa.timestamp("us", raw.type.tz)).to_pandas()
    elif pa.types.is_string(raw.type) or pa.types.is_large_string(raw.type):
        text = raw.to_pandas()
        times = pd.to_datetime(text, errors="coerce", format="ISO8601", utc=timezone == "UTC")
    else:
        return pd.Series(pd.NaT, index=range(len(raw)), dtype="datetime64[us, UTC]")
    if times.dt.tz is None:
        times = times.dt.tz_localize(timezone, ambiguous="NaT", nonexistent="NaT")
    return times.dt.tz_convert("UTC").astype("datetime64[us, UTC]")

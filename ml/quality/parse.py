"""From the feed's columns to ours: names, types, UTC. What cannot be read becomes null and is remembered as unreadable."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ml.config import Config
from ml.lake.schema import INSTANT

TRUTH = {"true": 1.0, "false": 0.0, "1": 1.0, "0": 0.0, "1.0": 1.0, "0.0": 0.0}
OFFSET = r"[T ].*(Z|[+-]\d{2}(:?\d{2})?)$"


def columns_of(config: Config, kind: str) -> dict[str, str]:
    """Our name → the feed's name of every column that a file of this kind must have."""
    if kind == "labels":
        return dict(config.labels.columns)
    theirs = dict(config.events.columns)
    if config.labels.column is not None:
        theirs["label"] = config.labels.column
    return theirs


def parse(table: pa.Table, config: Config, kind: str) -> tuple[pa.Table, dict[str, np.ndarray]]:
    """Typed columns of a raw table.

    Args:
        table: columns by the feed's names; every column of `columns_of` must be there.

    Returns:
        A table with our names (times as UTC microseconds, measures and label as doubles, all else text) and, by column, a
        mask of shape (n_rows,) of the values that are there but cannot be read as their type.
    """
    parsed: dict[str, pa.ChunkedArray] = {}
    unreadable: dict[str, np.ndarray] = {}
    for ours, theirs in columns_of(config, kind).items():
        raw = table[theirs]
        try:
            if ours in ("event_time", "reported_at"):
                column = _instants(raw, config.events.timezone)
            elif ours == "label":
                column = _labels(raw)
            elif kind == "events" and ours in config.measures:
                column = _numbers(raw)
            else:
                column = _text(raw)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            column = pa.nulls(len(raw), _type_of(config, ours, kind))
        column = pa.chunked_array([column]) if isinstance(column, pa.Array) else column
        parsed[ours] = column
        unreadable[ours] = pc.and_(pc.is_null(column), pc.invert(pc.is_null(raw, nan_is_null=True))).to_numpy()
    return pa.table(parsed), unreadable


def _type_of(config: Config, column: str, kind: str) -> pa.DataType:
    if column in ("event_time", "reported_at"):
        return INSTANT
    return pa.float64() if column == "label" or (kind == "events" and column in config.measures) else pa.string()


def _is_text(kind: pa.DataType) -> bool:
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def _text(raw: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_floating(raw.type):
        numbers = raw.cast(pa.float64())
        whole = pc.and_(pc.equal(numbers, pc.floor(numbers)), pc.less(pc.abs(numbers), 2.0**63))
        return pc.if_else(whole, numbers, None).cast(pa.int64()).cast(pa.string())
    text = pc.utf8_trim_whitespace(raw.cast(pa.string()))
    return pc.if_else(pc.equal(text, ""), None, text)


def _numbers(raw: pa.ChunkedArray) -> pa.ChunkedArray:
    if _is_text(raw.type):
        numbers = pa.array(pd.to_numeric(raw.to_pandas(), errors="coerce").astype("float64"), from_pandas=True)
    elif pa.types.is_boolean(raw.type) or pa.types.is_temporal(raw.type):
        return pa.nulls(len(raw), pa.float64())
    else:
        numbers = raw.cast(pa.float64(), safe=False)
    return pc.if_else(pc.is_finite(numbers), numbers, None)


def _labels(raw: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_integer(raw.type) or pa.types.is_floating(raw.type) or pa.types.is_boolean(raw.type):
        numbers = raw.cast(pa.float64(), safe=False)
        return pc.if_else(pc.equal(numbers, pc.floor(numbers)), pc.if_else(pc.is_finite(numbers), numbers, None), None)
    text = pc.utf8_lower(pc.utf8_trim_whitespace(raw.cast(pa.string())))
    return pc.take(pa.array(TRUTH.values()), pc.index_in(text, pa.array(TRUTH)))


def _instants(raw: pa.ChunkedArray, timezone: str) -> pa.ChunkedArray:
    if pa.types.is_timestamp(raw.type):
        times = raw.cast(pa.timestamp("us", raw.type.tz), safe=False)
        return times.cast(INSTANT) if raw.type.tz is not None or timezone == "UTC" else _localised(times, timezone)
    if not _is_text(raw.type):
        return pa.nulls(len(raw), INSTANT)
    if timezone == "UTC":
        return _from_pandas(_read_times(raw.to_pandas()))
    is_utc = pc.fill_null(pc.match_substring_regex(raw, OFFSET), False)
    with_offset = _from_pandas(_read_times(pc.if_else(is_utc, raw, None).to_pandas()))
    without = _read_times(pc.if_else(is_utc, None, raw).to_pandas()).dt.tz_localize(None)
    return pc.coalesce(with_offset, _localised(_from_pandas(without, pa.timestamp("us")), timezone))


def _read_times(text: pd.Series) -> pd.Series:
    return pd.to_datetime(text, errors="coerce", format="ISO8601", utc=True)


def _from_pandas(times: pd.Series, kind: pa.DataType = INSTANT) -> pa.Array:
    return pa.array(times, from_pandas=True).cast(kind, safe=False)


def _localised(times: pa.ChunkedArray, timezone: str) -> pa.Array:
    """Wall clock times in UTC; those that the clock's changes make ambiguous or skip are null."""
    local = times.to_pandas().dt.tz_localize(timezone, ambiguous="NaT", nonexistent="NaT")
    return _from_pandas(local.dt.tz_convert("UTC"))

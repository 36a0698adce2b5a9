"""Windows that end at each event, computed for training rows: point in time, from the lake's events.

A window of m minutes at an event of the time t covers the events of its entity in [t - m, t): what happened at the same
microsecond is in neither window, so that the order of such events does not matter. A missing measure is no value, as in
`ml.features.windows`; an entity without events has a count and a sum of 0 and no mean, an event with a missing key no window.
Events count by when they happened, not by when the lake knew of them: the scoring service had seen them at once.
"""

from __future__ import annotations

import datetime as dt

import numpy as np
import pandas as pd
import pyarrow as pa

from ml.config import Config, EventWindow
from ml.features.running import features, whole_numbers
from ml.features.windows import scale
from ml.lake import schema
from ml.lake.sql import quoted, stored
from ml.lake.tables import Lake, instant

MINUTE = 60_000_000
"""Microseconds."""


def at_events(
    config: Config, events: pd.DataFrame, as_of: dt.datetime | None = None, versions: dict[str, int] | None = None
) -> pd.DataFrame:
    """The windows of `publish: event` at each event, float64, rows in the order of `events`.

    Args:
        events: `event_time` (UTC) and the entities' keys, shape (n_rows, …).
        as_of: what the lake knew of later does not count.
        versions: version of the lake by table, the newest for those left out.
    """
    windows = config.event_windows
    if not windows or events.empty:
        return pd.DataFrame(
            {name: pd.Series(dtype="float64") for w in windows for name in w.features}, index=range(len(events))
        )
    time = pd.DatetimeIndex(pd.to_datetime(events["event_time"], utc=True)).as_unit("us")
    columns: dict[str, np.ndarray] = {}
    with Lake(config.lake).connect({schema.EVENTS: schema.events(config)}, as_of, versions) as connection:
        for number, window in enumerate(windows):
            keys = pa.array(events[config.entities[window.entity]], pa.string(), from_pandas=True)
            places = np.arange(len(events))
            connection.register(f"asked_{number}", pa.table({"place": places, "key": keys, "time": time.asi8}))
            found = connection.sql(_sums(config, window, f"asked_{number}", time.min(), time.max())).to_arrow_table()
            columns |= _spread(window, found, len(events))
    return pd.DataFrame(columns)


def _sums(config: Config, window: EventWindow, asked: str, first: pd.Timestamp, last: pd.Timestamp) -> str:
    """SQL of the number of events n, of values v and of their sum x in each window, by the place of the event asked for."""
    key = f"events.{quoted(stored(config.entities[window.entity]))}"
    value = f"round(events.{quoted(stored(window.column))} * {scale(window)})::HUGEINT"
    since = first - dt.timedelta(minutes=max(window.minutes))
    spans = [
        f"w{m} AS (PARTITION BY key ORDER BY time RANGE BETWEEN {m * MINUTE} PRECEDING AND 1 PRECEDING)" for m in window.minutes
    ]
    types = {"n": "BIGINT", "v": "BIGINT", "x": "HUGEINT"}
    sums = [
        f"coalesce(sum({name}) OVER w{m}, 0)::{type_} AS {name}{m}" for m in window.minutes for name, type_ in types.items()
    ]
    return f"""
    SELECT * FROM (
        SELECT place, {", ".join(sums)} FROM (
            SELECT NULL::BIGINT AS place, {key} AS key, epoch_us(events.event_time) AS time,
                1 AS n, ({value} IS NOT NULL)::INT AS v, coalesce({value}, 0) AS x
            FROM events
            WHERE events.event_time >= {instant(since)} AND events.event_time < {instant(last)} AND {key} IS NOT NULL
            UNION ALL
            SELECT place, key, time, 0, 0, 0 FROM {asked} WHERE key IS NOT NULL
        ) WINDOW {", ".join(spans)}
    ) WHERE place IS NOT NULL"""


def _spread(window: EventWindow, found: pa.Table, rows: int) -> dict[str, np.ndarray]:
    """Features by name, shape (rows,), from sums by place; missing where there are none."""
    place, columns = found["place"].to_numpy(), {}
    for minutes in window.minutes:
        sums = {name: found[f"{name}{minutes}"].to_numpy() for name in ("n", "v")}
        sums["x"] = whole_numbers(found[f"x{minutes}"])
        for aggregate, values in zip(window.aggregates, features(window, sums), strict=True):
            column = np.full(rows, np.nan)
            column[place] = values.to_numpy(zero_copy_only=False)
            columns[window.feature(aggregate, minutes)] = column
    return columns

"""SQL of the contributions of events and labels to trailing windows, generated from the deployment file.

A snapshot describes an instant M, a tick of the view: a window of w days with a delay of d days covers the events of
[M - d - w, M - d). Rows that were not known when the snapshot was published do not count in it, however early they happened.

Snapshots are computed from *contributions*, rows (key, first, seen, n, v, x): n events, the v values that they have and the sum
x of these belong to the windows of `key` from the tick `first` on, and count from the first snapshot that could know of them,
that of the tick `seen`; both are numbers of `ml.features.ticks`. They leave a window as many ticks after `first` as it is long.
Values are integers in units of the last digit that the view keeps, so a sum does not depend on its order. A missing measure is
no value: it is in no sum and no mean. With `labels.complete`, neither is the label of an event without an answer. Events with a
missing key belong to no entity and no window.
"""

from __future__ import annotations

import datetime as dt

import pyarrow as pa

from ml.config import AnyWindow, Config, Window
from ml.config.names import in_feast
from ml.features import ticks
from ml.lake import schema
from ml.lake.labels import label_order
from ml.lake.sql import quoted, stored
from ml.lake.tables import instant

TYPES = {"count": pa.int64(), "sum": pa.float64(), "mean": pa.float64()}
SUMS = "sum(n)::BIGINT AS n, sum(v)::BIGINT AS v, coalesce(sum(x), 0)::HUGEINT AS x"


def scale(window: AnyWindow) -> int:
    """Units of the summed integers per 1."""
    return 10**window.digits


def schema_of(config: Config, window: Window) -> pa.Schema:
    """Columns of the view's table: entity key, the two times, one column per feature."""
    return pa.schema(
        [
            pa.field(in_feast(config.entities[window.entity]), pa.string()),
            pa.field("event_timestamp", schema.INSTANT),
            pa.field("created_timestamp", schema.INSTANT),
            *[pa.field(window.feature(a, days), TYPES[a]) for days in window.days for a in window.aggregates],
        ]
    )


def reach(window: Window, newest: dt.datetime) -> dt.datetime:
    """Start of the first day with events in a window at the tick after `newest`, or that have just left the longest one."""
    oldest = newest - window.delay_span - dt.timedelta(days=max(window.days))
    return dt.datetime.combine(oldest.date(), dt.time(), dt.UTC)


def all_contributions(config: Config, window: Window, until: dt.datetime) -> str:
    """SQL of the contributions to all snapshots of `snapshot(tick, created)`, the last of which was created at `until`."""
    return f"""
    WITH known AS ({known(config, window, until)}),
    visible AS (
        SELECT known_at, seen FROM (SELECT DISTINCT known_at FROM known)
        ASOF JOIN (SELECT created, min(tick) AS seen FROM snapshot GROUP BY created) ON created >= known_at
    )
    SELECT key, first, seen, {SUMS} FROM known JOIN visible USING (known_at) GROUP BY ALL"""


def recent_contributions(
    config: Config, window: Window, newest: dt.datetime, until: dt.datetime, after: dt.datetime | None = None
) -> str:
    """SQL of contributions (key, first, n, v, x) that became known in (after, until] and can change a snapshot after `newest`.

    For labels with an `after`, the SQL needs the parameters that `touched` returns.
    """
    rows = known(config, window, until, after, reach(window, newest))
    return f"SELECT key, first, {SUMS} FROM ({rows}) GROUP BY ALL"


def touched(until: dt.datetime, after: dt.datetime) -> str:
    """SQL of one row: the ranges of ids of events, and of answered events, that became known in (after, until].

    Ids mostly ascend with time, so DuckDB skips most files and row groups.
    """
    fresh = f"known_at > {instant(after)} AND known_at <= {instant(until)}"
    return f"""
    SELECT * FROM (SELECT min(event_id) AS event_min, max(event_id) AS event_max FROM events WHERE {fresh}),
        (SELECT min(event_id) AS label_min, max(event_id) AS label_max FROM labels WHERE {fresh})"""


def known(
    config: Config, window: Window, until: dt.datetime, after: dt.datetime | None = None, since: dt.datetime | None = None
) -> str:
    """SQL of rows (key, first, n, v, x, known_at) of events that happened from `since` on and became known in (after, until].

    A positive counts from the instant at which it and its event are known until an answer of higher rank (`ml.lake.labels`)
    contradicts it; answers dated before the day of their event do not count. A label is a value from the beginning, or with
    `labels.complete` from its first answer on.
    """
    complete = config.labels.complete
    key = f"events.{quoted(stored(config.entities[window.entity]))}"
    first = f"{ticks.number_sql(window, 'events.event_time')} + {1 + window.delay_span // window.interval}"
    since_condition = f" AND events.event_time >= {instant(since)}" if since else ""
    known = f"events.known_at <= {instant(until)}{since_condition} AND {key} IS NOT NULL"
    fresh = f" AND events.known_at > {instant(after)}" if after else ""
    value = "0" if window.column == "label" else f"round(events.{quoted(stored(window.column))} * {scale(window)})"
    is_value = f"({value} IS NOT NULL)::INT" if window.column != "label" else "0" if complete else "1"
    events = f"""
        SELECT {key} AS key, {first} AS first, 1 AS n, {is_value} AS v, {value}::HUGEINT AS x, events.known_at AS known_at
        FROM events WHERE {known}{fresh}"""
    if window.column != "label":
        return events
    ids = " AND (event_id BETWEEN $event_min AND $event_max OR event_id BETWEEN $label_min AND $label_max)" if after else ""
    reported = f" AND labels.known_at >= {instant(since)}" if since else ""
    # If the label is a column of the event, there is one answer per event; else only events with a positive answer matter.
    is_positive = (
        "labels.label = 1" if config.labels.column else f"event_id IN (SELECT event_id FROM labels WHERE label = 1{ids})"
    )
    relevant = "true" if complete else is_positive
    changed = f" AND known_at > {instant(after)}" if after else ""
    return f"""{events}
        UNION ALL
        SELECT key, first, 0, is_first::INT, {scale(window)} * change, known_at FROM (
            SELECT key, first, known_at,
                {str(complete).lower()} AND row_number() OVER (PARTITION BY event_id ORDER BY known_at) = 1 AS is_first,
                label - lag(label, 1, 0::TINYINT) OVER (PARTITION BY event_id ORDER BY known_at) AS change
            FROM (
                SELECT DISTINCT event_id, key, first, known_at,
                    arg_min(label, rank) OVER (PARTITION BY event_id ORDER BY known_at) AS label
                FROM (
                    SELECT event_id, {key} AS key, {first} AS first, greatest(events.known_at, labels.known_at) AS known_at,
                        labels.label AS label, row_number() OVER (PARTITION BY event_id ORDER BY {label_order(config)}) AS rank
                    FROM events JOIN labels USING (event_id)
                    WHERE {_day("labels.known_at")} >= {_day("events.event_time")}
                        AND labels.known_at <= {instant(until)}{reported} AND {known}{ids} AND {relevant}
                )
            )
        ) WHERE (change != 0 OR is_first){changed}"""


def _day(instant: str) -> str:
    """The day in UTC; ten times as fast as DuckDB's cast, which uses a calendar for every row."""
    return f"make_timestamp(epoch_us({instant}))::DATE"

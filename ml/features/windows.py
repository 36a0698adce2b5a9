"""The SQL of trailing windows, derived from one line of the deployment file.

A snapshot describes an instant M, a midnight UTC: a window of w days with a delay of d days covers the events of
[M - d - w, M - d). What was not known when the snapshot was published does not count in it, however early it happened.

Everything is made of *contributions*, rows (key, first, seen, n, x): n events and the sum x of their values belong to the
windows of `key` from the midnight `first` on, and count from the first snapshot that could know of them, `seen`. A window of
w days lets go of them at `first + w`. There are two ways from contributions to snapshots, with the same answers: `history`
slides a frame over every day of an entity, `increment` sums what is in reach of a few midnights. Values are summed as
decimals, so a sum does not depend on the order of addition.
"""

from __future__ import annotations

import datetime as dt

import pyarrow as pa

from ml.config import Config, Window
from ml.lake import schema
from ml.lake.tables import instant

TYPES = {"count": pa.int64(), "sum": pa.float64(), "mean": pa.float64()}
EXACT = "DECIMAL(38, 6)"


def schema_of(config: Config, window: Window) -> pa.Schema:
    """Columns of the view's table: entity key, the two times, one column a feature."""
    return pa.schema(
        [
            pa.field(config.entities[window.entity], pa.string()),
            pa.field("event_timestamp", schema.INSTANT),
            pa.field("created_timestamp", schema.INSTANT),
            *[pa.field(window.feature(a, days), TYPES[a]) for days in window.days for a in window.aggregates],
        ]
    )


def contributions(
    config: Config, window: Window, until: dt.datetime, after: dt.datetime | None = None, newest: dt.date | None = None
) -> str:
    """SQL of rows (key, first, n, x, known_at) from `events` and `labels`.

    A positive counts from the instant at which it and its event were known; nobody can know of one before its event's day.

    Args:
        until: what was known later is left out.
        after: what was known by then is left out, too.
        newest: what has left every window by this midnight is left out.
    """
    key = config.entities[window.entity]
    first = f"event_time::DATE + {1 + window.delay}"
    reach = None if newest is None else _midnight(newest - dt.timedelta(days=window.delay + max(window.days)))
    recent = f" AND event_time >= {instant(reach)}" if reach else ""
    fresh = f" AND {{known}} > {instant(after)}" if after else ""
    value = "0" if window.column == "label" else f"coalesce({window.column}, 0)"
    events = f"""
        SELECT {key} AS key, {first} AS first, 1 AS n, {value}::{EXACT} AS x, known_at
        FROM events WHERE known_at <= {instant(until)}{recent}{fresh.format(known="known_at")}"""
    if window.column != "label":
        return events
    reported = f" AND labels.known_at >= {instant(reach)}" if reach else ""
    known = "greatest(events.known_at, min(labels.known_at))"
    return f"""{events}
        UNION ALL
        SELECT {key}, {first}, 0, 1, {known} FROM events JOIN labels USING (event_id)
        WHERE label = 1 AND labels.known_at >= date_trunc('day', event_time) AND labels.known_at <= {instant(until)}{reported}
            AND events.known_at <= {instant(until)}{recent}
        GROUP BY event_id, {key}, event_time, events.known_at
        HAVING true{fresh.format(known=known)}"""


def history(config: Config, window: Window, until: dt.datetime) -> str:
    """SQL of the rows of all snapshots, from `events`, `labels` and `snapshot(m, created)`: consecutive midnights in order."""
    longest = max(window.days)
    return f"""
    WITH known AS ({contributions(config, window, until)}),
    visible AS (
        SELECT known_at, min(m) AS seen FROM (SELECT DISTINCT known_at FROM known) JOIN snapshot ON created >= known_at
        GROUP BY known_at
    ),
    contribution AS (
        SELECT key, first, seen, n, x FROM known JOIN visible USING (known_at) WHERE seen < first + {longest}
    ),
    entering AS (SELECT key, first AS m, sum(n)::INTEGER AS n, sum(x) AS x FROM contribution GROUP BY ALL),
    unseen AS (
        SELECT key, snapshot.m, {_totals(window)}
        FROM contribution JOIN snapshot ON snapshot.m >= first AND snapshot.m < seen WHERE first < seen GROUP BY ALL
    ),
    spine AS (
        SELECT key, unnest(generate_series(min(m), least(max(m) + {longest}, last_m), INTERVAL 1 DAY))::DATE AS m
        FROM entering, (SELECT max(m) AS last_m FROM snapshot) GROUP BY key, last_m
    ),
    framed AS (
        SELECT key, m, {_each(window, "sum({c}) OVER (PARTITION BY key ORDER BY m ROWS {d} - 1 PRECEDING) AS {c}{d}")}
        FROM (SELECT key, m, n, x FROM spine LEFT JOIN entering USING (key, m))
    ),
    total AS (
        SELECT key, m, {_each(window, "framed.{c}{d} - coalesce(unseen.{c}{d}, 0) AS {c}{d}")}
        FROM framed LEFT JOIN unseen USING (key, m)
    )
    {_rows(config, window)}"""


def increment(config: Config, window: Window) -> str:
    """SQL of the same rows, from `contribution` and `snapshot`: a few midnights, in reach of which all contributions are."""
    return f"""
    WITH total AS (
        SELECT key, snapshot.m, {_totals(window)}
        FROM contribution JOIN snapshot ON snapshot.m >= greatest(first, seen) AND snapshot.m <= first + {max(window.days)}
        WHERE seen < first + {max(window.days)} GROUP BY ALL
    )
    {_rows(config, window)}"""


def _midnight(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def _stay(window: Window) -> int:
    """An entity has a row for as long as its longest window holds an event, and one of zeros on the day after."""
    return max(window.days) + 1


def _totals(window: Window) -> str:
    return _each(window, "sum({c}) FILTER (snapshot.m < first + {d}) AS {c}{d}")


def _each(window: Window, sql: str) -> str:
    """The expression for n and x of every window, and for n as long as an entity stays."""
    columns = [(column, days) for days in window.days for column in "nx"] + [("n", _stay(window))]
    return ", ".join(sql.format(c=column, d=days) for column, days in columns)


def _rows(config: Config, window: Window) -> str:
    expressions = {
        "count": "coalesce(n{d}, 0)::BIGINT",
        "sum": "coalesce(x{d}, 0)::DOUBLE",
        "mean": "CASE WHEN n{d} > 0 THEN x{d}::DOUBLE / n{d} END",
    }
    features = [f"{expressions[a].format(d=d)} AS {window.feature(a, d)}" for d in window.days for a in window.aggregates]
    return f"""
    SELECT key AS {config.entities[window.entity]}, timezone('UTC', m::TIMESTAMP) AS event_timestamp,
        created AS created_timestamp, {", ".join(features)}
    FROM total JOIN snapshot USING (m) WHERE n{_stay(window)} > 0 ORDER BY m, key"""

"""The SQL of trailing windows, derived from one line of the deployment file.

A snapshot describes an instant M, a midnight UTC: a window of w days with a delay of d days covers the events of
[M - d - w, M - d). What was not known when the snapshot was published does not count in it, however early it happened. Each
event therefore enters a window's sum at the first snapshot that may see it and leaves w days after its own day; the value is
the running sum of entries and exits. Amounts are summed as decimals, so a sum does not depend on the order of addition.
"""

from __future__ import annotations

import pyarrow as pa

from ml.config import Config, Window
from ml.lake import schema


def schema_of(config: Config, window: Window) -> pa.Schema:
    """Columns of the view's table: entity key, the two times, one column a feature."""
    types = {"count": pa.int64(), "sum": pa.float64(), "mean": pa.float64()}
    return pa.schema(
        [
            pa.field(config.entities[window.entity], pa.string()),
            pa.field("event_timestamp", schema.INSTANT),
            pa.field("created_timestamp", schema.INSTANT),
            *[pa.field(window.feature(a, days), types[a]) for days in window.days for a in window.aggregates],
        ]
    )


def snapshots(config: Config, window: Window) -> str:
    """SQL that answers the rows to publish.

    It reads `events`, `labels` and `snapshot(m DATE, created TIMESTAMPTZ, publish BOOLEAN)`: consecutive midnights in order, of
    which the first may stand there only for what was published before.
    """
    key = config.entities[window.entity]
    first_exit = f"day + {1 + window.delay}"

    def each(sql: str) -> str:
        return ", ".join(sql.format(d=days) for days in window.days)

    return f"""
    WITH bounds AS (SELECT min(m) AS first_m, max(m) AS last_m FROM snapshot),
    seen AS (
        {_values(key, window)}
    ),
    entry AS (
        SELECT key, day, n, x, greatest({first_exit}, snapshot.m, first_m) AS enters
        FROM seen ASOF JOIN snapshot ON seen.known_at <= snapshot.created, bounds
        WHERE {first_exit} + {max(window.days)} >= first_m
    ),
    length AS (SELECT unnest({window.days}) AS days),
    change AS (
        SELECT key, enters AS m, days, n, x FROM entry, length, bounds
        WHERE enters < {first_exit} + days AND enters <= last_m
        UNION ALL
        SELECT key, {first_exit} + days, days, -n, -x FROM entry, length, bounds
        WHERE enters < {first_exit} + days AND {first_exit} + days <= last_m
    ),
    delta AS (
        SELECT key, m, {each("sum(n) FILTER (days = {d}) AS n{d}, sum(x) FILTER (days = {d}) AS x{d}")}
        FROM change GROUP BY key, m
    ),
    spine AS (
        SELECT key, unnest(generate_series(min(m), least(max(m), any_value(last_m)), INTERVAL 1 DAY))::DATE AS m
        FROM (SELECT key, m FROM change UNION ALL SELECT key, {first_exit} + {max(window.days)} FROM entry), bounds GROUP BY key
    ),
    running AS (
        SELECT key, m, {each("sum(coalesce(n{d}, 0)) OVER sofar AS n{d}, sum(coalesce(x{d}, 0)) OVER sofar AS x{d}")}
        FROM spine LEFT JOIN delta USING (key, m) WINDOW sofar AS (PARTITION BY key ORDER BY m ROWS UNBOUNDED PRECEDING)
    ),
    changed AS (
        SELECT *, lag(n{max(window.days)}, 1, 0) OVER (PARTITION BY key ORDER BY m) AS before FROM running
    )
    SELECT key AS {key}, timezone('UTC', m::TIMESTAMP) AS event_timestamp, created AS created_timestamp,
        {", ".join(_feature(window, a, d) for d in window.days for a in window.aggregates)}
    FROM changed JOIN snapshot USING (m)
    WHERE publish AND (n{max(window.days)} > 0 OR before > 0)
    ORDER BY m, key
    """


def _values(key: str, window: Window) -> str:
    """Rows (key, day, n, x, known_at): n counts events, x is what is summed."""
    counted = f"SELECT {key} AS key, event_time::DATE AS day, 1 AS n, {{x}} AS x, known_at FROM events"
    if window.column != "label":
        return counted.format(x=f"coalesce({window.column}, 0)::DECIMAL(38, 6)")
    return f"""{counted.format(x="0::DECIMAL(38, 6)")}
        UNION ALL
        SELECT {key}, event_time::DATE, 0, 1::DECIMAL(38, 6), greatest(events.known_at, positive.known_at)
        FROM (SELECT event_id, min(known_at) AS known_at FROM labels WHERE label = 1 GROUP BY event_id) positive
        JOIN events USING (event_id)"""


def _feature(window: Window, aggregate: str, days: int) -> str:
    expression = {
        "count": f"n{days}::BIGINT",
        "sum": f"x{days}::DOUBLE",
        "mean": f"CASE WHEN n{days} > 0 THEN x{days}::DOUBLE / n{days} END",
    }[aggregate]
    return f"{expression} AS {window.feature(aggregate, days)}"

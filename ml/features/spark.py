"""Snapshots computed by Spark: the SQL of `ml.features.windows` in Spark's words, on the lake's files.

A contribution is repeated for every tick at which it is in the longest window, and for the one after, and the sums are taken by
key and tick: more rows than running totals need, but no key and no tick has to fit into one process. The rows are those of
`ml.features.running`, bit for bit. Nothing is kept from one publication to the next: each reads all events that can be in its
windows.

Spark is no dependency of the project: install `pyspark`, and a Java that it runs on, beside it.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import TYPE_CHECKING

import pyarrow as pa

from ml.config import Config, Window
from ml.config.engine import Spark
from ml.errors import Refused
from ml.features import ticks, windows
from ml.features.running import Snapshots
from ml.lake import schema
from ml.lake.tables import Lake

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

WHOLE = "DECIMAL(38, 0)"
"""Spark has no integers of 128 bits."""


class NoSpark(Refused, ImportError):
    """The deployment names Spark, which is not installed."""


def snapshots(
    config: Config,
    window: Window,
    due: Snapshots,
    versions: dict[str, int],
    before: Snapshots | None = None,
    since: dt.datetime | None = None,
) -> pa.Table:
    """Rows of a view's snapshots, in the order of tick and key, as `ml.features.running.snapshots` has them.

    Args:
        due: consecutive ticks, each with its creation time.
        versions: version of the lake by table, -1 for one that is not there.
        before: a published snapshot; what was known then counts from it on, and what became known since from `due` on.
        since: events of before are in no window that is due; None for all.

    Raises:
        NoSpark: `pyspark` cannot be imported.
    """
    session = _session(config.name, config.engine or Spark(kind="spark"))
    try:
        _views(session, config, versions, [*(before or []), *due], window)
        known = windows.known(config, window, due[-1][1], since=since)
        rows = session.sql(_snapshots(config, window, in_sparks_words(known), due)).toArrow()
    finally:
        session.stop()
    return _as_published(rows, window, config, due)


def in_sparks_words(sql: str) -> str:
    """A query of DuckDB's as one of Spark's; both count in UTC.

    Example:
        >>> in_sparks_words("SELECT epoch_us(known_at) AS t, 7::HUGEINT AS x FROM events")
        'SELECT UNIX_MICROS(known_at) AS t, CAST(7 AS DECIMAL(38, 0)) AS x FROM events'
    """
    import sqlglot
    from sqlglot import exp

    def changed(node: exp.Expression) -> exp.Expression:
        if isinstance(node, exp.Anonymous) and node.name.upper() == "EPOCH_US":
            return exp.Anonymous(this="UNIX_MICROS", expressions=node.expressions)
        if isinstance(node, exp.DataType) and node.this == exp.DataType.Type.INT128:
            return exp.DataType.build(WHOLE, dialect="spark")
        return node

    return sqlglot.parse_one(sql, read="duckdb").transform(changed).sql(dialect="spark")


def _session(name: str, engine: Spark) -> SparkSession:
    """A session of this step's own."""
    try:
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise NoSpark(f"{name} names the engine spark, and pyspark cannot be imported: pip install pyspark") from error
    builder = SparkSession.builder.master(engine.master).appName(f"perennial {name}")
    fixed = {"spark.sql.session.timeZone": "UTC", "spark.ui.enabled": "false", "spark.sql.ansi.enabled": "true"}
    for setting, value in (engine.settings | fixed).items():
        builder = builder.config(setting, value)
    return builder.getOrCreate()


def _views(session: SparkSession, config: Config, versions: dict[str, int], snapshots: Snapshots, window: Window) -> None:
    """The tables of the lake at their versions, and the snapshots by number, as views of Spark's."""
    from pyspark.sql.pandas.types import from_arrow_schema

    lake = Lake(config.lake)
    for table, columns in {schema.EVENTS: schema.events(config), schema.LABELS: schema.LABELS_SCHEMA}.items():
        delta = None if versions[table] == -1 else lake.open(table, versions[table])
        files = [] if delta is None else lake.files(table, delta)
        types = from_arrow_schema(_without_large_types(columns))
        rows = session.read.schema(types).parquet(*files) if files else session.createDataFrame([], types)
        rows.createOrReplaceTempView(table)
    numbered = [(ticks.number(window, tick), created) for tick, created in snapshots]
    session.createDataFrame(numbered, "tick BIGINT, created TIMESTAMP").createOrReplaceTempView("snapshot")


def _without_large_types(columns: pa.Schema) -> pa.Schema:
    """The same columns with types that Spark has."""
    plain = {pa.large_string(): pa.string(), pa.int8(): pa.int8()}
    return pa.schema([pa.field(column.name, plain.get(column.type, column.type), column.nullable) for column in columns])


def _snapshots(config: Config, window: Window, known: str, due: Snapshots) -> str:
    """SQL of the sums (key, tick, and n, v, x by window) at the ticks that are due at which a key has a row."""
    first_due, last_due = (ticks.number(window, due[place][0]) for place in (0, -1))
    longest = ticks.in_days(window, max(window.days))
    sums = [
        f"sum(if(tick < first + {ticks.in_days(window, days)}, {column}, 0)) AS {column}{days}"
        for days in window.days
        for column in ("n", "v", "x")
    ]
    return f"""
    WITH known AS ({known}),
    visible AS (
        SELECT known_at, min(tick) AS seen FROM (SELECT DISTINCT known_at FROM known) JOIN snapshot ON created >= known_at
        GROUP BY known_at
    ),
    contribution AS (
        SELECT key, first, seen, sum(n) AS n, sum(v) AS v, coalesce(sum(x), 0) AS x
        FROM known JOIN visible USING (known_at) GROUP BY key, first, seen
    ),
    stay AS (
        SELECT *, greatest(first, seen, {first_due}) AS begin, least(first + {longest}, {last_due}) AS end FROM contribution
        WHERE seen < first + {longest}
    ),
    present AS (
        SELECT key, first, n, v, x, explode(sequence(begin, end)) AS tick FROM stay WHERE begin <= end
    )
    SELECT key, tick, {", ".join(sums)} FROM present GROUP BY key, tick HAVING sum(n) > 0 ORDER BY tick, key"""


def _as_published(rows: pa.Table, window: Window, config: Config, due: Sequence[tuple[dt.datetime, dt.datetime]]) -> pa.Table:
    """Sums by key and tick as the view's columns."""
    from ml.features.running import features, whole_numbers

    place = rows["tick"].to_numpy() - ticks.number(window, due[0][0])
    times, created = (pa.array(instants, pa.timestamp("us", "UTC")) for instants in zip(*due, strict=True))
    arrays = [rows["key"].combine_chunks().cast(pa.string()), times.take(pa.array(place)), created.take(pa.array(place))]
    for days in window.days:
        sums = {name: rows[f"{name}{days}"].to_numpy() for name in ("n", "v")}
        arrays += features(window, sums | {"x": whole_numbers(rows[f"x{days}"])})
    return pa.Table.from_arrays(arrays, schema=windows.schema_of(config, window))

"""The step `publish_features`: snapshots of every window up to `as_of`, each published once."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import duckdb
import pyarrow as pa

from ml.config import Config, Window
from ml.features import state, windows
from ml.features.history import DAY, Due, Published, digest, folder, newest_publication, only_one, register, whole, write
from ml.lake import schema
from ml.lake.tables import Lake


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
    as_of = as_of.astimezone(dt.UTC)
    lake = Lake(config.lake)
    versions = lake.versions([schema.EVENTS, schema.LABELS])
    tables = {schema.EVENTS: schema.events(config), schema.LABELS: schema.LABELS_SCHEMA}
    rows = 0
    with lake.connect(tables, as_of, versions) as connection:
        for window in config.windows:
            with only_one(config, window):
                newest = newest_publication(config, window)
                due = _due(config, as_of, newest, connection)
                if due is not None:
                    rows += _publish(config, window, newest, due, connection, lake, versions)
    last = _last_midnight(config, as_of)
    return Publication(rows, last.isoformat(), {w.view: digest(config, w) for w in config.windows})


def _last_midnight(config: Config, as_of: dt.datetime) -> dt.date:
    """The newest midnight whose snapshot is due."""
    return (as_of - dt.timedelta(hours=config.events.lag.value)).date()


def _due(config: Config, as_of: dt.datetime, newest: Published | None, connection: duckdb.DuckDBPyConnection) -> Due | None:
    """What is to be published after `newest`, None when that is nothing."""
    last = _last_midnight(config, as_of)
    if newest is not None:
        follows = newest.last < last and newest.created < as_of
        return Due(newest.last + DAY, last, as_of, initial=False) if follows else None
    [(day,)] = connection.execute("SELECT min(event_time)::DATE FROM events").fetchall()
    if day is None or day >= last:
        return None
    created = dt.datetime.combine(last, dt.time(), dt.UTC) + dt.timedelta(hours=config.events.lag.value)
    return Due(day + DAY, last, created, initial=True)


def _publish(
    config: Config,
    window: Window,
    newest: Published | None,
    due: Due,
    connection: duckdb.DuckDBPyConnection,
    lake: Lake,
    versions: dict[str, int],
) -> int:
    """Write the state first: it belongs to no publication until the file that it describes has its name."""
    of = state.sources(lake, versions, due.created)
    if newest is None:
        rows = whole(config, window, connection, due.snapshots)
        known = state.load(config, window, due, of, connection)
    else:
        before = state.load(config, window, newest, state.sources(lake, versions, newest.created), connection)
        rows, known = _advance(config, window, newest, due, before, connection)
    kept = state.save(config, window, known, due, of)
    write(rows, due, folder(config, window))
    state.forget_others(kept)
    return int(rows.num_rows)


def _advance(
    config: Config, window: Window, newest: Published, due: Due, before: pa.Table, connection: duckdb.DuckDBPyConnection
) -> tuple[pa.Table, pa.Table]:
    """Rows and state of the midnights after `newest`, from its state and from what became known since."""
    connection.register("before", before)
    register(connection, due.snapshots)
    since = windows.contributions(config, window, until=due.created, after=newest.created, newest=newest.last)
    connection.execute(
        f"""
        CREATE OR REPLACE TEMP TABLE contribution AS
        SELECT key, first, DATE '{newest.last}' AS seen, n, x FROM before
        UNION ALL SELECT key, first, DATE '{due.first}', sum(n), sum(x) FROM ({since}) GROUP BY ALL
        """
    )
    rows = connection.sql(windows.increment(config, window)).to_arrow_table().cast(windows.schema_of(config, window))
    remaining = f"first + {max(window.days)} > DATE '{due.last}'"
    known = connection.sql(
        f"SELECT key, first, sum(n) AS n, sum(x) AS x FROM contribution WHERE {remaining} GROUP BY ALL"
    ).to_arrow_table()
    return rows, known

"""The step `publish_features`: snapshots of every window up to `as_of`, each published once."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from ml import artifacts
from ml.config import Config, Window
from ml.features import state, ticks, windows
from ml.features.history import Due, Published, all_snapshots, digest, kind_of, newest_publication, write
from ml.features.running import snapshots
from ml.features.source import Source
from ml.lake.tables import Lake

# Rows, and the state to keep for the next publication.
Computed = tuple[pa.Table, pa.Table]


@dataclass(frozen=True)
class Publication:
    """Rows published by this call; by view, the newest due tick and a digest of all publications."""

    rows: int
    newest: dict[str, str]
    views: dict[str, str]


def publish_features(config: Config, as_of: dt.datetime) -> Publication:
    """Publish the snapshots that are due at `as_of` and not published yet.

    The first publication of a view backdates its history to the schedule of the live feed; later ones have `as_of` as creation
    time, because nobody could have read them before.
    """
    as_of = as_of.astimezone(dt.UTC)
    # Rows loaded during this step would count as known at the published instant, although the snapshots lack them.
    with Lake(config.lake).writing(), Source(config) as source:
        rows = sum(_publish(config, window, as_of, source) for window in config.snapshot_windows)
    newest = {w.view: ticks.newest(w, as_of - config.events.lag.span).isoformat() for w in config.snapshot_windows}
    return Publication(rows, newest, {w.view: digest(config, w) for w in config.snapshot_windows})


def _publish(config: Config, window: Window, as_of: dt.datetime, source: Source) -> int:
    """Publish the due snapshots of one view; the state is written first, because it is ignored until its publication exists."""
    newest = newest_publication(config, window)
    due = _first_due(config, window, as_of, source) if newest is None else _next_due(config, window, as_of, newest)
    if due is None:
        return 0
    if config.engine is not None:
        rows = _by_spark(config, window, due, newest, source)
        write(rows, due, artifacts.of(config), kind_of(config, window))
        return int(rows.num_rows)
    rows, contributions = (
        _all(config, window, as_of, source, due) if newest is None else _following(config, window, source, newest, due)
    )
    state_file = state.save(config, window, contributions, due, source)
    write(rows, due, artifacts.of(config), kind_of(config, window))
    state.delete_others(state_file)
    return int(rows.num_rows)


def _first_due(config: Config, window: Window, as_of: dt.datetime, source: Source) -> Due | None:
    last = ticks.newest(window, as_of - config.events.lag.span)
    with source.connect(as_of) as connection:
        [(oldest,)] = connection.execute("SELECT min(event_time) FROM events").fetchall()
    if oldest is None or oldest >= last:
        return None
    first = ticks.newest(window, oldest) + window.interval
    return Due(first, last, window.interval, created=last + config.events.lag.span, initial=True)


def _next_due(config: Config, window: Window, as_of: dt.datetime, newest: Published) -> Due | None:
    last = ticks.newest(window, as_of - config.events.lag.span)
    due = Due(newest.last + window.interval, last, window.interval, created=as_of, initial=False)
    return None if due.last < due.first or due.created <= newest.created else due


def _by_spark(config: Config, window: Window, due: Due, newest: Published | None, source: Source) -> pa.Table:
    from ml.features import spark

    if newest is None:
        return spark.snapshots(config, window, due.snapshots, source.versions)
    before, since = [(newest.last, newest.created)], windows.reach(window, newest.last)
    return spark.snapshots(config, window, due.snapshots, source.versions, before, since)


def _all(config: Config, window: Window, as_of: dt.datetime, source: Source, due: Due) -> Computed:
    """All snapshots from the initial one on."""
    with source.connect(as_of) as connection:
        return all_snapshots(config, window, connection, due.snapshots), state.load(config, window, due, source)


def _following(config: Config, window: Window, source: Source, newest: Published, due: Due) -> Computed:
    """Snapshots after the newest publication, from its state and from rows that became known since."""
    kept = state.load(config, window, newest, source)
    recent = source.recent(config, window, newest.last, until=due.created, after=newest.created)
    contributions = pa.concat_tables([kept.replace_schema_metadata(None), recent])
    seen_ticks = [ticks.number(window, tick) for tick in (newest.last, due.first)]
    seen = pa.chunked_array([pa.repeat(seen_ticks[0], kept.num_rows), pa.repeat(seen_ticks[1], recent.num_rows)])
    rows = snapshots(config, window, contributions.append_column("seen", seen), due.snapshots)
    expired = ticks.number(window, due.last) - ticks.in_days(window, max(window.days))
    return rows, contributions.filter(pc.greater(contributions["first"], expired))

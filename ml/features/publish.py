"""The step `publish_features`: snapshots of every window up to `as_of`, each published once."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from ml.config import Config, Window
from ml.features import state, ticks
from ml.features.history import Due, Published, digest, folder, newest_publication, whole, write
from ml.features.running import snapshots
from ml.features.source import Source
from ml.lake.tables import Lake

# What is due, its rows, and the state that it leaves.
Made = tuple[Due, pa.Table, pa.Table]


@dataclass(frozen=True)
class Publication:
    """Rows published by this call, and by view the newest tick that is due and a digest of all that is published."""

    rows: int
    newest: dict[str, str]
    views: dict[str, str]


def publish_features(config: Config, as_of: dt.datetime) -> Publication:
    """Publish the snapshots that are due at `as_of` and not there yet.

    The first publication of a view makes its history at the cadence of the live feed; later ones carry `as_of` as the time
    of their creation, because nobody could have read them before.
    """
    as_of = as_of.astimezone(dt.UTC)
    # What is loaded while this reads would be known, and not counted, at the instant that is published.
    with Lake(config.lake).writing(), Source(config) as source:
        rows = sum(_publish(config, window, as_of, source) for window in config.windows)
    newest = {w.view: ticks.newest(w, as_of - config.events.lag.span).isoformat() for w in config.windows}
    return Publication(rows, newest, {w.view: digest(config, w) for w in config.windows})


def _publish(config: Config, window: Window, as_of: dt.datetime, source: Source) -> int:
    """Publish what is due of one view; the state goes first, it belongs to nothing until its publication has its name."""
    newest = newest_publication(config, window)
    made = _initial(config, window, as_of, source) if newest is None else _next(config, window, as_of, source, newest)
    if made is None:
        return 0
    due, rows, known = made
    kept = state.save(config, window, known, due, source)
    write(rows, due, folder(config, window))
    state.forget_others(kept)
    return int(rows.num_rows)


def _initial(config: Config, window: Window, as_of: dt.datetime, source: Source) -> Made | None:
    last = ticks.newest(window, as_of - config.events.lag.span)
    with source.connect(as_of) as connection:
        [(oldest,)] = connection.execute("SELECT min(event_time) FROM events").fetchall()
        if oldest is None or oldest >= last:
            return None
        first = ticks.newest(window, oldest) + window.interval
        due = Due(first, last, window.interval, created=last + config.events.lag.span, initial=True)
        return due, whole(config, window, connection, due.snapshots), state.load(config, window, due, source)


def _next(config: Config, window: Window, as_of: dt.datetime, source: Source, newest: Published) -> Made | None:
    """The ticks after the newest publication, from its state and from what became known since."""
    last = ticks.newest(window, as_of - config.events.lag.span)
    due = Due(newest.last + window.interval, last, window.interval, created=as_of, initial=False)
    if due.last < due.first or due.created <= newest.created:
        return None
    before = state.load(config, window, newest, source)
    since = source.recent(config, window, newest.last, until=due.created, after=newest.created)
    known = pa.concat_tables([before.replace_schema_metadata(None), since])
    known_from = [ticks.number(window, tick) for tick in (newest.last, due.first)]
    seen = pa.chunked_array([pa.repeat(known_from[0], before.num_rows), pa.repeat(known_from[1], since.num_rows)])
    rows = snapshots(config, window, known.append_column("seen", seen), due.snapshots)
    gone = ticks.number(window, due.last) - ticks.in_days(window, max(window.days))
    return due, rows, known.filter(pc.greater(known["first"], gone))

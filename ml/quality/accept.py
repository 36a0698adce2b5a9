"""Judges typed rows one by one, and makes rows of the lake of those that nothing speaks against."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml.config import Config
from ml.lake import schema
from ml.lake.tables import Lake
from ml.quality import answers, checks
from ml.quality.arrival import Arrival
from ml.quality.checks import Rows
from ml.quality.staging import Tables


def judge(config: Config, as_of: dt.datetime, lake: Lake, kind: str, rows: Rows, tables: Tables) -> None:
    """Every check of single rows: the suite, repeats of events, labels without an event.

    Args:
        tables: what comes into the lake together with these rows; labels find their events there too.
    """
    checks.check_rows(config, as_of, rows, kind)
    events = schema.events(config)
    if kind == "events":
        checks.find_repeats(lake, events, rows)
    else:
        fresh = tables[schema.EVENTS]
        accepted = pa.concat_tables(fresh) if fresh else None
        checks.match_labels(lake, events, accepted, rows)
        answers.warn(config, lake, accepted, rows)


def collect(config: Config, kind: str, rows: Rows, arrival: Arrival, batches: list[str], tables: Tables) -> None:
    """Add the good rows to the tables that they belong in.

    Args:
        batches: by file, the batch that its rows come into the lake with.
    """
    good = rows.good()
    told = rows.stored().filter(pa.array(good)).append_column("batch_id", pa.array(batches).take(pa.array(rows.file[good])))
    time = "event_time" if kind == "events" else "reported_at"
    told = told.append_column("known_at", arrival.known_at(config, told[time]))
    if kind == "labels":
        tables[schema.LABELS].append(_as(told, schema.LABELS_SCHEMA))
        return
    tables[schema.EVENTS].append(_as(told, schema.events(config)))
    if config.labels.column is not None:
        told = told.select(["event_id", "event_time", "label", "batch_id", "known_at"]).filter(pc.is_valid(told["label"]))
        matured = pc.add(told["event_time"], pa.scalar(config.label_delay, pa.duration("us"))).cast(schema.INSTANT)
        known = pc.if_else(pc.greater(matured, told["known_at"]), matured, told["known_at"])
        told = told.append_column("reported_at", matured).append_column("source", pa.nulls(told.num_rows, pa.string()))
        told = told.set_column(told.column_names.index("known_at"), "known_at", known)
        tables[schema.LABELS].append(_as(told, schema.LABELS_SCHEMA))


def span(rows: Rows, kind: str, number: int) -> tuple[dt.datetime | None, dt.datetime | None]:
    """First and last time of the good rows of a file."""
    times = rows.table["event_time" if kind == "events" else "reported_at"]
    found = pc.min_max(times.filter(pa.array(rows.good() & (rows.file == number))))
    return found["min"].as_py(), found["max"].as_py()


def _as(told: pa.Table, columns: pa.Schema) -> pa.Table:
    return told.select(columns.names).cast(columns)


def set_aside(rows: Rows, mine: np.ndarray) -> list[int]:
    """Those of the positions whose rows have reasons against them, in order."""
    return sorted(rows.reasons.keys() & set(mine.tolist())) if rows.reasons else []

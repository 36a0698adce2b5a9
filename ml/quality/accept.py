"""Checks typed rows one by one, and converts the good ones to rows of the lake."""

from __future__ import annotations

import datetime as dt

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ml.config import Config
from ml.lake import schema
from ml.lake.tables import Lake
from ml.quality import checks, label_warnings
from ml.quality.arrival import Arrival
from ml.quality.checks import PendingRows
from ml.quality.staging import Tables


def judge(config: Config, as_of: dt.datetime, lake: Lake, kind: str, rows: PendingRows, tables: Tables) -> None:
    """Run every check of single rows: the suite, repeats of events, labels without an event.

    Args:
        tables: what is loaded into the lake together with these rows; labels are matched with these events too.
    """
    checks.check_rows(config, as_of, rows, kind)
    events = schema.events(config)
    if kind == "events":
        checks.find_repeats(lake, events, rows)
    else:
        fresh = tables[schema.EVENTS]
        accepted = pa.concat_tables(fresh) if fresh else None
        checks.match_labels(lake, events, accepted, rows)
        label_warnings.warn(config, lake, accepted, rows)


def collect(config: Config, kind: str, rows: PendingRows, arrival: Arrival, batches: list[str], tables: Tables) -> None:
    """Add the good rows to the tables that they belong to.

    Args:
        batches: by file, the id of the batch that its rows belong to.
    """
    good = rows.good()
    table = rows.stored().filter(pa.array(good)).append_column("batch_id", pa.array(batches).take(pa.array(rows.file[good])))
    time = "event_time" if kind == "events" else "reported_at"
    table = table.append_column("known_at", arrival.known_at(config, table[time]))
    if kind == "labels":
        tables[schema.LABELS].append(_as(table, schema.LABELS_SCHEMA))
        return
    tables[schema.EVENTS].append(_as(table, schema.events(config)))
    if config.labels.column is not None:
        table = table.select(["event_id", "event_time", "label", "batch_id", "known_at"]).filter(pc.is_valid(table["label"]))
        matured = pc.add(table["event_time"], pa.scalar(config.label_delay, pa.duration("us"))).cast(schema.INSTANT)
        known = pc.if_else(pc.greater(matured, table["known_at"]), matured, table["known_at"])
        table = table.append_column("reported_at", matured).append_column("source", pa.nulls(table.num_rows, pa.string()))
        table = table.set_column(table.column_names.index("known_at"), "known_at", known)
        tables[schema.LABELS].append(_as(table, schema.LABELS_SCHEMA))


def span(rows: PendingRows, kind: str, number: int) -> tuple[dt.datetime | None, dt.datetime | None]:
    """First and last time of the good rows of a file."""
    times = rows.table["event_time" if kind == "events" else "reported_at"]
    bounds = pc.min_max(times.filter(pa.array(rows.good() & (rows.file == number))))
    return bounds["min"].as_py(), bounds["max"].as_py()


def _as(table: pa.Table, columns: pa.Schema) -> pa.Table:
    return table.select(columns.names).cast(columns)


def quarantined(rows: PendingRows, positions: np.ndarray) -> list[int]:
    """Those of the positions whose rows go to quarantine, in order."""
    return sorted(rows.reasons.keys() & set(positions.tolist())) if rows.reasons else []

"""Warnings about accepted answers: their source has no rank in `labels.sources`, or they are dated before their events."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pyarrow as pa

from ml.config import Config
from ml.lake import schema
from ml.lake.tables import Lake
from ml.quality.checks import PendingRows


def warn(config: Config, lake: Lake, accepted: pa.Table | None, rows: PendingRows) -> None:
    """Add both kinds of warnings to the rows, file by file.

    Args:
        accepted: events that are loaded into the lake together with these answers.
    """
    good = rows.good()
    if config.labels.sources and "source" in config.labels.columns:
        _warn_of_unranked(config.labels.sources, rows, good)
    _warn_of_early(lake, schema.events(config), accepted, rows, good)


def _warn_of_unranked(ranked: list[str], rows: PendingRows, good: np.ndarray) -> None:
    counts = Counter(zip(rows.file[good].tolist(), rows.table["source"].filter(pa.array(good)).to_pylist(), strict=True))
    for (file, source), count in counts.items():
        if source not in ranked:
            sender = "no source" if source is None else f"source {source!r}"
            rows.warn(
                file,
                f"{count:,} answers of {sender}, which labels.sources does not rank: they count only where none of {ranked} "
                "answers; add it there at its rank",
            )


def _warn_of_early(lake: Lake, events: pa.Schema, accepted: pa.Table | None, rows: PendingRows, good: np.ndarray) -> None:
    names = ["event_id", "event_time"]
    fresh = pa.schema([events.field(name) for name in names]).empty_table() if accepted is None else accepted.select(names)
    reported = rows.table.select(["event_id", "reported_at"]).append_column("position", pa.array(np.arange(len(good))))
    with lake.connect({schema.EVENTS: events}) as connection:
        connection.register("new", reported.filter(pa.array(good)))
        connection.register("fresh", fresh)
        early = connection.execute(
            "SELECT position, event_id, reported_at, event_time FROM new "
            f"JOIN (SELECT event_id, event_time FROM {schema.EVENTS} UNION ALL SELECT event_id, event_time FROM fresh) "
            "USING (event_id) WHERE reported_at < event_time ORDER BY position"
        ).fetchall()
    counts = Counter(int(rows.file[position]) for position, *_ in early)
    for position, event, reported, event_time in early:
        file = int(rows.file[position])
        if count := counts.pop(file, 0):
            rows.warn(
                file,
                f"{count:,} answers are dated before their events, such as {event!r}, answered {reported:%Y-%m-%d %H:%M} UTC "
                f"and of {event_time:%Y-%m-%d %H:%M} UTC; they are taken as they stand; "
                "if that cannot be, send times with zones",
            )

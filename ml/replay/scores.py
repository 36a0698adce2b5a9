"""What the champions of a policy score, event by event, and how well, day by day, by the answers that have come.

An event is scored by the champion in office at its time, with the features that the online store would have answered.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from ml.artifacts import Folder
from ml.config import Config
from ml.evaluation.metrics import average_precision
from ml.features import history as published
from ml.lake import schema
from ml.lake.sql import columns
from ml.lake.tables import Lake, instant
from ml.model.model import Model
from ml.monitoring import performance
from ml.monitoring.traffic import DAY, midnight
from ml.replay.history import History
from ml.store.feast import retrieve
from ml.training import fit

KIND = "days"
AT_ONCE = 28
"""Days per point-in-time join."""
REPORTING = 1
"""Days after a day's maturity in which its answers still count, so that every day had the same time for them."""

Figures = dict[dt.date, float | None]


def matured(config: Config, until: dt.datetime) -> dt.date:
    """The newest day whose answers have had all their time at an instant."""
    return (until - config.label_delay - (1 + REPORTING) * DAY).date()


def rows_of(history: History, first: dt.date, last: dt.date) -> Iterator[pd.DataFrame]:
    """Events of days before the last night, with their features, some weeks at a time; joined once and kept in the folder."""
    config, store = history.config, Folder(history.folder / "shared")
    state = {window.view: published.digest(config, window) for window in config.snapshot_windows}
    state |= {"events": str(Lake(config.lake).version(schema.EVENTS)), "deployment": config.fingerprint}
    for number in range(first.toordinal() // AT_ONCE, last.toordinal() // AT_ONCE + 1):
        begin = dt.date.fromordinal(number * AT_ONCE)
        end = min(begin + AT_ONCE * DAY, history.nights[-1].date())
        key = hashlib.sha256(json.dumps([str(begin), str(end), state], sort_keys=True).encode()).hexdigest()
        path = store.put(KIND, f"{key}.parquet", partial(_write, config, begin=begin, end=end))
        rows = pq.read_table(path).to_pandas()
        yield rows[(rows["event_time"] >= midnight(first)) & (rows["event_time"] < midnight(last + DAY))]


def _write(config: Config, path: Path, *, begin: dt.date, end: dt.date) -> None:
    joined(config, midnight(begin), midnight(end)).to_parquet(path, index=False)


def joined(config: Config, begin: dt.datetime, end: dt.datetime | None = None) -> pd.DataFrame:
    """Events from an instant on, up to another one, with their features, in the order of time."""
    names = ["event_id", "event_time", *config.entities.values(), *config.measures, *config.categories, *config.attributes]
    before = f" AND event_time < {instant(end)}" if end else ""
    with Lake(config.lake).connect({schema.EVENTS: schema.events(config)}) as connection:
        events = connection.execute(
            f"SELECT {columns(names)} FROM events WHERE event_time >= {instant(begin)}{before} ORDER BY event_time, event_id"
        ).df()
    return pd.concat([events, retrieve(config, events)], axis=1)


def in_office(champions: Mapping[dt.datetime, str], times: pd.Series) -> np.ndarray:
    """The version in office at each time, shape (n_rows,); none is before the first champion."""
    nights = pd.DatetimeIndex(pd.to_datetime(sorted(champions), utc=True))
    versions = np.array([champions[night] for night in sorted(champions)])
    found: np.ndarray = versions[nights.searchsorted(pd.DatetimeIndex(times), side="right") - 1]
    return found


def scored(config: Config, champions: Mapping[dt.datetime, str], rows: pd.DataFrame) -> np.ndarray:
    """The score of each event by the champion in office at its time, shape (n_rows,)."""
    served, scores = in_office(champions, rows["event_time"]), np.empty(len(rows))
    for version in np.unique(served):
        scores[served == version] = Model(fit.registry(config).fetch(version)).score(rows[served == version])
    return scores


def daily(history: History, first: dt.date, score: Callable[[pd.DataFrame], np.ndarray]) -> Figures:
    """Average precision of each matured day from a day on; None on a day without positives.

    Args:
        score: the scores of rows, shape (n_rows,).
    """
    config, until = history.config, history.nights[-1]
    last = matured(config, until)
    if last < first:
        return {}
    figures: Figures = {}
    for rows in rows_of(history, first, last):
        of_day = rows["event_time"].dt.date
        days = sorted(of_day.unique())
        answered = performance.answers(config, until, days)
        judged = rows.assign(_score=score(rows))
        for day in days:
            on_day, labels = performance.judged(config, judged[of_day == day], answered)
            both = 0 < labels.sum() < len(labels)
            figures[day] = float(average_precision(labels, on_day["_score"].to_numpy())) if both else None
    return figures


def mean(figures: Figures, days: Sequence[dt.date]) -> float | None:
    """Mean over those of the days that have a figure; None where none has."""
    values = [value for day in days if (value := figures.get(day)) is not None]
    return float(np.mean(values)) if values else None

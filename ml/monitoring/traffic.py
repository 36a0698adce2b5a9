"""Events of a day with their point-in-time features and the scores of the champion."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.config import Config
from ml.lake import schema
from ml.lake.sql import columns
from ml.lake.tables import Lake, instant
from ml.monitoring.champion import Champion
from ml.store.feast import retrieve

SCORE = "model score"
DAY = dt.timedelta(days=1)


@dataclass(frozen=True, eq=False)
class Traffic:
    """The events of one day.

    Attributes:
        day: the day, in UTC.
        rows: event id, time, keys, raw columns, features and `SCORE`, in the order of time.
        logged: number of rows with a score from the prediction log; the others were scored here.
    """

    day: dt.date
    rows: pd.DataFrame
    logged: int

    @property
    def source(self) -> str:
        """Origin of the scores, as text."""
        return f"{self.logged:,} scores from the prediction log, {len(self.rows) - self.logged:,} by scoring the lake"


def midnight(day: dt.date) -> dt.datetime:
    """The instant at which a day begins."""
    return dt.datetime.combine(day, dt.time(), dt.UTC)


def traffic(config: Config, as_of: dt.datetime, champion: Champion, days: Sequence[dt.date]) -> dict[dt.date, Traffic]:
    """The events of days as known at an instant, in one point-in-time join.

    Args:
        config: the deployment.
        as_of: the instant.
        champion: the champion.
        days: days in UTC, in any order.

    Raises:
        RowsLost: the point-in-time join lost or doubled rows.
        KeyError: the champion needs a feature that the deployment no longer has.
    """
    events, scores = _known(config, as_of, champion.version, days)
    features = retrieve(config, events, as_of) if len(events) else pd.DataFrame()
    rows = pd.concat([events, features], axis=1)
    score = scores.reindex(rows["event_id"]).to_numpy(copy=True)
    unknown = pd.isna(score)
    if unknown.any():
        score[unknown] = champion.model.score(rows[unknown])
    rows[SCORE] = score
    place = {day.date(): where for day, where in rows.groupby(rows["event_time"].dt.floor("D")).indices.items()}
    none = np.empty(0, dtype=np.int64)
    return {d: Traffic(d, rows.iloc[place.get(d, none)], int((~unknown[place.get(d, none)]).sum())) for d in days}


def raw_columns(config: Config) -> list[str]:
    """Columns whose values may be wrong without failing validation: measures, categories, attributes."""
    return [*config.measures, *config.categories, *config.attributes]


def _known(config: Config, as_of: dt.datetime, version: str, days: Sequence[dt.date]) -> tuple[pd.DataFrame, pd.Series[float]]:
    """Events of the days, and their logged scores by event id; the first score if there are several."""
    tables = {schema.EVENTS: schema.events(config), schema.PREDICTIONS: schema.PREDICTIONS_SCHEMA}
    named = ["event_id", "event_time", *config.entities.values(), *raw_columns(config)]
    wanted = ", ".join(f"DATE '{day}'" for day in days)
    span = f"event_time >= {instant(midnight(min(days)))} AND event_time < {instant(midnight(max(days)) + DAY)}"
    with Lake(config.lake).connect(tables, as_of) as connection:
        events = connection.execute(
            f"SELECT {columns(named)} FROM events WHERE {span} AND event_time::DATE IN ({wanted}) ORDER BY event_time, event_id"
        ).df()
        scores = connection.execute(
            f"SELECT event_id, first(score ORDER BY known_at) AS score FROM predictions "
            f"WHERE version = ? AND score IS NOT NULL AND {span} "
            "GROUP BY event_id",
            [version],
        ).df()
    return events, scores.set_index("event_id")["score"].astype("float64")

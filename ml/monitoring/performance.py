"""How good the champion was on days whose answers are in.

A day has matured when the label's delay is over. Its answers are those that were known a day after that at the latest, so
that every day, in the reference or later, has had the same time for its answers; what is reported afterwards changes nothing.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ml.config import Config
from ml.evaluation.guardrails import CARD_PRECISION
from ml.evaluation.metrics import average_precision, calibration_error, daily_card_precision, decision_costs
from ml.evaluation.statistics import AVERAGE_PRECISION, CALIBRATION, EXPECTED_COST
from ml.lake import schema
from ml.lake.answers import label_order
from ml.lake.tables import Lake, instant
from ml.monitoring.traffic import DAY, SCORE, midnight
from ml.training.entities import cluster_codes

HIGHER_IS_BETTER = {AVERAGE_PRECISION.name: True, CARD_PRECISION: True, EXPECTED_COST.name: False, CALIBRATION.name: False}
UNITS = {
    AVERAGE_PRECISION.name: AVERAGE_PRECISION.unit,
    CARD_PRECISION: "share of the alerts",
    EXPECTED_COST.name: "money per event",
    CALIBRATION.name: CALIBRATION.unit,
}


class Figure(NamedTuple):
    """A metric of one day, and the number by which days are charted: one whose spread does not depend on the day.

    The calibration error is charted as positives miscounted over the square root of those expected, for on a day with half as
    many positives chance alone makes it larger; cost by its logarithm, for a few large amounts make most of it.
    """

    value: float
    charted: float


def matured_by(config: Config, day: dt.date) -> dt.date:
    """The newest day whose answers are in when `day` is over."""
    return day - dt.timedelta(days=math.ceil(config.label_delay / DAY))


def metrics(config: Config) -> list[str]:
    """Names of what is measured on a matured day."""
    return [name for name in HIGHER_IS_BETTER if name != EXPECTED_COST.name or config.costs is not None]


def answers(config: Config, as_of: dt.datetime, days: Sequence[dt.date]) -> pd.Series[int]:
    """Label by event id, of those events of the days of which anything was reported in time."""
    tables = {schema.EVENTS: schema.events(config), schema.LABELS: schema.LABELS_SCHEMA}
    wanted = ", ".join(f"DATE '{day}'" for day in days)
    seconds = (config.label_delay + 2 * DAY).total_seconds()
    order = label_order(config)
    with Lake(config.lake).connect(tables, as_of) as connection:
        found = connection.execute(
            f"""
            WITH chosen AS (
                SELECT event_id, event_time::DATE::TIMESTAMPTZ + INTERVAL '{seconds:.0f} seconds' AS cutoff FROM events
                WHERE event_time >= {instant(midnight(min(days)))} AND event_time < {instant(midnight(max(days)) + DAY)}
                AND event_time::DATE IN ({wanted})
            )
            SELECT event_id, first(labels.label ORDER BY {order}) AS label
            FROM chosen JOIN labels USING (event_id) WHERE labels.known_at <= cutoff GROUP BY event_id
            """
        ).df()
    return found.set_index("event_id")["label"].astype("int64")


def measured(config: Config, threshold: float, rows: pd.DataFrame, answered: pd.Series[int]) -> dict[str, Figure | None]:
    """Each metric on the rows of one matured day; None where it is undefined, as on a day without a positive.

    Args:
        threshold: score from which on a row is alerted.
        rows: rows of a day with the champion's score.
        answered: label by event id; what nobody reported counts as negative, or is left out where every event is answered.
    """
    if config.labels.complete:
        rows = rows[rows["event_id"].isin(answered.index)]
    labels = answered.reindex(rows["event_id"]).fillna(0).to_numpy(np.int64)
    if not 0 < labels.sum() < len(labels):
        return dict.fromkeys(metrics(config))
    scores, clusters = rows[SCORE].to_numpy(), cluster_codes(config, rows)
    precision = float(average_precision(labels, scores))
    alerts = int(config.training.alerts.value)
    card = float(daily_card_precision(np.zeros(len(rows)), clusters, labels, scores, alerts)[0])
    error = calibration_error(labels, scores)
    told: dict[str, Figure | None] = {
        AVERAGE_PRECISION.name: Figure(precision, precision),
        CARD_PRECISION: Figure(card, card),
        CALIBRATION.name: Figure(error, error * float(labels.sum()) / math.sqrt(scores.sum())) if scores.sum() > 0 else None,
    }
    if config.costs is not None:
        missed = rows[config.costs.amount].abs().fillna(0.0).to_numpy(np.float64) + config.costs.missed.value
        looked_at, false_alert = config.costs.alert.value, config.costs.false_alert.value
        cost = float(decision_costs(labels, scores >= threshold, missed, looked_at, false_alert).mean())
        told[EXPECTED_COST.name] = Figure(cost, math.log(cost)) if cost > 0 else None
    return {name: told[name] for name in metrics(config)}

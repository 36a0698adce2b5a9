"""Alerts that were let through: how many, what they cost, and how precise alerts are by labels that no alert has influenced."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.config import Config
from ml.evaluation.metrics import decision_costs, wilson
from ml.lake import schema
from ml.lake.labels import label_order
from ml.lake.sql import quoted, stored
from ml.lake.tables import Lake, instant
from ml.training.costs import missed_costs


@dataclass(frozen=True)
class Precision:
    """Share of positives among matured alerts; None without one.

    Parameters:
        low, high: 95 % interval (Wilson), for alerts that are independent.
    """

    alerts: int
    positives: int
    value: float | None
    low: float
    high: float


@dataclass(frozen=True)
class Cost:
    """What letting alerts through has cost so far, in money.

    Parameters:
        missed: of the positives, by `costs.amount` and `costs.missed`.
        saved: what looking at these alerts would have cost; an event without an answer so far counts as negative.
        unpriced: positives whose event is not in the lake yet, so that their amount counts as 0.
    """

    missed: float
    saved: float
    unpriced: int


@dataclass(frozen=True)
class Explored:
    """The alerts of some days.

    Parameters:
        alerts: answers with a score from the threshold on, those let through among them.
        let_through: of these.
        positives: of those that were let through, by what was reported so far.
        unbiased: of the matured ones that were let through.
        stopped: of the matured ones that were not, whose labels depend on the alert.
        cost: None where the deployment declares no `costs`.
    """

    first: dt.datetime
    last: dt.datetime
    alerts: int
    let_through: int
    positives: int
    unbiased: Precision
    stopped: Precision
    cost: Cost | None


def explored(config: Config, as_of: dt.datetime, days: int) -> Explored:
    """What is known at an instant of the alerts whose events happened in the days before it.

    Args:
        days: so many times 24 hours.
    """
    first = as_of - dt.timedelta(days=days)
    rows = _alerts(config, as_of, first)
    passed = rows[rows["explored"]]
    positive = passed["label"].fillna(0) == 1
    return Explored(
        first=first,
        last=as_of,
        alerts=len(rows),
        let_through=len(passed),
        positives=int(positive.sum()),
        unbiased=_precision(config, as_of, passed),
        stopped=_precision(config, as_of, rows[~rows["explored"]]),
        cost=_cost(config, passed, positive.to_numpy(np.int64)) if config.costs else None,
    )


def _alerts(config: Config, as_of: dt.datetime, first: dt.datetime) -> pd.DataFrame:
    """The answered alerts: `event_time`, `explored`, `label` (null without an answer), the amount and whether it is known.

    Of several answers on an event the first one counts.
    """
    tables = {schema.PREDICTIONS: schema.PREDICTIONS_SCHEMA, schema.LABELS: schema.LABELS_SCHEMA}
    tables |= {schema.EVENTS: schema.events(config)}
    amount = f"events.{quoted(stored(config.costs.amount))} AS {quoted(config.costs.amount)}," if config.costs else ""
    with Lake(config.lake).connect(tables, as_of) as connection:
        rows: pd.DataFrame = connection.execute(
            f"""
            WITH answered AS (
                SELECT event_id, first(event_time ORDER BY known_at, prediction_id) AS event_time,
                    first(coalesce(explored, false) ORDER BY known_at, prediction_id) AS explored,
                    first({schema.DECISION} ORDER BY known_at, prediction_id) AS decision
                FROM predictions
                WHERE coalesce(role, '') <> 'shadow' AND score IS NOT NULL
                    AND event_time >= {instant(first)} AND event_time < {instant(as_of)}
                GROUP BY event_id
            ),
            alerts AS (SELECT * FROM answered WHERE decision = 'alert'),
            answer AS (
                SELECT event_id, first(labels.label ORDER BY {label_order(config)}) AS label
                FROM alerts JOIN labels USING (event_id) GROUP BY event_id
            )
            SELECT alerts.event_time, alerts.explored, answer.label, {amount} events.event_id IS NOT NULL AS is_known
            FROM alerts LEFT JOIN answer USING (event_id) LEFT JOIN events USING (event_id)
            ORDER BY alerts.event_time, event_id
            """
        ).df()
    return rows


def _precision(config: Config, as_of: dt.datetime, rows: pd.DataFrame) -> Precision:
    """An alert without an answer counts as negative, or is left out where labels are complete."""
    matured = rows[rows["event_time"] < as_of - config.label_delay]["label"]
    labels = matured.dropna() if config.labels.complete else matured.fillna(0)
    rate = float(labels.mean()) if len(labels) else None
    low, high = wilson(rate or 0.0, len(labels))
    return Precision(len(labels), int(labels.sum()), rate, float(low), float(high))


def _cost(config: Config, rows: pd.DataFrame, labels: np.ndarray) -> Cost | None:
    if config.costs is None:
        return None
    missed, every = missed_costs(config.costs, rows), np.ones(len(rows), dtype=bool)
    looked_at, false_alert = config.costs.alert.value, config.costs.false_alert.value
    passed, stopped = (decision_costs(labels, alerts, missed, looked_at, false_alert).sum() for alerts in (~every, every))
    return Cost(float(passed), float(stopped), int(((labels == 1) & ~rows["is_known"].to_numpy(bool)).sum()))

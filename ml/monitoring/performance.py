"""How good the champion was on days whose answers are in.

A day has matured when the label's delay is over. Its answers are those that were known a day after that at the latest, so
that every day, in the reference or later, has had the same time for its answers; what is reported afterwards changes nothing.

The base rate moves by itself, from 3 % of one day to 51 % of another, and every metric with it. So a day is charted as if it
had the base rate of the reference: its positives and negatives are weighed so that they have that ratio. The same ranking then
has the same figures, exactly so where nothing but the ratio has changed.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ml.config import Config
from ml.evaluation.guardrails import CARD_PRECISION
from ml.evaluation.metrics import average_precision, calibration_error, daily_card_precision, decision_costs
from ml.evaluation.statistics import AVERAGE_PRECISION, CALIBRATION, EXPECTED_COST
from ml.lake import schema
from ml.lake.answers import label_order
from ml.lake.tables import Lake, instant
from ml.monitoring.traffic import DAY, SCORE, midnight
from ml.training.entities import cluster_codes

Floats = NDArray[np.float64]
Labels = NDArray[np.int64]

HIGHER_IS_BETTER = {AVERAGE_PRECISION.name: True, CARD_PRECISION: True, EXPECTED_COST.name: False, CALIBRATION.name: False}
UNITS = {
    AVERAGE_PRECISION.name: AVERAGE_PRECISION.unit,
    CARD_PRECISION: "share of the alerts",
    EXPECTED_COST.name: "money per event",
    CALIBRATION.name: CALIBRATION.unit,
}


class Usually(NamedTuple):
    """What days are read against.

    Attributes:
        rate: share of positives in the rows of the reference days.
        positives, negatives: of a reference day, medians.
    """

    rate: float
    positives: float
    negatives: float


class Figure(NamedTuple):
    """A metric of one day.

    Attributes:
        value: of its rows as they are.
        rate: its share of positives.
        at_usual_rate: the metric if the share of positives were the reference's.
        charted: the number by which days are charted: one whose spread does not depend on the day. The calibration error is
            charted as positives miscounted over the standard error of their number, for on a day with half as many positives
            chance alone makes it larger; cost by its logarithm, for a few large amounts make most of it.
        weight: how much of its deviation from the usual a chart believes, at most 1: a day with a quarter of the usual
            positives deviates twice as far by chance.
    """

    value: float
    rate: float
    at_usual_rate: float
    charted: float
    weight: float

    def steadied(self, usual: float) -> Figure:
        """The figure with its deviation from the usual as far as it is believed."""
        return self._replace(charted=usual + (self.charted - usual) * self.weight)


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


def judged(config: Config, rows: pd.DataFrame, answered: pd.Series[int]) -> tuple[pd.DataFrame, Labels]:
    """Rows of a day and their labels.

    Args:
        answered: label by event id; what nobody reported counts as negative, or is left out where every event is answered.
    """
    if config.labels.complete:
        rows = rows[rows["event_id"].isin(answered.index)]
    return rows, answered.reindex(rows["event_id"]).fillna(0).to_numpy(np.int64)


def usually(days: Sequence[Labels]) -> Usually:
    """What the labels of the reference days say; half a positive is added, so that there is a rate."""
    positives = [int(labels.sum()) for labels in days]
    negatives = [len(labels) - of_day for labels, of_day in zip(days, positives, strict=True)]
    rate = (sum(positives) + 0.5) / (sum(positives) + sum(negatives) + 1)
    return Usually(rate, max(float(np.median(positives)), 1.0), max(float(np.median(negatives)), 1.0))


def measured(
    config: Config, threshold: float, against: Usually, rows: pd.DataFrame, labels: Labels
) -> dict[str, Figure | None]:
    """Each metric on the rows of one matured day; None where it is undefined, as on a day without a positive.

    Args:
        threshold: score from which on a row is alerted.
        rows: rows of a day with the champion's score.
        labels: of the rows, 0 or 1.
    """
    positives = int(labels.sum())
    if not 0 < positives < len(labels):
        return dict.fromkeys(metrics(config))
    rate = positives / len(labels)
    of_label = ((1 - against.rate) / (1 - rate), against.rate / rate)
    weights = np.array(of_label)[labels]
    weight = math.sqrt(min(1.0, positives / against.positives, (len(labels) - positives) / against.negatives))
    scores, clusters = rows[SCORE].to_numpy(np.float64), cluster_codes(config, rows)

    def figure(value: float, at_usual_rate: float, charted: float | None = None, weight: float = weight) -> Figure:
        return Figure(value, rate, at_usual_rate, at_usual_rate if charted is None else charted, weight)

    alerts = int(config.training.alerts.value)
    followed = _followed(scores, positives, against.rate)
    error, expected = calibration_error(labels, followed), float(np.sqrt(np.sum(followed * (1 - followed))))
    told: dict[str, Figure | None] = {
        AVERAGE_PRECISION.name: figure(
            float(average_precision(labels, scores)), float(average_precision(labels, scores, weights))
        ),
        CARD_PRECISION: figure(
            float(daily_card_precision(np.zeros(len(rows)), clusters, labels, scores, alerts)[0]),
            _card_precision(clusters, labels, scores, of_label, alerts),
        ),
        CALIBRATION.name: figure(calibration_error(labels, scores), error, error * positives / expected, 1.0)
        if expected > 0
        else None,
    }
    if config.costs is not None:
        missed = rows[config.costs.amount].abs().fillna(0.0).to_numpy(np.float64) + config.costs.missed.value
        looked_at, false_alert = config.costs.alert.value, config.costs.false_alert.value
        costs = decision_costs(labels, scores >= threshold, missed, looked_at, false_alert)
        cost = float(np.average(costs, weights=weights))
        told[EXPECTED_COST.name] = figure(float(costs.mean()), cost, math.log(cost)) if cost > 0 else None
    return {name: told[name] for name in metrics(config)}


def _followed(scores: Floats, positives: int, usual: float) -> Floats:
    """Scores whose odds follow the day's base rate as far as they do not by themselves, and no farther.

    A model that is not told of a base rate has all odds wrong by the same factor (Saerens et al. 2002, Adjusting the outputs
    of a classifier to new a priori probabilities); one that reads it from its inputs has them right already.
    """
    from scipy.optimize import brentq
    from scipy.special import expit, logit

    rate = positives / len(scores)
    odds = logit(np.clip(scores, 1e-9, 1 - 1e-9))
    low, high = sorted((0.0, float(logit(rate) - logit(usual))))

    def missing(step: float) -> float:
        return float(expit(odds + step).sum()) - positives

    if missing(low) >= 0:
        return np.asarray(expit(odds + low)) if low else scores
    if missing(high) <= 0:
        return np.asarray(expit(odds + high)) if high else scores
    return np.asarray(expit(odds + brentq(missing, low, high)))


def _card_precision(cards: ArrayLike, labels: Labels, scores: Floats, weights: tuple[float, float], k: int) -> float:
    """Card precision@k of a day whose cards stand for as many as their weights say, of cards without and with a positive."""
    of_card = pd.DataFrame({"score": scores, "label": labels}).groupby(np.asarray(cards)).max()
    of_card = of_card.sort_values("score", ascending=False, kind="stable")
    found = of_card["label"].to_numpy(np.float64)
    weight = np.where(found == 1, weights[1], weights[0])
    weight *= len(weight) / weight.sum()
    taken = np.clip(k - (np.cumsum(weight) - weight), 0, weight)
    return float(taken @ found / k)

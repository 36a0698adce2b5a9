"""Performance of the champion on matured days, at the base rate of the reference.

A day has matured when the label delay is over. Its labels are those that were known at most one day later, so that every day,
in the reference or later, had the same time for its labels; later reports are ignored.

The base rate varies between days, for example from 3 % to 51 %, and every metric varies with it. So positives and negatives of
a day are weighted to the base rate of the reference. A change of the base rate alone then leaves the metrics unchanged (label
shift: Saerens et al. 2002, Adjusting the outputs of a classifier to new a priori probabilities).

Example: base rate and median counts of two reference days.
    >>> reference_rates([np.array([1, 0, 0, 0]), np.array([1, 1, 0, 0, 0])])
    ReferenceRates(rate=0.35, positives=1.5, negatives=3.0)
    >>> DayMetric(value=0.5, rate=0.1, at_reference_rate=0.6, charted=0.6, weight=0.5).shrunk(0.8).charted
    0.7
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
from ml.lake.labels import label_order
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


class ReferenceRates(NamedTuple):
    """Base rate and class counts of the reference days.

    Attributes:
        rate: share of positives in the rows of the reference days.
        positives: median number of positives per reference day, at least 1.
        negatives: median number of negatives per reference day, at least 1.
    """

    rate: float
    positives: float
    negatives: float


class DayMetric(NamedTuple):
    """A metric of one day.

    Attributes:
        value: the metric on the rows of the day.
        rate: base rate of the day, its share of positives.
        at_reference_rate: the metric at the base rate of the reference.
        charted: value for the control charts, transformed so that its variance is about the same on all days. The calibration
            error is divided by the standard error of the number of positives, because it is larger by chance on a day with few
            positives; the cost is its logarithm, because a few large amounts dominate it.
        weight: share of the deviation from the mean that is charted, at most 1: a day with a quarter of the positives of a
            reference day deviates twice as far by chance.
    """

    value: float
    rate: float
    at_reference_rate: float
    charted: float
    weight: float

    def shrunk(self, mean: float) -> DayMetric:
        """The metric with the deviation of its charted value from a mean multiplied by `weight` (shrinkage)."""
        return self._replace(charted=mean + (self.charted - mean) * self.weight)


def matured_by(config: Config, day: dt.date) -> dt.date:
    """The newest day whose labels have matured at the end of `day`."""
    return day - dt.timedelta(days=math.ceil(config.label_delay / DAY))


def metrics(config: Config) -> list[str]:
    """Names of the metrics of a matured day."""
    return [name for name in HIGHER_IS_BETTER if name != EXPECTED_COST.name or config.costs is not None]


def answers(config: Config, as_of: dt.datetime, days: Sequence[dt.date]) -> pd.Series[int]:
    """Label by event id, for the events of the days whose label was reported in time."""
    tables = {schema.EVENTS: schema.events(config), schema.LABELS: schema.LABELS_SCHEMA}
    wanted = ", ".join(f"DATE '{day}'" for day in days)
    seconds = (config.label_delay + 2 * DAY).total_seconds()
    order = label_order(config)
    with Lake(config.lake).connect(tables, as_of) as connection:
        labels = connection.execute(
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
    return labels.set_index("event_id")["label"].astype("int64")


def judged(config: Config, rows: pd.DataFrame, answered: pd.Series[int]) -> tuple[pd.DataFrame, Labels]:
    """Rows of a day and their labels.

    Args:
        config: the deployment.
        rows: rows of the day.
        answered: label by event id; an event without a label counts as negative, or is left out where labels are complete.
    """
    if config.labels.complete:
        rows = rows[rows["event_id"].isin(answered.index)]
    return rows, answered.reindex(rows["event_id"]).fillna(0).to_numpy(np.int64)


def reference_rates(days: Sequence[Labels]) -> ReferenceRates:
    """Rates from the labels of each reference day; half a positive is added, so that the base rate is never 0."""
    positives = [int(labels.sum()) for labels in days]
    negatives = [len(labels) - of_day for labels, of_day in zip(days, positives, strict=True)]
    rate = (sum(positives) + 0.5) / (sum(positives) + sum(negatives) + 1)
    return ReferenceRates(rate, max(float(np.median(positives)), 1.0), max(float(np.median(negatives)), 1.0))


def measured(
    config: Config, alert_threshold: float, reference: ReferenceRates, rows: pd.DataFrame, labels: Labels
) -> dict[str, DayMetric | None]:
    """Each metric on the rows of one matured day; None where it is undefined, as on a day without a positive.

    Args:
        config: the deployment.
        alert_threshold: score from which a row is alerted.
        reference: base rate and class counts of the reference days.
        rows: rows of the day with the champion's score.
        labels: label of each row, 0 or 1.
    """
    positives = int(labels.sum())
    if not 0 < positives < len(labels):
        return dict.fromkeys(metrics(config))
    rate = positives / len(labels)
    of_label = ((1 - reference.rate) / (1 - rate), reference.rate / rate)
    weights = np.array(of_label)[labels]
    weight = math.sqrt(min(1.0, positives / reference.positives, (len(labels) - positives) / reference.negatives))
    scores, clusters = rows[SCORE].to_numpy(np.float64), cluster_codes(config, rows)

    def metric(value: float, at_reference_rate: float, charted: float | None = None, weight: float = weight) -> DayMetric:
        return DayMetric(value, rate, at_reference_rate, at_reference_rate if charted is None else charted, weight)

    alerts = int(config.training.alerts.value)
    adjusted = adjusted_to_base_rate(scores, positives, reference.rate)
    error, expected = calibration_error(labels, adjusted), float(np.sqrt(np.sum(adjusted * (1 - adjusted))))
    found: dict[str, DayMetric | None] = {
        AVERAGE_PRECISION.name: metric(
            float(average_precision(labels, scores)), float(average_precision(labels, scores, weights))
        ),
        CARD_PRECISION: metric(
            float(daily_card_precision(np.zeros(len(rows)), clusters, labels, scores, alerts)[0]),
            _card_precision(clusters, labels, scores, of_label, alerts),
        ),
        CALIBRATION.name: metric(calibration_error(labels, scores), error, error * positives / expected, 1.0)
        if expected > 0
        else None,
    }
    if config.costs is not None:
        missed = rows[config.costs.amount].abs().fillna(0.0).to_numpy(np.float64) + config.costs.missed.value
        looked_at, false_alert = config.costs.alert.value, config.costs.false_alert.value
        costs = decision_costs(labels, scores >= alert_threshold, missed, looked_at, false_alert)
        cost = float(np.average(costs, weights=weights))
        found[EXPECTED_COST.name] = metric(float(costs.mean()), cost, math.log(cost)) if cost > 0 else None
    return {name: found[name] for name in metrics(config)}


def adjusted_to_base_rate(scores: Floats, positives: int, reference_rate: float) -> Floats:
    """Scores adjusted to the base rate of the day: their odds times a common factor, so that their sum is `positives`.

    If the base rate changes and the model's inputs do not show it, all odds are wrong by the same factor (Saerens et al. 2002).
    A model whose inputs do show it is right already. So the factor is limited to the range from 1 to the ratio of the odds of
    both base rates.

    Args:
        scores: probabilities of the rows of the day, shape (n_rows,).
        positives: number of positives among them.
        reference_rate: base rate of the reference days.
    """
    from scipy.optimize import brentq
    from scipy.special import expit, logit

    rate = positives / len(scores)
    odds = logit(np.clip(scores, 1e-9, 1 - 1e-9))
    low, high = sorted((0.0, float(logit(rate) - logit(reference_rate))))

    def excess_positives(step: float) -> float:
        return float(expit(odds + step).sum()) - positives

    if excess_positives(low) >= 0:
        return np.asarray(expit(odds + low)) if low else scores
    if excess_positives(high) <= 0:
        return np.asarray(expit(odds + high)) if high else scores
    return np.asarray(expit(odds + brentq(excess_positives, low, high)))


def _card_precision(cards: ArrayLike, labels: Labels, scores: Floats, weights: tuple[float, float], k: int) -> float:
    """Card precision@k of a day with weighted cards; `weights` are those of cards without and with a positive."""
    of_card = pd.DataFrame({"score": scores, "label": labels}).groupby(np.asarray(cards)).max()
    of_card = of_card.sort_values("score", ascending=False, kind="stable")
    positive = of_card["label"].to_numpy(np.float64)
    weight = np.where(positive == 1, weights[1], weights[0])
    weight *= len(weight) / weight.sum()
    taken = np.clip(k - (np.cumsum(weight) - weight), 0, weight)
    return float(taken @ positive / k)

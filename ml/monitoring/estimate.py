"""Estimated performance of the champion on a day without labels, from its scores alone.

Every score is assumed to be a calibrated probability, independent of the others. So the estimate falls on a day on which the
champion separates the classes less, but it does not fall when the champion is wrong: fraud that gets low scores leaves it
unchanged. Therefore an estimate never raises an alarm, and its error on earlier days whose labels are known is shown with it.

Source: Kivimäki et al. 2024, Confidence-based Estimators for Predictive Performance in Model Monitoring.

Example: certain scores have an expected average precision of 1, uncertain ones less.
    >>> expected_average_precision([1.0, 0.0]), expected_average_precision([0.5, 0.5])
    (1.0, 0.875)
    >>> expected_card_precision(["a", "a", "b"], [0.9, 0.2, 0.4], k=2)
    0.65
    >>> EstimateError().after(estimate=0.6, value=0.5).after(estimate=0.6, value=0.6).days
    2
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import sqrt
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from ml.config import Config
from ml.evaluation.guardrails import CARD_PRECISION
from ml.evaluation.statistics import AVERAGE_PRECISION
from ml.monitoring.traffic import SCORE
from ml.training.entities import cluster_codes

REMEMBERED = 28
"""Number of days over which errors are averaged; the weight of earlier days decays exponentially."""


@dataclass(frozen=True)
class EstimateError:
    """Error of earlier estimates, measured on matured days.

    Attributes:
        days: number of matured days with an estimate.
        square: mean squared error on them.
    """

    days: int = 0
    square: float = 0.0

    @property
    def error(self) -> float | None:
        """Root mean squared error; None before any labels are known."""
        return sqrt(self.square) if self.days else None

    def after(self, estimate: float | None, value: float | None) -> EstimateError:
        """The error updated with one more day; a day without estimate or without value changes nothing."""
        if estimate is None or value is None:
            return self
        days = self.days + 1
        return EstimateError(days, self.square + ((estimate - value) ** 2 - self.square) / min(days, REMEMBERED))

    def to_dict(self) -> dict[str, Any]:
        """As a record for JSON, with the error for a reader."""
        return asdict(self) | {"error": self.error}

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> EstimateError:
        """Restore from the record that `to_dict` returned."""
        return cls(record["days"], record["square"])


def estimated(config: Config, rows: pd.DataFrame) -> dict[str, float | None]:
    """Expected average precision and card precision of the rows of one day; None where there are no rows.

    Args:
        config: the deployment.
        rows: rows of a day with the champion's score, a probability.
    """
    if rows.empty:
        return {AVERAGE_PRECISION.name: None, CARD_PRECISION: None}
    scores, cards = rows[SCORE].to_numpy(np.float64), cluster_codes(config, rows)
    return {
        AVERAGE_PRECISION.name: expected_average_precision(scores),
        CARD_PRECISION: expected_card_precision(cards, scores, int(config.training.alerts.value)),
    }


def expected_average_precision(scores: ArrayLike) -> float | None:
    """Σ p·E[precision at the row, given that it is positive] / Σ p, rows by falling score; None if all scores are 0.

    Given that the row at rank k is positive, the precision there is expected to be (1 + Σ of the scores before it) / k.

    Args:
        scores: array of shape (n_rows,), probabilities.
    """
    falling: NDArray[np.float64] = np.sort(np.asarray(scores, dtype=np.float64))[::-1]
    total = falling.sum()
    if total == 0:
        return None
    precision = (1 + np.cumsum(falling) - falling) / np.arange(1, len(falling) + 1)
    return float(falling @ precision / total)


def expected_card_precision(cards: ArrayLike, scores: ArrayLike, k: int) -> float:
    """Of the k cards with the highest score, the share that is expected to have a positive that day.

    The probability of a card is its highest score, because the payments of a stolen card are not independent.

    Args:
        cards: array of shape (n_rows,), the card of each row.
        scores: array of shape (n_rows,), probabilities.
        k: alerts that analysts can check in a day.
    """
    highest = pd.Series(np.asarray(scores, dtype=np.float64)).groupby(np.asarray(cards)).max().to_numpy()
    return float(np.sort(highest)[::-1][:k].sum() / k)

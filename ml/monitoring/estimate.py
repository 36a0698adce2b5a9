"""How good the champion probably is on a day whose answers are not in, by its own scores alone.

Every score is taken for the probability that it claims to be, and for independent of the others. So the estimate sees a day on
which the champion separates less, and does not see that it is wrong: an attack that it scores as harmless leaves the estimate
as it was. It is told as an estimate and never raises an alarm, and beside it how far estimates were off on days whose answers
have come.

Source: Kivimäki et al. 2024, Confidence-based Estimators for Predictive Performance in Model Monitoring.
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
"""Days over which errors are averaged; those before count less and less."""


@dataclass(frozen=True)
class Trust:
    """How far estimates were off on days whose answers have come: the number of days and the mean squared error."""

    days: int = 0
    square: float = 0.0

    @property
    def error(self) -> float | None:
        """Root mean squared error; None before any answers have come."""
        return sqrt(self.square) if self.days else None

    def after(self, estimate: float | None, value: float | None) -> Trust:
        """After one more day; a day without one of the two changes nothing."""
        if estimate is None or value is None:
            return self
        days = self.days + 1
        return Trust(days, self.square + ((estimate - value) ** 2 - self.square) / min(days, REMEMBERED))

    def to_dict(self) -> dict[str, Any]:
        """As JSON, with the error for a reader."""
        return asdict(self) | {"error": self.error}

    @classmethod
    def from_dict(cls, told: Mapping[str, Any]) -> Trust:
        """From what `to_dict` gave."""
        return cls(told["days"], told["square"])


def estimated(config: Config, rows: pd.DataFrame) -> dict[str, float | None]:
    """Expected average precision and card precision of the rows of one day; None where there are no rows.

    Args:
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

    A card's probability is that of its highest score: a stolen card's payments share their fate rather than being independent.

    Args:
        cards: array of shape (n_rows,), the card of each row.
        scores: array of shape (n_rows,), probabilities.
        k: alerts that can be looked at in a day.
    """
    highest = pd.Series(np.asarray(scores, dtype=np.float64)).groupby(np.asarray(cards)).max().to_numpy()
    return float(np.sort(highest)[::-1][:k].sum() / k)

"""A model's curves in few points, to be kept with a verdict and drawn beside another model's.

Example: a score that ranks all four rows right, and is a probability.
    >>> found = sketch([0, 0, 1, 1], [0.1, 0.2, 0.9, 1.0])
    >>> found.recall, found.precision
    ((0.5, 1.0), (1.0, 1.0))
    >>> sum(found.bin_rows)
    4
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ml.evaluation.metrics import curves, wilson

POINTS = 40
"""Points of a precision-recall curve, at about equal steps of recall."""
DIGITS = 5


@dataclass(frozen=True)
class Sketch:
    """Precision at rising recall, and the share of positives at rising scores.

    Attributes:
        recall, precision: of the same length, at most `POINTS`.
        bin_score, bin_rate: mean score and share of positives of each bin; see `ml.evaluation.metrics.curves`.
        bin_low, bin_high: 95 % interval of the share (Wilson), for rows that are independent.
        bin_rows: rows of each bin.
    """

    recall: tuple[float, ...]
    precision: tuple[float, ...]
    bin_score: tuple[float, ...]
    bin_rate: tuple[float, ...]
    bin_low: tuple[float, ...]
    bin_high: tuple[float, ...]
    bin_rows: tuple[int, ...]


def sketch(labels: ArrayLike, scores: ArrayLike) -> Sketch:
    """The curves of a model on rows with answers.

    Args:
        labels: array of shape (n_rows,), 0 or 1.
        scores: array of shape (n_rows,), probabilities.

    Raises:
        ValueError: as for `ml.evaluation.metrics.curves`.
    """
    found = curves(labels, scores)
    places = np.unique(np.searchsorted(found.recall, np.linspace(0, 1, POINTS + 1)[1:] - 1e-12))
    low, high = wilson(found.bin_rate, found.bin_rows)
    return Sketch(
        recall=_few(found.recall[places]),
        precision=_few(found.precision[places]),
        bin_score=_few(found.bin_score),
        bin_rate=_few(found.bin_rate),
        bin_low=_few(low),
        bin_high=_few(high),
        bin_rows=tuple(int(rows) for rows in found.bin_rows),
    )


def _few(values: ArrayLike) -> tuple[float, ...]:
    return tuple(float(f"{value:.{DIGITS}g}") for value in np.asarray(values))

"""Fits a logistic regression on the matrix of the trees; it is better where effects are additive, or rows are few."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from ml.config import Config
from ml.model.calibration import Platt
from ml.model.inputs import MISSING
from ml.model.linear import Linear, Term
from ml.training.weights import row_weights

RIDGE = 1.0
"""The penalty on the squared coefficients of standardised inputs, against a loss that is summed over the rows."""

DIGITS = 9
"""Significant digits of a coefficient; further ones depend on the machine's linear algebra."""


class _Column(NamedTuple):
    """An input of the training rows: its standardised columns, shape (n_rows,), and the figures to convert its coefficients."""

    standard: np.ndarray
    absent: np.ndarray | None
    low: float
    high: float
    mean: float
    spread: float
    share: float


def fit_logistic(config: Config, names: Sequence[str], matrix: np.ndarray, train: pd.DataFrame) -> Linear:
    """Fit on the training rows with the same weights as trees, by Newton's method in one thread.

    Args:
        names: of the columns of `matrix`, which `learn_inputs` makes of the training rows.

    Raises:
        CapUnreachable: see `ml.training.weights`.
        ValueError: the training rows have one label only.
    """
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    columns = [_column(values) for values in matrix.T]
    absent = [number for number, column in enumerate(columns) if column.absent is not None]
    design = np.column_stack([c.standard for c in columns] + [c.absent for c in columns if c.absent is not None])
    model = LogisticRegression(C=1 / RIDGE, solver="newton-cholesky", tol=1e-8)
    with threadpool_limits(1):
        model.fit(design, train["label"], row_weights(config, train))
    slopes = model.coef_[0, : len(columns)]
    extra = np.zeros(len(columns))
    extra[absent] = model.coef_[0, len(columns) :]
    terms = tuple(_term(*each) for each in zip(names, columns, slopes, extra, strict=True))
    return Linear(_rounded(model.intercept_[0]), terms, Platt(1.0, 0.0))


def _column(values: np.ndarray) -> _Column:
    doubles = values.astype(np.float64)
    is_missing = doubles == MISSING
    finite = doubles[np.isfinite(doubles) & ~is_missing]
    low, high = (float(finite.min()), float(finite.max())) if len(finite) else (0.0, 0.0)
    clipped = np.clip(doubles, low, high)
    mean = float(clipped[~is_missing].mean()) if len(finite) else 0.0
    spread = float(clipped[~is_missing].std()) if low < high else 0.0
    standard = np.where(is_missing, 0.0, (clipped - mean) / spread) if spread else np.zeros(len(doubles))
    share = float(is_missing.mean())
    return _Column(standard, is_missing - share if 0 < share < 1 else None, low, high, mean, spread, share)


def _term(name: str, column: _Column, slope: float, extra: float) -> Term:
    weight = _rounded(slope / column.spread) if column.spread else 0.0
    size = np.abs(column.standard * slope + (0.0 if column.absent is None else column.absent * extra)).mean()
    return Term(
        name=name,
        weight=weight,
        mean=column.mean,
        present=_rounded(-extra * column.share),
        missing=_rounded(extra * (1 - column.share)),
        low=column.low,
        high=column.high,
        strength=_rounded(size),
    )


def _rounded(value: float) -> float:
    return float(f"{value:.{DIGITS}g}")

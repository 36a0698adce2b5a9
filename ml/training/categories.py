"""Categories as numbers: a level becomes the log-odds of a positive among its training rows, drawn towards the base rate.

A number computed from a row's own label would leak that label, most of all for rare levels. So training rows take the number of
their level from the other folds (target encoding with cross fitting; Micci-Barreca 2001, A Preprocessing
Scheme for High-Cardinality Categorical Attributes; Pargent et al. 2022, Regularized Target Encoding Outperforms Traditional
Methods). Every other row takes the number from all training rows.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from ml.model.levels import Floats, Levels, distinct

RARE = 20
"""Levels with fewer training rows share one number."""

PRIOR = 5
"""Weight of the base rate: that of as many rows as have, on average, this number of the rarer label."""

FOLDS = 5


def learn(values: pd.Series, labels: NDArray[np.int8], fold: NDArray[np.int64]) -> tuple[Levels, Floats]:
    """Numbers of a category's levels from all rows, and each row's own number from the other folds.

    Args:
        values: shape (n_rows,), the category of each training row.
        labels: shape (n_rows,), 0 or 1.
        fold: shape (n_rows,), from 0 to `FOLDS` - 1; see `folds`.
    """
    names, level = distinct(values)
    size = np.bincount(level, minlength=len(names))
    rare = (size < RARE) & (names != "")
    group = np.where(rare, len(names), np.arange(len(names)))[level]
    base = (labels.sum() + 0.5) / (len(labels) + 1)
    prior = PRIOR / min(base, 1 - base)

    def log_odds(positives: NDArray, rows: NDArray) -> Floats:
        rate = (positives + prior * base) / (rows + prior)
        return np.log(rate / (1 - rate)).astype(np.float32)

    shape = (FOLDS, len(names) + 1)
    cell = np.ravel_multi_index((fold, group), shape)
    positives, rows = (np.bincount(cell, w, minlength=np.prod(shape)).reshape(shape) for w in (labels, np.ones(len(labels))))
    from_all = log_odds(positives.sum(axis=0), rows.sum(axis=0))
    from_others = log_odds(positives.sum(axis=0) - positives, rows.sum(axis=0) - rows)
    # If all rows have one group, the numbers of the folds would differ by the labels alone.
    own = from_others[fold, group] if len(np.unique(group)) > 1 else from_all[group]
    code = np.where(rare, from_all[-1], from_all[:-1])
    codes = {str(name): float(number) for name, number in zip(names, code, strict=True) if name != ""}
    unseen = float(log_odds(np.zeros(1), np.zeros(1))[0])
    missing = float(code[names == ""][0])
    return Levels(codes, missing, unseen), own


def folds(keys: pd.Series) -> NDArray[np.int64]:
    """Fold of each row by a hash of its key, shape (n_rows,): rows of one key are in one fold, on every machine."""
    hashed = pd.util.hash_array(keys.astype(object).astype(str).to_numpy(object))
    return (hashed % FOLDS).astype(np.int64)

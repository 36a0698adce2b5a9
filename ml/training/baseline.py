"""The logistic regression that a first candidate must beat: the simplest model that anyone would try on the same rows."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.training.model import MISSING, Inputs


@dataclass(frozen=True)
class Baseline:
    """Scores of the baseline, shape (n_rows,), and SHA-256 over its coefficients."""

    scores: np.ndarray
    digest: str


def logistic_regression(inputs: Inputs, train: pd.DataFrame, rows: pd.DataFrame, seed: int) -> Baseline:
    """Fit on `train`, score `rows`: missing numbers by their median, all scaled, categories one-hot."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    numbers, categories = list(inputs.fill), list(inputs.categories)
    prepare = make_column_transformer(
        (make_pipeline(SimpleImputer(strategy="median"), StandardScaler()), numbers),
        (OneHotEncoder(handle_unknown="ignore"), categories),
    )
    model = make_pipeline(prepare, LogisticRegression(max_iter=500, random_state=seed))

    def raw(frame: pd.DataFrame) -> pd.DataFrame:
        filled = {name: frame[name].fillna(fill) if fill != MISSING else frame[name] for name, fill in inputs.fill.items()}
        return frame[[*numbers, *categories]].assign(**filled, **{c: frame[c].fillna("") for c in categories})

    model.fit(raw(train), train["label"])
    digest = hashlib.sha256(model[-1].coef_.tobytes() + model[-1].intercept_.tobytes()).hexdigest()
    return Baseline(model.predict_proba(raw(rows))[:, 1], digest)

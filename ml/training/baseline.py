"""What anyone would try first on the same rows, for comparison: a logistic regression and a forest."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.training.model import MISSING, Inputs

NEGATIVES_PER_POSITIVE = 10


@dataclass(frozen=True)
class Baseline:
    """Scores of a baseline, shape (n_rows,), and SHA-256 over what it learned: coefficients, or splits and leaves."""

    name: str
    scores: np.ndarray
    digest: str


def baselines(inputs: Inputs, train: pd.DataFrame, rows: pd.DataFrame, seed: int) -> list[Baseline]:
    """All baselines, fitted on `train`, with their scores of `rows`; they are for comparison and are never registered."""
    return [logistic_regression(inputs, train, rows, seed), random_forest(inputs, train, rows, seed)]


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
    return Baseline("logistic regression", model.predict_proba(raw(rows))[:, 1], digest)


def random_forest(inputs: Inputs, train: pd.DataFrame, rows: pd.DataFrame, seed: int) -> Baseline:
    """Fit on all positives of `train` and ten times as many negatives drawn from it, score `rows` (Breiman, Random Forests).

    Each of a hundred trees sees half of them. More negatives cost much time and add little to how a forest ranks; its scores
    are shares of the trees' votes among such rows and no probabilities.
    """
    from sklearn.ensemble import RandomForestClassifier

    positive = train["label"].to_numpy() == 1
    share = NEGATIVES_PER_POSITIVE * positive.sum() / max((~positive).sum(), 1)
    drawn = train[positive | (np.random.default_rng(seed).random(len(train)) < share)]
    forest = RandomForestClassifier(n_estimators=100, min_samples_leaf=5, max_samples=0.5, n_jobs=2, random_state=seed)
    forest.fit(inputs.matrix(drawn), drawn["label"])
    digest = hashlib.sha256()
    for tree in forest.estimators_:
        for learned in (tree.tree_.feature, tree.tree_.threshold, tree.tree_.value):
            digest.update(learned.tobytes())
    # The votes of two threads would be added up in another order each time.
    scores = forest.set_params(n_jobs=1).predict_proba(inputs.matrix(rows))[:, 1]
    return Baseline("random forest", scores, digest.hexdigest())

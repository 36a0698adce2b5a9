"""A baseline on the same rows, for comparison: a random forest, which is never registered."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.model.inputs import Inputs

NEGATIVES_PER_POSITIVE = 10


@dataclass(frozen=True)
class BaselineScores:
    """Scores of a baseline, shape (n_rows,), and the SHA-256 of its splits and leaves."""

    name: str
    scores: np.ndarray
    digest: str


def random_forest(inputs: Inputs, train: pd.DataFrame, rows: pd.DataFrame, seed: int) -> BaselineScores:
    """Fit on all positives of `train` and ten times as many negatives drawn from it, score `rows` (Breiman, Random Forests).

    Each of 100 trees is fitted on half of them. More negatives cost time and hardly improve the ranking. The scores are shares
    of the trees' votes on such rows and no probabilities.
    """
    from sklearn.ensemble import RandomForestClassifier

    positive = train["label"].to_numpy() == 1
    share = NEGATIVES_PER_POSITIVE * positive.sum() / max((~positive).sum(), 1)
    drawn = train[positive | (np.random.default_rng(seed).random(len(train)) < share)]
    forest = RandomForestClassifier(n_estimators=100, min_samples_leaf=5, max_samples=0.5, n_jobs=2, random_state=seed)
    forest.fit(inputs.matrix(drawn), drawn["label"])
    digest = hashlib.sha256()
    for tree in forest.estimators_:
        for array in (tree.tree_.feature, tree.tree_.threshold, tree.tree_.value):
            digest.update(array.tobytes())
    # With two threads the order of additions would vary.
    scores = forest.set_params(n_jobs=1).predict_proba(inputs.matrix(rows))[:, 1]
    return BaselineScores("random forest", scores, digest.hexdigest())

"""What anyone would try first on the same rows, for comparison: a forest, which is never registered."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.training.inputs import Inputs

NEGATIVES_PER_POSITIVE = 10


@dataclass(frozen=True)
class Baseline:
    """Scores of a baseline, shape (n_rows,), and SHA-256 over what it learned: splits and leaves."""

    name: str
    scores: np.ndarray
    digest: str


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

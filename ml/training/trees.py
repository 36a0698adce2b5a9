"""Fits boosted trees by CatBoost."""

from __future__ import annotations

import numpy as np
import pandas as pd

from ml.config import Config
from ml.model.inputs import Inputs
from ml.model.trees import Trees
from ml.training.pools import DiskPool
from ml.training.weights import class_weights, row_weights


def fit_trees(
    config: Config, inputs: Inputs, matrix: np.ndarray | DiskPool, train: pd.DataFrame, validation: pd.DataFrame | None = None
) -> Trees:
    """Fit CatBoost with the deployment's settings; without a validation window or `early_stopping_rounds` all trees are kept.

    Validation rows have class weights only: early stopping uses the loss of the fit, without the caps and decay of row weights.

    Args:
        matrix: the training rows' inputs, as `learn_inputs` returns them, or with labels and weights on the disk.

    Raises:
        CapUnreachable: see `ml.training.weights`.
    """
    from catboost import CatBoostClassifier, Pool

    settings = config.training.model.model_dump(exclude={"early_stopping_rounds", "positive_weight", "half_life"})
    # A label that was read from a text is a float to CatBoost, and an ONNX graph of its has no floats as labels.
    classes = {"class_names": [0, 1]} if isinstance(matrix, DiskPool) else {}
    classifier = CatBoostClassifier(
        **settings, **classes, bootstrap_type="Bernoulli", loss_function="Logloss", allow_writing_files=False, verbose=100
    )

    def pool(values: np.ndarray, labels: pd.Series, weights: np.ndarray) -> Pool:
        return Pool(values, labels, weight=weights, feature_names=inputs.names)

    train_pool = matrix.open() if isinstance(matrix, DiskPool) else pool(matrix, train["label"], row_weights(config, train))
    rounds = config.training.model.early_stopping_rounds
    if validation is None or rounds is None:
        return Trees(classifier.fit(train_pool))
    weights = class_weights(validation["label"], config.training.model.positive_weight)
    validation_pool = pool(inputs.matrix(validation), validation["label"], weights)
    return Trees(classifier.fit(train_pool, eval_set=validation_pool, early_stopping_rounds=rounds, use_best_model=True))

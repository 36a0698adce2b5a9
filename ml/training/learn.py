"""Candidates: fitted to the training window, stopped early, calibrated and compared on the validation window.

The deployment's own trees stand beside a few shallow ones, which win where there is little to learn or few rows to learn from.
Which of them goes before the gate is decided here, on rows that the gate does not look at.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ml.config import Config
from ml.evaluation.metrics import average_precision, decision_costs
from ml.evaluation.statistics import AVERAGE_PRECISION, EXPECTED_COST
from ml.training import calibrate, chosen, dataset
from ml.training.costs import missed
from ml.training.model import Inputs, learn_inputs, threshold_for
from ml.training.weights import class_weights, row_weights

if TYPE_CHECKING:
    from catboost import CatBoostClassifier

OWN, SHALLOW = "boosted trees", "few shallow trees"
SHALLOW_ITERATIONS, SHALLOW_DEPTH = 100, 2

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Selected:
    """The candidate that goes before the gate, and the figure of each in the deployment's primary metric."""

    candidate: str
    trees: CatBoostClassifier
    inputs: Inputs
    metric: str
    figures: dict[str, float]


def select(config: Config, rows: pd.DataFrame) -> Selected:
    """Fit all candidates and take the best on the validation window; of equal ones the deployment's own.

    Raises:
        CapUnreachable: see `ml.training.weights`.
        RanksNothing: no candidate ranks positives above negatives; see `ml.training.calibrate`.
    """
    validation = rows[rows["split"] == dataset.VALIDATION]
    fitted: dict[str, tuple[CatBoostClassifier, Inputs]] = {}
    figures: dict[str, float] = {}
    refused: list[calibrate.RanksNothing] = []
    shallow = _shallow(config)
    candidates = {OWN: config} if shallow == config else {OWN: config, SHALLOW: shallow}
    for name, settings in candidates.items():
        try:
            fitted[name] = learn(settings, rows)
        except calibrate.RanksNothing as error:
            log.warning("%s are no candidate: %s", name, error)
            refused.append(error)
            continue
        trees, inputs = fitted[name]
        figures[name] = _figure(config, validation, trees.predict_proba(inputs.matrix(validation))[:, 1])
    if not fitted:
        raise refused[0]
    best = min(figures.values()) if config.gate.metric == EXPECTED_COST.name else max(figures.values())
    candidate = next(name for name, figure in figures.items() if figure == best)
    return Selected(candidate, *fitted[candidate], config.gate.metric, figures)


def _shallow(config: Config) -> Config:
    """The deployment with few shallow trees, never more or deeper ones than its own."""
    own = config.training.model
    fewer = {"iterations": min(own.iterations, SHALLOW_ITERATIONS), "depth": min(own.depth, SHALLOW_DEPTH)}
    return chosen.with_model(config, own.model_copy(update=fewer))


def _figure(config: Config, validation: pd.DataFrame, scores: np.ndarray) -> float:
    labels, days = validation["label"].to_numpy(np.int8), config.training.validation.value
    if config.gate.metric == AVERAGE_PRECISION.name or config.costs is None:
        return float(average_precision(labels, scores))
    alerts = scores >= threshold_for(scores, int(days), config.training.alerts.value)
    amounts = missed(config.costs, validation)
    costs = decision_costs(labels, alerts, amounts, config.costs.alert.value, config.costs.false_alert.value)
    return float(costs.sum() / days)


def grow(
    config: Config, inputs: Inputs, matrix: np.ndarray, train: pd.DataFrame, validation: pd.DataFrame | None = None
) -> CatBoostClassifier:
    """Fit CatBoost with the deployment's settings; without a validation window all trees are kept.

    The validation rows have the weights of their classes and no others, so that the loss that stops the trees is the one that
    they were fitted to, on rows that all count as they come.

    Args:
        matrix: of the training rows, as `learn_inputs` gives it.

    Raises:
        CapUnreachable: see `ml.training.weights`.
    """
    from catboost import CatBoostClassifier, Pool

    settings = config.training.model.model_dump(exclude={"early_stopping_rounds", "positive_weight", "half_life"})
    trees = CatBoostClassifier(
        **settings, bootstrap_type="Bernoulli", loss_function="Logloss", allow_writing_files=False, verbose=100
    )

    def pool(values: np.ndarray, labels: pd.Series, weights: np.ndarray) -> Pool:
        return Pool(values, labels, weight=weights, feature_names=inputs.names)

    fitted = pool(matrix, train["label"], row_weights(config, train))
    if validation is None:
        return trees.fit(fitted)
    weights = class_weights(validation["label"], config.training.model.positive_weight)
    judged = pool(inputs.matrix(validation), validation["label"], weights)
    patience = config.training.model.early_stopping_rounds
    return trees.fit(fitted, eval_set=judged, early_stopping_rounds=patience, use_best_model=True)


def learn(config: Config, rows: pd.DataFrame) -> tuple[CatBoostClassifier, Inputs]:
    """Fit on the training window of a training set, stop early and calibrate on its validation window.

    Raises:
        CapUnreachable: see `ml.training.weights`.
        RanksNothing: see `ml.training.calibrate`.
    """
    train, validation = (rows[rows["split"] == part] for part in (dataset.TRAIN, dataset.VALIDATION))
    inputs, matrix = learn_inputs(config, train)
    trees = grow(config, inputs, matrix, train, validation)
    margins = trees.predict(inputs.matrix(validation), prediction_type="RawFormulaVal")
    calibrate.fold(trees, calibrate.platt(margins, validation["label"]))
    return trees, inputs

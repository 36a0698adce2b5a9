"""Candidates: fitted to the training window, stopped early, calibrated and compared on the validation window.

Beside the deployment's own trees stand a few shallow ones and a logistic regression, which win where there is little to learn,
few rows to learn from, or inputs that add up. Which of them goes before the gate is decided here, on rows that the gate does
not look at.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.special import expit

from ml.config import Config
from ml.config.training import LOGISTIC, OWN, SHALLOW
from ml.evaluation.metrics import average_precision, decision_costs
from ml.evaluation.statistics import AVERAGE_PRECISION, EXPECTED_COST
from ml.training import calibrate, chosen, dataset
from ml.training.costs import missed
from ml.training.inputs import Inputs, learn_inputs
from ml.training.learned import Learned
from ml.training.linear import regress
from ml.training.model import threshold_for
from ml.training.trees import grow

SHALLOW_ITERATIONS, SHALLOW_DEPTH = 100, 2

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Selected:
    """The candidate that goes before the gate, the figure of each in the deployment's primary metric, and the other ones."""

    candidate: str
    learned: Learned
    inputs: Inputs
    metric: str
    figures: dict[str, float]
    others: dict[str, Learned]


@dataclass(frozen=True, eq=False)
class Windows:
    """What all candidates of a training learn from: its rows, and the training rows' matrix, see `learn_inputs`."""

    train: pd.DataFrame
    validation: pd.DataFrame
    inputs: Inputs
    matrix: np.ndarray

    @classmethod
    def of(cls, config: Config, rows: pd.DataFrame) -> Windows:
        """The windows of a training set."""
        train, validation = (rows[rows[dataset.SPLIT] == part] for part in (dataset.TRAIN, dataset.VALIDATION))
        return cls(train, validation, *learn_inputs(config, train))


def select(config: Config, rows: pd.DataFrame) -> Selected:
    """Fit all candidates and take the best on the validation window; of equal ones the deployment's own.

    Raises:
        CapUnreachable: see `ml.training.weights`.
        RanksNothing: no candidate ranks positives above negatives; see `ml.training.calibrate`.
    """
    windows = Windows.of(config, rows)
    judged = windows.inputs.matrix(windows.validation)
    fitted: dict[str, Learned] = {}
    figures: dict[str, float] = {}
    refused: list[calibrate.RanksNothing] = []
    for name in candidates(config):
        try:
            fitted[name] = fit_candidate(config, name, windows)
        except calibrate.RanksNothing as error:
            log.warning("%s: no candidate, %s", name, error)
            refused.append(error)
            continue
        figures[name] = _figure(config, windows.validation, expit(fitted[name].margins(judged)))
    if not fitted:
        raise refused[0]
    best = min(figures.values()) if config.gate.metric == EXPECTED_COST.name else max(figures.values())
    candidate = next(name for name, figure in figures.items() if figure == best)
    learned = fitted.pop(candidate)
    return Selected(candidate, learned, windows.inputs, config.gate.metric, figures, fitted)


def candidates(config: Config) -> list[str]:
    """The deployment's candidates, its own trees first; shallow ones are none where its own are as few and as shallow."""
    found = [name for name in (OWN, SHALLOW, LOGISTIC) if name in config.training.candidates]
    return [name for name in found if name != SHALLOW or OWN not in found or _shallow(config) != config]


def fit_candidate(config: Config, name: str, windows: Windows) -> Learned:
    """Fit one candidate on the training rows, and calibrate it on the validation rows.

    Raises:
        CapUnreachable: see `ml.training.weights`.
        RanksNothing: see `ml.training.calibrate`.
    """
    found: Learned
    if name == LOGISTIC:
        found = regress(config, windows.inputs.names, windows.matrix, windows.train)
    else:
        settings = _shallow(config) if name == SHALLOW else config
        found = grow(settings, windows.inputs, windows.matrix, windows.train, windows.validation)
    margins = found.margins(windows.inputs.matrix(windows.validation))
    return found.calibrated(calibrate.platt(margins, windows.validation["label"]))


def learn(config: Config, rows: pd.DataFrame) -> tuple[Learned, Inputs]:
    """The deployment's own trees on a training set, and the inputs that they learned from.

    Raises:
        CapUnreachable: see `ml.training.weights`.
        RanksNothing: see `ml.training.calibrate`.
    """
    windows = Windows.of(config, rows)
    return fit_candidate(config, OWN, windows), windows.inputs


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

"""Candidates: fitted on the training window, stopped early, calibrated and compared on the validation window.

Beside the deployment's own trees there are a few shallow trees and a logistic regression, which are better if the signal is
weak, rows are few, or effects are additive. The best candidate becomes the challenger; the gate uses other rows.

With `training.refit` the champion's candidate is taken unless another one is better beyond chance: which of two is the better
one differs by the week, and a champion is only refreshed by a challenger of its own recipe.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import expit

from ml.config import Config
from ml.config.training import LOGISTIC, OWN, SHALLOW
from ml.errors import BadInput
from ml.evaluation.bootstrap import compare_rankings
from ml.evaluation.metrics import average_precision, decision_costs
from ml.evaluation.statistics import AVERAGE_PRECISION, EXPECTED_COST
from ml.model.estimator import Estimator
from ml.model.inputs import Inputs
from ml.model.model import threshold_for
from ml.training import calibrate, chosen, dataset
from ml.training.costs import missed_costs
from ml.training.entities import cluster_codes
from ml.training.inputs import learn, learn_inputs, training_matrix
from ml.training.linear import fit_logistic
from ml.training.pools import DiskPool, quantized
from ml.training.trees import fit_trees
from ml.training.weights import row_weights

SHALLOW_ITERATIONS, SHALLOW_DEPTH = 100, 2

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Selected:
    """The best candidate, the figure of each candidate in the deployment's primary metric, and the other candidates."""

    candidate: str
    estimator: Estimator
    inputs: Inputs
    metric: str
    figures: dict[str, float]
    others: dict[str, Estimator]


@dataclass(frozen=True, eq=False)
class FitWindows:
    """The rows that all candidates of a training use, and the matrix of the training rows, see `learn_inputs`.

    Where the matrix is on the disk, `train` lacks the numbers.
    """

    train: pd.DataFrame
    validation: pd.DataFrame
    inputs: Inputs
    matrix: np.ndarray | DiskPool

    @classmethod
    def of(cls, config: Config, rows: pd.DataFrame) -> FitWindows:
        """The windows of a training set."""
        train, validation = (rows[rows[dataset.SPLIT] == part] for part in (dataset.TRAIN, dataset.VALIDATION))
        return cls(train, validation, *learn_inputs(config, train))

    @classmethod
    def on_disk(cls, config: Config, training_set: str, folder: Path) -> FitWindows:
        """The windows of a frozen training set, whose training rows are read in parts and quantized into a folder."""
        train = dataset.read_without_numbers(config, training_set)
        validation = dataset.read(config, training_set, (dataset.VALIDATION,))
        inputs, own_numbers = learn(config, train)
        pool = quantized(
            folder,
            inputs.names,
            _matrices(inputs, dataset.parts(config, training_set, list(inputs.fill)), own_numbers),
            train["label"].to_numpy(np.int8),
            row_weights(config, train),
            config.training.model.thread_count,
        )
        return cls(train, validation, inputs, pool)


def _matrices(inputs: Inputs, parts: Iterable[pd.DataFrame], own_numbers: list[np.ndarray]) -> Iterator[np.ndarray]:
    begin = 0
    for part in parts:
        rows = slice(begin, begin := begin + len(part))
        yield training_matrix(inputs, part, [numbers[rows] for numbers in own_numbers])


def select(config: Config, rows: pd.DataFrame, incumbent: str = "") -> Selected:
    """Fit all candidates on a training set; see `select_of`."""
    return select_of(config, FitWindows.of(config, rows), incumbent)


def select_of(config: Config, windows: FitWindows, incumbent: str = "") -> Selected:
    """Fit all candidates and select the best on the validation window; among equal ones the deployment's own.

    Args:
        incumbent: the champion's candidate, which is selected unless the best one has a higher average precision beyond
            chance; empty for none.

    Raises:
        CapUnreachable: see `ml.training.weights`.
        RanksNothing: no candidate ranks positives above negatives; see `ml.training.calibrate`.
    """
    validation_matrix = windows.inputs.matrix(windows.validation)
    fitted: dict[str, Estimator] = {}
    figures: dict[str, float] = {}
    errors: list[calibrate.RanksNothing] = []
    for name in candidate_names(config):
        try:
            fitted[name] = fit_candidate(config, name, windows)
        except calibrate.RanksNothing as error:
            log.warning("%s: no candidate, %s", name, error)
            errors.append(error)
            continue
        figures[name] = _figure(config, windows.validation, expit(fitted[name].margins(validation_matrix)))
    if not fitted:
        raise errors[0]
    best = min(figures.values()) if config.gate.metric == EXPECTED_COST.name else max(figures.values())
    candidate = next(name for name, figure in figures.items() if figure == best)
    if incumbent in fitted and incumbent != candidate:
        old, new = (fitted[name].margins(validation_matrix) for name in (incumbent, candidate))
        candidate = candidate if _is_better(config, windows.validation, old, new) else incumbent
    estimator = fitted.pop(candidate)
    return Selected(candidate, estimator, windows.inputs, config.gate.metric, figures, fitted)


def candidate_names(config: Config) -> list[str]:
    """The deployment's candidates, its own trees first; shallow trees are left out if its own are as few and as shallow."""
    names = [name for name in (OWN, SHALLOW, LOGISTIC) if name in config.training.candidates]
    return [name for name in names if name != SHALLOW or OWN not in names or _shallow(config) != config]


def fit_candidate(config: Config, name: str, windows: FitWindows) -> Estimator:
    """Fit one candidate on the training rows, and calibrate it on the validation rows.

    Raises:
        CapUnreachable: see `ml.training.weights`.
        RanksNothing: see `ml.training.calibrate`.
    """
    fitted: Estimator
    if name == LOGISTIC:
        if isinstance(windows.matrix, DiskPool):
            raise BadInput(f"{LOGISTIC} is not fitted on a pool on the disk; leave it out of training.candidates")
        fitted = fit_logistic(config, windows.inputs.names, windows.matrix, windows.train)
    else:
        settings = _shallow(config) if name == SHALLOW else config
        fitted = fit_trees(settings, windows.inputs, windows.matrix, windows.train, windows.validation)
    margins = fitted.margins(windows.inputs.matrix(windows.validation))
    return fitted.calibrated(calibrate.platt(margins, windows.validation["label"]))


def fit_again(config: Config, name: str, trees: int, rows: pd.DataFrame) -> tuple[Estimator, Inputs]:
    """Fit a candidate on all of these rows, without calibration, with the number of trees that it had where it was stopped.

    Raises:
        CapUnreachable: see `ml.training.weights`.
    """
    inputs, matrix = learn_inputs(config, rows)
    if name == LOGISTIC:
        return fit_logistic(config, inputs.names, matrix, rows), inputs
    settings = _shallow(config) if name == SHALLOW else config
    as_many = settings.training.model.model_copy(update={"iterations": trees})
    return fit_trees(chosen.with_model(settings, as_many), inputs, matrix, rows), inputs


def fit_own_trees(config: Config, rows: pd.DataFrame) -> tuple[Estimator, Inputs]:
    """Fit the deployment's own trees on a training set; returns them and their inputs.

    Raises:
        CapUnreachable: see `ml.training.weights`.
        RanksNothing: see `ml.training.calibrate`.
    """
    windows = FitWindows.of(config, rows)
    return fit_candidate(config, OWN, windows), windows.inputs


def _is_better(config: Config, validation: pd.DataFrame, old: np.ndarray, new: np.ndarray) -> bool:
    """Whether new scores have a higher average precision than old ones, beyond chance at the gate's alpha."""
    labels = validation["label"].to_numpy(np.int8)
    days = validation["event_time"].dt.tz_localize(None).dt.floor("D").to_numpy()
    try:
        compared = compare_rankings(
            labels,
            old,
            new,
            cluster_codes(config, validation),
            days,
            replicates=config.gate.replicates,
            seed=config.gate.seed,
            alpha=config.gate.alpha.value,
        )
    except ValueError as error:
        log.warning("the champion's candidate is kept: %s", error)
        return False
    return compared[AVERAGE_PRECISION.name].lower_bound > 0


def _shallow(config: Config) -> Config:
    """The deployment with few shallow trees, at most as many and as deep as its own."""
    settings = config.training.model
    fewer = {"iterations": min(settings.iterations, SHALLOW_ITERATIONS), "depth": min(settings.depth, SHALLOW_DEPTH)}
    return chosen.with_model(config, settings.model_copy(update=fewer))


def _figure(config: Config, validation: pd.DataFrame, scores: np.ndarray) -> float:
    labels, days = validation["label"].to_numpy(np.int8), config.training.validation.value
    if config.gate.metric == AVERAGE_PRECISION.name or config.costs is None:
        return float(average_precision(labels, scores))
    alerts = scores >= threshold_for(scores, int(days), config.training.alerts.value)
    amounts = missed_costs(config.costs, validation)
    costs = decision_costs(labels, alerts, amounts, config.costs.alert.value, config.costs.false_alert.value)
    return float(costs.sum() / days)

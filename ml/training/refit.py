"""The refit of a judged model: the same recipe on all events whose labels are known, and its agreement with the judged model.

The gate's verdict is about the judged model, which has seen nothing of the holdout. The refit has, so the holdout says little
of its quality; what is checked is that it is the same model in kind: nearly the same ranking, alerts and level on the holdout
and the days since, no worse on the rows that it was fitted on, and no worse on the golden set, which no model is fitted on.

Example: a refit that ranks the other way round, and puts its scores elsewhere, does not agree.
    >>> judged = np.linspace(0.01, 0.2, 1000)
    >>> limits = {"rank correlation": 0.5, "shared alerts": 0.3, "calibration": 0.5}
    >>> [check.name for check in compare(judged, 0.9 - judged, alerts=50, limits=limits) if not check.holds]
    ['rank correlation', 'shared alerts', 'calibration']
    >>> [check.holds for check in compare(judged, judged**1.1, alerts=50, limits=limits)]
    [True, True, True]
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from ml import artifacts
from ml.config import Config
from ml.errors import BadInput
from ml.evaluation.metrics import average_precision
from ml.model.estimator import Estimator
from ml.model.inputs import Inputs
from ml.model.model import Model, importance, save
from ml.training import chosen, dataset, fit, golden
from ml.training.candidates import fit_again

CORRELATION, ALERTS, CALIBRATION = "rank correlation", "shared alerts", "calibration"
FITTED_ROWS, GOLDEN_SET = "fitted rows", "golden set"


@dataclass(frozen=True)
class Check:
    """One comparison of a refit with the judged model, and whether it holds; `sentence` has the figures."""

    name: str
    holds: bool
    sentence: str


@dataclass(frozen=True)
class Agreement:
    """All comparisons of a refit with the judged model, and on how many rows."""

    rows: int
    checks: tuple[Check, ...]

    @property
    def holds(self) -> bool:
        """Whether the refit may take the place of the judged model."""
        return all(check.holds for check in self.checks)

    @property
    def sentence(self) -> str:
        """The figures; those that do not hold alone, if there are any."""
        wrong = [check.sentence for check in self.checks if not check.holds]
        return "; ".join(wrong or [check.sentence for check in self.checks])


def refit(config: Config, model: str) -> fit.Fit:
    """Fit the recipe of a judged model on all rows of its training set whose labels are known; made once.

    Args:
        model: address of the judged model.

    Raises:
        BadInput: the training set was frozen without the rows of a refit.
        CapUnreachable: see `ml.training.weights`.
    """
    judged = fit.describe(config, model)
    key = key_of(model)
    with artifacts.of(config).lock(fit.KIND, key):
        if fit.exists(config, key):
            return fit.describe(config, key)
        settled = chosen.tuned(config, judged.settings) if judged.settings else config
        with fit.tracked(config, key) as (run, experiment):
            record = _refit(settled, judged, key, run, experiment)
            fit.log_settings(settled, record)
        return record


def key_of(model: str) -> str:
    """Address of the refit of a judged model."""
    return hashlib.sha256(f"refit of {model}".encode()).hexdigest()


def _refit(config: Config, judged: fit.Fit, key: str, run: str, experiment: str) -> fit.Fit:
    frozen = dataset.describe(config, judged.training_set)
    scaling = Model(fit.folder_of(config, judged.model)).estimator.platt
    estimator, inputs = fitted(config, judged, rows_of(config, frozen))

    def fill(folder: Path) -> None:
        save(folder, estimator.calibrated(scaling), inputs)
        record = replace(
            judged,
            model=key,
            trained_until=frozen.windows["holdout_end"],
            labels_known_until=frozen.as_of,
            mlflow_run=run,
            mlflow_experiment=experiment,
            importance=importance(Model(folder)),
            refit_of=judged.model,
        )
        fit.write_records(config, folder, frozen, record)

    artifacts.of(config).put(fit.KIND, key, fill)
    return fit.describe(config, key)


def rows_of(config: Config, frozen: dataset.TrainingSet) -> pd.DataFrame:
    """The rows of a training set that a refit learns from, with the labels known at its `as_of`.

    Raises:
        BadInput: the training set was frozen without them.
    """
    if not frozen.refit_rows:
        raise BadInput(
            f"training set {frozen.training_set[:12]} holds no rows for a refit: it was frozen without `training.refit`; "
            "train again"
        )
    parts = (dataset.TRAIN, dataset.VALIDATION, dataset.GAP, dataset.HOLDOUT, dataset.NEWEST)
    rows = dataset.read(config, frozen.training_set, parts)
    rows = rows[rows[dataset.LABEL_NOW] != dataset.UNLABELLED]
    return rows.assign(label=rows[dataset.LABEL_NOW])


def fitted(config: Config, judged: fit.Fit, rows: pd.DataFrame) -> tuple[Estimator, Inputs]:
    """The judged model's candidate on these rows, not yet calibrated, and its inputs."""
    return fit_again(config, judged.candidate, judged.trees, rows)


def agreement(config: Config, model: str) -> Agreement:
    """Compare an exported refit with its judged model.

    Args:
        model: address of the refit.
    """
    limits = config.training.refit
    if limits is None:
        raise BadInput(f"deployment {config.name} has no section training.refit")
    record = fit.describe(config, model)
    new, old = Model(fit.folder_of(config, model)), Model(fit.folder_of(config, record.refit_of))
    rows = dataset.read(config, record.training_set, (dataset.HOLDOUT, dataset.NEWEST))
    days = rows["event_time"].dt.floor("D").nunique()
    checks = compare(
        old.score(rows),
        new.score(rows),
        alerts=int(days * config.training.alerts.value),
        limits={
            CORRELATION: limits.correlation.value,
            ALERTS: limits.overlap.value,
            CALIBRATION: limits.calibration.value,
        },
    )
    checks.append(_no_worse(FITTED_ROWS, old, new, rows[rows[dataset.SPLIT] == dataset.HOLDOUT], drop=0.0))
    version = golden.newest(config) if config.gate.golden else None
    if version is not None and config.gate.golden is not None:
        checks.append(_no_worse(GOLDEN_SET, old, new, golden.read(config, version), config.gate.golden.drop.value))
    return Agreement(len(rows), tuple(checks))


def compare(judged: np.ndarray, refitted: np.ndarray, alerts: int, limits: Mapping[str, float]) -> list[Check]:
    """Rank correlation, shared alerts, and difference of the mean scores of two models on the same rows.

    Args:
        judged, refitted: probabilities, shape (n_rows,).
        alerts: number of rows with the highest scores that each model alerts.
        limits: by name of the check; see `ml.config.training.Refit`.
    """
    from scipy.stats import spearmanr

    alerts = max(1, min(alerts, len(judged)))
    correlation = float(spearmanr(judged, refitted).statistic)
    shared = len(np.intersect1d(_highest(judged, alerts), _highest(refitted, alerts))) / alerts
    level = abs(float(refitted.mean()) / float(judged.mean()) - 1)
    return [
        Check(CORRELATION, correlation >= limits[CORRELATION], _least("rank correlation", correlation, limits[CORRELATION])),
        Check(ALERTS, shared >= limits[ALERTS], _least("share of the alerts in common", shared, limits[ALERTS])),
        Check(
            CALIBRATION,
            level <= limits[CALIBRATION],
            f"mean score {float(judged.mean()):.4g} → {float(refitted.mean()):.4g}, at most {limits[CALIBRATION]:.0%} apart",
        ),
    ]


def _highest(scores: np.ndarray, number: int) -> np.ndarray:
    return np.argsort(-scores, kind="stable")[:number]


def _least(what: str, value: float, limit: float) -> str:
    return f"{what} {value:.3f}, at least {limit:g}"


def _no_worse(name: str, judged: Model, refitted: Model, rows: pd.DataFrame, drop: float) -> Check:
    labels = rows["label"].to_numpy(np.int8)
    try:
        before, after = (float(average_precision(labels, model.score(rows))) for model in (judged, refitted))
    except KeyError as error:
        return Check(name, False, f"the {name} cannot be scored: {error.args[0]}")
    return Check(
        name, after >= before - drop, f"average precision on the {name} {before:.4f} → {after:.4f}, drop at most {drop:g}"
    )

"""The step `validate_training_set`: a suite over the figures of a frozen training set, run before anything is fitted on it."""

from __future__ import annotations

import datetime as dt
import math
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ml.config import Config
from ml.config.suites import training_suite
from ml.errors import Refused
from ml.evaluation.metrics import roc_auc
from ml.ledger.run import BY_HAND, Run
from ml.quality import results, suites
from ml.store.feast import feature_names
from ml.training import dataset
from ml.training.arrivals import Arrivals, arrivals
from ml.training.refused import record_refusal, retry_hint

# Limits on the change of the label rate from the training window to the holdout: a factor, and a number of standard deviations
# of the daily rates (of their logarithms); the wider one applies.
FOLD = 5.0
SPREADS = 4.0


class TrainingSetRefused(Refused, ValueError):
    """A critical expectation on the training set failed; no model is fitted on it."""


@dataclass(frozen=True)
class TrainingSetReport:
    """The figures of a training set that passed, its strongest single features, and warnings; `note` is their text."""

    training_set: str
    figures: dict[str, float]
    suspects: dict[str, float]
    warnings: tuple[str, ...]
    note: str


def validate_training_set(config: Config, as_of: dt.datetime, training_set: str, run: Run = BY_HAND) -> TrainingSetReport:
    """Check label rates, positives, duplicates, nulls, single features that predict the label, and delays of answers.

    Args:
        run: the training run; it is recorded with a refusal.

    Raises:
        TrainingSetRefused: names each figure, the expectation and the observed value.
    """
    with record_refusal(config, as_of, "validate_training_set", run.id, TrainingSetRefused):
        return _validate(config, as_of, training_set, run.id)


def _validate(config: Config, as_of: dt.datetime, training_set: str, run_id: str) -> TrainingSetReport:
    rows = dataset.read(config, training_set)
    feature_auc = single_feature_auc(config, rows[rows[dataset.SPLIT] == dataset.TRAIN])
    answers = arrivals(config, as_of)
    figures = _figures(config, as_of, rows, feature_auc, answers)
    found = suites.evaluate(training_suite(config).file, pd.DataFrame([figures]), _limits(config, rows))
    results.keep(config, as_of, "training_set", training_set, found)
    failures = suites.failures(found)
    critical = [f.summary for f in failures if f.critical]
    if critical:
        leak = max(feature_auc, key=lambda name: feature_auc[name], default="none")
        raise TrainingSetRefused(
            f"training set {training_set[:12]} is refused:\n" + "\n".join(f"- {line}" for line in critical) + f"\n"
            f"the strongest single feature is {leak!r} with ROC AUC {feature_auc.get(leak, 0.5):.4f}; look at the labels and "
            f"at the published features, then {retry_hint(as_of, run_id)}"
        )
    suspects = dict(sorted(feature_auc.items(), key=lambda item: -item[1])[:5])
    warnings = [f.summary for f in failures if not f.critical]
    if any(f.column == "late_answers_share" for f in failures):
        warnings.append(f"{answers.summary}; set labels.delay to that, or declare by labels.late that so many may come late")
    return TrainingSetReport(
        training_set, figures, suspects, tuple(warnings), "\n".join(f"- warning: {line}" for line in warnings)
    )


def single_feature_auc(config: Config, train: pd.DataFrame) -> dict[str, float]:
    """How well each number alone ranks the label, by column: the ROC AUC or one minus it; 0.5 if all labels are equal."""
    labels = train["label"].to_numpy()
    names = [*config.measures, *feature_names(config)]
    if len(np.unique(labels)) < 2:
        return dict.fromkeys(names, 0.5)
    auc_by_column = {}
    for name in names:
        values = train[name].to_numpy(np.float64)
        auc = roc_auc(labels, np.where(np.isnan(values), np.nanmin(values, initial=0.0) - 1, values))
        auc_by_column[name] = max(auc, 1 - auc)
    return auc_by_column


def _figures(
    config: Config, as_of: dt.datetime, rows: pd.DataFrame, feature_auc: dict[str, float], answers: Arrivals
) -> dict[str, float]:
    rate = rows.groupby(dataset.SPLIT)["label"].mean()
    late = (rows[dataset.LABEL_KNOWN_AT] > pd.Timestamp(as_of)).sum()
    return {
        "label_rate_train": float(rate[dataset.TRAIN]),
        "label_rate_holdout_over_train": float(rate[dataset.HOLDOUT] / rate[dataset.TRAIN]) if rate[dataset.TRAIN] else 0.0,
        "positives_holdout": float(rows.loc[rows[dataset.SPLIT] == dataset.HOLDOUT, "label"].sum()),
        "duplicate_events": float(rows["event_id"].duplicated().sum()),
        "largest_single_feature_auc": max(feature_auc.values(), default=0.5),
        "rows_known_too_late": float(late),
        "largest_null_share": max((float(rows[name].isna().mean()) for name in feature_names(config)), default=0.0),
        "unanswered_share": answers.unanswered,
        "late_answers_share": answers.slowest.late,
    }


def _limits(config: Config, rows: pd.DataFrame) -> dict[str, float]:
    """The limits from the deployment, by `ml.config.suites.LIMITS`."""
    rate = config.labels.rate
    fold = max(FOLD, math.exp(SPREADS * _spread(rows[rows[dataset.SPLIT] == dataset.TRAIN])))
    return {
        "rate_low": rate.low.value if rate else 0.0,
        "rate_high": rate.high.value if rate else 1.0,
        "ratio_low": 1 / fold,
        "ratio_high": fold,
        "positives_low": config.training.positives.value,
        "late_high": config.labels.late.value,
    }


def _spread(train: pd.DataFrame) -> float:
    """Standard deviation of the logarithms of daily label rates; half a positive is added to each day."""
    days = train.groupby(train["event_time"].dt.floor("D"))["label"].agg(["sum", "size"])
    rates = np.log((days["sum"] + 0.5) / (days["size"] + 1))
    return float(rates.std(ddof=1)) if len(rates) > 1 else 0.0

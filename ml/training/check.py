"""The step `validate_training_set`: a suite over the figures of a frozen training set, before anything is fitted on it."""

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
from ml.quality import suites
from ml.store.feast import feature_names
from ml.training import dataset
from ml.training.arrivals import Arrivals, arrivals
from ml.training.refused import again, recorded

# Between the training window and the holdout a label rate may change by this factor, and by so many standard deviations of its
# days: a rate that moves more from day to day may move more between the windows.
FOLD = 5.0
SPREADS = 4.0


class TrainingSetRefused(Refused, ValueError):
    """A critical expectation on the training set does not hold; nothing is fitted on it."""


@dataclass(frozen=True)
class TrainingSetReport:
    """The figures of a training set that passed, and what was only worth a warning, also in words."""

    training_set: str
    figures: dict[str, float]
    suspects: dict[str, float]
    warnings: tuple[str, ...]
    note: str


def validate_training_set(config: Config, as_of: dt.datetime, training_set: str, run_id: str = "") -> TrainingSetReport:
    """Check label rates, positives, duplicates, nulls, features that tell the label by themselves, and when answers come.

    Args:
        run_id: the run that trains, for the record of a refusal.

    Raises:
        TrainingSetRefused: names each figure, the expectation and what was observed.
    """
    with recorded(config, as_of, "validate_training_set", run_id, TrainingSetRefused):
        return _validate(config, as_of, training_set, run_id)


def _validate(config: Config, as_of: dt.datetime, training_set: str, run_id: str) -> TrainingSetReport:
    rows = dataset.read(config, training_set)
    alone = single_feature_auc(config, rows[rows[dataset.SPLIT] == dataset.TRAIN])
    answers = arrivals(config, as_of)
    figures = _figures(config, as_of, rows, alone, answers)
    failures = suites.run(training_suite(config).file, pd.DataFrame([figures]), _limits(config, rows))
    critical = [f.summary for f in failures if f.critical]
    if critical:
        leak = max(alone, key=lambda name: alone[name], default="none")
        raise TrainingSetRefused(
            f"training set {training_set[:12]} is refused:\n" + "\n".join(f"- {told}" for told in critical) + f"\n"
            f"the strongest single feature is {leak!r} with ROC AUC {alone.get(leak, 0.5):.4f}; look at the labels and at the "
            f"published features, then {again(as_of, run_id)}"
        )
    suspects = dict(sorted(alone.items(), key=lambda item: -item[1])[:5])
    warnings = [f.summary for f in failures if not f.critical]
    if any(f.column == "late_answers_share" for f in failures):
        warnings.append(f"{answers.told}; set labels.delay to that, or declare by labels.late that so many may come late")
    return TrainingSetReport(
        training_set, figures, suspects, tuple(warnings), "\n".join(f"- warning: {told}" for told in warnings)
    )


def single_feature_auc(config: Config, train: pd.DataFrame) -> dict[str, float]:
    """How well each number alone ranks the label, by column: ROC AUC or its mirror image, in [0.5, 1]; 0.5 if all are alike."""
    labels = train["label"].to_numpy()
    names = [*config.measures, *feature_names(config)]
    if len(np.unique(labels)) < 2:
        return dict.fromkeys(names, 0.5)
    found = {}
    for name in names:
        values = train[name].to_numpy(np.float64)
        auc = roc_auc(labels, np.where(np.isnan(values), np.nanmin(values, initial=0.0) - 1, values))
        found[name] = max(auc, 1 - auc)
    return found


def _figures(
    config: Config, as_of: dt.datetime, rows: pd.DataFrame, alone: dict[str, float], answers: Arrivals
) -> dict[str, float]:
    rate = rows.groupby(dataset.SPLIT)["label"].mean()
    late = (rows[dataset.LABEL_KNOWN_AT] > pd.Timestamp(as_of)).sum()
    return {
        "label_rate_train": float(rate[dataset.TRAIN]),
        "label_rate_holdout_over_train": float(rate[dataset.HOLDOUT] / rate[dataset.TRAIN]) if rate[dataset.TRAIN] else 0.0,
        "positives_holdout": float(rows.loc[rows[dataset.SPLIT] == dataset.HOLDOUT, "label"].sum()),
        "duplicate_events": float(rows["event_id"].duplicated().sum()),
        "largest_single_feature_auc": max(alone.values(), default=0.5),
        "rows_known_too_late": float(late),
        "largest_null_share": max((float(rows[name].isna().mean()) for name in feature_names(config)), default=0.0),
        "unanswered_share": answers.unanswered,
        "late_answers_share": answers.slowest.late,
    }


def _limits(config: Config, rows: pd.DataFrame) -> dict[str, float]:
    """The limits that follow from the deployment, by `ml.config.suites.LIMITS`."""
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
    """Standard deviation of the logarithms of the days' label rates; a day without positives counts half of one."""
    days = train.groupby(train["event_time"].dt.floor("D"))["label"].agg(["sum", "size"])
    rates = np.log((days["sum"] + 0.5) / (days["size"] + 1))
    return float(rates.std(ddof=1)) if len(rates) > 1 else 0.0
